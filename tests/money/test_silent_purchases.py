"""The audit judges each purchase by itself: one that does not answer is a difference of its own,
with what to do about it, and the others are still audited."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities import currencies
from activities.audit import QUERIES_AT_ONCE, reconcile
from activities.keys import workflow_id_of
from activities.requests import Difference, WorkflowPostings
from activities.services import Services
from demo.runner import Handle
from temporal import embedded, purchases
from temporal.client import data_converter
from temporal.directory import TemporalPurchaseDirectory
from temporal.runs import WORKFLOW_TYPE
from tests.conftest import settings
from tests.money.environment import Environment, payment, run
from tests.money.test_audit import FakeDirectory
from tests.purchases import held, purchase, purchase_of
from tests.security.keys import NEW
from worker import build_worker
from workflows.receiving.encrypted import SETTING


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Services]:
    """A ledger and a provider of the test's own."""
    with closing(Services(settings(tmp_path))) as services:
        yield services


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Purchases that do not answer are given up after a second."""
    monkeypatch.setattr(purchases, "ANSWER_WITHIN", timedelta(seconds=1))


@pytest.fixture(scope="module")
async def pausing_server() -> AsyncIterator[WorkflowEnvironment]:
    """A server on which purchases can be paused, without a worker."""
    pauses = ("--dynamic-config-value", "frontend.WorkflowPauseEnabled=true")
    async with embedded.server(skip_time=True, extra=pauses) as environment:
        yield environment


async def started(client: Client, queue: str) -> Handle:
    """A purchase that another program starts on a task queue."""
    terms = purchase()
    handle: Handle = await client.start_workflow(
        WORKFLOW_TYPE,
        terms,
        id=workflow_id_of(terms.purchase_id),
        task_queue=queue,
    )
    return handle


async def pause(handle: Handle, client: Client) -> None:
    """An operator presses Pause in the Web UI."""
    request = PauseWorkflowExecutionRequest(namespace=client.namespace, workflow_id=handle.id)
    await client.workflow_service.pause_workflow_execution(request, retry=True)


async def audited(client: Client, services: Services, *handles: Handle) -> dict[str, Difference]:
    """What the audit finds, by purchase. The listed purchases must all be visible."""
    directory = TemporalPurchaseDirectory(client)
    while not {purchase_of(each) for each in handles} <= (await directory.running()).keys():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    report = await reconcile(services.ledger, services.provider, directory)
    return {str(each.purchase_id): each for each in report.differences}


async def failing_task(handle: Handle) -> None:
    """Wait until a worker has failed the purchase's workflow task."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.HasField("workflow_task_failed_event_attributes"):
            return


async def test_each_silent_purchase_is_a_difference_and_the_rest_is_audited(
    pausing_server: WorkflowEnvironment, own: Services, threads: ThreadPoolExecutor
) -> None:
    """A mistyped task queue, a failing workflow task, a missing key and a pause; and one that was
    terminated with money inside, which the others must not hide."""
    client = pausing_server.client
    with_key = await Client.connect(
        embedded.address(client), data_converter=data_converter({SETTING: NEW})
    )
    paused = await started(client, "project-purchases")
    await pause(paused, client)
    async with build_worker(client, own, threads):
        terminated = await held(pausing_server)
        await terminated.terminate("by mistake")
        mistyped = await started(client, "project-purchase")
        encrypted = await started(with_key, "project-purchases")
        await failing_task(encrypted)
        handles = (paused, mistyped, encrypted)
        found = await audited(client, own, *handles)
        for each in handles:
            await each.terminate("seen")

    def of(handle: Handle) -> str:
        difference = found[purchase_of(handle)]
        assert difference.what.startswith(f"Purchase {purchase_of(handle)} ")
        return f"{difference.what} {difference.what_to_do}"

    assert "recourse adopt" in of(terminated)
    assert "paused by an operator" in of(paused)
    assert "Unpause" in of(paused)
    assert "the task queue 'project-purchase', which no worker serves" in of(mistyped)
    assert "AllowDuplicateFailedOnly" in of(mistyped)
    assert "'2026-11'" in of(encrypted)
    assert SETTING in of(encrypted)


async def test_a_purchase_whose_task_fails_is_a_difference(
    bare_server: WorkflowEnvironment,
    own: Services,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault of the build: the task fails until another build is deployed."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    client = bare_server.client
    monkeypatch.setattr("workflows.purchase.accepted_terms", broken)
    async with build_worker(client, own, threads):
        handle = await started(client, "project-purchases")
        await failing_task(handle)
        found = (await audited(client, own, handle))[purchase_of(handle)]
    await handle.terminate("seen")
    assert "its workflow task fails" in found.what
    assert f"temporal workflow show --workflow-id {handle.id}" in found.what_to_do


@dataclass
class Slow(FakeDirectory):
    """A directory whose queries take a while; counts how many run at once."""

    seconds: float = 0.05
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most: int = 0

    async def check_payment_of(self, purchase_id: str) -> None:
        raise AssertionError("only the daily audit lets purchases look")

    async def postings(self, purchase_id: str) -> WorkflowPostings:
        self.asked.append(purchase_id)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(self.seconds)
        self.at_once -= 1
        return await super().postings(purchase_id)


async def test_silent_purchases_are_asked_side_by_side(environment: Environment) -> None:
    """Ten at once, and each only once in each reading."""
    names = {f"s-{number}" for number in range(50)}
    directory = Slow([names], unavailable=True)
    began = time.monotonic()
    report = await reconcile(environment.ledger, environment.sandbox, directory)
    assert {each.purchase_id for each in report.differences} == names
    assert directory.most == QUERIES_AT_ONCE
    assert sorted(directory.asked) == sorted([*names, *names])
    assert time.monotonic() - began < 50 * directory.seconds


async def test_the_second_reading_asks_only_those_that_differed(environment: Environment) -> None:
    directory = Slow([{"good", "p-1"}])
    directory.recorded = WorkflowPostings(hold=payment(), held=True)
    run(environment.money.take_payment, payment())
    await reconcile(environment.ledger, environment.sandbox, directory)
    assert directory.asked.count("good") == 2
    assert directory.asked.count("p-1") <= 2


async def test_a_currency_that_left_the_table_ends_no_audit(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its amounts are shown in minor units."""
    run(environment.money.take_payment, payment())
    monkeypatch.delitem(currencies.DECIMALS, "USD")
    report = await reconcile(environment.ledger, environment.sandbox, FakeDirectory([set()]))
    (found,) = report.differences
    assert "25000 minor units of USD in escrow" in found.what
