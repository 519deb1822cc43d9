"""Measures many purchases at once: 20,000 open ones, 2,000 deadlines at the same instant, a worker
that starts with 2,000 open ones, and one purchase with 2,000 messages."""

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

from activities.keys import purchase_of_workflow
from benchmarks import bare, sides
from benchmarks.lifecycles import buy, message, terms
from benchmarks.measure import Finding, Pair, in_turn
from temporal import embedded
from temporal.converter import DATA_CONVERTER
from temporal.purchases import Purchase
from temporal.runner import Runner
from workflows.messages import PurchaseStart, Role, SendMessage
from workflows.purchase import ProjectPurchase

FEW, MANY = 1_000, 20_000
OPEN = 2_000
ROUNDS = 2
CONCURRENT = 100
SIGNALS = 100
SIGNAL_ROUNDS = 5
MESSAGES = 2_000
REPLAYS = 15
STICKY_TIMEOUT = 12.0
"""Seconds after which the server gives the tasks of a stopped worker to any other worker."""

numbers = itertools.count()
Handle = WorkflowHandle[Any, Any]
Starter = Callable[[], Awaitable[Handle]]


async def start_many(start: Starter, count: int, worker: int) -> list[Handle]:
    """Start workflows, several at a time, and wait until the worker is idle."""
    slots = asyncio.Semaphore(CONCURRENT)

    async def start_one() -> Handle:
        async with slots:
            return await start()

    handles = await asyncio.gather(*(start_one() for _ in range(count)))
    await wait_until_idle(worker)
    return list(handles)


async def wait_until_idle(worker: int) -> None:
    """Wait until the worker has used no CPU for a second."""
    before = -1.0
    while (now := sides.cpu(worker)) - before > 0.03:
        before = now
        await asyncio.sleep(1)


async def wait_until_closed(client: Client, workflow_type: str, at_least: int) -> None:
    """Wait until the server lists this many closed workflows."""
    query = f"WorkflowType = '{workflow_type}' AND ExecutionStatus = 'Completed'"
    while (await client.count_workflows(query)).count < at_least:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


# --- 20,000 open purchases


async def many_open() -> list[Finding]:
    """Measure the worker's memory, and its CPU time for a signal, with 1,000 and with 20,000
    open."""
    async with open_purchases(FEW) as few, open_purchases(MANY) as many:
        memory = Pair.of([(sides.memory(many.worker), sides.memory(few.worker))])
        cached = await in_turn(many.signal_cached, few.signal_cached, SIGNAL_ROUNDS)
        evicted = await in_turn(many.signal_evicted, many.signal_cached, SIGNAL_ROUNDS)
    what, fewer = f"{MANY:,} open purchases", f"{FEW:,} open"
    return [
        memory.finding(f"worker's memory, {what}", fewer, 1.2, "MB"),
        cached["cpu"].finding(f"CPU of one signal, {what}", fewer, 1.1, "ms"),
        evicted["cpu"].finding(
            "CPU of a signal to a purchase that the worker has to replay",
            "one in its cache",
            4.0,
            "ms",
        ),
    ]


@dataclass(frozen=True)
class OpenPurchases:
    """Open purchases, in the order of their start, and the process of their worker."""

    handles: Sequence[Handle]
    worker: int

    async def signal_cached(self) -> dict[str, float]:
        """Signal the newest purchases: always the same, so the worker has them in its cache."""
        return {"cpu": await signal_cost(self.handles[-SIGNALS:], self.worker)}

    async def signal_evicted(self) -> dict[str, float]:
        """Signal random others, nearly all of which the worker has evicted."""
        others = random.sample(self.handles[:-SIGNALS], SIGNALS)
        return {"cpu": await signal_cost(others, self.worker)}


