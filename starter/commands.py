"""The commands of the command line, by group: where each is defined, and its sentence in the list.

A command's module is imported when the command runs, so that `recourse --help` and completion in a
shell need neither Temporal's SDK nor the database. Each message has a command, with the first
sentence of its docstring.
"""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from workflows.messages import MESSAGES

MESSAGE = "starter.messages"
"""Its commands are generated from the contract."""


def _messages() -> dict[str, tuple[str, str]]:
    found = {}
    for name, kind in MESSAGES.items():
        sentence, _, _ = " ".join((kind.__doc__ or "").split()).partition(". ")
        found[name.replace("_", "-")] = (MESSAGE, f"{sentence.rstrip('.')}.")
    return found


GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Purchases": {
        "purchase": ("starter.start:purchase", "Start a purchase, and show whether it is paid."),
        "status": (
            "starter.queries:status",
            "Show stage, who must act, money, deadlines and what has happened.",
        ),
        "actions": (
            "starter.queries:actions",
            "Show which messages a role may send now, and until when.",
        ),
        "list": ("starter.queries:list_", "List purchases, the newest first."),
        "notices": (
            "starter.database:notices",
            "Show the notices to both parties, and whether they were delivered.",
        ),
        "import": (
            "starter.importing:import_",
            "Continue purchases here that already run elsewhere: their stage, deadlines and money.",
        ),
        "forget": (
            "starter.forget:forget",
            "Destroy names, addresses and texts of a purchase that has ended; without --yes, only "
            "check.",
        ),
        "adopt": (
            "starter.adopt:adopt",
            "Continue a purchase that was terminated with money in escrow; no money moves twice.",
        ),
    },
    "Messages": {
        "send": (
            "starter.bulk:send",
            "Send one message to every purchase that a query finds; without --yes, only check it.",
        ),
        **_messages(),
    },
    "Money": {
        "ledger": (
            "starter.database:ledger",
            "Show every movement of a purchase's money, and its balances.",
        ),
        "audit": (
            "starter.database:audit",
            "Compare the ledger with the workflows and the provider; exit 1 on any difference.",
        ),
        "restore": (
            "starter.restore:restore_",
            "Post again what the ledger has lost, by workflows and provider; exit 1 if a person "
            "must look.",
        ),
        "sandbox": (
            "starter.sandbox:sandbox",
            "Make the sandbox provider do something, and let the purchase look at its payment.",
        ),
    },
    "Operations": {
        "setup": (
            "starter.setup:setup",
            "Migrate the database, register search attributes and the daily audit.",
        ),
        "workroom": (
            "starter.serve:workroom",
            "Serve the HTTP API and the pages at RECOURSE_WORKROOM, or print a link.",
        ),
        "webhooks": (
            "starter.serve:webhooks",
            "Receive the payment provider's webhooks: POST /webhooks/stripe.",
        ),
        "bounces": (
            "starter.bounces:bounces",
            "Read reports of mail that came back from a Maildir, again and again.",
        ),
        "events": (
            "starter.events:events",
            "List the events that other systems have not got; with --resend, send them again.",
        ),
        "codec": (
            "starter.serve:codec",
            "Decrypt payloads for the Web UI, for users with a token: POST /decode.",
        ),
        "metrics": (
            "starter.serve:metrics",
            "Serve business metrics to Prometheus: GET /metrics.",
        ),
        "schema": (
            "starter.schema:schema",
            "Print the JSON Schema of a message or an answer; of all of them without a name.",
        ),
        "demo": (
            "starter.serve:demo",
            "Run every scenario on an embedded server that skips time.",
        ),
    },
}

COMMANDS = {name: found for group in GROUPS.values() for name, found in group.items()}


class Commands(TyperGroup):
    """Lists the commands by group, each with a whole sentence; imports the one that runs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {
            name: TyperCommand(name, help=sentence) for name, (_, sentence) in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the imported command in place of the listed one."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and command(args[0]), rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the groups."""
        widest = max(map(len, COMMANDS))
        for title, group in GROUPS.items():
            with formatter.section(title):
                rows = [(name.ljust(widest), sentence) for name, (_, sentence) in group.items()]
                formatter.write_dl(rows)


def command(name: str) -> Any:
    """Import a command and return it as the command line runs it."""
    module, _, function = COMMANDS[name][0].partition(":")
    loaded = import_module(module)
    found = getattr(loaded, function) if function else loaded.command_for(name)
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)
