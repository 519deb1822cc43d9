"""Workers die, databases lock, nobody is there at a deadline: money moves once all the same."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import Client, WorkflowExecution
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import Handle, say, skip, start, status, until
from demo.scenarios import PRICE
from temporal import embedded
from temporal.client import TASK_QUEUE
from tests.conftest import settings
from tests.purchases import CLIENT, FREELANCER, purchase
from worker import build_worker
from workflows import effects, notifying
from workflows.messages import Role

FIRED = EventType.EVENT_TYPE_TIMER_FIRED
RUNNING = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Services]:
    """Books of their own, which the test and the workers share."""
    services = Services(settings(tmp_path))
    yield services
    services.close()


@asynccontextmanager
async def process(lonely: WorkflowEnvironment, folder: Path) -> AsyncIterator[int]:
    """A worker process; its id. Killed at the end if it still lives."""
    given = settings(folder)
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.worker_process",
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": embedded.address(lonely.client),
            "RECOURSE_DATABASE_URL": given.database_url,
            "RECOURSE_MAIL_URL": given.mail_url,
            "RECOURSE_PAYMENTS": given.payments,
        },
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield running.pid
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


@asynccontextmanager
async def at_work(
    lonely: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> AsyncIterator[None]:
    """A worker in this process, for as long as the block lasts."""
    async with build_worker(lonely.client, services, threads):
        yield


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write to a database meanwhile."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


async def event(handle: Handle, kind: EventType.ValueType, at_least: int = 1) -> None:
    """Wait until history has so many events of a kind."""
    seen = 0
    async for found in handle.fetch_history_events(wait_new_event=True):
        seen += found.event_type == kind
        if seen >= at_least:
            return


async def begun(handle: Handle, activity: str) -> None:
    """Wait until a worker has begun an activity."""
    while True:
        described = await handle.describe()
        pending = described.raw_description.pending_activities
        if any(
            a.activity_type.name == activity and a.HasField("last_started_time") for a in pending
        ):
            return
        await asyncio.sleep(0.05)


async def seen(client: Client, query: str) -> list[WorkflowExecution]:
    """Wait until the server lists something."""
    while not (found := [one async for one in client.list_workflows(query)]):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return found


async def test_worker_killed_while_a_purchase_waits(
    lonely: WorkflowEnvironment, books: Services, tmp_path: Path
) -> None:
    """kill -9 while nothing happens: the next worker goes on where the purchase was."""
    async with process(lonely, tmp_path) as pid:
        handle = await start(lonely.client, purchase())
        await until(handle, lambda found: found.payment == "held")
        os.kill(pid, signal.SIGKILL)
    await handle.signal("cancel", {"by": FREELANCER})

    async with process(lonely, tmp_path):
        await skip(lonely, handle)
        result = await handle.result()

    assert result.reason == "freelancer_cancelled"
    check_moved_once(books, result.purchase_id)


@pytest.mark.parametrize(
    ("activity", "database"),
    [("post_decision", "recourse.db"), ("send_refund", "sandbox.db")],
)
async def test_worker_killed_while_it_refunds(
    activity: str, database: str, lonely: WorkflowEnvironment, books: Services, tmp_path: Path
) -> None:
    """kill -9 in the middle of the ledger's or the provider's call: money moves once."""
    async with process(lonely, tmp_path) as pid:
        handle = await start(lonely.client, purchase())
        await until(handle, lambda found: found.payment == "held")
        with locked(tmp_path / database):
            await handle.signal("give_refund", {"by": FREELANCER})
            await begun(handle, activity)
            os.kill(pid, signal.SIGKILL)

    async with process(lonely, tmp_path):
        await skip(lonely, handle)
        result = await handle.result()

    assert result.refunded == PRICE
    check_moved_once(books, result.purchase_id)


def check_moved_once(books: Services, purchase_id: str) -> None:
    """One hold, one refund, one settlement; one charge and one refund at the provider."""
    assert [t.key.split("/")[1] for t in books.ledger.transfers(purchase_id)] == [
        "hold",
        "refund",
        "settled",
    ]
    assert len(books.provider.statement().charges) == 1
    assert len(books.provider.statement().refunds) == 1
    assert books.ledger.audit() == []


async def test_message_recorded_before_the_deadline_took_effect_counts(
    lonely: WorkflowEnvironment, books: Services, threads: ThreadPoolExecutor
) -> None:
    """Races: requirements sent while our worker was down over the deadline are accepted, late."""
    handle = await start(lonely.client, purchase(policy={"requirements_window": "PT2S"}))
    async with at_work(lonely, books, threads):
        await until(handle, lambda found: found.payment == "held")
    await event(handle, FIRED)

    await handle.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})
    async with at_work(lonely, books, threads):
        found = await until(handle, lambda found: found.stage != "awaiting_requirements")

        assert found.stage == "freelancer_review"
        assert found.late_by is not None
        assert found.late_by > 0
        await handle.terminate("seen")


async def test_message_after_the_deadline_took_effect_is_refused(
    lonely: WorkflowEnvironment, books: Services, threads: ThreadPoolExecutor
) -> None:
    """Races: one moment after the deadline has taken effect, the message is refused with why."""
    async with at_work(lonely, books, threads):
        handle = await start(lonely.client, purchase(policy={"requirements_window": "PT2S"}))
        await until(handle, lambda found: found.stage == "settling")

        await handle.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})

        found = await until(handle, lambda found: found.rejected_count == 1)
        assert found.rejected[0].code == "ALREADY_SETTLED"
        assert "requirements_timeout" in found.rejected[0].text
        await handle.terminate("seen")


async def test_messages_before_any_worker_is_up_are_heard(
    lonely: WorkflowEnvironment, books: Services, threads: ThreadPoolExecutor
) -> None:
    """Start, requirements and cancel race before the worker is even up: all count, in order."""
    bought = purchase()
    handle = await lonely.client.start_workflow(
        "ProjectPurchase",
        bought,
        id=f"purchase-{bought.purchase_id}",
        task_queue=TASK_QUEUE,
        start_signal="submit_requirements",
        start_signal_args=[{"by": CLIENT, "requirements": "A logo."}],
    )
    await handle.signal("cancel", {"by": CLIENT})
    await handle.signal("decide_refund", {"by": FREELANCER, "decision": "approve"})

    async with at_work(lonely, books, threads):
        await skip(lonely, handle)
        found = await status(handle)

    assert (found.outcome, found.reason) == ("refunded", "refund_approved")
    told = [entry.transition for entry in found.timeline]
    assert told[:4] == [
        "purchased",
        "requirements_submitted",
        "client_cancelled",
        "refund_approved",
    ]
    check_moved_once(books, bought.purchase_id)


async def test_database_away_the_decision_stands_and_the_purchase_says_so(
    lonely: WorkflowEnvironment,
    threads: ThreadPoolExecutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Races: database down → the decision stands, the purchase says so and waits."""
    monkeypatch.setattr(effects, "BLOCKED_AFTER", timedelta(seconds=1))
    books = Services(settings(tmp_path, patience=0.01))
    async with at_work(lonely, books, threads):
        handle = await start(lonely.client, purchase())
        await until(handle, lambda found: found.payment == "held")
        with locked(tmp_path / "recourse.db"):
            await say(handle, Role.FREELANCER, "give_refund")
            found = await until(handle, lambda found: bool(found.attention))
            assert found.attention[0].kind == "effect_blocked"
            assert found.reason == "freelancer_gave_refund"
            assert found.escrow.held == PRICE
            await say(handle, Role.CLIENT, "send_message", text="Is it on its way?")

        await say(handle, Role.OPERATOR, "resolve_attention", action="retry")
        await skip(lonely, handle)
        result = await handle.result()

    assert result.refunded == PRICE
    check_moved_once(books, result.purchase_id)
    books.close()


