"""Compares Recourse with its peers: lifecycles per second, and the time from an approval to moved
money. All sides post the same rows to the same ledger on PostgreSQL."""

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
from benchmarks.peers.ours import Ours, our_worker
from benchmarks.peers.poller import Poller, poller_worker
from benchmarks.peers.recorder import Watcher, watching
from benchmarks.peers.script import LAST, MESSAGES, MOVED
from temporal import embedded
from temporal.ports import free_port
from tests.ledger.conftest import PostgresDatabases, postgres_server

ROUNDS = 3
LIFECYCLES = 100
CONCURRENT = 50
REACTIONS = 50
STARTS_PER_SECOND = 2
"""The load while reactions are measured: half of what the slowest side can do on slow cores. With a
higher load the time in queues would be measured."""
PAUSE = 0.5
"""Seconds between two messages of a purchase while reactions are measured."""

numbers = itertools.count()


class Side(Protocol):
    """A client of one side."""

    async def start(self, purchase: str) -> None:
        """Start a purchase."""

    async def send(self, purchase: str, message: str) -> None:
        """Send a message."""


async def sample(side: Side, watcher: Watcher) -> dict[str, float]:
    """Measure throughput, then reactions."""
    return {"per second": await throughput(side, watcher), **await reactions(side, watcher)}


async def throughput(side: Side, watcher: Watcher) -> float:
    """Lifecycles per second, several at a time; all messages of a purchase are sent at once."""
    slots = asyncio.Semaphore(CONCURRENT)

    async def one() -> None:
        async with slots:
            name = f"t{next(numbers)}"
            await side.start(name)
            for message in MESSAGES:
                await side.send(name, message)
            await watcher.time_of(name, LAST)

    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(LIFECYCLES)))
    return LIFECYCLES / (time.monotonic() - began)


async def reactions(side: Side, watcher: Watcher) -> dict[str, float]:
    """Milliseconds from sending the approval to posting the decision, while STARTS_PER_SECOND
    purchases start each second."""

    async def one(delay: float) -> float:
        await asyncio.sleep(delay)
        name = f"r{next(numbers)}"
        await side.start(name)
        for message in MESSAGES:
            await asyncio.sleep(PAUSE)
            sent = time.monotonic()
            await side.send(name, message)
        return (await watcher.time_of(name, MOVED) - sent) * 1000

    took = await asyncio.gather(*(one(number / STARTS_PER_SECOND) for number in range(REACTIONS)))
    p99 = statistics.quantiles(took, n=100, method="inclusive")[98]
    return {"p50": statistics.median(took), "p99": p99}


@asynccontextmanager
async def ours(folder: Path, database: str) -> AsyncIterator[tuple[Side, sides.Place]]:
    """On the embedded server with a file, so as durable as the others."""
    async with embedded.server(database=folder / "temporal.db") as server:
        place = sides.Place(embedded.address(server.client), folder, database)
        with sides.running(our_worker, place):
            yield Ours(server.client), place


@asynccontextmanager
async def poller(folder: Path, database: str) -> AsyncIterator[tuple[Side, sides.Place]]:
    """On its own PostgreSQL."""
    with postgres_server() as postgres:
        place = sides.Place(postgres.get_uri(), folder, database)
        with sides.running(poller_worker, place):
            url = place.address
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                yield Poller(connection), place


@asynccontextmanager
async def dbos(folder: Path, database: str) -> AsyncIterator[tuple[Side, sides.Place]]:
    """On its own PostgreSQL."""
    with postgres_server() as postgres:
        place = sides.Place(postgres.get_uri(), folder, database)
        with (
            sides.running(dbos_side.dbos_worker, place),
            closing(dbos_side.Dbos(place.address)) as side,
        ):
            yield side, place


@asynccontextmanager
async def restate(folder: Path, database: str) -> AsyncIterator[tuple[Side, sides.Place]]:
    """On its own server."""
    async with restate_side.server(folder) as (ingress, admin):
        place = sides.Place(f"127.0.0.1:{free_port()}", folder, database)
        with sides.running(restate_side.restate_worker, place):
            await restate_side.register(admin, place.address)
            side = restate_side.Restate(ingress)
            yield side, place
            await side.close()


PEERS = {"a poller on PostgreSQL": poller, "DBOS": dbos, "Restate": restate}


def missing(peer: str) -> str | None:
    """Why a peer cannot be measured on this machine, or None."""
    if peer == "Restate" and restate_side.binary() is None:
        return "its server is missing: npm install --prefix var/npm @restatedev/restate-server"
    return None


async def measure() -> list[Finding]:
    """Compare with one peer after the other."""
    findings = []
    for name, peer in PEERS.items():
        if why := missing(name):
            print(f"{name} was not measured: {why}")
            continue
        with (
            tempfile.TemporaryDirectory() as here,
            tempfile.TemporaryDirectory() as there,
            postgres_server() as postgres,
        ):
            database = PostgresDatabases(postgres).create("ledger")
            async with (
                ours(Path(here), database) as (our_side, our_place),
                peer(Path(there), database) as (their_side, their_place),
                watching(our_place.folder) as our_watcher,
                watching(their_place.folder) as their_watcher,
            ):
                found = await in_turn(
                    partial(sample, our_side, our_watcher),
                    partial(sample, their_side, their_watcher),
                    ROUNDS,
                )
        findings += _findings(name, found)
    return findings


def _findings(peer: str, found: dict[str, Pair]) -> list[Finding]:
    rate = found["per second"]
    reactions = (
        found[name].finding(
            f"from the approval to money moved, {name}", peer, 2 if peer == "Restate" else 1, "ms"
        )
        for name in ("p50", "p99")
    )
    what = "lifecycles per second, approved refund"
    return [rate.finding(what, peer, 1, "/s", better="more"), *reactions]
