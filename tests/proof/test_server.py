"""`kill -9` of the Temporal server in the middle of stories: it comes back on the same port with
the same file, the workers go on, and the end is the same."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RetryConfig
from temporalio.testing import TimeSkipper

from temporal import embedded
from temporal.converter import DATA_CONVERTER
from tests.proof.conftest import Undisturbed
from tests.proof.count import ALL, PLAYED, TIME_LIMIT, counted
from tests.proof.stage import stage_on
from tests.proof.wreck import survived

APART = 48
"""Events between two of a story at which the server dies."""
FIRST = range(1, APART, 16) if ALL else (10,)
PATIENT = RetryConfig(max_interval_millis=500, max_elapsed_time_millis=None, max_retries=1_000)
"""Whoever drives a story waits for the server; how the worker waits is its own affair."""


class Mortal:
    """A server with its purchases in a file, such as `make run` has."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._port: int | None = None
        self._alive = AsyncExitStack()

    async def start(self) -> str:
        """The first time on any free port, then always on that; returns its address."""
        server = embedded.server(database=self._database, port=self._port, skip_time=True)
        address = embedded.address((await self._alive.enter_async_context(server)).client)
        self._port = int(address.rpartition(":")[2])
        return address

    async def dies(self) -> None:
        """By SIGKILL; then it is started again."""
        os.kill(self._process(), signal.SIGKILL)
        await self.end()
        await self.start()

    async def end(self) -> None:
        """What is left of it is cleared away."""
        await self._alive.aclose()

    def _process(self) -> int:
        found = subprocess.run(
            ["pgrep", "--full", f"start-dev.*{self._database}"], capture_output=True, check=True
        )
        return int(found.stdout)


@pytest.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[Mortal]:
    """Ended with the test."""
    server = Mortal(tmp_path / "temporal.db")
    yield server
    await server.end()


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_server_killed_at_any_event_leaves_the_same_end(
    mortal: Mortal,
    tmp_path: Path,
    undisturbed: Undisturbed,
    record_property: Callable[[str, object], None],
) -> None:
    """Nothing that it said it had was lost: workers and clients ask again until it is back."""
    address = await mortal.start()
    client = await Client.connect(address, data_converter=DATA_CONVERTER, retry_config=PATIENT)
    server = TimeSkipper(client, config=embedded.TIME_SKIPPING)
    kinds: Counter[str] = Counter()
    with stage_on(server, tmp_path) as stage:
        for first in FIRST:
            kinds += await survived(
                stage, undisturbed, PLAYED, mortal.dies, first=first, apart=APART
            )
    record_property("proof", counted("the Temporal server killed (kill -9)", kinds, sample=not ALL))
    assert kinds.total() > len(PLAYED)