async def test_mail_away_money_and_clocks_go_on(
    lonely: WorkflowEnvironment, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """Races: notification channel down → the purchase ends with the right money all the same, and
    what was left to tell is handed on."""
    nobody_listens = replace(settings(tmp_path), mail_url="smtp://127.0.0.1:1")
    books = Services(nobody_listens)
    async with at_work(lonely, books, threads):
        handle = await start(lonely.client, purchase())
        await until(handle, lambda found: found.payment == "held")
        await say(handle, Role.FREELANCER, "give_refund")
        sent = await until(handle, lambda found: found.refund is not None)
        assert sent.refund is not None
        arrived = {"refund_id": sent.refund.refund_id, "status": "settled"}
        await say(handle, Role.PAYMENTS, "settlement_update", **arrived)
        await skip(lonely, handle)
        result = await handle.result()

        query = f"WorkflowType='PurchaseNotices' AND WorkflowId STARTS_WITH '{handle.id}/'"
        left = await seen(lonely.client, query)
        await lonely.client.get_workflow_handle(left[0].id).terminate("seen")

    assert result.refunded == PRICE
    assert len(left) == 1
    assert {notice.status for notice in books.notices.list(result.purchase_id)} == {"pending"}
    check_moved_once(books, result.purchase_id)
    books.close()


async def test_notices_that_cannot_be_delivered_are_shown_and_bounded(
    lonely: WorkflowEnvironment,
    threads: ThreadPoolExecutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Races: a notice is retried for a day, then shown as undelivered; a party who writes a lot
    meanwhile overruns nothing."""
    monkeypatch.setattr(notifying, "GIVE_UP_AFTER", timedelta(0))
    monkeypatch.setattr(notifying, "AT_LEAST", timedelta(seconds=6))
    books = Services(replace(settings(tmp_path), mail_url="smtp://127.0.0.1:1"))
    async with at_work(lonely, books, threads):
        handle = await start(lonely.client, purchase())
        await until(handle, lambda found: found.payment == "held")
        hello = {"by": CLIENT, "text": "Hello?"}
        await asyncio.gather(*(handle.signal("send_message", hello) for _ in range(80)))

        too_many = "too many notices were waiting"
        await until(handle, lambda found: too_many in {item.why for item in found.undelivered})
        pending = (await handle.describe()).raw_description.pending_activities
        last = await until(
            handle,
            lambda found: (
                len(found.undelivered) == 50
                and any("Connect" in item.why for item in found.undelivered)
            ),
        )
        await handle.terminate("seen")

    assert len(pending) <= 50
    assert last.stage == "awaiting_requirements"
    books.close()


async def test_cancelled_before_any_worker_is_up(
    lonely: WorkflowEnvironment, books: Services, threads: ThreadPoolExecutor
) -> None:
    """The platform cancels a purchase that nobody has begun: it ends well, and nobody has paid
    without getting it back."""
    handle = await start(lonely.client, purchase())
    await handle.cancel()

    async with at_work(lonely, books, threads):
        await skip(lonely, handle)
        result = await handle.result()

    assert result.reason == "cancelled_by_platform"
    assert result.refunded == PRICE
    check_moved_once(books, result.purchase_id)
