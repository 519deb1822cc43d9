"""A workflow task that the SDK loses, with the purchase whose task it was."""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, start
from temporal.ports import free_port
from tests.operation.processes import working
from tests.purchases import purchase

SMALL = "tests.operation.worker_with_a_small_cache"
PURCHASES = 30
SOON = timedelta(seconds=3)


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
    the purchase would be stuck until somebody restarts the worker. It is the same process, which
    listens at the same addresses."""
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("RECOURSE_METRICS", "RECOURSE_HEALTH")}
    async with working(bare_server, tmp_path, SMALL, **ports) as post:
        handles = await bought(bare_server.client)
        while not post.said("worker_lost_task"):
            asked = random.sample(handles, 10)
            await asyncio.gather(*(answers(each) for each in asked for _ in range(2)))
        await post.until_said("worker_started", times=2)

        unanswered = [each.id for each in handles if not await answers(each)]

        assert not unanswered
        assert post.process.returncode is None
