"""The Temporal server is killed (`kill -9`) in the middle of scenarios: it comes back on the same
port with the same file, the workers go on, and purchases end the same."""

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
from tests.proof.conftest import UndisturbedRuns
from tests.proof.counts import ALL, SELECTED, TIME_LIMIT, counted
from tests.proof.harness import harness_on
from tests.proof.outages import survive_outages

APART = 48
"""Events between two kills of the server in one scenario."""
FIRST = range(1, APART, 16) if ALL else (10,)
RETRY = RetryConfig(max_interval_millis=500, max_elapsed_time_millis=None, max_retries=1_000)
"""The client that runs the scenario retries until the server is back. The workers use their own
settings."""


class RestartableServer:
    """A server that keeps its purchases in a file, as `make run` does."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._port: int | None = None
        self._running = AsyncExitStack()

    async def start(self) -> str:
        """Start on a free port, later on the same port again; returns the address."""
        server = embedded.server(database=self._database, port=self._port, skip_time=True)
        address = embedded.address((await self._running.enter_async_context(server)).client)
        self._port = int(address.rpartition(":")[2])
        return address

    async def kill_and_restart(self) -> None:
        """Kill the server with SIGKILL and start it again."""
        os.kill(self._process(), signal.SIGKILL)
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Stop the server, or clean up after it was killed."""
        await self._running.aclose()

    def _process(self) -> int:
        found = subprocess.run(
            ["pgrep", "--full", f"start-dev.*{self._database}"], capture_output=True, check=True
        )
        return int(found.stdout)


@pytest.fixture
async def restartable(tmp_path: Path) -> AsyncIterator[RestartableServer]:
    """A server that is not started yet; stopped at the end of the test."""
    server = RestartableServer(tmp_path / "temporal.db")
    yield server
    await server.stop()


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_purchase_ends_the_same_when_the_temporal_server_is_killed_at_any_event(
    restartable: RestartableServer,
    tmp_path: Path,
    undisturbed: UndisturbedRuns,
    record_property: Callable[[str, object], None],
) -> None:
    """Nothing that the server acknowledged is lost: workers and clients retry until it is back."""
    address = await restartable.start()
    client = await Client.connect(address, data_converter=DATA_CONVERTER, retry_config=RETRY)
    server = TimeSkipper(client, config=embedded.TIME_SKIPPING)
    kinds: Counter[str] = Counter()
    with harness_on(server, tmp_path) as harness:
        for first in FIRST:
            kinds += await survive_outages(
                harness,
                undisturbed,
                SELECTED,
                restartable.kill_and_restart,
                first=first,
                apart=APART,
            )
    record_property("proof", counted("the Temporal server killed (kill -9)", kinds, sample=not ALL))
    assert kinds.total() > len(SELECTED)
