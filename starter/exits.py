"""How a command ends: with an exit status and, if it fails, a code and a sentence on stderr.

Exit status 0: done. 1: rejected by the rules, or a difference was found. 2: wrong usage or invalid
input. 3: the server, a worker, the database or the provider cannot be reached. 130: interrupted.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from enum import IntEnum
from functools import wraps
from typing import Any, ParamSpec

import typer
from pydantic import ValidationError
from temporalio.service import RPCError

from activities.sanitize import one_line
from temporal.codec import WrongKeys
from temporal.connection_errors import server_failure
from temporal.errors import Failure, InvalidInput, Rejected, Unreachable
from workflows.receiving.encrypted import Undecipherable
from workflows.receiving.parsing import explain

LONGEST_SENTENCE = 2_000

Options = ParamSpec("Options")


class ExitStatus(IntEnum):
    """The exit statuses of the command line."""

    REJECTED = 1
    INVALID = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


def command(
    function: Callable[Options, Coroutine[Any, Any, int | None]],
) -> Callable[Options, None]:
    """Make a command for typer, which runs `function` to its end and leaves with its exit status.

    A failure is printed on stderr: as one JSON object with the option `as_json`, otherwise as a
    sentence.
    """

    @wraps(function)
    def run(*args: Options.args, **options: Options.kwargs) -> None:
        try:
            status = asyncio.run(function(*args, **options))
        except KeyboardInterrupt:
            raise typer.Exit(ExitStatus.INTERRUPTED) from None
        except Exception as error:
            failure = _failure(error)
            if failure is None:
                raise
            _print(failure, as_json=bool(options.get("as_json")))
            raise typer.Exit(_status(failure)) from None
        raise typer.Exit(status or 0)

    return run


def _print(failure: Failure, *, as_json: bool) -> None:
    text = one_line(failure.text, LONGEST_SENTENCE)
    if as_json:
        print(json.dumps({"code": failure.code, "text": text}), file=sys.stderr)
    else:
        print(f"{failure.code}: {text}", file=sys.stderr)


def _status(failure: Failure) -> ExitStatus:
    if isinstance(failure, InvalidInput):
        return ExitStatus.INVALID
    return ExitStatus.UNREACHABLE if isinstance(failure, Unreachable) else ExitStatus.REJECTED


def _failure(error: Exception) -> Failure | None:
    """Convert a known error to a Failure; None for an unexpected one."""
    match error:
        case Failure():
            return error
        case WrongKeys() | Undecipherable():
            return InvalidInput(str(error), "WRONG_SETTING")
        case RPCError():
            return server_failure(error)
        case ValidationError():
            return Unreachable(
                "NOT_UNDERSTOOD", f"The worker has another version: {explain(error)}"
            )
    return _failure_of_database(error)


def _failure_of_database(error: Exception) -> Failure | None:
    """The same for errors of database and provider, whose libraries take a while to load."""
    from sqlalchemy.exc import SQLAlchemyError

    from activities.database import DatabaseUnreachable, SchemaMismatch
    from activities.database.personal import Forgotten
    from activities.payments import ProviderUnreachable
    from activities.services import Unavailable, WrongSetting

    match error:
        case WrongSetting():
            return InvalidInput(str(error), "WRONG_SETTING")
        case Unavailable() | DatabaseUnreachable() | SchemaMismatch():
            return Unreachable("DATABASE_UNREACHABLE", str(error))
        case Forgotten():
            return Rejected(
                "FORGOTTEN", f"{error} Its postings stay: `recourse ledger` shows them."
            )
        case ProviderUnreachable():
            text = f"The payment provider cannot be reached: {error}"
            return Unreachable("PROVIDER_UNREACHABLE", text)
        case SQLAlchemyError():
            return Unreachable("DATABASE_UNREACHABLE", f"The database cannot be used: {error}")
    return None
