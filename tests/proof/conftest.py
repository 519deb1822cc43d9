"""One server and books for all of these tests, and how stories go there when nothing is killed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from demo.scenarios import Scenario
from tests.proof.left import Left
from tests.proof.stage import Point, Stage, stage


class Undisturbed:
    """What is left of each story, and the points it went through; each is played once."""

    def __init__(self, runner: Stage) -> None:
        self._theatre = runner
        self._plays: dict[str, asyncio.Task[tuple[Left, list[Point]]]] = {}

    async def __call__(self, scenario: Scenario) -> tuple[Left, list[Point]]:
        """Plays it, or remembers."""
        if scenario.name not in self._plays:
            play = self._theatre.undisturbed(scenario, f"{scenario.name}-undisturbed")
            self._plays[scenario.name] = asyncio.create_task(play)
        return await self._plays[scenario.name]


@pytest.fixture(scope="session")
async def runner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A server and books whose workers die."""
    async with stage(tmp_path_factory.mktemp("proof")) as opened:
        yield opened


@pytest.fixture(scope="session")
def undisturbed(runner: Stage) -> Undisturbed:
    """What all others are compared with."""
    return Undisturbed(runner)
