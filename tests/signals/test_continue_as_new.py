"""A purchase continues as new between two notices, so that no message has to wait for it."""

from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from temporal.purchases import Purchase
from tests.conftest import LONG_HISTORY
from tests.purchases import held, purchase_of
from tests.signals.payloads import of_type, whole_history
from tests.signals.sample_signals import good
from workflows.messages import SendMessage

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