@asynccontextmanager
async def open_purchases(count: int) -> AsyncIterator[OpenPurchases]:
    """Open purchases on their own server and worker."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            with sides.running(sides.workflow_alone, place) as worker:
                yield OpenPurchases(
                    await start_many(lambda: buy(server.client, terms()), count, worker), worker
                )


async def signal_cost(handles: Sequence[Handle], worker: int) -> float:
    """Milliseconds of the worker's CPU time for a message to a purchase and everything it
    causes."""
    before = sides.cpu(worker)
    text = message(Role.CLIENT, text="Hello?")
    await asyncio.gather(*(handle.signal("send_message", text) for handle in handles))
    await wait_until_idle(worker)
    return (sides.cpu(worker) - before) / len(handles) * 1000


# --- 2,000 at once

Side = Callable[[Client, sides.Place], Awaitable[float]]


async def our_deadlines(client: Client, place: sides.Place) -> float:
    """Start 2,000 purchases whose requirements are due at the same instant; returns how many close
    per second from then on."""
    with sides.running(sides.workflow_alone, place) as worker:
        window = await _time_to_start(lambda: buy(client, terms()), worker)
        begin = datetime.now(UTC)
        policy = {"requirements_window": f"PT{window.total_seconds():.0f}S"}
        template = terms(**policy).model_dump(mode="json")

        def start() -> PurchaseStart:
            changed = {"purchase_id": f"due-{next(numbers)}", "purchased_at": begin.isoformat()}
            return PurchaseStart.model_validate({**template, **changed})

        handles = await start_many(lambda: buy(client, start()), OPEN, worker)
        return await _rate_once_due(client, handles, begin + window, "ProjectPurchase")


async def bare_deadlines(client: Client, place: sides.Place) -> float:
    """Measure the same on the bare engine."""

    async def start(due: datetime) -> Handle:
        left = (due - datetime.now(UTC)).total_seconds()
        workflow_id = f"bare-due-{next(numbers)}"
        return await client.start_workflow(
            bare.AutoCancel.run, left, id=workflow_id, task_queue=bare.QUEUE
        )

    with sides.running(sides.bare_worker, place) as worker:
        never = datetime.now(UTC) + timedelta(days=1)
        due = datetime.now(UTC) + await _time_to_start(lambda: start(never), worker)
        handles = await start_many(lambda: start(due), OPEN, worker)
        return await _rate_once_due(client, handles, due, "BareAutoCancel")


async def _time_to_start(start: Starter, worker: int) -> timedelta:
    """An upper estimate of the time to start all, measured by starting a twentieth."""
    began = time.monotonic()
    await start_many(start, OPEN // 20, worker)
    return timedelta(seconds=int((time.monotonic() - began) * 20 * 1.2 + 10))


async def _rate_once_due(
    client: Client, handles: list[Handle], due: datetime, workflow_type: str
) -> float:
    """How many close per second from `due` on."""
    left = (due - datetime.now(UTC)).total_seconds()
    if left < 0:
        raise RuntimeError(f"{OPEN} were not open in time: allow {-left:.0f} s more")
    await asyncio.sleep(left)
    began = time.monotonic()
    await wait_until_closed(client, workflow_type, len(handles))
    took = time.monotonic() - began
    await _no_task_failed(handles, due)
    return len(handles) / took


async def our_cold_start(client: Client, place: sides.Place) -> float:
    """Send a message to 2,000 open purchases while no worker runs, then start one; returns how many
    close per second."""
    with sides.running(sides.workflow_alone, place) as worker:
        handles = await start_many(lambda: buy(client, terms()), OPEN, worker)
    refund = message(Role.FREELANCER)
    await asyncio.gather(*(handle.signal("give_refund", refund) for handle in handles))
    return await _rate_once_started(client, handles, "ProjectPurchase", sides.workflow_alone, place)


async def bare_cold_start(client: Client, place: sides.Place) -> float:
    """Measure the same on the bare engine."""

    async def start() -> Handle:
        workflow_id = f"bare-cold-{next(numbers)}"
        return await client.start_workflow(
            bare.ApprovedRefund.run, id=workflow_id, task_queue=bare.QUEUE
        )

    with sides.running(sides.bare_worker, place) as worker:
        handles = await start_many(start, OPEN, worker)
    await asyncio.gather(*(handle.signal("decide_refund", "x") for handle in handles))
    return await _rate_once_started(client, handles, "BareApprovedRefund", sides.bare_worker, place)


async def _rate_once_started(
    client: Client,
    handles: list[Handle],
    workflow_type: str,
    serve: sides.Serve,
    place: sides.Place,
) -> float:
    """How many close per second after a worker starts."""
    await asyncio.sleep(STICKY_TIMEOUT)
    since, began = datetime.now(UTC), time.monotonic()
    with sides.running(serve, place):
        await wait_until_closed(client, workflow_type, len(handles))
        took = time.monotonic() - began
    await _no_task_failed(handles, since)
    return len(handles) / took


async def _no_task_failed(handles: Sequence[Handle], since: datetime) -> None:
    """Raise RuntimeError if a workflow task timed out or failed since then."""
    for handle in handles:
        for event in (await handle.fetch_history()).events:
            if failed(event, since):
                raise RuntimeError(f"A workflow task of {handle.id} failed: {event}")


def failed(event: HistoryEvent, since: datetime) -> bool:
    """Whether the event is a failed workflow task, at or after `since`. Earlier events do not
    count: the purchases start faster than the server can process, so some answers are lost.

    Two events are no failures, because the server retries the task by design: a task for a worker
    that has stopped, and a task that would have closed a workflow with a new event.
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
    """Compare 2,000 deadlines at the same instant."""
    what = f"{OPEN:,} deadlines at the same instant, closed per second"
    return await compare(what, our_deadlines, bare_deadlines)


