"""A poller on PostgreSQL: a table of purchases, a table of messages, and a job that runs every
second and processes all purchases with something to do. A real cron job would run every minute."""

import asyncio
import time
from multiprocessing.synchronize import Event
from typing import Any

import psycopg

from benchmarks.peers.recorder import Recorder
from benchmarks.peers.script import FIRST_STEPS, LAST_STEPS, MESSAGES, WINDOWS, notify
from benchmarks.sides import Place

INTERVAL = 1.0
TABLES = """
CREATE TABLE purchase (id text PRIMARY KEY, waits_for int NOT NULL, until double precision,
    done text[] NOT NULL DEFAULT '{}');
CREATE TABLE message (number bigserial PRIMARY KEY, purchase text NOT NULL REFERENCES purchase,
    name text NOT NULL, processed boolean NOT NULL DEFAULT false);
CREATE INDEX unprocessed ON message (purchase) WHERE NOT processed;
CREATE INDEX due ON purchase (until);
"""
DUE = """
SELECT id FROM purchase WHERE until < %s
UNION SELECT purchase FROM message WHERE NOT processed LIMIT 500
"""
NEW = -1
CLOSED = len(MESSAGES)
Connection = psycopg.AsyncConnection[Any]


async def poller_worker(place: Place, ready: Event) -> None:
    """Run the job."""
    recorder = Recorder(place.folder, place.database)
    async with await psycopg.AsyncConnection.connect(place.address, autocommit=True) as connection:
        await connection.execute(TABLES)
        ready.set()
        while True:
            began = time.monotonic()
            for (purchase,) in await (await connection.execute(DUE, [time.time()])).fetchall():
                async with connection.transaction():
                    await _process(connection, recorder, purchase)
            await asyncio.sleep(max(0.0, began + INTERVAL - time.monotonic()))


async def _process(connection: Connection, recorder: Recorder, purchase: str) -> None:
    """Everything that one purchase has to do, in one transaction."""
    locked = await connection.execute(
        "SELECT waits_for FROM purchase WHERE id = %s FOR UPDATE", [purchase]
    )
    (waits_for,) = await locked.fetchone() or (CLOSED,)
    unprocessed = await connection.execute(
        "SELECT number FROM message WHERE purchase = %s AND NOT processed", [purchase]
    )
    numbers = [number for (number,) in await unprocessed.fetchall()]
    done: list[str] = list(FIRST_STEPS) if waits_for == NEW else []
    waits_for = max(waits_for, 0)
    for _ in numbers:
        done.append(notify(MESSAGES[waits_for]))
        waits_for += 1
    done += LAST_STEPS if waits_for == CLOSED else ()
    until = None if waits_for == CLOSED else time.time() + WINDOWS[MESSAGES[waits_for]]
    for step in done:
        await asyncio.to_thread(recorder.record, purchase, step)
    await connection.execute(
        "UPDATE purchase SET waits_for = %s, until = %s, done = done || %s WHERE id = %s",
        [waits_for, until, done, purchase],
    )
    await connection.execute(
        "UPDATE message SET processed = true WHERE number = ANY(%s)", [numbers]
    )


class Poller:
    """An application that writes rows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(self, purchase: str) -> None:
        """Start a purchase."""
        await self._connection.execute(
            "INSERT INTO purchase (id, waits_for, until) VALUES (%s, %s, 0)", [purchase, NEW]
        )

    async def send(self, purchase: str, message: str) -> None:
        """Write a message."""
        await self._connection.execute(
            "INSERT INTO message (purchase, name) VALUES (%s, %s)", [purchase, message]
        )
