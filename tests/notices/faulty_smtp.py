"""A real SMTP server that has every kind of trouble, in an order that a seed decides."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.notices.builders import listening
from tests.notices.mailbox import Mail, read

WAIT = 0.5
"""Seconds for which the channel waits for an answer."""

AT_THE_DOOR = ("away", "busy", *("come in",) * 6)
INSIDE = ("cut off", "lost", "taken, and cut off", "taken, too late", "greylisted", "refused")
TAKEN = ("taken",) * 10


class Moods:
    """All moods in a random order, then all of them again in another one."""

    def __init__(self, chance: random.Random, moods: tuple[str, ...]) -> None:
        self._chance = chance
        self._moods = moods
        self._left: list[str] = []

    def next(self) -> str:
        """The next mood."""
        if not self._left:
            self._left = self._chance.sample(self._moods, len(self._moods))
        return self._left.pop()


class Moody:
    """The server's mind. What it has taken is in `kept`, each time it took it."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self._door = Moods(chance, AT_THE_DOOR)
        self._inside = Moods(chance, (*INSIDE, *TAKEN))
        self.had: Counter[str] = Counter()
        self.kept: list[Mail] = []
        self.raw: dict[str, set[bytes]] = {}
        self.rejected: set[str] = set()
        self.asked_again: set[str] = set()

    def at_the_door(self) -> str:
        """How a call is met."""
        mood = self._door.next()
        self.had[mood] += 1
        return mood

    def inside(self) -> str:
        """What becomes of a message."""
        mood = self._inside.next()
        self.had[mood] += 1
        return mood

    async def handle_DATA(self, server: "MoodySmtp", session: Session, envelope: Envelope) -> str:
        raw = envelope.original_content or b""
        mail = read(raw)
        if mail.id in self.rejected:
            self.asked_again.add(mail.id)
        if server.mood.startswith("taken"):
            self.kept.append(mail)
            self.raw.setdefault(mail.id, set()).add(raw)
        match server.mood:
            case "refused":
                self.rejected.add(mail.id)
                return "550 not here"
            case "greylisted":
                return "451 come back"
            case "lost" | "taken, and cut off":
                server.hang_up()
            case "taken, too late":
                await asyncio.sleep(2 * WAIT)
        return "250 OK"


class MoodySmtp(SMTP):
    """A call: turned away, cut off within the message, or answered as its mood is."""

    def __init__(self, mind: Moody) -> None:
        super().__init__(mind, hostname="mail.test")
        self._mind = mind
        self.mood = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Some calls do not get as far as a greeting."""
        assert isinstance(transport, asyncio.Transport)
        match self._mind.at_the_door():
            case "away":
                transport.abort()
            case "busy":
                transport.write(b"421 too busy\r\n")
                transport.close()
            case _:
                super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """A call that was turned away was never begun."""
        if self.transport is not None:
            super().connection_lost(error)

    async def smtp_DATA(self, arg: str) -> None:
        """The mood is known before the message; it may be cut off in the middle."""
        self.mood = self._mind.inside()
        if self.mood != "cut off":
            await super().smtp_DATA(arg)
            return
        await self.push("354 go on")
        await self._reader.readline()
        self.hang_up()

    def hang_up(self) -> None:
        """The line is dead from here on."""
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.abort()


@asynccontextmanager
async def moody_server(mind: Moody) -> AsyncIterator[int]:
    """The server; its port."""
    async with listening(lambda: MoodySmtp(mind)) as port:
        yield port
