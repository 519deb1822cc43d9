"""Queries change nothing about a purchase, whenever they arrive."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import WorkflowInstance
from temporalio.workflow import Info

from activities.services import Services
from demo.runner import LOOK_EVERY, Handle, say, skip, start, status, until
from temporal.runner import LEGACY_QUERY, _Instance
from tests.purchases import CLIENT, purchase, under_way
from worker import build_worker
from workflows.messages import Role, Status

QUERIED = 12
"""Number of purchases. Chance decides whether a worker first gets a purchase's query or its
message, so there are enough for both orders to occur."""


class StubWorkflow(WorkflowInstance):
    """A workflow instance that completes every activation without commands."""

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return WorkflowActivationCompletion(run_id=act.run_id)

    def get_serialization_context(self, command_info: Any) -> None:
        return None

    def get_external_store_context(self, command_info: Any) -> Any:
        return None

    def get_info(self) -> Info:
        raise AssertionError("The runner is not expected to read the info of an instance.")

    def get_thread_id(self) -> None:
        return None


def query_activation(query_id: str) -> WorkflowActivation:
    """The activation of a query."""
    act = WorkflowActivation(run_id="run")
    act.jobs.add().query_workflow.query_id = query_id
    return act


def task_activation() -> WorkflowActivation:
    """An activation with an event of the history."""
    act = WorkflowActivation(run_id="run")
    act.jobs.add().resolve_activity.seq = 1
    return act


@pytest.mark.parametrize(
    ("act", "evicted"),
    [
        (query_activation(LEGACY_QUERY), ["run"]),
        (query_activation("q-1"), []),
        (task_activation(), []),
    ],
    ids=["query without a task", "query within a task", "task"],
)
def test_a_run_is_evicted_with_each_query_that_comes_without_a_task(
    act: WorkflowActivation, evicted: list[str]
) -> None:
    """Such a query may bring the events of a task that a killed worker had begun, which look like
    the task itself. The next task must not continue from that state, since no replay reaches it.
    How much time or history lies between the two does not matter."""
    runs: list[str] = []
    _Instance(StubWorkflow(), runs.append).activate(act)
    assert runs == evicted


async def quiet(handle: Handle, holds: Callable[[Status], bool]) -> Status:
    """Wait until the condition holds and the purchase has no pending task or activity."""
    await until(handle, holds)
    while under_way((await handle.describe()).raw_description):  # noqa: ASYNC110 - another process
        await asyncio.sleep(LOOK_EVERY)
    return await status(handle)


async def test_a_query_that_waited_for_a_worker_changes_nothing(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """Purchases are queried while no worker runs, then messages arrive, then a worker starts. It
    may get a query first, together with messages that no task has brought yet. The next worker,
    which has to replay, finds the same status, and no purchase is stuck."""
    handles = [
        await start(bare_server.client, purchase(purchase_id=f"queried-{number}"))
        for number in range(QUERIED)
    ]
    async with build_worker(bare_server.client, services, threads):
        for handle in handles:
            await quiet(handle, lambda found: found.payment == "held")
    for handle in handles:
        await skip(bare_server, handle, timedelta(hours=1))

    queries = [asyncio.create_task(status(handle)) for handle in handles]
    await asyncio.sleep(0.5)  # the server does not show that a query waits for a worker
    for handle in handles:
        await handle.signal("cancel", {"by": CLIENT})
    answers = [
        asyncio.create_task(say(handle, Role.FREELANCER, "decide_refund", decision="approve"))
        for handle in handles[::2]
    ]
    async with build_worker(bare_server.client, services, threads):
        await asyncio.gather(*queries, *answers)
        first = [
            await quiet(handle, lambda found: found.stage != "awaiting_requirements")
            for handle in handles
        ]
    async with build_worker(bare_server.client, services, threads):
        assert await asyncio.gather(*map(status, handles)) == first
