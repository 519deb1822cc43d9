"""Ending a process that used Temporal's SDK, and starting it anew."""

import os
import sys
from contextlib import suppress
from typing import NoReturn


def exit_process(status: int) -> NoReturn:
    """Flush traces and output, then end the process at once with `status`.

    Works around the threads of the SDK's runtime: they may call into Python while the interpreter
    shuts down, and such a call can abort the process. Not needed once the SDK joins its threads at
    exit.
    """
    _flush()
    os._exit(status)


def start_anew() -> NoReturn:
    """Flush traces and output, then run the command of this process again in its place, under the
    same process id."""
    _flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - its own command


def _flush() -> None:
    if tracing := sys.modules.get("temporal.tracing"):
        tracing.flush()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
