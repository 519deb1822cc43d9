"""Purchases whose workflow ended from outside, before they were closed: what to say about them."""

from shlex import quote

from activities.amounts import format_amount
from temporal.executions import Execution
from workflows.messages import AttentionItem, Escrow, Permission, Status

CODE = "ENDED"
"""Why an ended purchase takes no message."""

KIND = "workflow_"
"""How the kind of its item in `attention` begins; the run's status follows."""

FOR_PARTIES = "Nothing is possible right now. Our staff is looking into it."
"""What a party reads where staff read a command."""

UNANSWERED = (
    "Nothing answers now. Try again soon: a message that is repeated with its message_id counts "
    "once."
)
"""What a party reads where staff read how to start a worker."""

BY = {
    "terminated": "an operator",
    "canceled": "a cancellation",
    "timed_out": "a time limit of the server",
    "failed": "an error",
}
"""What ended a run, by the server's status."""


def shown(status: Status, run: Execution) -> Status:
    """The status of a purchase whose newest run was ended: an operator has to act, no deadline
    runs, and the first entry of `attention` says what to do."""
    item = AttentionItem(
        kind=f"{KIND}{run.status}",
        text=what_to_do(status.purchase_id, run, status.escrow),
        since=run.closed_at or status.timeline[-1].at,
    )
    return status.model_copy(
        update={
            "waiting_for": "operator",
            "deadlines": (),
            "attention": (item, *status.attention),
        }
    )


def refused(permission: Permission, why: str) -> Permission:
    """A message that an ended purchase does not take."""
    return Permission(message=permission.message, allowed=False, code=CODE, why_not=why)


def without_commands(status: Status) -> Status:
    """The status as a party reads it."""
    items = tuple(
        each.model_copy(update={"text": FOR_PARTIES}) if each.kind.startswith(KIND) else each
        for each in status.attention
    )
    return status.model_copy(update={"attention": items})


def start_again(purchase_id: str, run: Execution) -> str:
    """What ended the purchase before a worker took it, and the command that starts it again."""
    return (
        f"Ended by {BY[run.status]} before a worker took it. Start it again under the same id with "
        "`recourse purchase`; if the ledger has money of it, run instead: recourse adopt "
        f"{quote(purchase_id)}"
    )


def what_to_do(purchase_id: str, run: Execution, money: Escrow | None = None) -> str:
    """What ended the purchase, with how much money inside, and the command that continues it."""
    ended, adopt = f"Ended by {BY[run.status]}", f"recourse adopt {quote(purchase_id)}"
    if money is None:
        return f"{ended}: if it has money inside, run {adopt}"
    inside = money.held + money.in_transit
    if not inside:
        return f"{ended} with no money inside. If the client was charged, run {adopt}"
    return f"{ended} with {format_amount(inside, money.currency)} inside: run {adopt}"
