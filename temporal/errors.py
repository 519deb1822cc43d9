"""Errors of this package: each has a code for programs and a sentence for people."""


class Failure(Exception):
    """A request that could not be carried out. `code` is stable, `text` says what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.text


class Rejected(Failure):
    """The rules or the state of the purchase do not allow the request."""


class InvalidInput(Failure):
    """The input is invalid; nothing was sent."""

    def __init__(self, text: str, code: str = "INVALID_INPUT") -> None:
        super().__init__(code, text)


class Unreachable(Failure):
    """A server, worker or database that the request needs does not answer."""


class ServerUnreachable(Unreachable):
    """Temporal, or the namespace in it, cannot be reached."""

    def __init__(self, text: str) -> None:
        super().__init__("SERVER_UNREACHABLE", text)


class NotPermitted(ServerUnreachable):
    """The server does not let this client list its search attributes."""
