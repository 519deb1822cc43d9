"""Ending a process that used Temporal's SDK."""

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
    if tracing := sys.modules.get("temporal.tracing"):
        tracing.flush()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)
