"""A purchase that is queried while a local activity runs continues after its worker has restarted.

A query that meets such a task ends it early: the task completes with the local activity's answer,
and what follows from that answer is in the next task. A replay knows the answer in the first one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
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
from tests.purchases import CLIENT, FREELANCER, numbers, purchase
from worker import build_worker
from workflows import view
from workflows.messages import Status
from workflows.purchase import ProjectPurchase
from workflows.workflow_state import WorkflowState

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


async def replay(handles: Iterable[Handle]) -> None:
    """Replay purchases as a worker that has restarted does."""
    replayer = Replayer(
        workflows=[ProjectPurchase],
        workflow_runner=Runner(),
        interceptors=[WritesCards()],
        data_converter=DATA_CONVERTER,
    )
    for handle in handles:
        await replayer.replay_workflow(await handle.fetch_history())


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

    await replay(handles)


async def test_a_purchase_replays_that_is_queried_and_gets_a_message_while_its_terms_are_validated(
    bare_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the first task answers the query, the terms are validated and the message arrives. The
    answer of the validation is in the first task, what follows from it in the second."""
    loop, asked, read = asyncio.get_running_loop(), asyncio.Event(), view.status

    def slow_status(state: WorkflowState) -> Status:
        loop.call_soon_threadsafe(asked.set)
        time.sleep(0.4)
        return read(state)

    monkeypatch.setattr(view, "status", slow_status)
    handle = await ours(bare_server)
    query = asyncio.create_task(status(handle))
    await asyncio.sleep(0.5)  # the server does not show that a query waits for a worker
    async with build_worker(bare_server.client, services, threads):
        await asked.wait()
        await handle.signal("cancel", {"by": CLIENT})
        await query
        monkeypatch.undo()
        await until(handle, lambda found: found.stage == "refund_requested")
        await until(handle, lambda found: found.payment == "held")
        await handle.signal("give_refund", {"by": FREELANCER})
        await skip(bare_server, handle)
        await handle.result()

    await replay([handle])
