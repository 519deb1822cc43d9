"""Carries out each side's steps: posts to the ledger, and records the time in a file that another
process reads."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from activities.database import create_engine
from activities.ledger import Ledger
from benchmarks.peers import script
from benchmarks.peers.script import LAST, MOVED

PRICE = 25_000

POLL_INTERVAL, TIMEOUT = 0.005, 120
"""Seconds between two reads of the file, and until a missing step is an error."""


class Recorder:
    """Appends purchase, step and time of the measured steps to a file, in whole lines.

    Times are seconds of the machine's monotonic clock, which all its processes share. With the URL
    of a ledger, the steps that move money are also posted there, the same rows for every side.
    """

    def __init__(self, folder: Path, database: str = "") -> None:
        self.file = folder / "steps.jsonl"
        self._ledger = Ledger(create_engine(database)) if database else None

    def record(self, purchase: str, step: str) -> None:
        """Post a step, and record that it was carried out, if it is a measured one."""
        if self._ledger:
            post(self._ledger, purchase, step)
        if step not in (MOVED, LAST):
            return
        line = json.dumps([purchase, step, time.monotonic()]) + "\n"
        out = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(out, line.encode())
        finally:
            os.close(out)


def post(ledger: Ledger, purchase: str, step: str) -> None:
    """Post one step to the ledger, once."""
    key = f"purchase-{purchase}/{step.replace(' ', '-')}"
    given: dict[str, Any] = {
        "key": key,
        "purchase_id": purchase,
        "currency": "USD",
        "at": datetime.now(UTC),
    }
    match step:
        case script.TAKE:
            ledger.hold(amount=PRICE, **given)
        case script.MOVED:
            ledger.decide(refund=PRICE, release=0, **given)
        case script.SETTLE:
            ledger.settle(amount=PRICE, reference="re", **given)


class Watcher:
    """Reads the steps that a side has recorded, and waits for others."""

    def __init__(self, recorder: Recorder) -> None:
        recorder.file.touch()
        self._file = recorder.file
        self._times: dict[tuple[str, str], float] = {}
        self._waiting: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def run(self) -> None:
        """Read the file until cancelled. A line that is only partly written is read later."""
        with self._file.open() as file:
            rest = ""
            while True:
                *lines, rest = (rest + file.read()).split("\n")
                for line in lines:
                    purchase, step, at = json.loads(line)
                    self._times.setdefault((purchase, step), at)
                    if waiting := self._waiting.pop((purchase, step), None):
                        waiting.set_result(None)
                await asyncio.sleep(POLL_INTERVAL)

    async def time_of(self, purchase: str, step: str) -> float:
        """Wait until a step is recorded; returns its time. Raises TimeoutError."""
        if (purchase, step) not in self._times:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[purchase, step] = waiting
            try:
                async with asyncio.timeout(TIMEOUT):
                    await waiting
            except TimeoutError as error:
                raise TimeoutError(f"{self._file}: {purchase} did not {step}") from error
        return self._times[purchase, step]


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[Watcher]:
    """Watch the steps of the side that uses `folder`. An error of the watcher ends the block."""
    watcher = Watcher(Recorder(folder))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(watcher.run())
        yield watcher
        running.cancel()
