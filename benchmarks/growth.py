"""Many purchases at once: 20,000 open ones, 2,000 deadlines at one instant, a worker that starts
among 2,000 live ones, and one purchase that is sent 2,000 messages."""

import asyncio
import gc
import itertools
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType, TimeoutType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.worker import Replayer

from benchmarks import floor, sides
from benchmarks.lifecycles import bought, by, terms
from benchmarks.measure import Finding, Pair, in_turn
from temporal import embedded
from temporal.converter import DATA_CONVERTER
from temporal.purchases import PREFIX, Purchase
from temporal.runner import Runner
from workflows.messages import PurchaseStart, Role, SendMessage
from workflows.purchase import ProjectPurchase

FEW, MANY = 1_000, 20_000
LIVE = 2_000
ROUNDS = 2
FIRST_BATCH = 100
SIGNALS = 100
SIGNAL_ROUNDS = 5
MESSAGES = 2_000
REPLAYS = 15
MISSED = 12.0
"""Seconds after which the server has missed a dead worker, and gives its tasks to anybody."""

numbers = itertools.count()
Handle = WorkflowHandle[Any, Any]
Open = Callable[[], Awaitable[Handle]]


async def opened(one: Open, how_many: int, worker: int) -> list[Handle]:
    """So many begun, some at a time; the worker has nothing to do any more."""
    room = asyncio.Semaphore(FIRST_BATCH)

    async def alone() -> Handle:
        async with room:
            return await one()

    handles = await asyncio.gather(*(alone() for _ in range(how_many)))
    await idle(worker)
    return list(handles)


async def idle(worker: int) -> None:
    """Wait until the worker has had nothing to do for a second."""
    before = -1.0
    while (now := sides.cpu(worker)) - before > 0.03:
        before = now
        await asyncio.sleep(1)


async def closed(client: Client, kind: str, at_least: int) -> None:
    """Wait until the server lists so many that have closed."""
    query = f"WorkflowType = '{kind}' AND ExecutionStatus = 'Completed'"
    while (await client.count_workflows(query)).count < at_least:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


# --- 20,000 open ones


async def many_open() -> list[Finding]:
    """Memory of a worker, and the CPU of one more signal, with 1,000 and with 20,000 open."""
    async with opened_on_its_own(FEW) as few, opened_on_its_own(MANY) as many:
        memory = Pair.of([(sides.memory(many.worker), sides.memory(few.worker))])
        more = await in_turn(many.signal_remembered, few.signal_remembered, SIGNAL_ROUNDS)
        forgotten = await in_turn(many.signal_forgotten, many.signal_remembered, SIGNAL_ROUNDS)
    what, less = f"{MANY:,} open purchases", f"{FEW:,} open"
    return [
        memory.finding(f"worker's memory, {what}", less, 1.2, "MB"),
        more["cpu"].finding(f"CPU of one more signal, {what}", less, 1.1, "ms"),
        forgotten["cpu"].finding(
            "CPU of a signal to a purchase that the worker has to replay",
            "one in its memory",
            4.0,
            "ms",
        ),
    ]


@dataclass(frozen=True)
class Opened:
    """Open purchases in the order in which they began, and the process of their worker."""

    handles: Sequence[Handle]
    worker: int

    async def signal_remembered(self) -> dict[str, float]:
        """Always the same, so that the worker has them in its memory from the second time on."""
        return {"cpu": await signal_cost(self.handles[-SIGNALS:], self.worker)}

    async def signal_forgotten(self) -> dict[str, float]:
        """Any of the others, nearly all of which are not in its memory."""
        others = random.sample(self.handles[:-SIGNALS], SIGNALS)
        return {"cpu": await signal_cost(others, self.worker)}


