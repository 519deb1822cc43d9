"""Reads the notices in a Maildir as mail programs do, with the standard library."""

import asyncio
import mailbox
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from activities.notices.message import message_id
from demo.runner import POLL_EVERY, Handle
from tests.purchases import under_way

DOMAIN = "recourse.invalid"


@dataclass(frozen=True)
class Mail:
    """One message: its headers, and the visible text of its plain and its HTML part."""

    message: EmailMessage
    text: str
    html: str

    def __getitem__(self, header: str) -> Any:
        return self.message[header]

    @property
    def id(self) -> str:
        """The Message-ID."""
        return str(self["Message-ID"])

    @property
    def transition(self) -> str:
        """The transition that it is about."""
        return str(self["X-Recourse-Transition"])

    @property
    def to(self) -> str:
        """The recipient's address."""
        (address,) = self["To"].addresses
        return str(address.addr_spec)

    @property
    def date(self) -> datetime:
        """When the transition happened, to the second."""
        at: datetime = self["Date"].datetime
        return at.astimezone(UTC)

    def shows(self, pattern: str) -> bool:
        """Whether both parts match the pattern, ignoring case."""
        return all(re.search(pattern, part, re.IGNORECASE) for part in (self.text, self.html))


def read(raw: bytes) -> Mail:
    """Parse a message: exactly one plain and one HTML part, no defects, no attachments."""
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    assert message.get_content_type() == "multipart/alternative"
    parts = {part.get_content_type(): part.get_content() for part in message.iter_parts()}
    assert list(parts) == ["text/plain", "text/html"]
    return Mail(message, _plain(parts["text/plain"]), _plain(_visible(parts["text/html"])))


def inbox(folder: Path, purchase: str) -> list[Mail]:
    """All mail about a purchase, in the order of the transitions."""
    box = mailbox.Maildir(folder, create=False)
    raws = (box.get_bytes(key) for key in sorted(box.keys()))
    about = f"\nX-Recourse-Purchase: {purchase}\n".encode()
    return [read(raw) for raw in raws if about in raw]


def expected_id(
    purchase: str, count: int, transition: str, role: str, channel: str = "maildir"
) -> str:
    """The Message-ID of the notice of the `count`-th transition with notices."""
    return message_id(purchase, f"{count}-{transition}", role, channel, DOMAIN)


async def no_pending_task(handle: Handle) -> None:
    """Wait until the server has the result of every workflow task.

    A busy server may lose a result. The task is then repeated after the messages that arrived
    since, in another order than a query has shown.
    """
    while True:
        if not (await handle.describe()).raw_description.HasField("pending_workflow_task"):
            return
        await asyncio.sleep(POLL_EVERY)


async def quiet(handle: Handle) -> None:
    """Wait until a purchase has no pending task and no activity in progress."""
    while True:
        if not under_way((await handle.describe()).raw_description):
            return
        await asyncio.sleep(POLL_EVERY)


def _plain(text: str) -> str:
    """The text in one line, without zero-width and narrow spaces."""
    return " ".join(text.replace("\u200b", "").replace("\u202f", " ").split())


def _visible(html: str) -> str:
    page = _Page()
    page.feed(html)
    page.close()
    return " ".join(page.seen)


class _Page(HTMLParser):
    """Collects the text of a page's body."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._in_body = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._in_body |= tag == "body"

    def handle_data(self, data: str) -> None:
        if self._in_body:
            self.seen.append(data)
