"""Three workers under load: one killed every few seconds, then all drained for a new build.

`make storm` lets it rage for two minutes; in the suite it is a few seconds.
"""

import asyncio
import email
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import gethostname

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.database import migrate
from activities.services import Services, engine_of
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from tests.conftest import settings
from tests.operation.processes import Post, working
from tests.operation.storm import Load, trouble
from tests.operation.test_deployment import make_current
from tests.proof.counts import counted

WORKERS = 3
SECONDS = float(os.environ.get("RECOURSE_STORM_SECONDS", "5"))
KILLED_EVERY = 2.5

pytestmark = pytest.mark.timeout(SECONDS * 3 + 285)


class Crew:
    """Three worker processes of one build; each can be replaced, and all by those of another."""

    def __init__(self, server: WorkflowEnvironment, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._stack = AsyncExitStack()
        self._build = 0
        self._posts: list[Post] = []

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """As long as the block lasts."""
        async with self._stack:
            await self.deploy()
            yield

    async def deploy(self) -> list[Post]:
        """A new build comes and has all tasks from now on; those of the old one still run."""
        old, self._build = self._posts, self._build + 1
        self._posts = [await self._hire() for _ in range(WORKERS)]
        await make_current(self._server, str(self._build))
        return old

    async def kill_one(self) -> None:
        """One dies at once; another one comes."""
        place = random.randrange(WORKERS)
        self._posts[place].process.kill()
        self._posts[place] = await self._hire()

    async def _hire(self) -> Post:
        given = working(
            self._server,
            self._folder,
            "tests.worker_process",
            RECOURSE_BUILD_ID=str(self._build),
        )
        return await self._stack.enter_async_context(given)


async def test_three_workers_under_load_lose_and_double_nothing(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each purchase ends with the money where it belongs, the audit finds nothing, every notice
    arrived once. When a new build then takes over and the old one is drained, no task fails or is
    lost, and nothing is done twice."""
    engine = engine_of(settings(tmp_path))
    migrate(engine)
    engine.dispose()
    async with embedded.server(database=tmp_path / "temporal.db") as server:
        load, crew = Load(server.client), Crew(server, tmp_path)
        async with crew.at_work():
            kills = await raging(load, crew)
            stormy = len(load.results)
            async with load.running():
                old = await crew.deploy()
                left, stopped_at = await drained(load, old)
            while_draining = [result.purchase_id for result, _ in load.results[stormy:]]
            gone = [f"{post.process.pid}@{gethostname()}" for post in old]
            histories = [
                trouble(server.client, purchase_id, gone, stopped_at)
                for purchase_id in while_draining
            ]
            rough = sum(await asyncio.gather(*histories), Counter[str]())
            services = Services(settings(tmp_path))
            report = await reconcile(
                services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
            )
            services.close()

    ends = [((result.refunded, result.released), wanted) for result, wanted in load.results]
    assert [end for end in ends if end[0] != end[1]] == []
    assert report.differences == ()
    assert report.purchases == len(load.results)
    assert arrived_twice(tmp_path / "mail") == []
    assert left == [0] * WORKERS
    assert rough == Counter()
    record_property(
        "proof",
        counted(
            "three workers under load, one killed every few seconds, then all drained",
            {
                "kills": kills,
                "purchases": len(load.results),
                "of them while draining": len(while_draining),
            },
            sample=timedelta(minutes=2).total_seconds() > SECONDS,
        ),
    )


async def drained(load: Load, old: Sequence[Post]) -> tuple[list[int], datetime]:
    """Stop the old workers when what they had begun is over; their exit statuses, and when they
    began to stop."""
    await load.goes_on()
    stopped_at = datetime.now(UTC)
    for post in old:
        post.process.terminate()
    statuses = [await post.process.wait() for post in old]
    await load.goes_on()
    return statuses, stopped_at


async def raging(load: Load, crew: Crew) -> int:
    """How many workers were killed meanwhile."""
    kills = 0
    async with load.running():
        until = asyncio.get_running_loop().time() + SECONDS
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(KILLED_EVERY)
            await crew.kill_one()
            kills += 1
    return kills


def arrived_twice(mail: Path) -> list[str]:
    """Ids of messages that are there more than once: a Maildir keeps each under its own id."""
    found = (email.message_from_bytes(file.read_bytes()) for file in mail.glob("**/new/*"))
    times = Counter(str(message["Message-ID"]) for message in found)
    assert times
    return [message for message, count in times.items() if count > 1]
