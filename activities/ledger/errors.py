"""The errors of what the ledger rejects."""


class LedgerRejected(Exception):
    """The ledger rejected the operation. A retry gets the same answer, so there is none.

    `code` is for programs; `text` is a sentence that a person can act on.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class PurchaseExists(Exception):
    """Another purchase was bought under this id. The message names it and says what to do."""
