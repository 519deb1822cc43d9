"""Fixtures: one server, ledger and provider for all these tests, and runs without any fault."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from demo.scenarios import Scenario
from tests.proof.final_state import FinalState
from tests.proof.harness import CrashPoint, Harness, new_harness


class UndisturbedRuns:
    """Runs each scenario once without faults, and returns the same result to every caller."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._runs: dict[str, asyncio.Task[tuple[FinalState, list[CrashPoint]]]] = {}

    async def __call__(self, scenario: Scenario) -> tuple[FinalState, list[CrashPoint]]:
        """The final state of a scenario and the crash points of its history."""
        if scenario.name not in self._runs:
            run = self._harness.run_undisturbed(scenario, f"{scenario.name}-undisturbed")
            self._runs[scenario.name] = asyncio.create_task(run)
        return await self._runs[scenario.name]


@pytest.fixture(scope="session")
async def harness(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harness]:
    """A server, a ledger and a provider, shared by worker processes that are killed."""
    async with new_harness(tmp_path_factory.mktemp("proof")) as opened:
        yield opened


@pytest.fixture(scope="session")
def undisturbed(harness: Harness) -> UndisturbedRuns:
    """The expected end of each scenario: every run with faults is compared with it."""
    return UndisturbedRuns(harness)
