"""Somebody who only looks at a purchase changes nothing about it, whenever they look."""

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
from temporal.runner import _Instance
from tests.purchases import CLIENT, purchase, under_way
from worker import build_worker
from workflows.messages import Role, Status

LOOKED_AT = 12
"""Purchases. Which of its two tasks a worker takes first, the look or the message, is chance."""


class Workflow(WorkflowInstance):
    """One that does as it is told and remembers nothing."""

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return WorkflowActivationCompletion(run_id=act.run_id)

    def get_serialization_context(self, command_info: Any) -> None:
        return None

    def get_external_store_context(self, command_info: Any) -> Any:
        return None

    def get_info(self) -> Info:
        raise AssertionError("nobody asks")

    def get_thread_id(self) -> None:
        return None


def task(events: int, at: int, *, replaying: bool = False) -> WorkflowActivation:
    """The beginning of a task, as the SDK hands it over."""
    act = WorkflowActivation(run_id="run", history_length=events, is_replaying=replaying)
    act.timestamp.seconds = at
    act.jobs.add().resolve_activity.seq = 1
    return act


def look(events: int, query_id: str) -> WorkflowActivation:
    """A query; one that came alone has its own id."""
    act = WorkflowActivation(run_id="run", history_length=events)
    act.jobs.add().query_workflow.query_id = query_id
    return act


ALONE = "legacy_query"


@pytest.mark.parametrize(
    ("query", "forgotten"),
    [(look(13, ALONE), True), (look(13, "q-1"), False), (look(16, ALONE), False)],
    ids=["of its task", "within a task", "after a task"],
)
def test_a_look_that_brings_the_task_of_a_dead_worker_is_forgotten(
    query: WorkflowActivation, forgotten: bool
) -> None:
    """What a query alone brings looks like a task if a worker that has died had begun one. The
    task itself, when it comes, must not go on from there: no replay would find it again."""
    runs: list[str] = []
    instance = _Instance(Workflow(), runs.append)
    instance.activate(task(3, at=1, replaying=True))
    instance.activate(task(13, at=2))
    instance.activate(query)
    assert runs == (["run"] if forgotten else [])
    if forgotten:
        with pytest.raises(RuntimeError, match="forgotten"):
            instance.activate(task(16, at=3))
    else:
        instance.activate(task(20, at=3))


async def quiet(handle: Handle, holds: Callable[[Status], bool]) -> Status:
    """Wait until the status is as wished, and the purchase waits for messages and time alone."""
    await until(handle, holds)
    while under_way((await handle.describe()).raw_description):  # noqa: ASYNC110 - another process
        await asyncio.sleep(LOOK_EVERY)
    return await status(handle)


async def test_a_look_that_waited_for_a_worker_changes_nothing(
    lonely: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """Somebody opens purchases while no worker is there; then messages come; then a worker, who may
    be given the look first, with messages in it that no task has brought yet. The next worker
    finds the same, and nobody stands still."""
    handles = [
        await start(lonely.client, purchase(purchase_id=f"looked-at-{number}"))
        for number in range(LOOKED_AT)
    ]
    async with build_worker(lonely.client, services, threads):
        for handle in handles:
            await quiet(handle, lambda found: found.payment == "held")
    for handle in handles:
        await skip(lonely, handle, timedelta(hours=1))

    looks = [asyncio.create_task(status(handle)) for handle in handles]
    await asyncio.sleep(0.5)  # nothing shows from outside that a look waits
    for handle in handles:
        await handle.signal("cancel", {"by": CLIENT})
    answers = [
        asyncio.create_task(say(handle, Role.FREELANCER, "decide_refund", decision="approve"))
        for handle in handles[::2]
    ]
    async with build_worker(lonely.client, services, threads):
        await asyncio.gather(*looks, *answers)
        first = [
            await quiet(handle, lambda found: found.stage != "awaiting_requirements")
            for handle in handles
        ]
    async with build_worker(lonely.client, services, threads):
        assert await asyncio.gather(*map(status, handles)) == first
