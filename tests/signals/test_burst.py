"""A burst of signals while no worker runs: all of them arrive in the first task of the next worker.

`RECOURSE_BURST=10000 pytest tests/signals/test_burst.py` sends as many as the server accepts in one
run; the normal suite sends fewer. `test_flood` sends while a worker runs.
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
from demo.runner import POLL_EVERY, Handle, skip, start, status, until
from demo.scenarios import PRICE
from temporal import embedded
from tests.conftest import settings
from tests.purchases import CLIENT, FREELANCER, purchase, rejection
from tests.signals.payloads import failed_tasks, whole_history
from tests.signals.sample_signals import GOOD_COUNT, Signal, bad, good, is_bad
from worker import build_worker
from workflows.messages import Receipt, Status

BURST = int(os.environ.get("RECOURSE_BURST", "800"))
PARALLEL = 50
LIMITS = {
    "history.maximumSignalsPerExecution": BURST,
    "limit.historyCount.suggestContinueAsNew": BURST // 2,
}
"""The server rejects more signals than the first until the purchase continues as new, and suggests
to do so after as many events as the second. The defaults are 10,000 signals and 4,096 events."""


@pytest.fixture(scope="module")
async def bare_server() -> AsyncIterator[WorkflowEnvironment]:
    """A server without a worker; tests start their own."""
    extra = [f"--dynamic-config-value={name}={value}" for name, value in LIMITS.items()]
    async with embedded.server(skip_time=True, extra=extra) as environment:
        yield environment


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A ledger, provider and mailbox of the test's own."""
    services = Services(settings(tmp_path))
    yield services
    services.close()


class WorkerFactory:
    """Runs a worker for the duration of a block."""

    def __init__(
        self, bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
    ) -> None:
        self._given = (bare_server.client, services, threads)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        async with build_worker(*self._given):
            yield


