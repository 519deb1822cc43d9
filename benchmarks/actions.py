"""Counts what each scenario costs: events, workflow tasks and billable actions, ours and those of
the plain workflow. The counts come from histories, so they are the same on every machine."""

import asyncio
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

import worker
from activities.services import Services
from benchmarks import plain, sides
from demo.runner import Skips, skip, start, until
from demo.scenarios import (
    PEOPLE,
    PRICE,
    SCENARIOS,
    CancelWorkflow,
    Scenario,
    Send,
    Sleep,
    UntilClosed,
)
from temporal import embedded
from tests.notices.mailbox import quiet

BILLED = {
    "WORKFLOW_EXECUTION_STARTED",
    "TIMER_STARTED",
    "WORKFLOW_EXECUTION_SIGNALED",
    "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
    "ACTIVITY_TASK_SCHEDULED",
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES",
    "MARKER_RECORDED",
    "WORKFLOW_EXECUTION_CONTINUED_AS_NEW",
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
}
"""The events that Temporal Cloud bills as actions. It also bills each further attempt of an
activity. There are no queries here."""


@dataclass(frozen=True)
class Cost:
    """The cost of one scenario. `attempts`: the most attempts that any activity had."""

    events: int
    tasks: int
    actions: int
    attempts: int

    @classmethod
    async def of(cls, handle: WorkflowHandle[Any, Any]) -> "Cost":
        """Count the events of a workflow's history."""
        kinds: Counter[str] = Counter()
        attempts = []
        async for event in handle.fetch_history_events():
            kinds[EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")] += 1
            if event.HasField("activity_task_started_event_attributes"):
                attempts.append(event.activity_task_started_event_attributes.attempt)
        del kinds["WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED"]
        del kinds["WORKFLOW_EXECUTION_OPTIONS_UPDATED"]
        billed = sum(count for kind, count in kinds.items() if kind in BILLED)
        retries = sum(attempts) - len(attempts)
        return cls(kinds.total(), kinds["WORKFLOW_TASK_COMPLETED"], billed + retries, max(attempts))


async def ours(server: Skips, scenario: Scenario) -> Cost:
    """Run a scenario with Recourse; every message is a signal."""
    handle = await start(server.client, scenario.start(f"cost-{scenario.name}"))
    await until(handle, lambda found: found.payment != "pending")
    return await _run(server, scenario, handle, our_signal)


async def theirs(server: Skips, client: Client, scenario: Scenario, days: int) -> Cost:
    """Run a scenario with the plain workflow; its refund takes `days` to settle."""
    start_input = scenario.start("x")
    parties = [
        plain.Party(id=party.id, name=party.name, email=party.email)
        for party in (start_input.client, start_input.freelancer)
    ]
    plain_input = plain.Start(
        purchase_id=scenario.name,
        client=parties[0],
        freelancer=parties[1],
        amount=PRICE,
        declined=scenario.payment_method == "pm_sandbox_declined",
        settled_on=days,
    )
    handle = await client.start_workflow(
        plain.PlainPurchase.run, plain_input, id=f"plain-{scenario.name}", task_queue=plain.QUEUE
    )
    return await _run(server, scenario, handle, plain_signal)


async def our_signal(handle: WorkflowHandle[Any, Any], step: Send) -> None:
    """Send a message to Recourse."""
    payload = {"by": {"role": step.role.value, "id": PEOPLE[step.role]}, **step.fields}
    await handle.signal(step.message, payload)


async def plain_signal(handle: WorkflowHandle[Any, Any], step: Send) -> None:
    """Send a message to the plain workflow."""
    fields = {"by": step.role.value, **step.fields}
    await handle.signal("receive", plain.Received(message=step.message, fields=fields))


async def _run(server: Skips, scenario: Scenario, handle: Any, signal: Any) -> Cost:
    for step in scenario.steps:
        await quiet(handle)
        match step:
            case Send(rejected=None):
                await signal(handle, step)
            case Sleep(duration):
                await skip(server, handle, duration)
            case CancelWorkflow():
                await handle.cancel()
            case UntilClosed():
                await skip(server, handle)
    await handle.result()
    return await Cost.of(handle)


async def measure() -> dict[str, tuple[Cost, Cost]]:
    """The cost of each scenario: ours, and that of the plain workflow."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(20) as threads:
        async with embedded.server(skip_time=True) as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            client = await Client.connect(place.address, data_converter=pydantic_data_converter)
            other = Worker(
                client,
                task_queue=plain.QUEUE,
                workflows=[plain.PlainPurchase],
                activities=[plain.nothing],
                graceful_shutdown_timeout=timedelta(0),
            )
            with closing(Services(place.settings)) as services:
                async with worker.build_worker(server.client, services, threads), other:
                    mine = await asyncio.gather(*(ours(server, scenario) for scenario in SCENARIOS))
                    plainly = await asyncio.gather(
                        *(
                            theirs(server, client, scenario, cost.attempts - 1)
                            for scenario, cost in zip(SCENARIOS, mine, strict=True)
                        )
                    )
    names = (scenario.name for scenario in SCENARIOS)
    return dict(zip(names, zip(mine, plainly, strict=True), strict=True))
