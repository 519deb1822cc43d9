"""What a caller can set on the start of a workflow: what could lose or block money is rejected
before money moves, with the setting named; the rest works."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import (
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.common import (
    Priority,
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.keys import workflow_id_of
from activities.requests import TASK_QUEUE
from activities.services import Services
from demo.runner import Handle, until
from temporal.executions import executions
from temporal.listing import known
from temporal.purchases import Purchase
from tests.purchases import FREELANCER, input_error, purchase
from workflows import acceptance, view
from workflows.acceptance import ADOPTED_RUN
from workflows.messages import PurchaseResult

pytestmark = pytest.mark.usefixtures("worker")

DAY = timedelta(days=1)


async def started(server: WorkflowEnvironment, **options: Any) -> Handle:
    """A purchase, started with these settings."""
    terms = purchase()
    workflow_id = workflow_id_of(terms.purchase_id)
    await server.client.start_workflow(
        "ProjectPurchase", terms, id=workflow_id, task_queue=TASK_QUEUE, **options
    )
    return server.client.get_workflow_handle(workflow_id, result_type=PurchaseResult)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"cron_schedule": "@every 1s"}, "a cron schedule"),
        ({"execution_timeout": 30 * DAY}, "an execution timeout"),
        ({"run_timeout": 30 * DAY}, "a run timeout"),
        ({"task_timeout": timedelta(seconds=1)}, "a task timeout under 10 s"),
    ],
    ids=["cron", "execution timeout", "run timeout", "task timeout"],
)
async def test_a_start_that_the_server_would_end_or_repeat_is_rejected_before_money_moves(
    server: WorkflowEnvironment, services: Services, option: dict[str, Any], named: str
) -> None:
    """With a cron schedule, the server would give a second run the input as its state. With a short
    task timeout, the purchase would stand still on a busy worker."""
    first = await started(server, **option)
    bought = Purchase(server.client, first.id.removeprefix("purchase-"))
    while (why := await bought.input_error()) is None:
        found = await first.describe()
        if found.status is WorkflowExecutionStatus.RUNNING and "cron_schedule" in option:
            history = [event async for event in first.fetch_history_events()]
            begun = history[0].workflow_execution_started_event_attributes
            if begun.continued_execution_run_id:  # cron has begun the next run
                why = begun.continued_failure.message
                await first.terminate("seen")
                break
        await asyncio.sleep(0.05)
    assert f"start it without {named}" in why
    assert services.provider.find_charge(f"{first.id}/hold") is None


async def test_a_start_under_another_workflow_id_says_which_one_a_purchase_has(
    server: WorkflowEnvironment,
) -> None:
    """A corrected input under the same id would be rejected again. It is no purchase, so `recourse
    restore` does not look for its money."""
    terms = purchase()
    handle = await server.client.start_workflow(
        "ProjectPurchase", terms, id=f"order-{terms.purchase_id}", task_queue=TASK_QUEUE
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.message == (
        f"The start of the workflow order-{terms.purchase_id} was rejected, and no money moved: "
        f"Purchase {terms.purchase_id} must run as purchase-{terms.purchase_id}, not "
        f"order-{terms.purchase_id}. Start it again with the workflow id purchase-<purchase_id>."
    )
    named = f"WorkflowId = '{handle.id}'"
    while not [run async for run in executions(server.client, named)]:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert handle.id not in await known(server.client)


@workflow.defn
class Checkout:
    """Somebody's workflow that starts a purchase as its child, and ends."""

    @workflow.run
    async def run(self, terms: dict[str, Any], workflow_id: str) -> None:
        """With the SDK's defaults."""
        await workflow.start_child_workflow(
            "ProjectPurchase", terms, id=workflow_id, task_queue=TASK_QUEUE
        )
        await workflow.wait_condition(lambda: False)


