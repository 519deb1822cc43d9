"""Justifies the settings of the worker: compares the worker with each setting changed."""

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
from benchmarks.peers.ours import Ours, our_worker
from benchmarks.peers.recorder import Watcher, watching
from temporal import embedded, plugin

ROUNDS = 2

CHANGES: dict[str, dict[str, Any]] = {
    "two pollers for each kind of task": {"POLLERS": PollerBehaviorSimpleMaximum(2)},
    "twenty pollers for each kind of task": {"POLLERS": PollerBehaviorSimpleMaximum(20)},
    "the SDK's autoscaling pollers": {"POLLERS": PollerBehaviorAutoscaling()},
    "100 slots for activities": {"ACTIVITY_THREADS": 100},
    "a cache of 20 purchases": {"CACHED_WORKFLOWS": 20},
    "Python's default garbage collection thresholds": {"GC_THRESHOLDS": (700, 10, 10)},
}


async def changed(constants: dict[str, Any], place: sides.Place, ready: Event) -> None:
    """Run the worker with other settings."""
    for name, value in constants.items():
        for module in (worker, plugin):
            if hasattr(module, name):
                setattr(module, name, value)
    await our_worker(place, ready)


@asynccontextmanager
async def running(folder: Path, serve: sides.Serve) -> AsyncIterator[tuple[Ours, Watcher]]:
    """Run a worker on its own server."""
    async with embedded.server() as server:
        place = sides.Place(embedded.address(server.client), folder)
        with sides.running(serve, place):
            async with watching(place.folder) as watcher:
                yield Ours(server.client), watcher


async def measure() -> list[Finding]:
    """Compare the worker with each change."""
    findings = []
    for name, constants in CHANGES.items():
        with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
            async with (
                running(Path(here), our_worker) as ours,
                running(Path(there), partial(changed, constants)) as other,
            ):
                found = await in_turn(
                    partial(sample, *ours), partial(sample, *other), ROUNDS, warm_up=False
                )
        findings += _findings(name, found)
    return findings


def _findings(change: str, found: dict[str, Pair]) -> list[Finding]:
    latency = "from the approval to money moved, p99"
    return [
        found["per second"].finding("lifecycles per second", change, 0.95, "/s", better="more"),
        found["p99"].finding(latency, change, 1.05, "ms"),
    ]
