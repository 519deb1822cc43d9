"""Money moves exactly once when workers are killed, databases lock or no worker runs at a
deadline."""

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

from activities.requests import TASK_QUEUE
from activities.services import Services
from demo.runner import Handle, send, skip, start, status, until
from demo.scenarios import PRICE
from temporal import embedded
from tests.conftest import settings
from tests.purchases import CLIENT, FREELANCER, purchase
from worker import build_worker
from workflows import activity_calls, notifying
from workflows.messages import Role

FIRED = EventType.EVENT_TYPE_TIMER_FIRED
RUNNING = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A ledger, provider and mailbox that the test shares with its workers."""
    services = Services(settings(tmp_path))
    yield services
    services.close()


@asynccontextmanager
async def process(bare_server: WorkflowEnvironment, folder: Path) -> AsyncIterator[int]:
    """A worker process; its process id. Killed at the end if it still runs."""
    given = settings(folder)
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.worker_process",
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": embedded.address(bare_server.client),
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
async def running_worker(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> AsyncIterator[None]:
    """A worker in this process for the duration of the block."""
    async with build_worker(bare_server.client, services, threads):
        yield


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the write lock of an SQLite database."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


async def event(handle: Handle, kind: EventType.ValueType, at_least: int = 1) -> None:
    """Wait until the history has at least this many events of a kind."""
    seen = 0
    async for found in handle.fetch_history_events(wait_new_event=True):
        seen += found.event_type == kind
        if seen >= at_least:
            return


async def activity_started(handle: Handle, activity: str) -> None:
    """Wait until a worker has started an activity."""
    while True:
        described = await handle.describe()
        pending = described.raw_description.pending_activities
        if any(
            a.activity_type.name == activity and a.HasField("last_started_time") for a in pending
        ):
            return
        await asyncio.sleep(0.05)


async def seen(client: Client, query: str) -> list[WorkflowExecution]:
    """Wait until the server lists workflows for this query."""
    while not (found := [one async for one in client.list_workflows(query)]):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return found


async def test_a_purchase_goes_on_after_its_worker_is_killed_while_it_waits(
    bare_server: WorkflowEnvironment, services: Services, tmp_path: Path
) -> None:
    """The worker is killed (`kill -9`) while the purchase waits; the next worker goes on from
    there."""
    async with process(bare_server, tmp_path) as pid:
        handle = await start(bare_server.client, purchase())
        await until(handle, lambda found: found.payment == "held")
        os.kill(pid, signal.SIGKILL)
    await handle.signal("cancel", {"by": FREELANCER})

    async with process(bare_server, tmp_path):
        await skip(bare_server, handle)
        result = await handle.result()

    assert result.reason == "freelancer_cancelled"
    assert_money_moved_once(services, result.purchase_id)


@pytest.mark.parametrize(
    ("activity", "database"),
    [("post_decision", "recourse.db"), ("send_refund", "sandbox.db")],
)
async def test_money_moves_once_when_the_worker_is_killed_during_a_refund(
    activity: str,
    database: str,
    bare_server: WorkflowEnvironment,
    services: Services,
    tmp_path: Path,
) -> None:
    """The worker is killed (`kill -9`) during the call to the ledger or to the provider."""
    async with process(bare_server, tmp_path) as pid:
        handle = await start(bare_server.client, purchase())
        held = await until(handle, lambda found: found.payment == "held")
        if activity == "send_refund":  # or the look at the provider before the decision would wait
            services.ledger.decide(
                key=f"{handle.id}/refund",
                purchase_id=held.purchase_id,
                refund=PRICE,
                release=0,
                currency="USD",
                at=held.timeline[-1].at,
            )
        with locked(tmp_path / database):
            await handle.signal("give_refund", {"by": FREELANCER})
            await activity_started(handle, activity)
            os.kill(pid, signal.SIGKILL)

    async with process(bare_server, tmp_path):
        await skip(bare_server, handle)
        result = await handle.result()

    assert result.refunded == PRICE
    assert_money_moved_once(services, result.purchase_id)


def assert_money_moved_once(services: Services, purchase_id: str) -> None:
    """Check the ledger for one hold, refund and settlement, and the provider for one charge and one
    refund."""
    assert [t.key.split("/")[1] for t in services.ledger.transfers(purchase_id)] == [
        "hold",
        "refund",
        "settled",
    ]
    assert len(services.provider.statement().charges) == 1
    assert len(services.provider.statement().refunds) == 1
    assert services.ledger.audit() == []


async def test_a_message_recorded_before_the_deadline_took_effect_counts(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """Requirements that are sent after the deadline, while no worker was running to act on it, are
    accepted and marked as late."""
    handle = await start(bare_server.client, purchase(policy={"requirements_window": "PT2S"}))
    async with running_worker(bare_server, services, threads):
        await until(handle, lambda found: found.payment == "held")
    await event(handle, FIRED)

    await handle.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})
    async with running_worker(bare_server, services, threads):
        found = await until(handle, lambda found: found.stage != "awaiting_requirements")

        assert found.stage == "freelancer_review"
        assert found.late_by is not None
        assert found.late_by > 0
        await handle.terminate("seen")


async def test_a_message_after_the_deadline_took_effect_is_rejected(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """Requirements that are sent after the purchase has acted on the deadline are rejected with the
    reason."""
    async with running_worker(bare_server, services, threads):
        handle = await start(bare_server.client, purchase(policy={"requirements_window": "PT2S"}))
        await until(handle, lambda found: found.stage == "settling")

        await handle.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})

        found = await until(handle, lambda found: found.rejected_count == 1)
        assert found.rejected[0].code == "ALREADY_SETTLED"
        assert "requirements_timeout" in found.rejected[0].text
        await handle.terminate("seen")


async def test_messages_sent_before_any_worker_runs_all_count_in_order(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """Start, requirements, cancellation and decision are sent before any worker runs."""
    bought = purchase()
    handle = await bare_server.client.start_workflow(
        "ProjectPurchase",
        bought,
        id=f"purchase-{bought.purchase_id}",
        task_queue=TASK_QUEUE,
        start_signal="submit_requirements",
        start_signal_args=[{"by": CLIENT, "requirements": "A logo."}],
    )
    await handle.signal("cancel", {"by": CLIENT})
    await handle.signal("decide_refund", {"by": FREELANCER, "decision": "approve"})

    async with running_worker(bare_server, services, threads):
        await skip(bare_server, handle)
        found = await status(handle)

    assert (found.outcome, found.reason) == ("refunded", "refund_approved")
    transitions = [entry.transition for entry in found.timeline]
    assert transitions[:4] == [
        "purchased",
        "requirements_submitted",
        "client_cancelled",
        "refund_approved",
    ]
    assert_money_moved_once(services, bought.purchase_id)


async def test_while_the_database_is_down_the_decision_stands_and_the_purchase_asks_for_attention(
    bare_server: WorkflowEnvironment,
    threads: ThreadPoolExecutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refund is decided while the ledger is locked. The purchase asks for attention and waits,
    other messages are accepted, and an operator's retry resumes it."""
    monkeypatch.setattr(activity_calls, "BLOCKED_AFTER", timedelta(seconds=1))
    services = Services(settings(tmp_path, patience=0.01))
    async with running_worker(bare_server, services, threads):
        handle = await start(bare_server.client, purchase())
        await until(handle, lambda found: found.payment == "held")
        with locked(tmp_path / "recourse.db"):
            await send(handle, Role.FREELANCER, "give_refund")
            found = await until(handle, lambda found: bool(found.attention))
            assert found.attention[0].kind == "effect_blocked"
            assert found.reason == "freelancer_gave_refund"
            assert found.escrow.held == PRICE
            await send(handle, Role.CLIENT, "send_message", text="Is it on its way?")

        await send(handle, Role.OPERATOR, "resolve_attention", action="retry")
        await skip(bare_server, handle)
        result = await handle.result()

    assert result.refunded == PRICE
    assert_money_moved_once(services, result.purchase_id)
    services.close()


