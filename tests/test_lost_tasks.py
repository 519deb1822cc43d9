"""A workflow task that the SDK loses, with the purchase whose task it was."""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, start
from temporal import embedded
from temporal.ports import free_port
from tests.conftest import settings
from tests.purchases import purchase

PURCHASES = 30
SOON = timedelta(seconds=3)


@asynccontextmanager
async def small_worker(
    server: WorkflowEnvironment, folder: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, "Log"]]:
    """A worker process that keeps five purchases in its cache and serves metrics and health, and
    what it has logged."""
    given = settings(folder)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.worker_with_a_small_cache"),
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": embedded.address(server.client),
            "RECOURSE_DATABASE_URL": given.database_url,
            "RECOURSE_MAIL_URL": given.mail_url,
            "RECOURSE_PAYMENTS": given.payments,
            "RECOURSE_METRICS": f"127.0.0.1:{free_port()}",
            "RECOURSE_HEALTH": f"127.0.0.1:{free_port()}",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    log = Log()
    reading = asyncio.create_task(log.read(process.stderr))
    try:
        yield process, log
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading


class Log:
    """The events that a process has logged."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._more = asyncio.Condition()

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read until the process ends."""
        async for line in stream:
            async with self._more:
                self.events.append(json.loads(line)["event"])
                self._more.notify_all()

    async def has(self, event: str, times: int = 1) -> None:
        """Wait until it has logged this event so many times."""
        async with self._more:
            await self._more.wait_for(lambda: self.events.count(event) >= times)


async def answers(handle: Handle) -> bool:
    """Whether a purchase answers a query soon."""
    with suppress(RPCError):
        await handle.query("status", rpc_timeout=SOON)
        return True
    return False


async def bought(client: Client) -> list[Handle]:
    """Purchases that wait."""
    starts = (start(client, purchase()) for _ in range(PURCHASES))
    return list(await asyncio.gather(*starts))


async def test_a_worker_that_has_lost_a_task_starts_anew_and_every_purchase_goes_on(
    bare_server: WorkflowEnvironment, tmp_path: Path
) -> None:
    """The SDK loses a task if two queries arrive at once for a purchase outside of a full cache;
    the purchase would be stuck until somebody restarts the worker. It is the same process."""
    async with small_worker(bare_server, tmp_path) as (process, log):
        await log.has("worker_started")
        handles = await bought(bare_server.client)
        while "worker_lost_task" not in log.events:
            asked = random.sample(handles, 10)
            await asyncio.gather(*(answers(each) for each in asked for _ in range(2)))
        await log.has("worker_started", times=2)

        unanswered = [each.id for each in handles if not await answers(each)]

        assert not unanswered
        assert process.returncode is None
