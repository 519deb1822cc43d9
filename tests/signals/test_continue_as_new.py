"""A purchase continues as new between two notices, so that no message has to wait for it."""

import asyncio

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from demo.runner import POLL_EVERY, status
from temporal.purchases import Purchase
from tests.conftest import LONG_HISTORY
from tests.purchases import FREELANCER, held, purchase_of
from tests.signals.payloads import of_type, whole_history
from tests.signals.sample_signals import good
from workflows import budget
from workflows.messages import SendMessage
from workflows.purchase import ProjectPurchase
from workflows.workflow_state import WorkflowState

EVENTS_OF_A_MESSAGE = 8
"""The fewest events of a message: its task, its update and its notice."""


async def test_a_purchase_continues_as_new_only_while_no_notice_is_being_sent(
    server: WorkflowEnvironment, worker: object
) -> None:
    """The server fails a task that closes a run when an activity result arrives during it. The
    worker then has to replay the whole run, and the next message waits for that."""
    handle = await held(server)
    messages = 3 * LONG_HISTORY // EVENTS_OF_A_MESSAGE

    bought = Purchase(server.client, purchase_of(handle))
    for number in range(messages):
        await bought.send(SendMessage.model_validate(good(number)[1]))
    found = await bought.status()
    await handle.terminate("seen")

    runs = await whole_history(server.client, handle)
    assert len(runs) > 2
    for run in runs[:-1]:
        sent = of_type([run], EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        answered = of_type([run], EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
        assert len(sent) == len(answered)
    assert not of_type(runs[:-1], EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
    accepted_messages = [entry.transition for entry in found.timeline].count("message_sent")
    assert accepted_messages == messages


async def test_a_purchase_whose_carried_state_is_of_a_newer_release_waits_for_it(
    server: WorkflowEnvironment, worker: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It continues as new, and then the build is rolled back: no workflow fails with its money."""

    async def newer(purchase: ProjectPurchase) -> None:
        workflow.continue_as_new({**purchase._state.model_dump(mode="json"), "newer": 1})

    handle = await held(server)
    first = (await handle.describe()).run_id
    with monkeypatch.context() as released:
        released.setattr(ProjectPurchase, "_continue_as_new", newer)
        for number in range(budget.SIGNALS_PER_RUN):
            await handle.signal("send_message", {"by": FREELANCER, "text": f"Message {number}"})
        while (await handle.describe()).run_id == first:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(POLL_EVERY)
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_failed_event_attributes"):
                failure = event.workflow_task_failed_event_attributes.failure
                break
    assert "Deploy the release that wrote it" in failure.message

    readable = type("Newer", (WorkflowState,), {"model_config": {"extra": "ignore"}})
    monkeypatch.setattr("workflows.acceptance.WorkflowState", readable)
    assert (await status(handle)).payment == "held"
    await handle.terminate("seen")
