"""Money comes before reminders and the audit while tasks wait for a worker."""

import asyncio
import uuid
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import Priority
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.purchases import held
from workflows import priorities

REMINDERS = 80
served: list[str] = []


@activity.defn
async def serve(what: str) -> str:
    served.append(what)
    return activity.info().priority.fairness_key or ""


@workflow.defn
class Flood:
    """Asks for many reminders, then for one movement of money, all on a queue without a worker."""

    @workflow.run
    async def run(self, queue: str) -> str:
        asked = [
            workflow.start_activity(
                serve,
                what,
                task_queue=queue,
                start_to_close_timeout=timedelta(seconds=30),
                priority=priority,
            )
            for what, priority in [
                *(("reminder", priorities.REMINDERS) for _ in range(REMINDERS)),
                ("money", priorities.MONEY),
            ]
        ]
        return (await asyncio.gather(*asked))[-1]


async def test_money_is_served_before_reminders_that_wait_longer(
    bare_server: WorkflowEnvironment,
) -> None:
    client, queue = bare_server.client, f"flood-{uuid.uuid4()}"
    served.clear()
    async with Worker(
        client, task_queue=queue, workflows=[Flood], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        flood = await client.start_workflow(
            Flood.run,
            f"{queue}-slow",
            id=queue,
            task_queue=queue,
            priority=Priority(fairness_key="tenant-a"),
        )
        async for event in flood.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_completed_event_attributes"):
                break
        async with Worker(
            client,
            task_queue=f"{queue}-slow",
            activities=[serve],
            max_concurrent_activities=1,
            max_concurrent_activity_task_polls=1,
        ):
            fairness_key = await flood.result()
    assert served.index("money") < REMINDERS // 4, "a few reminders were on their way"
    assert len(served) == REMINDERS + 1
    assert fairness_key == "tenant-a", "what the caller gave is inherited"


async def test_the_priorities_of_a_purchase(server: WorkflowEnvironment, worker: Worker) -> None:
    handle = await held(server)
    found = {
        event.activity_task_scheduled_event_attributes.activity_type.name: (
            event.activity_task_scheduled_event_attributes.priority.priority_key
        )
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    }
    assert found["take_payment"] == priorities.PAYMENT.priority_key
    assert found["send_notices"] == priorities.MONEY.priority_key
