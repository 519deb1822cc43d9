"""What all sides note, when money moved, and how it is watched from outside."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.peers.script import LAST, MOVED

LOOKS_EVERY, PATIENCE = 0.005, 120
"""Seconds."""


class Noted:
    """What the sides note in one file, in whole lines: which purchase, which step, when.

    Times are seconds of the machine's monotonic clock, which all its processes share.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "noted.jsonl"

    def step(self, purchase: str, step: str) -> None:
        """A side has carried out a step; those that are measured are noted."""
        if step not in (MOVED, LAST):
            return
        line = json.dumps([purchase, step, time.monotonic()]) + "\n"
        out = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(out, line.encode())
        finally:
            os.close(out)


class Watched:
    """What a side has noted so far, and who waits for it."""

    def __init__(self, noted: Noted) -> None:
        noted.file.touch()
        self._file = noted.file
        self.at: dict[tuple[str, str], float] = {}
        self._waiting: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def look(self) -> None:
        """Read on and on. What is being written at that moment may be seen in part."""
        with self._file.open() as file:
            rest = ""
            while True:
                *whole, rest = (rest + file.read()).split("\n")
                for line in whole:
                    purchase, step, at = json.loads(line)
                    self.at.setdefault((purchase, step), at)
                    if waiting := self._waiting.pop((purchase, step), None):
                        waiting.set_result(None)
                await asyncio.sleep(LOOKS_EVERY)

    async def noted(self, purchase: str, step: str) -> float:
        """When it was done, once it is."""
        if (purchase, step) not in self.at:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[purchase, step] = waiting
            try:
                async with asyncio.timeout(PATIENCE):
                    await waiting
            except TimeoutError as error:
                raise TimeoutError(f"{self._file}: {purchase} did not {step}") from error
        return self.at[purchase, step]


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[Watched]:
    """While the side whose folder this is is measured; that fails if looking does."""
    watched = Watched(Noted(folder))
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(watched.look())
        yield watched
        looking.cancel()
