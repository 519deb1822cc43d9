"""Requests as the lifecycle makes them, and mailboxes to receive what comes of them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from activities.notices import SmtpChannel
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
from temporal import embedded

ANA = Party(id="ana", name="Ana", email="ana@example.com", timezone="Europe/Lisbon", locale="pt_PT")
BO = Party(id="bo", name="Bo", email="bo@example.com")
OPERATORS = "staff@example.com"


ACCEPT = AllowedMessage(message="accept_claim", label="Accept the claim")
DISPUTE = AllowedMessage(message="open_dispute", label="Open a dispute", fields={"reason": "…"})


def client(party: Party = ANA, *allowed: AllowedMessage) -> Recipient:
    return Recipient(role="client", party=party, allowed=allowed)


def freelancer(party: Party = BO, *allowed: AllowedMessage) -> Recipient:
    return Recipient(role="freelancer", party=party, allowed=allowed)


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
    """Bo has declined the refund and claims part of it; both are notified."""
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
        "refund_text": "{Client's} refund may take up to {settlement_window}",
        "amounts": {"escrow": 25_000, "claim": 10_000, "rest": 15_000},
        "windows": {"settlement_window": 5},
        "recipients": (client(), freelancer()),
    }
    return NoticeRequest(**(values | changes))


class Post:
    """A mail server's mind: `answers` are given to successive messages, then all are taken.

    `rcpt` answers addresses. An answer of "hang up" cuts the connection without a reply, after
    the message was kept or (`"lose"`) before.
    """

    def __init__(self, *answers: str, rcpt: dict[str, str] | None = None) -> None:
        self.answers = list(answers)
        self.rcpt = rcpt or {}
        self.kept: list[Envelope] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, to: str, options: list[str]
    ) -> str:
        answer = self.rcpt.get(to, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(to)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith(("250", "hang up")):
            self.kept.append(envelope)
        if answer in ("hang up", "lose"):
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return answer

    def bodies(self) -> list[bytes]:
        return [envelope.original_content or b"" for envelope in self.kept]


@asynccontextmanager
async def listening(
    protocol: Callable[[], asyncio.BaseProtocol], port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server on a loopback port, a free one if none is wished for; `tls` from the start."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def mail_server(post: Post, port: int = 0, **options: Any) -> AsyncIterator[int]:
    """A real SMTP server with that mind; its port."""
    async with listening(lambda: SMTP(post, hostname="mail.test", **options), port) as found:
        yield found


@asynccontextmanager
async def post_office(post: Post, **options: Any) -> AsyncIterator[SmtpChannel]:
    """A real SMTP server with that mind, and a channel to it."""
    async with mail_server(post, **options) as port:
        yield channel_to(port)


def channel_to(port: int, **options: Any) -> SmtpChannel:
    return SmtpChannel("127.0.0.1", port, **({"wait": 5} | options))


def closed_port() -> int:
    """A port where nobody listens."""
    return embedded.free_port()
