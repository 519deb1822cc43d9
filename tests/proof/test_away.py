"""The mail server and the payment provider go away in the middle of stories, and come back: the end
is the same, and nobody is told or paid twice."""

import asyncio
import mailbox
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.notices.builders import listening
from tests.proof.conftest import Undisturbed
from tests.proof.count import ALL, PLAYED, TIME_LIMIT, counted
from tests.proof.stage import stage
from tests.proof.wreck import noticed, said, survived
from tests.test_crashes import locked

APART = 40
"""Events between two of a story at which it goes away."""
FIRST = range(1, APART, 14) if ALL else (12,)
SILENT = 2.5
"""Seconds; more than one attempt may take here."""
NO_MAIL = "The mail server could not be used"


class Call(SMTP):
    """One connection; whoever hangs up is hung up on."""

    def __init__(self, server: "MailServer") -> None:
        super().__init__(server, hostname="mail.test")
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Or not, while nobody is there."""
        assert isinstance(transport, asyncio.Transport)
        if self._server.is_open:
            self._server.calls.add(transport)
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """A call that nobody took was never begun."""
        if self.transport is not None:
            super().connection_lost(error)

    def eof_received(self) -> bool:
        """Nothing is left open on one side."""
        super().eof_received()
        return False


class MailServer:
    """A real SMTP server that files what it has taken, each purchase's mail apart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.calls: set[asyncio.Transport] = set()
        self.is_open = True

    def goes_away(self) -> None:
        """At once, also for those who are in the middle of a message; whoever calls is hung up on
        until it is open again."""
        self.is_open = False
        for call in self.calls:
            call.abort()
        self.calls.clear()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        raw = envelope.original_content or b""
        purchase_id = message_from_bytes(raw)["X-Recourse-Purchase"]
        mailbox.Maildir(self._folder / f"mail-{purchase_id}").add(raw)
        return "250 OK"


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_mail_server_away_at_any_event_leaves_the_same_end(
    tmp_path: Path,
    undisturbed: Undisturbed,
    record_property: Callable[[str, object], None],
) -> None:
    """Notification channel down → money and clocks go on; the notice is retried."""

    mail_server = MailServer(tmp_path)

    async def away_for_a_while() -> None:
        mail_server.goes_away()
        await noticed(tmp_path, NO_MAIL)
        mail_server.is_open = True

    kinds: Counter[str] = Counter()
    async with (
        listening(lambda: Call(mail_server)) as port,
        stage(tmp_path, mail_server=f"smtp://127.0.0.1:{port}") as opened,
    ):
        for first in FIRST:
            kinds += await survived(
                opened, undisturbed, PLAYED, away_for_a_while, first=first, apart=APART
            )
    assert said(tmp_path, NO_MAIL)
    mail_server.goes_away()
    record_property("proof", counted("the mail server gone", kinds, sample=not ALL))


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_silent_provider_at_any_event_leaves_the_same_end(
    tmp_path: Path, undisturbed: Undisturbed, record_property: Callable[[str, object], None]
) -> None:
    """Provider times out → unknown is not failed. It says nothing for longer than an attempt may
    take, and then does all that it was asked meanwhile."""

    async def silent_for_a_while() -> None:
        with locked(tmp_path / "sandbox.db"):
            await asyncio.sleep(SILENT)

    kinds: Counter[str] = Counter()
    async with stage(tmp_path) as opened:
        for first in FIRST:
            kinds += await survived(
                opened, undisturbed, PLAYED, silent_for_a_while, first=first, apart=2 * APART
            )
    record_property("proof", counted("the provider silent", kinds, sample=not ALL))
