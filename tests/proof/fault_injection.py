"""Worker processes that kill themselves with SIGKILL at a given point of a purchase's history.

The process runs the production worker. The only additions are observers: of the history as the
server has it, of each workflow task before it is executed, and of each activity before it begins
and after its work is done but not yet reported.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn
from unittest.mock import patch

from temporalio import activity
from temporalio.activity import Info
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.service import RPCError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    WorkflowInstance,
    WorkflowInstanceDetails,
)

import worker
from activities.services import Settings
from temporal import plugin
from temporal.converter import DATA_CONVERTER
from temporal.process import exit_process
from temporal.runner import Runner
from workflows import acceptance, activity_calls, effects, notifying
from workflows.lifecycle import BLOCKED_AFTER

CLOSED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
}
SHORT_TIMEOUTS = (
    (effects, "ATTEMPT_TIMEOUT", timedelta(seconds=2)),
    (notifying, "DELIVERY_TIMEOUT", timedelta(seconds=2)),
    (worker, "MISSED_AFTER", timedelta(seconds=1)),
    (acceptance, "SHORTEST_TASK_TIMEOUT", timedelta(0)),
)
"""Shorter than in production: an activity attempt of a killed worker is retried within seconds."""


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker process is started with. `give_up_after` is how long it retries an activity
    before the purchase is reported as blocked."""

    address: str
    queue: str
    settings: Settings
    mailbox: Path
    log: Path
    give_up_after: timedelta = BLOCKED_AFTER


@dataclass(frozen=True)
class CrashPlan:
    """When a worker kills itself: as soon as the history has event `event_id`; or, with
    `activity` (an id or a type), when that activity is done and not yet reported. In any case
    when the purchase is closed."""

    workflow_id: str
    event_id: int = 0
    activity: str = ""

    def is_reached(self, history_length: int) -> bool:
        """Whether the history has the planned event."""
        return not self.activity and history_length >= self.event_id

    def is_after(self, info: Info) -> bool:
        """Whether the worker has to crash after this activity."""
        return self.activity in (info.activity_id, info.activity_type)


def crash() -> NoReturn:
    """Kill this process with SIGKILL: nothing is flushed, closed or reported."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL did not end this process")


class CrashingRunner(Runner):
    """The production workflow runner. Crashes before a workflow task at the planned event."""

    plan: CrashPlan | None = None

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create the production instance. Every activation checks the plan first."""
        instance = super().create_instance(det)
        plan, real = CrashingRunner.plan, instance.activate
        if plan is None or det.info.workflow_id != plan.workflow_id:
            return instance

        def activate(act: Any) -> Any:
            if plan.is_reached(act.history_length):
                crash()
            return real(act)

        instance.activate = activate  # type: ignore[method-assign]
        return instance


class CrashInterceptor(ClientInterceptor, Interceptor):
    """Checks the plan around every activity. The worker takes it over from its client."""

    def __init__(self, plan: CrashPlan, purchase: WorkflowHandle[Any, Any]) -> None:
        self.plan, self.purchase = plan, purchase

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap every attempt."""
        return CrashingAttempt(next, self.plan, self.purchase)


class CrashingAttempt(ActivityInboundInterceptor):
    """One attempt at an activity. Crashes before or after it, as planned."""

    def __init__(
        self, next: ActivityInboundInterceptor, plan: CrashPlan, purchase: WorkflowHandle[Any, Any]
    ) -> None:
        super().__init__(next)
        self.plan, self.purchase = plan, purchase

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Check the plan before and after the real attempt."""
        await self._crash_if_reached()
        try:
            return await super().execute_activity(input)
        finally:
            if self.plan.is_after(activity.info()):
                crash()
            await self._crash_if_reached()

    async def _crash_if_reached(self) -> None:
        if self.plan.is_reached((await self.purchase.describe()).history_length):
            crash()


async def crash_on_event(handle: WorkflowHandle[Any, Any], plan: CrashPlan) -> None:
    """Crash when the server shows the planned event, even while this worker has nothing to do."""
    while True:
        try:
            async for event in handle.fetch_history_events(wait_new_event=True):
                if plan.is_reached(event.event_id) or event.event_type in CLOSED:
                    crash()
        except RPCError:  # not started yet
            await asyncio.sleep(0.01)


def run_worker(setup: WorkerSetup, plan: CrashPlan | None) -> None:
    """The main function of the worker process. With a plan it never returns."""
    Thread(target=crash_with_parent, daemon=True).start()
    with setup.log.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ |= {
        "TEMPORAL_ADDRESS": setup.address,
        "RECOURSE_DATABASE_URL": setup.settings.database_url,
        "RECOURSE_MAIL_URL": setup.settings.mail_url,
        "RECOURSE_PAYMENTS": setup.settings.payments,
    }
    sys.argv = ["worker.py"]
    CrashingRunner.plan = plan
    changes = [
        *SHORT_TIMEOUTS,
        (activity_calls, "BLOCKED_AFTER", setup.give_up_after),
        (plugin, "Runner", CrashingRunner),
        *((module, "TASK_QUEUE", setup.queue) for module in (worker, plugin)),
        *((module, "NOTICE_QUEUE", f"{setup.queue}-notices") for module in (plugin, notifying)),
    ]
    for module, name, value in changes:
        setattr(module, name, value)
    if plan is not None:
        setattr(worker, "connect", lambda _metrics: connect(setup, plan))  # noqa: B010
    exit_process(worker.main())


def crash_with_parent() -> None:
    """End this process when the process of the tests ends, however that one ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    crash()


async def connect(setup: WorkerSetup, plan: CrashPlan) -> Client:
    """The worker's client, with the crash plan watched."""
    client = await Client.connect(setup.address, data_converter=DATA_CONVERTER)
    purchase = client.get_workflow_handle(plan.workflow_id)
    watching = asyncio.create_task(crash_on_event(purchase, plan))
    watching.add_done_callback(lambda _: crash())
    config = client.config()
    config["interceptors"] = [CrashInterceptor(plan, purchase)]
    return Client(**config)


FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["pytest", "tests.proof.fault_injection"])
"""The fork server has imported everything: a worker is up in a tenth of a second."""
SPAWN = multiprocessing.get_context("spawn")
"""Takes seconds, but the new process reads its environment from the start."""


@contextmanager
def running_worker(
    setup: WorkerSetup,
    plan: CrashPlan | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Iterator[BaseProcess]:
    """A worker process, killed at the end if it still runs. With `environment` it is spawned in
    that environment, which takes seconds longer."""
    if environment is None:
        process: BaseProcess = FORKSERVER.Process(
            target=run_worker, args=(setup, plan), daemon=True
        )
        process.start()
    else:
        process = SPAWN.Process(target=run_worker, args=(setup, plan), daemon=True)
        with patch.dict(os.environ, environment):
            process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


async def was_killed(process: BaseProcess) -> bool:
    """Wait until a process has ended; whether SIGKILL ended it."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    return process.exitcode == -signal.SIGKILL