@asynccontextmanager
async def opened_on_its_own(how_many: int) -> AsyncIterator[Opened]:
    """So many, on a server and a worker that have nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            with sides.at_work(sides.workflow_alone, place) as worker:
                yield Opened(
                    await opened(lambda: bought(server.client, terms()), how_many, worker), worker
                )


async def signal_cost(handles: Sequence[Handle], worker: int) -> float:
    """Milliseconds of the worker's CPU for a message to one of these, and all that follows."""
    before = sides.cpu(worker)
    text = by(Role.CLIENT, text="Hello?")
    await asyncio.gather(*(handle.signal("send_message", text) for handle in handles))
    await idle(worker)
    return (sides.cpu(worker) - before) / len(handles) * 1000


# --- 2,000 at once

Side = Callable[[Client, sides.Place], Awaitable[float]]


async def our_deadlines(client: Client, place: sides.Place) -> float:
    """2,000 whose requirements are due at the same instant: closed a second from then on."""
    with sides.at_work(sides.workflow_alone, place) as worker:
        window = await _to_open(lambda: bought(client, terms()), worker)
        begin = datetime.now(UTC)
        policy = {"requirements_window": f"PT{window.total_seconds():.0f}S"}
        given = terms(**policy).model_dump(mode="json")

        def start() -> PurchaseStart:
            name = {"purchase_id": f"due-{next(numbers)}", "purchased_at": begin.isoformat()}
            return PurchaseStart.model_validate({**given, **name})

        handles = await opened(lambda: bought(client, start()), LIVE, worker)
        return await _all_due(client, handles, begin + window, "ProjectPurchase")


async def bare_deadlines(client: Client, place: sides.Place) -> float:
    """The same on the floor."""

    async def start(due: datetime) -> Handle:
        left = (due - datetime.now(UTC)).total_seconds()
        number = f"floor-due-{next(numbers)}"
        return await client.start_workflow(
            floor.AutoCancel.run, left, id=number, task_queue=floor.QUEUE
        )

    with sides.at_work(sides.floor_worker, place) as worker:
        never = datetime.now(UTC) + timedelta(days=1)
        due = datetime.now(UTC) + await _to_open(lambda: start(never), worker)
        handles = await opened(lambda: start(due), LIVE, worker)
        return await _all_due(client, handles, due, "FloorAutoCancel")


