"""Builds requests for notices, and mail servers that receive them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from activities.notices.channels import SmtpChannel
from activities.requests import (
    AllowedMessage,
    Money,
    Movement,
    NoticeDeadline,
    NoticeRequest,
    NoticeText,
    Party,
    Recipient,
)
from temporal.ports import free_port

ANA = Party(id="ana", name="Ana", email="ana@example.com", timezone="Europe/Lisbon", locale="fr_FR")
BO = Party(id="bo", name="Bo", email="bo@example.com")
OPERATORS = "staff@example.com"

ACCEPT = AllowedMessage(message="accept_claim", label="Accept the claim")
DISPUTE = AllowedMessage(message="open_dispute", label="Open a dispute", fields={"reason": "…"})


def client(*allowed: AllowedMessage) -> Recipient:
    return Recipient(role="client", allowed=allowed)


def freelancer(*allowed: AllowedMessage) -> Recipient:
    return Recipient(role="freelancer", allowed=allowed)


def operator(*allowed: AllowedMessage) -> Recipient:
    return Recipient(role="operator", allowed=allowed)


def usd(amount: int) -> Money:
    return Money(amount=amount, currency="USD")


def at(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type,misc]


TEXT = NoticeText(
    heading="Refund request declined",
    summary="{Freelancer} declined the refund and claimed {claimed}.",
    explanation="The rule: {Client} may accept the claim or open a dispute.",
    advice={"client": ("If you cannot agree with {freelancer}, you may open a dispute.",)},
)


def due(when: datetime, **changes: Any) -> NoticeDeadline:
    """The client's answer to the claim is due."""
    values: dict[str, Any] = {
        "name": "claim",
        "at": when,
        "label": "{client's} answer to the claim is due",
        "expiry_text": "the claim is paid",
        "waiting_for": "client",
    }
    return NoticeDeadline(**(values | changes))


def request(**changes: Any) -> NoticeRequest:
    """Bo declined the refund and claims part of the money; both parties are notified."""
    values: dict[str, Any] = {
        "purchase_id": "p-1001",
        "title": "Logo design",
        "price": usd(25000),
        "client": ANA,
        "freelancer": BO,
        "transition_id": "7",
        "transition": "refund_declined",
        "at": at(2026, 11, 23, 18),
        "actor": "freelancer",
        "text": TEXT,
        "note": "Two drafts are finished.",
        "movements": (
            Movement(10000, "escrow", "the freelancer's balance"),
            Movement(15000, "escrow", "the client's payment method"),
        ),
        "deadlines": (due(at(2026, 11, 30, 23, 59)),),
        "money_text": "{Client's} refund may take up to {settlement_window}",
        "amounts": {"escrow": 25_000, "claim": 10_000, "rest": 15_000},
        "windows": {"settlement_window": 5},
        "recipients": (client(), freelancer()),
    }
    return NoticeRequest(**(values | changes))


class SmtpHandler:
    """Replies of a mail server: `replies` to successive messages, then it accepts all; `rcpt` to
    addresses.

    The reply "hang up" keeps the message and closes the connection without a reply; "lose" closes
    it without keeping the message.
    """

    def __init__(self, *replies: str, rcpt: dict[str, str] | None = None) -> None:
        self.replies = list(replies)
        self.rcpt = rcpt or {}
        self.kept: list[Envelope] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, to: str, options: list[str]
    ) -> str:
        reply = self.rcpt.get(to, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(to)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = self.replies.pop(0) if self.replies else "250 OK"
        if reply.startswith(("250", "hang up")):
            self.kept.append(envelope)
        if reply in ("hang up", "lose"):
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return reply

    def bodies(self) -> list[bytes]:
        return [envelope.original_content or b"" for envelope in self.kept]


@asynccontextmanager
async def listening(
    protocol: Callable[[], asyncio.BaseProtocol], port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on a loopback port (0: a free one), with `tls` from the start if given."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def mail_server(handler: SmtpHandler, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """A real SMTP server with that handler; its port."""
    async with listening(lambda: SMTP(handler, hostname="mail.test", **options), port) as found:
        yield found


@asynccontextmanager
async def smtp_channel(handler: SmtpHandler, **options: Any) -> AsyncIterator[SmtpChannel]:
    """A channel to a real SMTP server with that handler."""
    async with mail_server(handler, **options) as port:
        yield channel_to(port)


def channel_to(port: int, **options: Any) -> SmtpChannel:
    """A channel to a mail server on this machine."""
    return SmtpChannel("127.0.0.1", port, **({"wait": 5} | options))


def closed_port() -> int:
    """A port on which no server listens."""
    return free_port()