async def cold_start() -> list[Finding]:
    """Compare a worker that starts with 2,000 open purchases."""
    what = f"cold start with {OPEN:,} open purchases, closed per second"
    return await compare(what, our_cold_start, bare_cold_start)


async def compare(what: str, ours: Side, theirs: Side) -> list[Finding]:
    """Measure both sides in turn, each on a new server."""
    found = await in_turn(
        partial(on_new_server, ours), partial(on_new_server, theirs), ROUNDS, warm_up=False
    )
    return [found["rate"].finding(what, "the bare engine", 1.0, "/s", better="more")]


async def on_new_server(side: Side) -> dict[str, float]:
    """Measure one side on a new server."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            return {"rate": await side(server.client, place)}


# --- one purchase with many messages


async def long_one() -> list[Finding]:
    """Send 2,000 messages to one purchase; measure the length of its histories, and the cost per
    event of replaying an early and a late one."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            with sides.running(sides.workflow_alone, place) as worker:
                (handle,) = await start_many(lambda: buy(server.client, terms()), 1, worker)
                purchase = Purchase(server.client, purchase_of_workflow(handle.id))
                histories = []
                for number in range(MESSAGES):
                    sender = (Role.CLIENT, Role.FREELANCER)[number % 2]
                    payload = message(sender, text=f"{number}", message_id=f"m-{number}")
                    await purchase.send(SendMessage.model_validate(payload))
                    if number + 1 in (MESSAGES // 10, MESSAGES):
                        await wait_until_idle(worker)
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
            "the server's continue-as-new suggestion",
            1.2,
            "events",
        ),
    ]


async def replay_cost(history: WorkflowHistory) -> float:
    """Milliseconds per event of a replay."""
    replayer = Replayer(
        workflows=[ProjectPurchase],
        workflow_runner=Runner(lambda _: None),
        data_converter=DATA_CONVERTER,
    )
    gc.collect()  # garbage of the previous replay
    began = time.process_time()
    await replayer.replay_workflow(history)
    return (time.process_time() - began) / len(history.events) * 1000
