"""Where stories are played while workers die: each purchase has a task queue of its own."""

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
from tests.proof.fate import Fate, Post, at_work, killed
from tests.proof.left import Left, left_of

ONE_TASK = timedelta(seconds=3)
"""How soon the server takes a task of the workflow away from a worker that has died."""

Answer = TypeVar("Answer")


class OwnQueue(Interceptor):
    """Each purchase is started on a task queue of its own; who gets no answer asks again."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """As above."""
        return _OwnQueue(next)


class _OwnQueue(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        input.task_queue = input.id
        input.task_timeout = ONE_TASK
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
        input.update_id = input.update_id or str(uuid4())  # asked again, it counts once
        while True:
            try:
                return await super().start_workflow_update(input)
            except RPCError:
                await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Point:
    """A point of a story at which a worker dies: an event of its history; or, with `activity`, when
    the activity scheduled there has done its work and not said so."""

    event_id: int
    kind: str
    activity: str = ""


def points_of(events: Sequence[Any]) -> list[Point]:
    """Every point of a history, in order."""
    points = []
    for event in events:
        points.append(Point(event.event_id, kind_of(event)))
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            scheduled = event.activity_task_scheduled_event_attributes
            done = f"{scheduled.activity_type.name} done, not reported"
            points.append(Point(event.event_id, done, scheduled.activity_id))
    return points


def kind_of(event: Any) -> str:
    """What an event of a history is called."""
    return EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()


@dataclass(frozen=True)
class Stage:
    """A server, and books that all workers share. Without a `mail_server` each purchase's mail is
    filed where one would file it."""

    deadlines: Skips
    client: Client
    folder: Path
    given: Settings
    services: Services
    mail_server: str = ""

    async def fast_forward(
        self, handle: WorkflowHandle[Any, Any], duration: timedelta | float | None = None, /
    ) -> bool:
        """The purchase's own clock."""
        return await self.deadlines.fast_forward(handle, duration)

    def post(self, purchase_id: str) -> Post:
        """Where the workers of one purchase work."""
        mailbox = self.folder / f"mail-{purchase_id}"
        given = replace(self.given, mail_url=self.mail_server or f"maildir:{mailbox}")
        log = self.folder / f"{purchase_id}.log"
        return Post(embedded.address(self.client), f"purchase-{purchase_id}", given, mailbox, log)

    async def undisturbed(self, scenario: Scenario, purchase_id: str) -> tuple[Left, list[Point]]:
        """Play a story with one worker: what is left of it, and every point it went through."""
        post = self.post(purchase_id)
        with at_work(post):
            result = await ScenarioRunner(self).play(scenario, purchase_id)
            left = await left_of(self.client, self.services, post.mailbox, result)
        handle = self.client.get_workflow_handle(f"purchase-{purchase_id}")
        return left, points_of([event async for event in handle.fetch_history_events()])

    async def disturbed(
        self, scenario: Scenario, purchase_id: str, points: Sequence[Point]
    ) -> tuple[Left, int]:
        """Play a story in which one worker after the other dies, each at its point: what is left
        of it, and how many were killed. If it closes sooner, the one there dies at its end."""
        post, deaths = self.post(purchase_id), 0
        playing = asyncio.create_task(ScenarioRunner(self).play(scenario, purchase_id))
        for point in points:
            fate = Fate(f"purchase-{purchase_id}", point.event_id, point.activity)
            with at_work(post, fate) as process:
                assert await killed(process), f"not killed: see {post.log}"
            deaths += 1
            if playing.done():
                break
        with at_work(post):
            result = await playing
            return await left_of(self.client, self.services, post.mailbox, result), deaths


@contextmanager
def stage_on(
    server: Skips, folder: Path, given: Settings | None = None, mail_server: str = ""
) -> Iterator[Stage]:
    """A stage on this server, with empty books under `folder`, or as they are given."""
    given = given or settings(folder)
    config = server.client.config()
    config["interceptors"] = [*config["interceptors"], OwnQueue()]
    with closing(Services(given)) as services:
        yield Stage(server, Client(**config), folder, given, services, mail_server)


@asynccontextmanager
async def stage(
    folder: Path, given: Settings | None = None, mail_server: str = ""
) -> AsyncIterator[Stage]:
    """The same on a server of its own, in memory."""
    async with embedded.server(skip_time=True) as server:
        with stage_on(server, folder, given, mail_server) as opened:
            yield opened


async def few_at_once(
    number: int, work: Callable[[Any], Awaitable[Answer]], items: Sequence[Any]
) -> list[Answer]:
    """The answers in the order of the items; never more than so many under way."""
    room = asyncio.Semaphore(number)

    async def one(item: Any) -> Answer:
        async with room:
            return await work(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]
