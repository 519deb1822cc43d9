"""A whole purchase on PostgreSQL: migration, worker and audit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from activities.audit import reconcile
from activities.database import migrate
from activities.services import Services, Settings, Unavailable
from demo.runner import ScenarioRunner
from demo.scenarios import SCENARIOS
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from tests.conftest import settings
from tests.ledger.conftest import PostgresDatabases, engine_of
from worker import build_worker

SPLIT = next(
    scenario for scenario in SCENARIOS if scenario.ends.refunded and scenario.ends.released
)


@pytest.fixture
def on_postgresql(postgres_databases: PostgresDatabases, tmp_path: Path) -> Iterator[Settings]:
    """Settings with an empty database, whose clearing accounts will be split."""
    url = postgres_databases.create("purchase", migrated=False)
    yield replace(settings(tmp_path), database_url=url, clearing_accounts="64")
    postgres_databases.drop("purchase")


async def test_a_purchase_on_postgresql(
    on_postgresql: Settings, threads: ThreadPoolExecutor
) -> None:
    """The worker rejects an unmigrated database; after the migration a split completes."""
    with pytest.raises(Unavailable, match="recourse setup"):
        Services(on_postgresql)
    with engine_of(on_postgresql.database_url) as engine:
        migrate(engine)
    async with embedded.server(skip_time=True) as server:
        with closing(Services(on_postgresql)) as services:
            async with build_worker(server.client, services, threads):
                result = await ScenarioRunner(server).run(SPLIT, "pg-1")
                report = await reconcile(
                    services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
                )
            balances = services.ledger.balances("pg-1")
            credited = {each.credit_account for each in services.ledger.transfers("pg-1")}
            notices = services.notices.list("pg-1")
    ends = SPLIT.ends
    assert (result.refunded, result.released) == (ends.refunded, ends.released)
    assert balances is not None
    assert (balances.refunded, balances.released) == (ends.refunded, ends.released)
    assert any(account.startswith("provider-clearing:USD:") for account in credited)
    assert report.differences == ()
    assert {notice.status for notice in notices} == {"sent"}
