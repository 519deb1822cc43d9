"""One server and books for all of these tests, and how stories go there when nothing is killed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from starter.stories import Story
from tests.proof.left import Left
from tests.proof.stage import Point, Stage, stage


class Undisturbed:
    """What is left of each story, and the points it went through; each is played once."""

    def __init__(self, theatre: Stage) -> None:
        self._theatre = theatre
        self._plays: dict[str, asyncio.Task[tuple[Left, list[Point]]]] = {}

    async def __call__(self, story: Story) -> tuple[Left, list[Point]]:
        """Plays it, or remembers."""
        if story.name not in self._plays:
            play = self._theatre.undisturbed(story, f"{story.name}-undisturbed")
            self._plays[story.name] = asyncio.create_task(play)
        return await self._plays[story.name]


@pytest.fixture(scope="session")
async def theatre(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A server and books whose workers die."""
    async with stage(tmp_path_factory.mktemp("proof")) as opened:
        yield opened


@pytest.fixture(scope="session")
def undisturbed(theatre: Stage) -> Undisturbed:
    """What all others are compared with."""
    return Undisturbed(theatre)
