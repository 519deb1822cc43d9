"""A real SMTP server with every kind of fault, in an order that a seed decides."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.notices.builders import listening
from tests.notices.mailbox import Mail, read

TIMEOUT = 0.5
"""Seconds for which the channel waits for a reply."""

ON_CONNECT = ("aborted", "busy", *("accepted",) * 6)
"""How connections start. Most are accepted, so that messages arrive at all."""

ON_MESSAGE = (
    *("cut off", "lost", "kept, then cut off", "kept, too late"),
    *("greylisted", "rejected"),
)
KEPT = ("kept",) * 10
"""Most messages are kept, so that purchases go on."""


class Shuffled:
    """All values in a random order, then all of them again in another one."""

    def __init__(self, chance: random.Random, values: tuple[str, ...]) -> None:
        self._chance = chance
        self._values = values
        self._left: list[str] = []

    def next(self) -> str:
        """The next value."""
        if not self._left:
            self._left = self._chance.sample(self._values, len(self._values))
        return self._left.pop()


class Faults:
    """Decides what happens to each connection and message. `kept` holds each message as often as
    the server accepted it."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self._on_connect = Shuffled(chance, ON_CONNECT)
        self._on_message = Shuffled(chance, (*ON_MESSAGE, *KEPT))
        self.seen: Counter[str] = Counter()
        self.kept: list[Mail] = []
        self.raw: dict[str, set[bytes]] = {}
        self.rejected: set[str] = set()
        self.retried_after_rejection: set[str] = set()

    def on_connect(self) -> str:
        """What happens to the next connection."""
        fault = self._on_connect.next()
        self.seen[fault] += 1
        return fault

    def on_message(self) -> str:
        """What happens to the next message."""
        fault = self._on_message.next()
        self.seen[fault] += 1
        return fault

    async def handle_DATA(self, server: "FaultySmtp", session: Session, envelope: Envelope) -> str:
        """Reply to a message as its fault demands."""
        raw = envelope.original_content or b""
        mail = read(raw)
        if mail.id in self.rejected:
            self.retried_after_rejection.add(mail.id)
        if server.fault.startswith("kept"):
            self.kept.append(mail)
            self.raw.setdefault(mail.id, set()).add(raw)
        match server.fault:
            case "rejected":
                self.rejected.add(mail.id)
                return "550 not here"
            case "greylisted":
                return "451 come back"
            case "lost" | "kept, then cut off":
                server.hang_up()
            case "kept, too late":
                await asyncio.sleep(2 * TIMEOUT)
        return "250 OK"


class FaultySmtp(SMTP):
    """A connection: aborted, cut off within the message, or answered as its fault demands."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(faults, hostname="mail.test")
        self._faults = faults
        self.fault = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or end it before a greeting."""
        assert isinstance(transport, asyncio.Transport)
        match self._faults.on_connect():
            case "aborted":
                transport.abort()
            case "busy":
                transport.write(b"421 too busy\r\n")
                transport.close()
            case _:
                super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Pass the end of a connection on if its start was."""
        if self.transport is not None:
            super().connection_lost(error)

    async def smtp_DATA(self, arg: str) -> None:
        """Choose the fault before the message, because some cut it off in the middle."""
        self.fault = self._faults.on_message()
        if self.fault != "cut off":
            await super().smtp_DATA(arg)
            return
        await self.push("354 go on")
        await self._reader.readline()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection without a reply."""
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.abort()


@asynccontextmanager
async def faulty_server(faults: Faults) -> AsyncIterator[int]:
    """The server; its port."""
    async with listening(lambda: FaultySmtp(faults)) as port:
        yield port
