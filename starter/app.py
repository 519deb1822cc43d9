"""The command line `recourse …`."""

import io
import sys
from typing import NoReturn

import typer

from starter.commands import Commands
from temporal.process import exit_process

app = typer.Typer(
    name="recourse",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def recourse() -> None:
    """Recourse: start purchases, send them messages, and show their status and money."""


def main() -> NoReturn:
    """Run the command line; exit with a status of `starter.exits`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals without Unicode
    status = 0
    try:
        app()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    exit_process(status)