async def _to_open(one: Open, worker: int) -> timedelta:
    """How long it takes to begin so many, and somewhat more; measured with the first."""
    began = time.monotonic()
    await opened(one, LIVE // 20, worker)
    return timedelta(seconds=int((time.monotonic() - began) * 20 * 1.2 + 10))


async def _all_due(client: Client, handles: list[Handle], due: datetime, kind: str) -> float:
    left = (due - datetime.now(UTC)).total_seconds()
    if left < 0:
        raise RuntimeError(f"{LIVE} were not open in time: {-left:.0f} s more are needed")
    await asyncio.sleep(left)
    began = time.monotonic()
    await closed(client, kind, len(handles))
    took = time.monotonic() - began
    await _no_task_failed(handles, due)
    return len(handles) / took


async def our_cold_start(client: Client, place: sides.Place) -> float:
    """2,000 live ones are sent a message while no worker is there; then one starts: closed a
    second."""
    with sides.at_work(sides.workflow_alone, place) as worker:
        handles = await opened(lambda: bought(client, terms()), LIVE, worker)
    refund = by(Role.FREELANCER)
    await asyncio.gather(*(handle.signal("give_refund", refund) for handle in handles))
    return await _started(client, handles, "ProjectPurchase", sides.workflow_alone, place)


async def bare_cold_start(client: Client, place: sides.Place) -> float:
    """The same on the floor."""

    async def start() -> Handle:
        number = f"floor-cold-{next(numbers)}"
        return await client.start_workflow(
            floor.ApprovedRefund.run, id=number, task_queue=floor.QUEUE
        )

    with sides.at_work(sides.floor_worker, place) as worker:
        handles = await opened(start, LIVE, worker)
    await asyncio.gather(*(handle.signal("decide_refund", "x") for handle in handles))
    return await _started(client, handles, "FloorApprovedRefund", sides.floor_worker, place)


async def _started(
    client: Client, handles: list[Handle], kind: str, serve: sides.Serve, place: sides.Place
) -> float:
    await asyncio.sleep(MISSED)
    since, began = datetime.now(UTC), time.monotonic()
    with sides.at_work(serve, place):
        await closed(client, kind, len(handles))
        took = time.monotonic() - began
    await _no_task_failed(handles, since)
    return len(handles) / took


async def _no_task_failed(handles: Sequence[Handle], since: datetime) -> None:
    """No workflow task took longer than the SDK allows, or failed otherwise."""
    for handle in handles:
        for event in (await handle.fetch_history()).events:
            if failed(event, since):
                raise RuntimeError(f"a task of {handle.id} failed: {event}")


def failed(event: HistoryEvent, since: datetime) -> bool:
    """Whether a workflow task has failed while it counts. What comes before is the opening of
    purchases, faster than the server can bear, which then loses an answer now and then.

    Neither a task for a worker that is not there any more has failed, nor one that would have ended
    a workflow to which something had just happened: the server has it done again.
    """
    if event.event_time.ToDatetime(UTC) < since:
        return False
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
        timeout = event.workflow_task_timed_out_event_attributes.timeout_type
        return timeout != TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START
    cause = event.workflow_task_failed_event_attributes.cause
    return (
        event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
        and cause != WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    )


async def deadlines() -> list[Finding]:
    """2,000 of them at one instant."""
    what = f"{LIVE:,} deadlines at one instant, closed a second"
    return await together(what, our_deadlines, bare_deadlines)


async def cold_start() -> list[Finding]:
    """A worker that begins among 2,000 live purchases."""
    what = f"cold start with {LIVE:,} live purchases, closed a second"
    return await together(what, our_cold_start, bare_cold_start)


async def together(what: str, mine: Side, other: Side) -> list[Finding]:
    """Both sides in turn, each on a server of its own that holds nothing else."""
    found = await in_turn(partial(alone, mine), partial(alone, other), ROUNDS, warm_up=False)
    return [found["rate"].finding(what, "the engine's floor", 0.85, "/s", better="more")]


async def alone(side: Side) -> dict[str, float]:
    """One side, on a new server."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            return {"rate": await side(server.client, place)}


# --- one that is sent much


async def long_one() -> list[Finding]:
    """A purchase that is sent 2,000 messages: how long its history gets, and what an event costs
    whoever replays it, early and late."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            with sides.at_work(sides.workflow_alone, place) as worker:
                (handle,) = await opened(lambda: bought(server.client, terms()), 1, worker)
                one = Purchase(server.client, handle.id.removeprefix(PREFIX))
                histories = []
                for number in range(MESSAGES):
                    sender = (Role.CLIENT, Role.FREELANCER)[number % 2]
                    said = by(sender, text=f"{number}", message_id=f"m-{number}")
                    await one.send(SendMessage.model_validate(said))
                    if number + 1 in (MESSAGES // 10, MESSAGES):
                        await idle(worker)
                        histories.append(await handle.fetch_history())
                early, late = histories
                runs = server.client.list_workflows(f"WorkflowId = '{handle.id}'")
                ended = [run.history_length async for run in runs if run.close_time]
    costs = [(await replay_cost(late), await replay_cost(early)) for _ in range(REPLAYS)]
    return [
        Pair.of(costs).finding(
            f"replay per event after {MESSAGES:,} messages",
            f"{MESSAGES // 10} messages",
            1.1,
            "ms",
        ),
        Pair.of([(max(len(late.events), *ended), 4096)]).finding(
            f"events of the longest run in {MESSAGES:,} messages",
            "the server's suggestion to begin anew",
            1.2,
            "events",
        ),
    ]


async def replay_cost(history: WorkflowHistory) -> float:
    """Milliseconds for each event."""
    replayer = Replayer(
        workflows=[ProjectPurchase],
        workflow_runner=Runner(lambda _: None),
        data_converter=DATA_CONVERTER,
    )
    gc.collect()  # what the replay before has left
    began = time.process_time()
    await replayer.replay_workflow(history)
    return (time.process_time() - began) / len(history.events) * 1000
