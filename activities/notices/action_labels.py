"""What a reader can do now: in words, and as a command where no page offers it."""

import shlex
from dataclasses import dataclass

from activities.amounts import format_amount
from activities.notices.formatter import safe
from activities.requests import NoticeRequest, Recipient
from activities.sanitize import one_line


@dataclass(frozen=True)
class Step:
    """One thing the reader can do now, with its command where no page offers it."""

    label: str
    command: str | None


@dataclass(frozen=True)
class ActionLabel:
    """A label for each role that may do it, and the options of the message's command."""

    label: str
    options: str = ""
    freelancer: str = ""
    """What the freelancer reads, if not the same."""


_SPLIT = "--refund AMOUNT --currency {currency}"

ACTION_LABELS: dict[str, ActionLabel] = {
    "submit_requirements": ActionLabel("Send the requirements", '--text "…"'),
    "accept_split": ActionLabel(
        "Accept the proposed split", "--refund {offered} --currency {currency}"
    ),
    "decide_refund approve": ActionLabel("Approve the refund", "--decision approve"),
    "decide_refund decline": ActionLabel(
        "Decline it and claim what the work was worth",
        "--decision decline --claim AMOUNT --currency {currency}",
    ),
    "accept_claim": ActionLabel("Accept the claim"),
    "open_dispute": ActionLabel("Open a dispute", '--reason "…"'),
    "withdraw_cancellation": ActionLabel("Take the cancellation back"),
    "accept_delivery": ActionLabel("Accept the delivery and release the money"),
    "request_changes": ActionLabel("Ask for changes", '--note "…"'),
    "deliver": ActionLabel("Deliver the work"),
    "cancel": ActionLabel(
        "Cancel the project and ask for the money back",
        freelancer="Cancel the project and give the money back",
    ),
    "give_refund": ActionLabel("Give all of the money back"),
    "propose_split": ActionLabel("Propose a split", _SPLIT),
    "send_message": ActionLabel("Write to {other}", '--text "…"'),
    "resolve_attention retry": ActionLabel("Try again", "--action retry"),
    "resolve_attention mark_settled": ActionLabel(
        "Mark the refund as arrived, with the proof", '--action mark_settled --reference "…"'
    ),
    "resolve_dispute": ActionLabel("As a mediator, decide who gets what", _SPLIT),
}
"""By message and choice; what a notice is about comes before what can be done at any time."""

_GIVE_ALL_BACK = ("decide_refund approve", "cancel", "give_refund")
"""To the freelancer these are one thing; of those that are open, the first is offered."""


def steps(
    request: NoticeRequest,
    recipient: Recipient,
    reader: str,
    other: str,
    *,
    with_commands: bool,
) -> tuple[Step, ...]:
    """What `recipient` can do now, the most important first. `reader` is the id to say it under,
    `other` the name of the other party."""
    return tuple(
        Step(
            _label(can, recipient.role).replace("{other}", other),
            _command(request, recipient, can, reader) if with_commands else None,
        )
        for can in sorted(_open(recipient), key=_order)
    )


def status_command(request: NoticeRequest) -> str:
    """The command that shows the purchase, where no page does."""
    return shlex.join(("python", "-m", "starter", "status", one_line(request.purchase_id)))


def _open(recipient: Recipient) -> list[str]:
    found = [each for can in recipient.can for each in _choices(can)]
    if recipient.role != "freelancer":
        return found
    all_back = [can for can in _GIVE_ALL_BACK if can in found]
    return [can for can in found if can not in all_back[1:]]


def _choices(can: str) -> list[str]:
    """An older release names a message without its choice: all of them, then."""
    return [known for known in ACTION_LABELS if known.split()[0] == can] or [can]


def _order(can: str) -> int:
    known = list(ACTION_LABELS)
    return known.index(can) if can in known else len(known)


def _label(can: str, role: str) -> str:
    way = ACTION_LABELS.get(can)
    if way is None:
        return safe(can, 80).replace("_", " ").capitalize()
    return (way.freelancer if role == "freelancer" else "") or way.label


def _command(request: NoticeRequest, recipient: Recipient, can: str, reader: str) -> str:
    """Capitals stand for what the reader has to fill in."""
    message = can.split()[0]
    role = "mediator" if message == "resolve_dispute" else recipient.role
    words = shlex.join(
        (
            *("python", "-m", "starter", one_line(message).replace("_", "-")),
            *(one_line(request.purchase_id), "--as", f"{role}:{reader}"),
        )
    )
    way = ACTION_LABELS.get(can)
    currency = request.price.currency
    offered = request.amounts.get("offer_refund")
    options = (way.options if way else "").format(
        currency=currency,
        offered="AMOUNT" if offered is None else format_amount(offered, currency).split()[0],
    )
    return f"{words} {options}".rstrip()
