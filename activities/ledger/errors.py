"""The three ways in which the ledger does not do what it was asked."""


class LedgerRejected(Exception):
    """The ledger said no. Asking again gives the same answer, so it is never retried.

    `code` is for programs; `text` is a sentence that a person can act on.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class LedgerUnreachable(Exception):
    """The database is away, locked or overrun. It passes by itself: ask again, with the same key.

    Whether the operation was recorded may be unknown; the key makes asking again safe.
    """


class SchemaMismatch(Exception):
    """The database's schema is not the one that this version works with."""
