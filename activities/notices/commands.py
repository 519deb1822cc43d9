"""The command lines for recipients who have no page with buttons."""

import shlex
from collections.abc import Iterator

from activities.amounts import format_amount
from activities.requests import AllowedMessage, NoticeRequest, Recipient
from activities.sanitize import one_line

COMMAND = "recourse"
AMOUNT = "AMOUNT"
"""A field whose amount the reader chooses."""

TEXT = "…"
"""A field whose text the reader writes."""


def status_command(request: NoticeRequest) -> str:
    """The command that shows the purchase."""
    return shlex.join((COMMAND, "status", request.purchase_id))


def message_command(
    request: NoticeRequest, recipient: Recipient, allowed: AllowedMessage, sender: str
) -> str:
    """The command that sends a message as `sender`. The reader fills in capitals and "…"."""
    role = "mediator" if allowed.message == "resolve_dispute" else recipient.role
    command = shlex.join(
        (
            COMMAND,
            one_line(allowed.message).replace("_", "-"),
            request.purchase_id,
            *("--as", f"{role}:{sender}"),
        )
    )
    return " ".join((command, *_options(allowed, request.price.currency)))


def _options(allowed: AllowedMessage, currency: str) -> Iterator[str]:
    for name, value in allowed.fields.items():
        option = "--text" if name == "requirements" else f"--{name.replace('_', '-')}"
        if value == AMOUNT or isinstance(value, int):
            shown = value if value == AMOUNT else format_amount(int(value), currency).split()[0]
            yield f"{option} {shown} --currency {currency}"
        elif value == TEXT:
            yield f'{option} "{TEXT}"'
        else:
            yield f"{option} {shlex.quote(one_line(str(value)))}"
