"""What is read from the server about a workflow's execution."""

from datetime import UTC, datetime, timedelta

from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from demo.runner import skip
from temporal.executions import last_event_at
from tests.purchases import held


async def test_the_last_event_has_the_time_of_a_purchase_whose_clock_was_skipped(
    server: WorkflowEnvironment, worker: Worker
) -> None:
    handle = await held(server)
    found = await last_event_at(server.client, handle.id)
    assert found is not None
    assert found < datetime.now(UTC)
    await skip(server, handle, timedelta(hours=30))  # past the reminder of 24 h
    later = await last_event_at(server.client, handle.id)
    assert later is not None
    assert later >= found + timedelta(hours=23)
    assert await last_event_at(server.client, "purchase-unheard-of") is None
