"""A burst of signals that meets no worker: all of it waits for the first task of the next one.

`RECOURSE_BURST=10000 pytest tests/signals/test_burst.py` sends as many as the server takes in one
run; the normal suite sends fewer. `test_flood` sends while a worker is at work.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import LOOK_EVERY, Handle, skip, start, status, until
from demo.scenarios import PRICE
from temporal import embedded
from tests.conftest import settings
from tests.purchases import CLIENT, FREELANCER, purchase, rejection
from tests.signals.crowd import GOOD_ONES, Signal, bad, good, is_bad
from tests.signals.payloads import failed_tasks, whole_history
from worker import build_worker
from workflows.messages import Receipt, Status

BURST = int(os.environ.get("RECOURSE_BURST", "800"))
FIRST_BATCH = 50
LIMITS = {
    "history.maximumSignalsPerExecution": BURST,
    "limit.historyCount.suggestContinueAsNew": BURST // 2,
}
"""The server turns away more signals than these until the purchase begins a fresh history. By
default it takes 10,000, and suggests a fresh history after 4,096 events."""


@pytest.fixture(scope="module")
async def lonely() -> AsyncIterator[WorkflowEnvironment]:
    """A server with no worker but those that a test starts."""
    extra = [f"--dynamic-config-value={name}={value}" for name, value in LIMITS.items()]
    async with embedded.server(skip_time=True, extra=extra) as environment:
        yield environment


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Services]:
    """Books of their own."""
    services = Services(settings(tmp_path))
    yield services
    services.close()


class Shift:
    """Hires a worker for as long as a block lasts."""

    def __init__(
        self, lonely: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
    ) -> None:
        self._given = (lonely.client, services, threads)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        async with build_worker(*self._given):
            yield


@pytest.fixture
def at_work(lonely: WorkflowEnvironment, books: Services, threads: ThreadPoolExecutor) -> Shift:
    """A worker, when the test wants one."""
    return Shift(lonely, books, threads)


@pytest.fixture
async def target(lonely: WorkflowEnvironment, at_work: Shift) -> Handle:
    """A purchase whose money is in escrow, and whose worker has gone."""
    return await left_alone(lonely, at_work)


async def left_alone(lonely: WorkflowEnvironment, at_work: Shift, **changed: Any) -> Handle:
    """Start a purchase, and leave it without a worker when its money is in escrow."""
    handle = await start(lonely.client, purchase(**changed))
    async with at_work():
        await until(handle, lambda found: found.payment == "held")
    return handle


def mostly_bad() -> Iterator[Signal]:
    """Every fifth repeats one that was answered, a few good ones are hidden among the rest."""
    for number in range(BURST):
        if number % (BURST // GOOD_ONES) == 0:
            yield good(number)
        else:
            yield good(0) if number % 5 == 0 else bad(number)


async def send(handle: Handle, signals: Iterable[Signal]) -> int:
    """Send signals in any order; how many the server took."""
    gate = asyncio.Semaphore(FIRST_BATCH)

    async def taken(name: str, message: Any) -> bool:
        async with gate:
            try:
                await handle.signal(name, message)
            except RPCError as error:
                if error.status is RPCStatusCode.INVALID_ARGUMENT:
                    return False
                raise
            return True

    return sum(await asyncio.gather(*(taken(*signal) for signal in signals)))


async def fired(handle: Handle) -> None:
    """Wait until a deadline has passed."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_TIMER_FIRED:
            return


async def until_told(books: Services, purchase_id: str, transition: str) -> set[str]:
    """Wait until somebody has been told of a transition; who has."""
    told: set[str] = set()
    while not told:
        await asyncio.sleep(LOOK_EVERY)
        notices = books.notices.list(purchase_id)
        told = {notice.role for notice in notices if notice.transition == transition}
    return told


def accepted(found: Status) -> int:
    """How many messages were accepted, of those that change nothing."""
    return found.timeline[-1].number - len({"purchased", "payment_held"})


