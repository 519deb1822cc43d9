"""How long a workflow task takes inside the worker, from its coming in to its answer's going out:
ours against the same story in a plain, sandboxed workflow. The SDK measures it. The first of a
workflow is told apart: it is the one for which a sandbox loads what the workflow imports."""

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

PLAYS = 15
ROUNDS = 5
LATENCY = "temporal_workflow_task_execution_latency"
NOTED_EVERY = 0.2
Play = Callable[[], Awaitable[None]]


async def timed(serve: sides.Serve, place: sides.Place, ready: Event) -> None:
    """A side's worker that notes how long each of its workflow tasks took."""
    buffer = MetricBuffer(100_000, MetricBufferDurationFormat.SECONDS)
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(metrics=buffer)))
    working = asyncio.ensure_future(serve(place, ready))
    with _notes(place).open("a", buffering=1) as notes:
        while not working.done():
            await asyncio.sleep(NOTED_EVERY)
            for update in buffer.retrieve_updates():
                if update.metric.name == LATENCY:
                    print(json.dumps(update.value), file=notes)


def _notes(place: sides.Place) -> Path:
    return place.folder / "latencies"


async def milliseconds(play: Play, place: sides.Place) -> dict[str, float]:
    """Of the tasks of some purchases, played one after the other: the median, that of their first
    ones, and all together for one purchase."""
    played = [await _one(play, place) for _ in range(PLAYS)]
    took = [each for one in played for each in one]
    return {
        "p50": statistics.median(took),
        "first": statistics.median(one[0] for one in played),
        "together": sum(took) / PLAYS,
    }


async def _one(play: Play, place: sides.Place) -> list[float]:
    """Of each task of one purchase, in order."""
    before = _notes(place).stat().st_size
    await play()
    await asyncio.sleep(2 * NOTED_EVERY)
    with _notes(place).open() as notes:
        notes.seek(before)
        return [json.loads(line) * 1000 for line in notes]


async def ours(client: Client) -> None:
    """An approved refund."""
    await (await approved(client)).result()


async def theirs(client: Client) -> None:
    """The same, as far as it goes without waiting for a day."""
    party = plain.Party(id="ana", name="Ana", email="ana@example.com")
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


async def measure() -> list[Finding]:
    """One at a time, with activities that do nothing on both sides."""
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        async with embedded.server() as server:
            address = embedded.address(server.client)
            mine, other = sides.Place(address, Path(here)), sides.Place(address, Path(there))
            client = await Client.connect(address, data_converter=pydantic_data_converter)
            with (
                sides.at_work(partial(timed, sides.workflow_alone), mine),
                sides.at_work(partial(timed, sides.plain_worker), other),
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
