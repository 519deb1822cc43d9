"""PostgreSQL's primary is replaced by its standby under load, and comes back as the new standby.

`make failover` does it twenty times; in the suite it is twice.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.audit import reconcile
from activities.database import DatabaseUnreachable, migrate
from activities.ledger import Ledger
from activities.services import Services
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from temporal.ports import free_port
from tests.conftest import settings
from tests.ledger.conftest import engine_of
from tests.operation.processes import working
from tests.operation.storm import Load
from tests.operation.test_health import asked
from tests.proof.counts import counted
from tests.proof.postgres_nodes import Pair, pair_of_nodes

FAILOVERS = int(os.environ.get("RECOURSE_FAILOVERS", "2"))
RECORD = 20

pytestmark = pytest.mark.timeout(FAILOVERS * 30 + 285)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Two nodes with a migrated database."""
    async with pair_of_nodes() as pair:
        with engine_of(pair.url("recourse")) as engine:
            migrate(engine)
        yield pair


def hold(ledger: Ledger, purchase: str) -> bool:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return ledger.hold(
        key=f"{purchase}/hold", purchase_id=purchase, amount=100, currency="USD", at=at
    )


async def test_the_new_primary_takes_writes_while_the_old_one_is_a_standby(pair: Pair) -> None:
    """Both answer; connections go to the one that takes writes. Without one, nothing is written
    and nothing read from a standby that may be behind."""
    with engine_of(pair.url("recourse")) as engine:
        ledger = Ledger(engine)
        assert hold(ledger, "before")
        await pair.switch_over()
        assert hold(ledger, "meanwhile")
        await asyncio.to_thread(pair.primary.stop)
        with pytest.raises(DatabaseUnreachable):
            ledger.balances("before")


async def test_a_primary_that_turns_read_only_loses_its_connections(pair: Pair) -> None:
    """As when it is fenced, or when a pooler leads to a standby: the connection lives, and refuses
    writes from then on. A write finds the other primary at once."""
    with engine_of(pair.url("recourse")) as engine:
        ledger = Ledger(engine)
        assert ledger.balances("before") is None  # a connection that reads will also write
        assert hold(ledger, "before")
        await asyncio.to_thread(fence, pair, "on")
        with pytest.raises(DatabaseUnreachable, match="read-only"):
            hold(ledger, "meanwhile")
        await asyncio.to_thread(fence, pair, "off")
        assert hold(ledger, "meanwhile")


def fence(pair: Pair, setting: str) -> None:
    """Make the primary refuse writes, or accept them again, and wait until it does."""
    pair.primary.execute(f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
    pair.primary.execute("SELECT pg_reload_conf()")
    while pair.primary.execute("SHOW default_transaction_read_only") != setting:
        pass


async def test_a_worker_is_not_ready_while_the_database_refuses_writes(
    pair: Pair, tmp_path: Path
) -> None:
    port = free_port()
    given = {
        "RECOURSE_HEALTH": f"127.0.0.1:{port}",
        "RECOURSE_DATABASE_URL": pair.url("recourse"),
    }
    url = f"http://127.0.0.1:{port}/readyz"
    async with embedded.server() as server, working(server, tmp_path, **given):
        before = await asyncio.to_thread(asked, url)
        await asyncio.to_thread(fence, pair, "on")
        refused = await asyncio.to_thread(asked, url)
        await asyncio.to_thread(fence, pair, "off")
        after = await asyncio.to_thread(asked, url)
        await pair.switch_over()
        moved = [await asyncio.to_thread(asked, url) for _ in range(3)]

    assert before == after == moved[-1] == (200, {"failing": []})
    assert refused == (503, {"failing": ["ledger"]})


async def test_purchases_end_right_while_the_database_moves_to_and_fro(
    pair: Pair, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every other time the primary is killed. What was acknowledged is kept, what was not is
    repeated under the same keys: each purchase ends as it must, and the audit finds nothing."""
    url = pair.url("recourse")
    async with embedded.server(database=tmp_path / "temporal.db") as server:
        load = Load(server.client)
        async with working(server, tmp_path, RECOURSE_DATABASE_URL=url), load.running():
            for number in range(FAILOVERS):
                await (pair.fail_over() if number % 2 else pair.switch_over())
                await load.goes_on()
        services = Services(replace(settings(tmp_path), database_url=url))
        report = await reconcile(
            services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
        )
        services.close()

    ends = [((result.refunded, result.released), wanted) for result, wanted in load.results]
    assert [end for end in ends if end[0] != end[1]] == []
    assert report.differences == ()
    assert report.purchases == len(load.results)
    record_property(
        "proof",
        counted(
            "PostgreSQL's primary replaced by its standby under load",
            {
                "switchovers": FAILOVERS - FAILOVERS // 2,
                "primaries killed": FAILOVERS // 2,
                "purchases": len(load.results),
            },
            sample=FAILOVERS < RECORD,
        ),
    )
