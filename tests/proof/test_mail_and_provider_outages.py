"""Outages of the mail server and of the payment provider in the middle of scenarios: purchases end
the same, and nobody is notified or paid twice."""

import asyncio
import mailbox
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.notices.builders import listening
from tests.proof.conftest import UndisturbedRuns
from tests.proof.counts import ALL, SELECTED, TIME_LIMIT, counted
from tests.proof.harness import new_harness
from tests.proof.outages import survive_outages, times_logged, until_logged
from tests.test_crashes import locked

APART = 40
"""Events between two outages in one scenario."""
FIRST = range(1, APART, 14) if ALL else (12,)
SILENT_SECONDS = 2.5
"""Longer than the timeout of an attempt in these worker processes (2 s)."""
NO_MAIL = "The mail server could not be used"


class Connection(SMTP):
    """One SMTP connection. The server aborts it when it goes down."""

    def __init__(self, server: "MailServer") -> None:
        super().__init__(server, hostname="mail.test")
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or abort it while the server is down."""
        assert isinstance(transport, asyncio.Transport)
        if self._server.is_open:
            self._server.connections.add(transport)
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Clean up, unless the connection was never accepted."""
        if self.transport is not None:
            super().connection_lost(error)

    def eof_received(self) -> bool:
        """Close the connection completely when the client closes its side."""
        super().eof_received()
        return False


class MailServer:
    """A real SMTP server that files what it accepts, in one Maildir per purchase."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.connections: set[asyncio.Transport] = set()
        self.is_open = True

    def go_down(self) -> None:
        """Abort all connections, also those in the middle of a message, and abort new ones until
        the server is open again."""
        self.is_open = False
        for connection in self.connections:
            connection.abort()
        self.connections.clear()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        raw = envelope.original_content or b""
        purchase_id = message_from_bytes(raw)["X-Recourse-Purchase"]
        mailbox.Maildir(self._folder / f"mail-{purchase_id}").add(raw)
        return "250 OK"


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_purchase_ends_the_same_when_the_mail_server_is_down_at_any_event(
    tmp_path: Path,
    undisturbed: UndisturbedRuns,
    record_property: Callable[[str, object], None],
) -> None:
    """While the notification channel is down, money moves and deadlines take effect; notices are
    retried until they are delivered."""
    mail_server = MailServer(tmp_path)

    async def short_outage() -> None:
        mail_server.go_down()
        await until_logged(tmp_path, NO_MAIL)
        mail_server.is_open = True

    kinds: Counter[str] = Counter()
    async with (
        listening(lambda: Connection(mail_server)) as port,
        new_harness(tmp_path, mail_server=f"smtp://127.0.0.1:{port}") as opened,
    ):
        for first in FIRST:
            kinds += await survive_outages(
                opened, undisturbed, SELECTED, short_outage, first=first, apart=APART
            )
    assert times_logged(tmp_path, NO_MAIL)
    mail_server.go_down()
    record_property("proof", counted("the mail server gone", kinds, sample=not ALL))


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_purchase_ends_the_same_when_the_provider_is_silent_at_any_event(
    tmp_path: Path, undisturbed: UndisturbedRuns, record_property: Callable[[str, object], None]
) -> None:
    """A provider's timeout means unknown, not failed. The provider gives no answer for longer than
    an attempt may take, and then does all that it was asked meanwhile."""

    async def silent_for_a_while() -> None:
        with locked(tmp_path / "sandbox.db"):
            await asyncio.sleep(SILENT_SECONDS)

    kinds: Counter[str] = Counter()
    async with new_harness(tmp_path) as opened:
        for first in FIRST:
            kinds += await survive_outages(
                opened, undisturbed, SELECTED, silent_for_a_while, first=first, apart=2 * APART
            )
    record_property("proof", counted("the provider silent", kinds, sample=not ALL))
