"""Measures how long a workflow task takes inside the worker, from its arrival to its answer: ours
against the same scenario in a plain, sandboxed workflow. The SDK measures it. The first task of a
workflow is reported separately: in it the sandbox imports the workflow's modules."""

import asyncio
import json
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import (
    MetricBuffer,
    MetricBufferDurationFormat,
    Runtime,
    TelemetryConfig,
)

from benchmarks import plain, sides
from benchmarks.lifecycles import approved, numbers
from benchmarks.measure import Finding, in_turn
from temporal import embedded

PURCHASES = 15
ROUNDS = 5
LATENCY = "temporal_workflow_task_execution_latency"
WRITE_INTERVAL = 0.2
Lifecycle = Callable[[], Awaitable[None]]


async def timed(serve: sides.Serve, place: sides.Place, ready: Event) -> None:
    """Run a side's worker, and write down how long each of its workflow tasks took."""
    buffer = MetricBuffer(100_000, MetricBufferDurationFormat.SECONDS)
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(metrics=buffer)))
    running = asyncio.ensure_future(serve(place, ready))
    with _latencies(place).open("a", buffering=1) as file:
        while not running.done():
            await asyncio.sleep(WRITE_INTERVAL)
            for update in buffer.retrieve_updates():
                if update.metric.name == LATENCY:
                    print(json.dumps(update.value), file=file)


def _latencies(place: sides.Place) -> Path:
    return place.folder / "latencies"


async def milliseconds(lifecycle: Lifecycle, place: sides.Place) -> dict[str, float]:
    """Run purchases one after the other; returns the median task, the median first task, and the
    sum of one purchase."""
    purchases = [await _run_one(lifecycle, place) for _ in range(PURCHASES)]
    took = [task for tasks in purchases for task in tasks]
    return {
        "p50": statistics.median(took),
        "first": statistics.median(tasks[0] for tasks in purchases),
        "together": sum(took) / PURCHASES,
    }


async def _run_one(lifecycle: Lifecycle, place: sides.Place) -> list[float]:
    """Run one purchase; returns the duration of each of its tasks, in order."""
    before = _latencies(place).stat().st_size
    await lifecycle()
    await asyncio.sleep(2 * WRITE_INTERVAL)
    with _latencies(place).open() as file:
        file.seek(before)
        return [json.loads(line) * 1000 for line in file]


async def ours(client: Client) -> None:
    """Run an approved refund."""
    await (await approved(client)).result()


async def theirs(client: Client) -> None:
    """Run the same in the plain workflow, with a refund that settles at once."""
    party = plain.Party(id="ana", name="Ana", email="ana@example.com")
    workflow_id = f"plain-{next(numbers)}"
    start = plain.Start(
        purchase_id=workflow_id, client=party, freelancer=party, amount=25_000, settled_on=0
    )
    handle = await client.start_workflow(
        plain.PlainPurchase.run, start, id=workflow_id, task_queue=plain.QUEUE
    )
    for message, fields in (
        ("submit_requirements", {}),
        ("cancel", {}),
        ("decide_refund", {"decision": "approve"}),
    ):
        await handle.signal("receive", plain.Received(message=message, fields=fields))
    await handle.result()


async def measure() -> list[Finding]:
    """Measure one purchase at a time; activities do nothing on both sides."""
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        async with embedded.server() as server:
            address = embedded.address(server.client)
            mine, other = sides.Place(address, Path(here)), sides.Place(address, Path(there))
            client = await Client.connect(address, data_converter=pydantic_data_converter)
            with (
                sides.running(partial(timed, sides.workflow_alone), mine),
                sides.running(partial(timed, sides.plain_worker), other),
            ):
                found = await in_turn(
                    partial(milliseconds, partial(ours, server.client), mine),
                    partial(milliseconds, partial(theirs, client), other),
                    ROUNDS,
                )
    against = "a plain sandboxed workflow"
    return [
        found["p50"].finding("workflow task inside the worker, p50", against, 1 / 3, "ms"),
        found["first"].finding("first workflow task of a purchase, p50", against, 1 / 3, "ms"),
        found["together"].finding("all workflow tasks of a purchase together", against, 1, "ms"),
    ]