async def test_a_purchase_that_would_end_with_its_parent_is_rejected_before_money_moves(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A child workflow is terminated with its parent by default, with the money inside."""
    terms = purchase()
    workflow_id = workflow_id_of(terms.purchase_id)
    queue, runner = "checkouts", UnsandboxedWorkflowRunner()
    client = server.client
    async with Worker(client, task_queue=queue, workflows=[Checkout], workflow_runner=runner):
        parent = await client.start_workflow(
            Checkout.run,
            args=[terms.model_dump(mode="json"), workflow_id],
            id=f"checkout-{terms.purchase_id}",
            task_queue=queue,
        )
        child = client.get_workflow_handle(workflow_id, result_type=PurchaseResult)
        while not await Purchase(client, terms.purchase_id).newest():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert "start it without a parent workflow" in await input_error(child)
        await parent.terminate("seen")
    assert services.provider.find_charge(f"{workflow_id}/hold") is None


@pytest.mark.parametrize(
    "memo", [5, ["run"], {"a": 1}, b"\xff", "x" * 1_500_000], ids=lambda memo: str(memo)[:10]
)
async def test_a_memo_that_names_no_run_is_rejected(
    server: WorkflowEnvironment, services: Services, memo: object
) -> None:
    """The longest would not fit into the request for the state: each task would fail."""
    handle = await started(server, memo={ADOPTED_RUN: memo})
    why = await input_error(handle)
    assert "no money moved" in why
    assert "pydantic" not in why
    assert services.provider.find_charge(f"{handle.id}/hold") is None


CLOSED = TypedSearchAttributes(
    [
        SearchAttributePair(view.STAGE, "closed"),
        SearchAttributePair(view.OUTCOME, "refunded"),
        SearchAttributePair(view.NEEDS_ATTENTION, True),
    ]
)


@pytest.mark.parametrize(
    "option",
    [
        {"retry_policy": RetryPolicy(maximum_attempts=5)},
        {"priority": Priority(priority_key=5, fairness_key="a", fairness_weight=0.001)},
        {"task_timeout": timedelta(hours=1)},
        {"request_eager_start": True},
        {"memo": {"other": "x" * 1_900_000, "terms": 5}},
        {"search_attributes": CLOSED},
        {"start_signal": "cancel", "start_signal_args": [5, 6]},
        {"start_signal": "unknown", "start_signal_args": []},
    ],
    ids=lambda option: next(iter(option)),
)
async def test_a_purchase_takes_place_with_any_other_settings_of_its_caller(
    server: WorkflowEnvironment, option: dict[str, Any]
) -> None:
    """Search attributes that the caller has set are corrected; an invalid signal is rejected."""
    handle = await started(server, **option)
    found = await until(handle, lambda found: found.payment == "held")
    assert found.stage == "awaiting_requirements"
    assert [each.code for each in found.rejected] == {
        "cancel": ["INVALID_MESSAGE"],
        "unknown": ["UNKNOWN_MESSAGE"],
    }.get(option.get("start_signal", ""), [])
    indexed = (await handle.describe()).typed_search_attributes
    assert (indexed.get(view.STAGE), indexed.get(view.NEEDS_ATTENTION)) == (found.stage, False)
    assert indexed.get(view.OUTCOME) is None
    await handle.terminate("seen")


async def test_a_search_attribute_of_another_type_is_rejected_by_the_server(
    server: WorkflowEnvironment,
) -> None:
    """Nothing starts. So is one that nobody has registered."""
    for key in (view.STAGE.name, "Unregistered"):
        wrong = SearchAttributePair(SearchAttributeKey.for_int(key), 7)
        with pytest.raises(RPCError, match=key):
            await started(server, search_attributes=TypedSearchAttributes([wrong]))


async def test_a_signal_with_the_start_is_handled(server: WorkflowEnvironment) -> None:
    """The freelancer cancels a purchase that this signal starts: it is paid, then refunded."""
    cancel = {"start_signal": "cancel", "start_signal_args": [{"by": FREELANCER}]}
    handle = await started(server, **cancel)
    found = await until(handle, lambda found: found.escrow.in_transit > 0)
    assert found.reason == "freelancer_cancelled"


@pytest.mark.parametrize(
    ("payload", "stage"),
    [({"by": FREELANCER}, "settling"), (5, "awaiting_requirements")],
    ids=["valid", "invalid"],
)
async def test_an_update_with_the_start_is_answered(
    server: WorkflowEnvironment, payload: object, stage: str
) -> None:
    """The purchase begins also if the update is rejected."""
    terms = purchase()
    workflow_id = workflow_id_of(terms.purchase_id)
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        "ProjectPurchase",
        terms,
        id=workflow_id,
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
    )
    sent = server.client.execute_update_with_start_workflow(
        "cancel", payload, start_workflow_operation=start
    )
    answers = await asyncio.gather(sent, return_exceptions=True)
    assert isinstance(answers[0], Exception) == (stage == "awaiting_requirements")
    handle = server.client.get_workflow_handle(workflow_id, result_type=PurchaseResult)
    found = await until(handle, lambda found: found.payment == "held")
    assert found.stage == stage


async def test_after_a_start_delay_the_windows_are_whole(
    server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They begin when the workflow starts, not when the caller asked for it."""
    monkeypatch.setattr(acceptance, "DELAYED", timedelta(0))
    delay = timedelta(seconds=2)
    handle = await started(server, start_delay=delay)
    while (await handle.describe()).history_length < 5:  # noqa: ASYNC110 - a delay in real time
        await asyncio.sleep(0.1)
    found = await until(handle, lambda found: found.payment == "held")
    first = await anext(handle.fetch_history_events())
    (due,) = (each.at for each in found.deadlines if each.name == "requirements")
    assert due == first.event_time.ToDatetime(due.tzinfo) + delay + 2 * DAY
    await handle.terminate("seen")
