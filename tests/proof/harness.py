"""The harness of the proofs: runs scenarios, each purchase on its own task queue with its own
worker process, and kills that worker at given crash points."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateHandle,
)
from temporalio.service import RPCError

from activities.services import Services, Settings
from demo.runner import ScenarioRunner, Skips
from demo.scenarios import Scenario
from temporal import embedded
from tests.conftest import settings
from tests.proof.fault_injection import CrashPlan, WorkerSetup, running_worker, was_killed
from tests.proof.final_state import FinalState, final_state

TASK_TIMEOUT = timedelta(seconds=3)
"""Workflow task timeout: how soon the server gives a killed worker's task to another worker. Short,
so that tests do not wait for the default of ten seconds."""

Answer = TypeVar("Answer")


class QueuePerPurchase(Interceptor):
    """Starts each purchase on its own task queue, and repeats queries and updates that fail because
    no worker is running."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap all calls of the client."""
        return _QueuePerPurchase(next)


class _QueuePerPurchase(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        input.task_queue = input.id
        input.task_timeout = TASK_TIMEOUT
        return await super().start_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        while True:
            try:
                return await super().query_workflow(input)
            except (RPCError, WorkflowQueryFailedError):
                await asyncio.sleep(0.1)

    async def start_workflow_update(
        self, input: StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]:
        input.update_id = input.update_id or str(uuid4())  # a repeated update counts once
        while True:
            try:
                return await super().start_workflow_update(input)
            except RPCError:
                await asyncio.sleep(0.1)


@dataclass(frozen=True)
class CrashPoint:
    """A point of a scenario at which a worker is killed: an event of its history; or, with
    `activity`, the moment after the activity scheduled there is done and before that is
    reported."""

    event_id: int
    kind: str
    activity: str = ""


def crash_points(events: Sequence[Any]) -> list[CrashPoint]:
    """All crash points of a history, in order."""
    points = []
    for event in events:
        points.append(CrashPoint(event.event_id, event_kind(event)))
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled = event.activity_task_scheduled_event_attributes
            done = f"{scheduled.activity_type.name} done, not reported"
            points.append(CrashPoint(event.event_id, done, scheduled.activity_id))
    return points


def event_kind(event: Any) -> str:
    """The type of a history event in lower case, such as `timer_fired`."""
    return EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()


@dataclass(frozen=True)
class Harness:
    """A server, and the ledger and provider that all worker processes share. Without a
    `mail_server`, each purchase's mail is filed in a Maildir of its own."""

    time_skipper: Skips
    client: Client
    folder: Path
    settings: Settings
    services: Services
    mail_server: str = ""

    async def fast_forward(
        self, handle: WorkflowHandle[Any, Any], duration: timedelta | float | None = None, /
    ) -> bool:
        """Move the purchase's clock."""
        return await self.time_skipper.fast_forward(handle, duration)

    def worker_setup(self, purchase_id: str) -> WorkerSetup:
        """What the workers of one purchase are started with."""
        mailbox = self.folder / f"mail-{purchase_id}"
        given = replace(self.settings, mail_url=self.mail_server or f"maildir:{mailbox}")
        log = self.folder / f"{purchase_id}.log"
        address = embedded.address(self.client)
        return WorkerSetup(address, f"purchase-{purchase_id}", given, mailbox, log)

    async def run_undisturbed(
        self, scenario: Scenario, purchase_id: str
    ) -> tuple[FinalState, list[CrashPoint]]:
        """Run a scenario with one worker; its final state and the crash points of its history."""
        setup = self.worker_setup(purchase_id)
        with running_worker(setup):
            result = await ScenarioRunner(self).run(scenario, purchase_id)
            state = await final_state(self.client, self.services, setup.mailbox, result)
        handle = self.client.get_workflow_handle(f"purchase-{purchase_id}")
        return state, crash_points([event async for event in handle.fetch_history_events()])

    async def run_with_crashes(
        self, scenario: Scenario, purchase_id: str, points: Sequence[CrashPoint]
    ) -> tuple[FinalState, int]:
        """Run a scenario in which one worker after the other is killed, each at its crash point;
        the final state and the number of kills. If the purchase closes earlier, the worker of that
        moment is the last one killed."""
        setup, kills = self.worker_setup(purchase_id), 0
        running = asyncio.create_task(ScenarioRunner(self).run(scenario, purchase_id))
        for point in points:
            plan = CrashPlan(f"purchase-{purchase_id}", point.event_id, point.activity)
            with running_worker(setup, plan) as process:
                killed = await was_killed(process)
            assert killed, f"The worker ended without being killed at {point}: see {setup.log}."
            kills += 1
            if running.done():
                break
        with running_worker(setup):
            result = await running
            return await final_state(self.client, self.services, setup.mailbox, result), kills


@contextmanager
def harness_on(
    server: Skips, folder: Path, given: Settings | None = None, mail_server: str = ""
) -> Iterator[Harness]:
    """A harness on this server. Ledger and provider are new and under `folder`, or as given."""
    given = given or settings(folder)
    config = server.client.config()
    config["interceptors"] = [*config["interceptors"], QueuePerPurchase()]
    with closing(Services(given)) as services:
        yield Harness(server, Client(**config), folder, given, services, mail_server)


@asynccontextmanager
async def new_harness(
    folder: Path, given: Settings | None = None, mail_server: str = ""
) -> AsyncIterator[Harness]:
    """A harness on a new server, which keeps its purchases in memory."""
    async with embedded.server(skip_time=True) as server:
        with harness_on(server, folder, given, mail_server) as opened:
            yield opened


async def bounded_gather(
    limit: int, work: Callable[[Any], Awaitable[Answer]], items: Sequence[Any]
) -> list[Answer]:
    """Run `work` for every item, at most `limit` at a time; the answers in the items' order."""
    slots = asyncio.Semaphore(limit)

    async def one(item: Any) -> Answer:
        async with slots:
            return await work(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]
