"""Generates a month of purchases into the ledger on PostgreSQL, and measures audit and views.

    python -m benchmarks.month [PURCHASES]     1,000,000 by default; needs 3 GB and some minutes

The rows are written without the rules of the database, thousands of times faster than purchases
could be posted; the full audit then finds that each of these rules holds.
"""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from activities.database import create_engine, migrate
from activities.ledger import Ledger
from tests.ledger.conftest import postgres_server

PURCHASES = 1_000_000
DAYS = 30
NOW = datetime(2026, 11, 30, tzinfo=UTC)

ROWS = f"""
    CREATE TEMPORARY TABLE made AS SELECT
        'p-' || n AS id,
        n %% 10 AS kind,
        timestamptz '{NOW:%Y-%m-%d}Z' - n * interval '{DAYS} days' / %(purchases)s AS at
    FROM generate_series(%(purchases)s, 1, -1) AS n
"""
"""From the oldest to the newest. Of ten purchases four are held, three refunded and settled, two
released, and one is split and settled."""

OPERATIONS = """
    INSERT INTO operation (key, kind, purchase_id, currency, request, request_hash, status, legs,
        at, recorded_at)
    SELECT 'purchase-' || id || '/' || step, step, id, 'USD', '{}', repeat('0', 64), 'applied',
        CASE step WHEN 'split' THEN 2 ELSE 1 END, at, at
    FROM made, unnest(CASE
        WHEN kind < 4 THEN ARRAY['hold']
        WHEN kind < 7 THEN ARRAY['hold', 'refund', 'settled']
        WHEN kind < 9 THEN ARRAY['hold', 'release']
        ELSE ARRAY['hold', 'split', 'settled'] END) AS step
    ORDER BY at
"""
TRANSFERS = """
    INSERT INTO transfer (operation_key, leg, legs, kind, purchase_id, debit_account,
        credit_account, currency, amount)
    SELECT key, leg, legs, kind, purchase_id,
        CASE kind WHEN 'hold' THEN 'provider-clearing:USD'
            WHEN 'settled' THEN 'refunds-in-transit:' || purchase_id
            ELSE 'escrow:' || purchase_id END,
        CASE WHEN kind = 'hold' THEN 'escrow:' || purchase_id
            WHEN kind = 'settled' THEN 'provider-clearing:USD'
            WHEN kind = 'refund' OR (kind = 'split' AND leg = 1)
                THEN 'refunds-in-transit:' || purchase_id
            ELSE 'freelancer-balance:' || purchase_id END,
        'USD',
        CASE WHEN kind = 'split' AND leg = 1 THEN 15000 WHEN kind = 'split' THEN 10000
            WHEN kind = 'settled' AND EXISTS (SELECT 1 FROM made WHERE id = purchase_id
                AND made.kind = 9) THEN 15000 ELSE 25000 END
    FROM operation, generate_series(1, legs) AS leg ORDER BY recorded_at, key, leg
"""
ACCOUNTS = """
    INSERT INTO account (id, currency, min_balance, balance, last_transfer)
    SELECT account, 'USD', CASE account WHEN 'provider-clearing:USD' THEN NULL ELSE 0 END,
        sum(amount), max(seq)
    FROM (SELECT credit_account AS account, amount, seq FROM transfer
        UNION ALL SELECT debit_account, -amount, seq FROM transfer) AS moved
    GROUP BY account
"""


def generate(dsn: str, purchases: int) -> None:
    """Write the purchases. Only a superuser can disable the rules so."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(ROWS, {"purchases": purchases})
        connection.execute("CREATE INDEX ON made (id)")
        connection.execute("ANALYZE made")
        for statement in (OPERATIONS, TRANSFERS, ACCOUNTS):
            connection.execute(statement.encode())
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main(purchases: int = PURCHASES) -> None:
    """Generate, measure and print."""
    table = Table("what", "seconds", title=f"{purchases:,} purchases of {DAYS} days")

    def measure(what: str, work: Callable[[], object]) -> None:
        table.add_row(what, f"{seconds(work):.1f}")

    with postgres_server() as server:
        dsn = server.get_uri()
        engine = create_engine(
            make_url(dsn).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        )
        migrate(engine)
        measure("generate", lambda: generate(dsn, purchases))
        ledger, since = Ledger(engine), NOW - timedelta(days=1)

        def read(query: str) -> object:
            with engine.connect() as connection:
                return connection.execute(sa.text(query), {"since": since}).all()

        def audited(since: datetime | None = None) -> None:
            assert ledger.audit(since) == []

        measure("audit of everything", audited)
        measure("audit of one day", lambda: audited(since))
        measure("transfers of one day", lambda: read(DAY))
        measure("balances of one purchase", lambda: read(ONE))
        measure("sum of all purchases by currency", lambda: read(ALL))
        size = "SELECT pg_database_size(current_database()) / 1000000"
        with engine.connect() as connection:
            megabytes = connection.scalar(sa.text(size))
        table.add_row("size of the database", f"{megabytes:,} MB")
        engine.dispose()
    Console().print(table)


DAY = "SELECT count(*), sum(amount) FROM transfers WHERE created_at >= :since"
ONE = "SELECT * FROM purchase_balances WHERE purchase_id = 'p-7'"
ALL = "SELECT currency, sum(held), sum(refunded) FROM purchase_balances GROUP BY currency"

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
