"""Ours against its peers: lifecycles a second, and how soon after an approval money moves."""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Protocol

import psycopg

from benchmarks import sides
from benchmarks.measure import Finding, Pair, in_turn
from benchmarks.peers import dbos_side, restate_side
from benchmarks.peers.noted import Watched, watching
from benchmarks.peers.ours import Ours, our_worker
from benchmarks.peers.poller import Poller, poller_worker
from benchmarks.peers.script import LAST, MESSAGES, MOVED
from temporal import embedded
from tests.ledger.conftest import postgres_server

ROUNDS = 3
LIFECYCLES = 100
FIRST_BATCH = 50
REACTIONS = 50
A_SECOND = 2
"""So many purchases begin each second while reactions are measured: half of what the slowest side
bears on slow cores, or else it is the queue that is measured."""
PAUSE = 0.5
"""Seconds between two messages of a purchase then."""

numbers = itertools.count()


class Users(Protocol):
    """Those who use one side."""

    async def start(self, purchase: str) -> None:
        """Buy."""

    async def say(self, purchase: str, message: str) -> None:
        """Send a message."""


async def sample(users: Users, watched: Watched) -> dict[str, float]:
    """Throughput, then reactions."""
    return {"per second": await throughput(users, watched), **await reactions(users, watched)}


async def throughput(users: Users, watched: Watched) -> float:
    """Lifecycles a second, some at a time, everything said at once."""
    room = asyncio.Semaphore(FIRST_BATCH)

    async def one() -> None:
        async with room:
            name = f"t{next(numbers)}"
            await users.start(name)
            for message in MESSAGES:
                await users.say(name, message)
            await watched.noted(name, LAST)

    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(LIFECYCLES)))
    return LIFECYCLES / (time.monotonic() - began)


async def reactions(users: Users, watched: Watched) -> dict[str, float]:
    """Milliseconds from the sending of the approval until the escrow is emptied, while so many
    purchases begin each second."""

    async def one(after: float) -> float:
        await asyncio.sleep(after)
        name = f"r{next(numbers)}"
        await users.start(name)
        for message in MESSAGES:
            await asyncio.sleep(PAUSE)
            said = time.monotonic()
            await users.say(name, message)
        return (await watched.noted(name, MOVED) - said) * 1000

    took = await asyncio.gather(*(one(number / A_SECOND) for number in range(REACTIONS)))
    p99 = statistics.quantiles(took, n=100, method="inclusive")[98]
    return {"p50": statistics.median(took), "p99": p99}


@asynccontextmanager
async def ours(folder: Path) -> AsyncIterator[tuple[Users, sides.Place]]:
    """On the embedded server with a file: as durable as the others."""
    async with embedded.server(database=folder / "temporal.db") as server:
        place = sides.Place(embedded.address(server.client), folder)
        with sides.at_work(our_worker, place):
            yield Ours(server.client), place


@asynccontextmanager
async def poller(folder: Path) -> AsyncIterator[tuple[Users, sides.Place]]:
    """On a PostgreSQL of its own."""
    with postgres_server() as postgres:
        place = sides.Place(postgres.get_uri(), folder)
        with sides.at_work(poller_worker, place):
            url = place.address
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                yield Poller(connection), place


@asynccontextmanager
async def dbos(folder: Path) -> AsyncIterator[tuple[Users, sides.Place]]:
    """On a PostgreSQL of its own."""
    with postgres_server() as postgres:
        place = sides.Place(postgres.get_uri(), folder)
        with (
            sides.at_work(dbos_side.dbos_worker, place),
            closing(dbos_side.Dbos(place.address)) as users,
        ):
            yield users, place


@asynccontextmanager
async def restate(folder: Path) -> AsyncIterator[tuple[Users, sides.Place]]:
    """With its own server."""
    async with restate_side.server(folder) as (ingress, admin):
        place = sides.Place(f"127.0.0.1:{embedded.free_port()}", folder)
        with sides.at_work(restate_side.restate_worker, place):
            await restate_side.register(admin, place.address)
            users = restate_side.Restate(ingress)
            yield users, place
            await users.close()


PEERS = {"a poller on PostgreSQL": poller, "DBOS": dbos, "Restate": restate}


def missing(peer: str) -> str | None:
    """Why a peer cannot be measured on this machine."""
    if peer == "Restate" and restate_side.binary() is None:
        return "its server is missing: npm install --prefix var/npm @restatedev/restate-server"
    return None


async def measure() -> list[Finding]:
    """One peer after the other."""
    findings = []
    for name, peer in PEERS.items():
        if why := missing(name):
            print(f"{name} was not measured: {why}")
            continue
        with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
            async with (
                ours(Path(here)) as (our_users, our_place),
                peer(Path(there)) as (their_users, their_place),
                watching(our_place.folder) as our_notes,
                watching(their_place.folder) as their_notes,
            ):
                found = await in_turn(
                    partial(sample, our_users, our_notes),
                    partial(sample, their_users, their_notes),
                    ROUNDS,
                )
        findings += _findings(name, found)
    return findings


def _findings(peer: str, found: dict[str, Pair]) -> list[Finding]:
    rate = found["per second"]
    reactions = (
        found[name].finding(f"from the approval to money moved, {name}", peer, 1, "ms")
        for name in ("p50", "p99")
    )
    what = "lifecycles per second, approved refund"
    return [rate.finding(what, peer, 1, "/s", better="more"), *reactions]
