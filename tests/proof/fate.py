"""A worker process that dies by SIGKILL where it was told to: at an event of a purchase's history.

It is the production worker. What is added only looks: at the history as the server has it, at each
task of the workflow before it is done, at each activity before it begins, and after its work was
done and before anybody knows.
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
from temporal.client import exit_process
from temporal.converter import DATA_CONVERTER
from temporal.runner import Runner
from workflows import activity_calls, effect_runner, notifying

CLOSED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
}
SOONER = (
    (effect_runner, "ATTEMPT_TIMEOUT", timedelta(seconds=2)),
    (notifying, "DELIVERY_TIMEOUT", timedelta(seconds=2)),
    (worker, "MISSED_AFTER", timedelta(seconds=1)),
)
"""What a dead worker had begun is given up sooner, so that tests need not wait."""


@dataclass(frozen=True)
class Post:
    """Where a worker works, with which books, where its mail arrives, where it writes what it logs,
    and how long it tries a step before a person is told."""

    address: str
    queue: str
    settings: Settings
    mailbox: Path
    log: Path
    give_up_after: timedelta = activity_calls.BLOCKED_AFTER


@dataclass(frozen=True)
class Fate:
    """When to die: as soon as the history has this event; or, with `activity`, the id or type of
    one, when it has done its work and not said so yet. In any case when the purchase is closed."""

    workflow_id: str
    event_id: int = 0
    activity: str = ""

    def is_met(self, history_length: int) -> bool:
        """Whether the history has come so far."""
        return not self.activity and history_length >= self.event_id

    def is_about(self, info: Info) -> bool:
        """Whether it is this activity after which to die."""
        return self.activity in (info.activity_id, info.activity_type)


def die() -> NoReturn:
    """At once: nothing is flushed, closed or said."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("alive")


class Deadly(Runner):
    """The production runner. Dies before a task that comes at its time."""

    fate: Fate | None = None

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """As ever, but watched."""
        instance = super().create_instance(det)
        fate, real = Deadly.fate, instance.activate
        if fate is None or det.info.workflow_id != fate.workflow_id:
            return instance

        def activate(act: Any) -> Any:
            if fate.is_met(act.history_length):
                die()
            return real(act)

        instance.activate = activate  # type: ignore[method-assign]
        return instance


class Watching(ClientInterceptor, Interceptor):
    """Comes along with the worker's client and looks at every activity."""

    def __init__(self, fate: Fate, purchase: WorkflowHandle[Any, Any]) -> None:
        self.fate, self.purchase = fate, purchase

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Every attempt is watched."""
        return Attempt(next, self.fate, self.purchase)


class Attempt(ActivityInboundInterceptor):
    """One attempt at an activity."""

    def __init__(
        self, next: ActivityInboundInterceptor, fate: Fate, purchase: WorkflowHandle[Any, Any]
    ) -> None:
        super().__init__(next)
        self.fate, self.purchase = fate, purchase

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Looks before and after the work."""
        await self._look()
        try:
            return await super().execute_activity(input)
        finally:
            if self.fate.is_about(activity.info()):
                die()
            await self._look()

    async def _look(self) -> None:
        if self.fate.is_met((await self.purchase.describe()).history_length):
            die()


async def watch(handle: WorkflowHandle[Any, Any], fate: Fate) -> None:
    """Dies when the server shows the event, even if this worker has nothing to do."""
    while True:
        try:
            async for event in handle.fetch_history_events(wait_new_event=True):
                if fate.is_met(event.event_id) or event.event_type in CLOSED:
                    die()
        except RPCError:  # not started yet
            await asyncio.sleep(0.01)


def work(post: Post, fate: Fate | None) -> None:
    """What the process does. With a fate it does not return."""
    Thread(target=outlive_no_test, daemon=True).start()
    with post.log.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ |= {
        "TEMPORAL_ADDRESS": post.address,
        "RECOURSE_DATABASE_URL": post.settings.database_url,
        "RECOURSE_MAIL_URL": post.settings.mail_url,
        "RECOURSE_PAYMENTS": post.settings.payments,
    }
    sys.argv = ["worker.py"]
    Deadly.fate = fate
    changes = [
        *SOONER,
        (activity_calls, "BLOCKED_AFTER", post.give_up_after),
        (worker, "Runner", Deadly),
        (worker, "TASK_QUEUE", post.queue),
        *((module, "NOTICE_QUEUE", f"{post.queue}-notices") for module in (worker, notifying)),
    ]
    for module, name, value in changes:
        setattr(module, name, value)
    if fate is not None:
        setattr(worker, "connect", lambda _metrics: connect(post, fate))  # noqa: B010
    exit_process(worker.main())


def outlive_no_test() -> None:
    """However the tests end, their workers end with them."""
    tests = multiprocessing.parent_process()
    assert tests is not None
    tests.join()
    die()


async def connect(post: Post, fate: Fate) -> Client:
    """The worker's own connection, watched."""
    client = await Client.connect(post.address, data_converter=DATA_CONVERTER)
    purchase = client.get_workflow_handle(fate.workflow_id)
    watching = asyncio.create_task(watch(purchase, fate))
    watching.add_done_callback(lambda _: die())
    config = client.config()
    config["interceptors"] = [Watching(fate, purchase)]
    return Client(**config)


processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["pytest", "tests.proof.fate"])
"""Everything is imported and nothing begun: a worker is up in a tenth of a second."""
SLOWLY = multiprocessing.get_context("spawn")


@contextmanager
def at_work(
    post: Post, fate: Fate | None = None, *, environment: Mapping[str, str] | None = None
) -> Iterator[BaseProcess]:
    """A worker process, in an environment of its own if it is given one, which takes seconds
    longer. Killed at the end if it still lives."""
    if environment is None:
        process: BaseProcess = processes.Process(target=work, args=(post, fate), daemon=True)
        process.start()
    else:
        process = SLOWLY.Process(target=work, args=(post, fate), daemon=True)
        with patch.dict(os.environ, environment):
            process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


async def killed(process: BaseProcess) -> bool:
    """Wait for a process to end; whether it was by SIGKILL."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()
    return process.exitcode == -signal.SIGKILL
