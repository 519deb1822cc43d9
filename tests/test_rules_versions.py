"""Versions of the rules on a real server: open purchases keep theirs when a new one is deployed."""

import asyncio
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from activities.services import Services
from demo.runner import Handle, send, start, status, until
from demo.scenarios import PRICE
from temporal import embedded
from temporal.plugin import RecoursePlugin
from tests.lifecycle.test_versions import a_second_version
from tests.purchases import CLIENT, FREELANCER, purchase, rejection
from worker import WorkerConfig, build_worker
from workflows.lifecycle import versions
from workflows.lifecycle.versions import FIRST, VERSIONS
from workflows.messages import PurchaseResult, Role

SHORT_HISTORY = 40
FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
BY_THE_WORKER = (
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR,
)
RUNBOOK = " ".join(
    (Path(__file__).parents[1] / "docs/operations.md").read_text(encoding="utf-8").split()
)


@pytest.fixture(scope="module")
async def short_history_server() -> AsyncIterator[WorkflowEnvironment]:
    """A server that soon suggests continue-as-new, without a worker; tests start their own."""
    shorter = f"limit.historyCount.suggestContinueAsNew={SHORT_HISTORY}"
    async with embedded.server(
        skip_time=True, extra=("--dynamic-config-value", shorter)
    ) as environment:
        yield environment


@asynccontextmanager
async def deployed(
    client: Client,
    services: Services,
    threads: ThreadPoolExecutor,
    patch: pytest.MonkeyPatch,
    *known: int,
) -> AsyncIterator[None]:
    """A worker that knows these versions of the rules, with the newest one activated. It has to
    replay every open purchase."""
    tables = {FIRST: VERSIONS[FIRST], 2: a_second_version()}
    patch.setattr(versions, "VERSIONS", {version: tables[version] for version in known})
    async with build_worker(client, services, threads, WorkerConfig(rules_version=max(known))):
        yield


async def purchase_in_review(client: Client) -> Handle:
    """A purchase in the review by its freelancer, who may cancel under version 1 of the rules."""
    handle = await start(client, purchase())
    await until(handle, lambda found: found.payment == "held")
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    return handle


async def test_purchases_of_two_versions_run_side_by_side(
    short_history_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The freelancer may cancel a purchase of version 1, and may not cancel one of version 2."""
    client = short_history_server.client
    async with deployed(client, services, threads, monkeypatch, 1):
        old = await purchase_in_review(client)
    async with deployed(client, services, threads, monkeypatch, 1, 2):
        new = await purchase_in_review(client)
        error = await rejection(new, "cancel", {"by": FREELANCER})
        await send(old, Role.FREELANCER, "cancel")
        await send(new, Role.FREELANCER, "give_refund")
        ends = [await settle_refund(old), await settle_refund(new)]

    assert error.type == "WRONG_ROLE"
    assert [end.reason for end in ends] == ["freelancer_cancelled", "freelancer_gave_refund"]
    assert [end.refunded for end in ends] == [PRICE, PRICE]
    assert [await version_attribute(client, handle) for handle in (old, new)] == [None, ["rules-2"]]


async def test_the_version_of_a_purchase_is_found_on_replay(
    bare_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its marker is in the task that validates the terms, which queries would split."""
    async with deployed(bare_server.client, services, threads, monkeypatch, 1, 2):
        handle = await start(bare_server.client, purchase())
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                break
        replayer = Replayer(workflows=[], plugins=[RecoursePlugin()])
        await replayer.replay_workflow(await handle.fetch_history())
        await handle.terminate("seen")


async def settle_refund(handle: Handle) -> PurchaseResult:
    """Report the refund as settled; the purchase's result."""
    await until(handle, lambda found: found.escrow.in_transit == PRICE)
    report = {"refund_id": f"{handle.id}/refund", "status": "settled"}
    await send(handle, Role.PAYMENTS, "settlement_update", **report)
    return await handle.result()


async def version_attribute(client: Client, handle: Handle) -> object:
    """The version search attribute, by which operators find the open purchases of a version."""
    described = await handle.describe()
    return described.search_attributes.get("TemporalChangeVersion")


@pytest.mark.filterwarnings("ignore:coroutine '_WorkflowInstanceImpl")  # of tasks that never ran
async def test_a_purchase_keeps_its_rules_version_and_waits_for_a_worker_that_has_it(
    short_history_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A purchase continues as new under version 2. A worker that was rolled back to version 1 fails
    its task and names the missing version; the next worker that knows it goes on."""
    client = short_history_server.client
    async with deployed(client, services, threads, monkeypatch, 1, 2):
        handle = await purchase_in_review(client)
        first = (await handle.describe()).run_id
        for _ in range(SHORT_HISTORY):
            await handle.signal("send_message", {"by": CLIENT, "text": "Hello?"})
        while (await handle.describe()).run_id == first:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)
    async with deployed(client, services, threads, monkeypatch, 1):
        await handle.signal("send_message", {"by": CLIENT, "text": "Still there?"})
        failed = await failure_message(handle)
    async with deployed(client, services, threads, monkeypatch, 1, 2):
        error = await rejection(handle, "cancel", {"by": FREELANCER})
        found = await status(handle)
        await handle.terminate("seen")

    words = "bought under version 2 of the rules; this worker knows 1"
    assert words in failed
    assert f"`{words}`" in RUNBOOK
    assert error.type == "WRONG_ROLE"
    assert found.timeline[-1].transition == "message_sent"
    assert found.rejected_count == 0
    gc.collect()


@pytest.mark.filterwarnings("ignore:coroutine '_WorkflowInstanceImpl")  # of tasks that never ran
async def test_after_a_rollback_the_task_fails_with_the_words_of_the_runbook(
    short_history_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A purchase that has not continued as new: replay fails before the rules are read. The next
    worker that knows them goes on."""
    client = short_history_server.client
    async with deployed(client, services, threads, monkeypatch, 1, 2):
        handle = await purchase_in_review(client)
    async with deployed(client, services, threads, monkeypatch, 1):
        await handle.signal("send_message", {"by": CLIENT, "text": "Still there?"})
        failed = await failure_message(handle)
    async with deployed(client, services, threads, monkeypatch, 1, 2):
        found = await status(handle)
        await handle.terminate("seen")

    words = "Nondeterminism error: Non-deprecated patch marker encountered for change rules-2"
    assert words in failed
    assert f"`{words}`" in RUNBOOK
    assert found.timeline[-1].transition == "message_sent"
    gc.collect()


async def failure_message(handle: Handle) -> str:
    """The message of the first workflow task that the worker failed."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        failed = event.workflow_task_failed_event_attributes
        if event.event_type == FAILED and failed.cause in BY_THE_WORKER:
            return failed.failure.message
    raise AssertionError("no task failed")