@pytest.mark.parametrize("taken", [False, True], ids=["free id", "id taken by a stranger"])
async def test_while_mail_is_down_money_moves_and_deadlines_take_effect(
    bare_server: WorkflowEnvironment, threads: ThreadPoolExecutor, tmp_path: Path, taken: bool
) -> None:
    """While the mail server is down the purchase ends with the right money, and another workflow
    takes over the notices that are still pending, also if its id is taken."""
    mail_down = replace(settings(tmp_path), mail_url="smtp://127.0.0.1:1")
    services = Services(mail_down)
    async with running_worker(bare_server, services, threads):
        handle = await start(bare_server.client, purchase())
        await until(handle, lambda found: found.payment == "held")
        await send(handle, Role.FREELANCER, "give_refund")
        sent = await until(handle, lambda found: found.refund is not None)
        assert sent.refund is not None
        if taken:
            child_id = f"{handle.id}/notices/{(await handle.describe()).run_id}"
            await bare_server.client.start_workflow("Stranger", id=child_id, task_queue="nobody")
        settle_refund = {"refund_id": sent.refund.refund_id, "status": "settled"}
        await send(handle, Role.PAYMENTS, "settlement_update", **settle_refund)
        await skip(bare_server, handle)
        result = await handle.result()

        query = f"WorkflowType='PurchaseNotices' AND WorkflowId STARTS_WITH '{handle.id}/'"
        left = await seen(bare_server.client, query)
        await bare_server.client.get_workflow_handle(left[0].id).terminate("seen")

    assert result.refunded == PRICE
    assert len(left) == 1
    assert {notice.status for notice in services.notices.list(result.purchase_id)} == {"pending"}
    assert_money_moved_once(services, result.purchase_id)
    services.close()


async def test_undeliverable_notices_are_shown_and_limited_in_number(
    bare_server: WorkflowEnvironment,
    threads: ThreadPoolExecutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A notice is retried for a day and then shown as undelivered. A party that sends many messages
    meanwhile does not exceed the limit on pending notices."""
    monkeypatch.setattr(notifying, "GIVE_UP_AFTER", timedelta(0))
    monkeypatch.setattr(notifying, "AT_LEAST", timedelta(seconds=6))
    services = Services(replace(settings(tmp_path), mail_url="smtp://127.0.0.1:1"))
    async with running_worker(bare_server, services, threads):
        handle = await start(bare_server.client, purchase())
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
    services.close()


async def test_a_purchase_cancelled_before_any_worker_runs_refunds_the_client(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """The platform cancels a purchase before any worker runs: what the client pays is refunded."""
    handle = await start(bare_server.client, purchase())
    await handle.cancel()

    async with running_worker(bare_server, services, threads):
        await skip(bare_server, handle)
        result = await handle.result()

    assert result.reason == "cancelled_by_platform"
    assert result.refunded == PRICE
    assert_money_moved_once(services, result.purchase_id)
