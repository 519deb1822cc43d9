"""How a command ends when it cannot do what it was asked: a code, a sentence, an exit status.

Exit status 0: done. 1: refused by the rules, or a difference was found. 2: wrong usage or invalid
input. 3: the server, a worker, the database or the provider cannot be reached. 130: interrupted.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any

import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError, RPCStatusCode

from activities.database import DatabaseUnreachable, SchemaMismatch
from activities.payments import ProviderUnreachable
from activities.sanitize import one_line
from activities.services import Unavailable, WrongSetting
from temporal.client import Unreachable
from temporal.codec import WrongKeys
from workflows.receiving.encrypted import Undecipherable
from workflows.receiving.parsing import explain

LONGEST_SENTENCE = 2_000


class ExitStatus(IntEnum):
    """The exit statuses of the command line."""

    REFUSED = 1
    INVALID = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class Failure(Exception):
    """The command ends here. `code` is for programs, `text` a sentence a person can act on."""

    def __init__(self, status: ExitStatus, code: str, text: str) -> None:
        super().__init__(code, text)
        self.status = status
        self.code = code
        self.text = text


def rejected(code: str, text: str) -> Failure:
    """The rules say no."""
    return Failure(ExitStatus.REFUSED, code, text)


def invalid(text: str) -> Failure:
    """What was given cannot be right; nothing was sent."""
    return Failure(ExitStatus.INVALID, "INVALID_INPUT", text)


def unreachable(code: str, text: str) -> Failure:
    """Something that the command needs is not there."""
    return Failure(ExitStatus.UNREACHABLE, code, text)


def run(command: Coroutine[Any, Any, int | None], *, as_json: bool) -> None:
    """Run a command to its end and leave with its exit status.

    What went wrong is told on stderr: as one JSON object with `as_json`, otherwise as a sentence.
    """
    try:
        status = asyncio.run(command)
    except KeyboardInterrupt:
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    except Exception as error:
        failure = _failure(error)
        if failure is None:
            raise
        _tell(failure, as_json=as_json)
        raise typer.Exit(failure.status) from None
    raise typer.Exit(status or 0)


def _tell(failure: Failure, *, as_json: bool) -> None:
    text = one_line(failure.text, LONGEST_SENTENCE)
    if as_json:
        print(json.dumps({"code": failure.code, "text": text}), file=sys.stderr)
    else:
        print(f"{failure.code}: {text}", file=sys.stderr)


def _failure(error: Exception) -> Failure | None:
    """The failure that an error means; None for one that nobody foresaw."""
    match error:
        case Failure():
            return error
        case WrongSetting() | WrongKeys() | Undecipherable():
            return Failure(ExitStatus.INVALID, "WRONG_SETTING", str(error))
        case Unreachable():
            return unreachable("SERVER_UNREACHABLE", str(error))
        case Unavailable() | DatabaseUnreachable() | SchemaMismatch():
            return unreachable("DATABASE_UNREACHABLE", str(error))
        case ProviderUnreachable():
            text = f"The payment provider cannot be reached: {error}"
            return unreachable("PROVIDER_UNREACHABLE", text)
        case SQLAlchemyError():
            return unreachable("DATABASE_UNREACHABLE", f"The database cannot be used: {error}")
        case RPCError():
            return _of_server(error)
        case ValidationError():
            return unreachable(
                "NOT_UNDERSTOOD", f"A worker of another version answers: {explain(error)}"
            )
        case _:
            return None


def _of_server(error: RPCError) -> Failure:
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        if "search attribute" in error.message:
            return unreachable(
                "NOT_SET_UP",
                f"The server does not know our search attributes ({error.message}). "
                "Run: python -m starter setup",
            )
        return invalid(f"The server cannot take this: {error.message}")
    return unreachable(
        "SERVER_UNREACHABLE", f"The Temporal server did not do its part: {error.message}"
    )
