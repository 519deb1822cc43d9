"""Reports of mail that came back after the mail server had accepted it (RFC 3464, RFC 6533)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from email.parser import HeaderParser
from email.policy import default

from activities.sanitize import one_line, redacted

LARGEST_REPORT = 10_000_000
"""Bytes. A report contains at most the notice, which has less than a megabyte."""
LONGEST_REASON = 200

_STATUS = {"message/delivery-status", "message/global-delivery-status"}
_RETURNED = {"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"}


@dataclass(frozen=True)
class Bounce:
    """The message with this id did not reach this address, finally. `why` names no address."""

    message_id: str
    address: str
    why: str


def parse_bounce(data: bytes) -> Bounce | None:
    """The bounce in a mail; None for any other mail, also for a report of a delay."""
    mail = message_from_string(data.decode(errors="replace"), policy=default)
    if mail.get_content_type() != "multipart/report":
        return None
    parts = {part.get_content_type(): part for part in reversed(list(mail.walk()))}
    status = next((parts[kind] for kind in _STATUS if kind in parts), None)
    returned = next((parts[kind] for kind in _RETURNED if kind in parts), None)
    if status is None or returned is None:
        return None
    message_id = _header(_text(returned), "Message-ID")
    for block in _blocks(status):
        if _header(block, "Action").lower() == "failed" and message_id:
            named = _header(block, "Original-Recipient") or _header(block, "Final-Recipient")
            address = named.partition(";")[2].strip()
            code = f"{_header(block, 'Status')} {_header(block, 'Diagnostic-Code')}"
            why = one_line(redacted(code, address), LONGEST_REASON)
            return Bounce(message_id, address, f"The mail came back: {why}")
    return None


def _blocks(status: Message) -> Iterator[str]:
    """The groups of fields of a delivery status: one of the message, one of each recipient."""
    return (block for block in re.split(r"\n\s*\n", _text(status)) if block.strip())


def _text(part: Message) -> str:
    """The content of a part, which Python has parsed if it is a message."""
    content = part.get_payload()
    if isinstance(content, list):
        return "\n\n".join(str(inner) for inner in content)
    return str(content)


def _header(block: str, name: str) -> str:
    return " ".join(str(HeaderParser(policy=default).parsestr(block).get(name, "")).split())
