"""DBOS on PostgreSQL: the workflow is checkpointed in the database that the application has."""

import asyncio
import logging
from multiprocessing.synchronize import Event

from dbos import DBOS, DBOSClient, EnqueueOptions

from benchmarks.peers.noted import Noted
from benchmarks.peers.script import BEGINS, MESSAGES, SETTLES, WINDOWS
from benchmarks.sides import Place

QUEUE = "purchases"
VERSION = "1"
LOOKS_EVERY = 0.1
"""Seconds between two looks for new purchases; its own default is one second."""


async def dbos_worker(place: Place, ready: Event) -> None:
    """An application with its workflow."""
    noted = Noted(place.folder)
    DBOS(
        config={
            "name": "peer",
            "system_database_url": place.address,
            "application_version": VERSION,
            "log_level": "ERROR",
        }
    )

    async def carry_out(purchase: str, step: str) -> None:
        noted.step(purchase, step)

    do = DBOS.step()(carry_out)

    async def purchase(name: str) -> str:
        for step in BEGINS:
            await do(name, step)
        for message in MESSAGES:
            if await DBOS.recv_async(message, timeout_seconds=WINDOWS[message]) is None:
                break
            await do(name, f"tell of {message}")
        for step in SETTLES:
            await do(name, step)
        return "refunded"

    DBOS.workflow(name="purchase")(purchase)
    DBOS.launch()
    await DBOS.register_queue_async(QUEUE, polling_interval_sec=LOOKS_EVERY)
    ready.set()
    await asyncio.Event().wait()


class Dbos:
    """Its users: another process with its client."""

    def __init__(self, url: str) -> None:
        logging.getLogger("dbos").setLevel(logging.ERROR)
        self._client = DBOSClient(system_database_url=url)

    async def start(self, purchase: str) -> None:
        """Buy."""
        options: EnqueueOptions = {
            "workflow_name": "purchase",
            "queue_name": QUEUE,
            "workflow_id": purchase,
            "app_version": VERSION,
        }
        await self._client.enqueue_async(options, purchase)

    async def say(self, purchase: str, message: str) -> None:
        """Send a message."""
        await self._client.send_async(purchase, {"by": "somebody"}, message)

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()
