"""A purchase that is queried while a local activity runs continues after its worker has restarted.

A query that meets such a task ends it early: the task completes with the local activity's answer,
and what follows from that answer is in the next task. A replay knows the answer in the first one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from activities.requests import TASK_QUEUE
from activities.services import Services
from demo.runner import Handle, skip, start, status, until
from temporal.converter import DATA_CONVERTER
from temporal.runner import Runner, WritesCards
from tests.conftest import settings
from tests.contract import START
from tests.purchases import FREELANCER, numbers, purchase
from worker import build_worker
from workflows.purchase import ProjectPurchase

PURCHASES = 6
QUERIES = 3


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = Services(settings(tmp_path))
    yield services
    services.close()


async def bare(server: WorkflowEnvironment) -> Handle:
    """A purchase that another program has started, without our memo."""
    purchase_id = f"bare-{next(numbers)}"
    handle: Handle = await server.client.start_workflow(
        "ProjectPurchase",
        {**START, "purchase_id": purchase_id},
        id=f"purchase-{purchase_id}",
        task_queue=TASK_QUEUE,
    )
    return handle


async def ours(server: WorkflowEnvironment) -> Handle:
    """A purchase that we have started."""
    return await start(server.client, purchase())


@pytest.mark.parametrize("begin", [bare, ours])
async def test_a_purchase_that_is_queried_during_its_local_activities_replays(
    begin: Callable[[WorkflowEnvironment], Awaitable[Handle]],
    bare_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
) -> None:
    """Queries arrive with the first task, which validates the terms, and with the one that posts a
    refund."""
    handles = [await begin(bare_server) for _ in range(PURCHASES)]
    queries = [asyncio.create_task(status(each)) for each in handles for _ in range(QUERIES)]
    async with build_worker(bare_server.client, services, threads):
        await asyncio.gather(*queries)
        for handle in handles:
            await until(handle, lambda found: found.payment == "held")
        for handle in handles:
            await handle.signal("give_refund", {"by": FREELANCER})
            await asyncio.gather(*(status(handle) for _ in range(QUERIES)))
        for handle in handles:
            await skip(bare_server, handle)
            await handle.result()

    replayer = Replayer(
        workflows=[ProjectPurchase],
        workflow_runner=Runner(),
        interceptors=[WritesCards()],
        data_converter=DATA_CONVERTER,
    )
    for handle in handles:
        await replayer.replay_workflow(await handle.fetch_history())
