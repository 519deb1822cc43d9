"""How long a workflow task takes, from its being taken to its being done, as the server saw it:
ours against the same story in a plain, sandboxed workflow."""

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from benchmarks import plain, sides
from benchmarks.lifecycles import approved, numbers
from benchmarks.measure import Finding, in_turn
from starter import embedded

PLAYS = 15
ROUNDS = 5
STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
COMPLETED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED


async def tasks(handle: WorkflowHandle[Any, Any]) -> list[float]:
    """Milliseconds of each of its tasks."""
    begun, took = {}, []
    async for event in handle.fetch_history_events():
        if event.event_type == STARTED:
            begun[event.event_id] = event.event_time.ToNanoseconds()
        elif event.event_type == COMPLETED:
            started = event.workflow_task_completed_event_attributes.started_event_id
            took.append((event.event_time.ToNanoseconds() - begun[started]) / 1e6)
    return took


async def ours(client: Client) -> dict[str, float]:
    """An approved refund, one after the other."""
    took = []
    for _ in range(PLAYS):
        handle = await approved(client)
        await handle.result()
        took += await tasks(handle)
    return {"p50": statistics.median(took)}


async def theirs(client: Client) -> dict[str, float]:
    """The same, as far as it goes without waiting for a day."""
    took = []
    party = plain.Party(id="ana", name="Ana", email="ana@example.com")
    for _ in range(PLAYS):
        number = f"plain-{next(numbers)}"
        start = plain.Start(
            purchase_id=number, client=party, freelancer=party, amount=25_000, settled_on=0
        )
        handle = await client.start_workflow(
            plain.PlainPurchase.run, start, id=number, task_queue=plain.QUEUE
        )
        for message, fields in (
            ("submit_requirements", {}),
            ("cancel", {}),
            ("decide_refund", {"decision": "approve"}),
        ):
            await handle.signal("said", plain.Said(message=message, fields=fields))
        await handle.result()
        took += await tasks(handle)
    return {"p50": statistics.median(took)}


async def measure() -> list[Finding]:
    """One at a time, with activities that do nothing on both sides."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            stack.enter_context(sides.at_work(sides.plain_worker, place))
            stack.enter_context(sides.at_work(sides.workflow_alone, place))
            client = await Client.connect(place.address, data_converter=pydantic_data_converter)
            found = await in_turn(lambda: ours(server.client), lambda: theirs(client), ROUNDS)
    against = "a plain sandboxed workflow"
    return [found["p50"].finding("workflow task, p50", against, 1 / 3, "ms")]
