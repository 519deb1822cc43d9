"""Why the worker is set as it is: each setting changed, against the worker as it is."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from temporalio.worker import PollerBehaviorAutoscaling, PollerBehaviorSimpleMaximum

import worker
from benchmarks import sides
from benchmarks.measure import Finding, Pair, in_turn
from benchmarks.peers.compare import sample
from benchmarks.peers.noted import Watched, watching
from benchmarks.peers.ours import Ours, our_worker
from temporal import embedded

ROUNDS = 2

CHANGES: dict[str, dict[str, Any]] = {
    "two pollers for each kind of task": {"POLLERS": PollerBehaviorSimpleMaximum(2)},
    "twenty pollers for each kind of task": {"POLLERS": PollerBehaviorSimpleMaximum(20)},
    "as many pollers as the SDK thinks fit": {"POLLERS": PollerBehaviorAutoscaling()},
    "100 slots for activities": {"ACTIVITY_THREADS": 100},
    "a cache of 20 purchases": {"CACHED_WORKFLOWS": 20},
    "Python's own thresholds for garbage": {"GC_THRESHOLDS": (700, 10, 10)},
}


async def changed(constants: dict[str, Any], place: sides.Place, ready: Event) -> None:
    """The worker with other settings."""
    for name, value in constants.items():
        setattr(worker, name, value)
    await our_worker(place, ready)


@asynccontextmanager
async def at_work(folder: Path, serve: sides.Serve) -> AsyncIterator[tuple[Ours, Watched]]:
    """A worker with a server of its own."""
    async with embedded.server() as server:
        place = sides.Place(embedded.address(server.client), folder)
        with sides.at_work(serve, place):
            async with watching(place.folder) as watched:
                yield Ours(server.client), watched


async def measure() -> list[Finding]:
    """Each change, in turn with the worker as it is."""
    findings = []
    for name, constants in CHANGES.items():
        with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
            async with (
                at_work(Path(here), our_worker) as ours,
                at_work(Path(there), partial(changed, constants)) as other,
            ):
                found = await in_turn(
                    partial(sample, *ours), partial(sample, *other), ROUNDS, warm_up=False
                )
        findings += _findings(name, found)
    return findings


def _findings(change: str, found: dict[str, Pair]) -> list[Finding]:
    late = "from the approval to money moved, p99"
    return [
        found["per second"].finding("lifecycles per second", change, 0.95, "/s", better="more"),
        found["p99"].finding(late, change, 1.05, "ms"),
    ]
