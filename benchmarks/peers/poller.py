"""A cron-style poller on PostgreSQL: a table of purchases, a table of messages, and a job that once
a second takes whatever has something to do. Cron itself would come once a minute."""

import asyncio
import time
from multiprocessing.synchronize import Event
from typing import Any

import psycopg

from benchmarks.peers.noted import Noted
from benchmarks.peers.script import BEGINS, MESSAGES, SETTLES, WINDOWS
from benchmarks.sides import Place

EVERY = 1.0
TABLES = """
CREATE TABLE purchase (id text PRIMARY KEY, waits_for int NOT NULL, until double precision,
    done text[] NOT NULL DEFAULT '{}');
CREATE TABLE message (number bigserial PRIMARY KEY, purchase text NOT NULL REFERENCES purchase,
    name text NOT NULL, heard boolean NOT NULL DEFAULT false);
CREATE INDEX unheard ON message (purchase) WHERE NOT heard;
CREATE INDEX due ON purchase (until);
"""
DUE = """
SELECT id FROM purchase WHERE until < %s
UNION SELECT purchase FROM message WHERE NOT heard LIMIT 500
"""
NEW = -1
CLOSED = len(MESSAGES)
Connection = psycopg.AsyncConnection[Any]


async def poller_worker(place: Place, ready: Event) -> None:
    """The job."""
    noted = Noted(place.folder)
    async with await psycopg.AsyncConnection.connect(place.address, autocommit=True) as connection:
        await connection.execute(TABLES)
        ready.set()
        while True:
            began = time.monotonic()
            for (purchase,) in await (await connection.execute(DUE, [time.time()])).fetchall():
                async with connection.transaction():
                    await _work(connection, noted, purchase)
            await asyncio.sleep(max(0.0, began + EVERY - time.monotonic()))


async def _work(connection: Connection, noted: Noted, purchase: str) -> None:
    """Everything that one purchase has to do, in one transaction."""
    locked = await connection.execute(
        "SELECT waits_for FROM purchase WHERE id = %s FOR UPDATE", [purchase]
    )
    (waits_for,) = await locked.fetchone() or (CLOSED,)
    unheard = await connection.execute(
        "SELECT number FROM message WHERE purchase = %s AND NOT heard", [purchase]
    )
    numbers = [number for (number,) in await unheard.fetchall()]
    done: list[str] = list(BEGINS) if waits_for == NEW else []
    waits_for = max(waits_for, 0)
    for _ in numbers:
        done.append(f"tell of {MESSAGES[waits_for]}")
        waits_for += 1
    done += SETTLES if waits_for == CLOSED else ()
    until = None if waits_for == CLOSED else time.time() + WINDOWS[MESSAGES[waits_for]]
    for step in done:
        noted.step(purchase, step)
    await connection.execute(
        "UPDATE purchase SET waits_for = %s, until = %s, done = done || %s WHERE id = %s",
        [waits_for, until, done, purchase],
    )
    await connection.execute("UPDATE message SET heard = true WHERE number = ANY(%s)", [numbers])


class Poller:
    """Its users: an application that writes rows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(self, purchase: str) -> None:
        """Buy."""
        await self._connection.execute(
            "INSERT INTO purchase (id, waits_for, until) VALUES (%s, %s, 0)", [purchase, NEW]
        )

    async def say(self, purchase: str, message: str) -> None:
        """Write a message."""
        await self._connection.execute(
            "INSERT INTO message (purchase, name) VALUES (%s, %s)", [purchase, message]
        )
