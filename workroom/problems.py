"""Answers that are no success, as `application/problem+json` (RFC 9457): `code` is for programs,
`detail` for people, `errors` names each invalid field by a JSON pointer."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse
from temporalio.service import RPCError

from temporal.connection_errors import server_failure
from temporal.errors import Failure, InvalidInput, Unreachable
from workflows.lifecycle.state import Code
from workflows.receiving.encrypted import Undecipherable

NO_STORE = {"Cache-Control": "no-store"}
"""What is answered concerns one caller now."""
RETRY_AFTER = "5"
"""Seconds after which to try again when a server does not answer."""

INVALID = ("INVALID_INPUT", Code.INVALID_MESSAGE, Code.UNKNOWN_MESSAGE)


class Problem(Exception):
    """An answer that is no success."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`errors`: a JSON pointer to each invalid field, and what is wrong there."""
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = errors, headers or {}

    def response(self) -> JSONResponse:
        """The HTTP response."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [
                {"pointer": pointer, "detail": detail} for pointer, detail in self.errors
            ]
        return JSONResponse(
            body,
            self.status,
            {**NO_STORE, **self.headers},
            media_type="application/problem+json",
        )


FORESEEN = (Failure, RPCError, Undecipherable, ValidationError)
"""What may go wrong with a request that is right itself."""


def failure_of(error: Exception) -> Failure:
    """One of `FORESEEN` as a Failure. Raises any other error."""
    match error:
        case Failure():
            return error
        case RPCError():
            return server_failure(error)
        case Undecipherable():
            return Unreachable("WRONG_SETTING", "The workroom lacks a key of this purchase.")
        case ValidationError():
            return Unreachable("NOT_UNDERSTOOD", "The worker has another version than this server.")
    raise error


def pointer(*names: object) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join(f"/{str(name).replace('~', '~0').replace('/', '~1')}" for name in names)


def problem_of(failure: Failure) -> Problem:
    """The answer to a request that could not be carried out."""
    if isinstance(failure, Unreachable):
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            failure.code,
            failure.text,
            headers={"Retry-After": RETRY_AFTER},
        )
    if isinstance(failure, InvalidInput) or failure.code in INVALID:
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, failure.code, failure.text)
    if failure.code == "NOT_FOUND":
        return Problem(HTTPStatus.NOT_FOUND, failure.code, failure.text)
    return Problem(HTTPStatus.CONFLICT, failure.code, failure.text)