async def test_burst_of_bad_signals_changes_nothing_and_hides_no_good_one(
    lonely: WorkflowEnvironment, target: Handle, at_work: Shift
) -> None:
    """Each refused one is counted, each good one is heard, and the money arrives."""
    signals = list(mostly_bad())
    rejected = sum(map(is_bad, signals))

    await send(target, signals)
    async with at_work():
        found = await until(target, lambda found: found.rejected_count >= rejected)
        assert found.rejected_count == rejected
        assert accepted(found) == GOOD_ONES
        await skip(lonely, target)
        result = await target.result()

    assert (result.reason, result.refunded) == ("requirements_timeout", PRICE)
    assert not failed_tasks(await whole_history(lonely.client, target))


async def test_burst_of_good_messages_is_heard_to_the_last(
    lonely: WorkflowEnvironment, target: Handle, at_work: Shift
) -> None:
    """What the server turns away its sender knows of; what it took is in the timeline, once."""
    signals = [good(number) for number in range(BURST)]

    assert await send(target, signals) == BURST
    assert await send(target, [good(BURST)]) == 0
    async with at_work():
        await until(target, lambda found: accepted(found) >= BURST)
        while not await send(target, [good(BURST)]):
            await status(target)
        found = await until(target, lambda found: accepted(found) > BURST)
        await send(target, signals[-GOOD_ONES:])
        await target.execute_update("send_message", good(BURST)[1], result_type=Receipt)
        found = await status(target)
        await target.terminate("seen")

    assert accepted(found) == BURST + 1
    assert found.rejected_count == 0
    assert not failed_tasks(await whole_history(lonely.client, target))


async def test_message_behind_a_burst_counts_before_a_deadline_that_passed_meanwhile(
    lonely: WorkflowEnvironment, at_work: Shift
) -> None:
    """However many come before it: it was recorded before the deadline took effect."""
    target = await left_alone(lonely, at_work, policy={"requirements_window": "PT2S"})

    await send(target, (bad(number) for number in range(BURST - 1)))
    await fired(target)
    await target.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})
    async with at_work():
        found = await until(target, lambda found: found.rejected_count >= BURST - 1)
        found = await until(target, lambda found: found.stage != "awaiting_requirements")
        await target.terminate("seen")

    assert found.stage == "freelancer_review"
    assert found.late_by is not None


async def test_update_behind_a_burst_is_answered_in_its_turn(
    target: Handle, at_work: Shift
) -> None:
    """What came before it makes it possible; what is no message is refused at once."""
    sent = target.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})

    await send(target, (bad(number) for number in range(BURST - 1)))
    await sent
    async with at_work():
        broken = asyncio.create_task(rejection(target, "deliver", {}))
        early = asyncio.create_task(rejection(target, "withdraw_cancellation", {"by": CLIENT}))
        receipt = await target.execute_update("deliver", {"by": FREELANCER}, result_type=Receipt)
        errors = await asyncio.gather(broken, early)
        found = await status(target)
        await target.terminate("seen")

    assert receipt.stage == found.stage == "delivered"
    assert [error.type for error in errors] == ["INVALID_MESSAGE", "NOT_ALLOWED_NOW"]
    assert found.rejected_count == BURST - 1


async def test_decision_at_the_end_of_a_burst_is_carried_out(
    lonely: WorkflowEnvironment, target: Handle, at_work: Shift, books: Services
) -> None:
    """The fresh history begins while money moves, a date is looked up, and both are to be told."""
    await send(target, (bad(number) for number in range(BURST - 1)))
    await target.signal("give_refund", {"by": FREELANCER})
    async with at_work():
        found = await until(target, lambda found: found.refund is not None)
        told = await until_told(books, found.purchase_id, "freelancer_gave_refund")
        await target.terminate("seen")

    assert (found.reason, found.escrow.in_transit) == ("freelancer_gave_refund", PRICE)
    assert told == {"client", "freelancer"}
    runs = await whole_history(lonely.client, target)
    assert len(runs) > 1
    assert not failed_tasks(runs)
