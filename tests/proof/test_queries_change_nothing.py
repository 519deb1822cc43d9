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
from demo.runner import POLL_EVERY, Handle, send, skip, start, status, until
from temporal.runner import LEGACY_QUERY, Runner, _Instance
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


def activation(task: int, event: int, job: str, *, replayed: bool = False) -> WorkflowActivation:
    """An activation at the time of a task, up to an event of the history."""
    act = WorkflowActivation(run_id="run", history_length=event, is_replaying=replayed)
    act.timestamp.seconds = task
    getattr(act.jobs.add(), job).SetInParent()
    return act


def query(query_id: str, event: int = 0) -> WorkflowActivation:
    """The activation of a query."""
    act = WorkflowActivation(run_id="run", is_replaying=True, history_length=event)
    act.jobs.add().query_workflow.query_id = query_id
    return act


REPLAYED = activation(1, 3, "initialize_workflow", replayed=True)
CACHED = [REPLAYED, activation(2, 7, "signal_workflow"), activation(3, 11, "resolve_activity")]


@pytest.mark.parametrize(
    ("before", "query_id", "evicted"),
    [
        ([REPLAYED, activation(1, 6, "signal_workflow")], LEGACY_QUERY, True),
        ([*CACHED, activation(3, 14, "signal_workflow")], LEGACY_QUERY, True),
        ([REPLAYED, activation(2, 7, "signal_workflow")], LEGACY_QUERY, True),
        ([REPLAYED, activation(2, 7, "signal_workflow")], "q-1", False),
        ([REPLAYED, activation(2, 7, "signal_workflow"), query("q-1")], LEGACY_QUERY, False),
        ([REPLAYED, activation(2, 7, "do_update")], LEGACY_QUERY, False),
        ([activation(1, 3, "initialize_workflow")], LEGACY_QUERY, False),
        ([REPLAYED], LEGACY_QUERY, False),
        (CACHED, LEGACY_QUERY, False),
        ([*CACHED, activation(3, 11, "resolve_activity")], LEGACY_QUERY, False),
    ],
    ids=[
        "events without a task",
        "events without a task of a cached run",
        "perhaps the task of a killed worker",
        "query within a task",
        "task with another query",
        "task with an update",
        "first task of the run",
        "only replayed",
        "task of a cached run",
        "second activation of a task",
    ],
)
def test_a_run_is_evicted_with_a_query_that_may_have_brought_its_last_events(
    before: list[WorkflowActivation], query_id: str, evicted: bool
) -> None:
    """Such a query may also bring the events of a task that a killed worker had begun, which look
    like the task itself. The next task must not continue from that state, since no replay reaches
    it. Other runs stay cached: an eviction can lose tasks that wait for the run."""
    runs: list[str] = []
    instance = _Instance(StubWorkflow(), Runner(runs.append))
    for act in [*before, query(query_id)]:
        instance.activate(act)
    assert runs == ["run"] * evicted


def test_a_run_is_evicted_with_a_query_that_brings_the_start_of_a_task() -> None:
    """The task itself follows with an update. The SDK would not give it to the workflow, and the
    server would reject it with UnprocessedUpdate."""
    runs: list[str] = []
    instance = _Instance(StubWorkflow(), Runner(runs.append))
    instance.activate(REPLAYED)
    instance.activate(query(LEGACY_QUERY, event=7))
    assert runs == ["run"]


@pytest.mark.parametrize("completed", [True, False], ids=["completed", "of a killed worker"])
def test_a_run_is_evicted_once_if_its_first_task_turns_out_to_be_completed(completed: bool) -> None:
    """Otherwise a run that is queried after each of its tasks is evicted each time."""
    runs: list[str] = []
    runner = Runner(runs.append)
    first = _Instance(StubWorkflow(), runner)
    for act in [REPLAYED, activation(2, 7, "signal_workflow"), query(LEGACY_QUERY)]:
        first.activate(act)
    second = _Instance(StubWorkflow(), runner, runner.executed.pop("run"))
    replay = [REPLAYED, activation(2, 7, "signal_workflow", replayed=True)]
    for act in replay if completed else replay[:1]:
        second.activate(act)
    for act in [activation(3, 11, "signal_workflow"), query(LEGACY_QUERY)]:
        second.activate(act)
    assert runs == ["run"] * (1 if completed else 2)


async def quiet(handle: Handle, holds: Callable[[Status], bool]) -> Status:
    """Wait until the condition holds and the purchase has no pending task or activity."""
    await until(handle, holds)
    while under_way((await handle.describe()).raw_description):  # noqa: ASYNC110 - another process
        await asyncio.sleep(POLL_EVERY)
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
        asyncio.create_task(send(handle, Role.FREELANCER, "decide_refund", decision="approve"))
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