@pytest.fixture
def run_worker(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> WorkerFactory:
    """Starts a worker when the test needs one."""
    return WorkerFactory(bare_server, services, threads)


@pytest.fixture
async def target(bare_server: WorkflowEnvironment, run_worker: WorkerFactory) -> Handle:
    """A purchase whose money is in escrow and whose worker has stopped."""
    return await purchase_without_worker(bare_server, run_worker)


async def purchase_without_worker(
    bare_server: WorkflowEnvironment, run_worker: WorkerFactory, **changed: Any
) -> Handle:
    """Start a purchase, and stop its worker when its money is in escrow."""
    handle = await start(bare_server.client, purchase(**changed))
    async with run_worker():
        await until(handle, lambda found: found.payment == "held")
    return handle


def burst_of_signals() -> Iterator[Signal]:
    """A burst of bad signals. Every fifth repeats an accepted message; a few good ones are among
    the rest."""
    for number in range(BURST):
        if number % (BURST // GOOD_COUNT) == 0:
            yield good(number)
        else:
            yield good(0) if number % 5 == 0 else bad(number)


async def send(handle: Handle, signals: Iterable[Signal]) -> int:
    """Send signals concurrently; how many the server accepted."""
    gate = asyncio.Semaphore(PARALLEL)

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


async def timer_fired(handle: Handle) -> None:
    """Wait until a timer of the purchase has fired."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_TIMER_FIRED:
            return


async def until_notified(services: Services, purchase_id: str, transition: str) -> set[str]:
    """Wait until a notice of a transition is logged; the roles that are notified."""
    notified: set[str] = set()
    while not notified:
        await asyncio.sleep(POLL_EVERY)
        notices = services.notices.list(purchase_id)
        notified = {notice.role for notice in notices if notice.transition == transition}
    return notified


def accepted(found: Status) -> int:
    """How many messages were accepted since the payment was held."""
    return found.timeline[-1].number - len({"purchased", "payment_held"})


async def test_a_burst_of_bad_signals_changes_nothing_and_hides_no_good_one(
    bare_server: WorkflowEnvironment, target: Handle, run_worker: WorkerFactory
) -> None:
    """Every rejected signal is counted, every good message is accepted, and the refund arrives."""
    signals = list(burst_of_signals())
    rejected = sum(map(is_bad, signals))

    await send(target, signals)
    async with run_worker():
        found = await until(target, lambda found: found.rejected_count >= rejected)
        assert found.rejected_count == rejected
        assert accepted(found) == GOOD_COUNT
        await skip(bare_server, target)
        result = await target.result()

    assert (result.reason, result.refunded) == ("requirements_timeout", PRICE)
    assert not failed_tasks(await whole_history(bare_server.client, target))


async def test_every_good_message_of_a_burst_is_accepted_once(
    bare_server: WorkflowEnvironment, target: Handle, run_worker: WorkerFactory
) -> None:
    """Every message that the server accepted is in the timeline once; a sender gets an error for
    one that it did not accept."""
    signals = [good(number) for number in range(BURST)]

    assert await send(target, signals) == BURST
    assert await send(target, [good(BURST)]) == 0
    async with run_worker():
        await until(target, lambda found: accepted(found) >= BURST)
        while not await send(target, [good(BURST)]):
            await status(target)
        found = await until(target, lambda found: accepted(found) > BURST)
        await send(target, signals[-GOOD_COUNT:])
        await target.execute_update("send_message", good(BURST)[1], result_type=Receipt)
        found = await status(target)
        await target.terminate("seen")

    assert accepted(found) == BURST + 1
    assert found.rejected_count == 0
    assert not failed_tasks(await whole_history(bare_server.client, target))


async def test_a_message_behind_a_burst_counts_before_a_deadline_that_passed_meanwhile(
    bare_server: WorkflowEnvironment, run_worker: WorkerFactory
) -> None:
    """A message recorded before the deadline took effect counts, however many come before it."""
    target = await purchase_without_worker(
        bare_server, run_worker, policy={"requirements_window": "PT2S"}
    )

    await send(target, (bad(number) for number in range(BURST - 1)))
    await timer_fired(target)
    await target.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})
    async with run_worker():
        found = await until(target, lambda found: found.rejected_count >= BURST - 1)
        found = await until(target, lambda found: found.stage != "awaiting_requirements")
        await target.terminate("seen")

    assert found.stage == "freelancer_review"
    assert found.late_by is not None


async def test_an_update_is_answered_after_the_signals_before_it(
    target: Handle, run_worker: WorkerFactory
) -> None:
    """An update is accepted because of a signal before it. An unreadable update, and one that is
    not allowed after those signals, are rejected."""
    sent = target.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})

    await send(target, (bad(number) for number in range(BURST - 1)))
    await sent
    async with run_worker():
        broken = asyncio.create_task(rejection(target, "deliver", {}))
        early = asyncio.create_task(rejection(target, "withdraw_cancellation", {"by": CLIENT}))
        receipt = await target.execute_update("deliver", {"by": FREELANCER}, result_type=Receipt)
        errors = await asyncio.gather(broken, early)
        found = await status(target)
        await target.terminate("seen")

    assert receipt.stage == found.stage == "delivered"
    assert [error.type for error in errors] == ["INVALID_MESSAGE", "NOT_ALLOWED_NOW"]
    assert found.rejected_count == BURST - 1


async def test_a_decision_at_the_end_of_a_burst_is_executed(
    bare_server: WorkflowEnvironment, target: Handle, run_worker: WorkerFactory, services: Services
) -> None:
    """The purchase continues as new while money moves, a business day is calculated and two notices
    are pending."""
    await send(target, (bad(number) for number in range(BURST - 1)))
    await target.signal("give_refund", {"by": FREELANCER})
    async with run_worker():
        found = await until(target, lambda found: found.refund is not None)
        notified = await until_notified(services, found.purchase_id, "freelancer_gave_refund")
        while (await target.describe()).run_id == target.first_execution_run_id:  # noqa: ASYNC110
            await asyncio.sleep(POLL_EVERY)
        await target.terminate("seen")

    assert (found.reason, found.escrow.in_transit) == ("freelancer_gave_refund", PRICE)
    assert notified == {"client", "freelancer"}
    runs = await whole_history(bare_server.client, target)
    assert len(runs) > 1
    assert not failed_tasks(runs)
