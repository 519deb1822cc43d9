"""DBOS on PostgreSQL: workflows are checkpointed in the application's own database."""

import asyncio
import logging
from multiprocessing.synchronize import Event

from dbos import DBOS, DBOSClient, EnqueueOptions

from benchmarks.peers.recorder import Recorder
from benchmarks.peers.script import FIRST_STEPS, LAST_STEPS, MESSAGES, WINDOWS, notify
from benchmarks.sides import Place

QUEUE = "purchases"
VERSION = "1"
POLL_INTERVAL = 0.1
"""Seconds between two polls for new purchases. DBOS's default is one second."""


async def dbos_worker(place: Place, ready: Event) -> None:
    """Run the application with its workflow."""
    recorder = Recorder(place.folder, place.database)
    DBOS(
        config={
            "name": "peer",
            "system_database_url": place.address,
            "application_version": VERSION,
            "log_level": "ERROR",
        }
    )

    async def carry_out(purchase: str, step: str) -> None:
        await asyncio.to_thread(recorder.record, purchase, step)

    run_step = DBOS.step()(carry_out)

    async def purchase(name: str) -> str:
        for step in FIRST_STEPS:
            await run_step(name, step)
        for message in MESSAGES:
            if await DBOS.recv_async(message, timeout_seconds=WINDOWS[message]) is None:
                break
            await run_step(name, notify(message))
        for step in LAST_STEPS:
            await run_step(name, step)
        return "refunded"

    DBOS.workflow(name="purchase")(purchase)
    DBOS.launch()
    await DBOS.register_queue_async(QUEUE, polling_interval_sec=POLL_INTERVAL)
    ready.set()
    await asyncio.Event().wait()


class Dbos:
    """A client of DBOS in another process."""

    def __init__(self, url: str) -> None:
        logging.getLogger("dbos").setLevel(logging.ERROR)
        self._client = DBOSClient(system_database_url=url)

    async def start(self, purchase: str) -> None:
        """Start a purchase."""
        options: EnqueueOptions = {
            "workflow_name": "purchase",
            "queue_name": QUEUE,
            "workflow_id": purchase,
            "app_version": VERSION,
        }
        await self._client.enqueue_async(options, purchase)

    async def send(self, purchase: str, message: str) -> None:
        """Send a message."""
        await self._client.send_async(purchase, {"by": "client"}, message)

    def close(self) -> None:
        """Disconnect from the database."""
        self._client.destroy()
