"""The grants of the worker's role on PostgreSQL, and what it cannot do (docs/threats.md)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import make_url

from activities.database import check_schema, claim
from activities.ledger import BoughtPurchase, Ledger
from activities.notices.log import DeliveryLog, Notice
from tests.ledger.conftest import PostgresDatabases, engine_of

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
GRANTS = """
    CREATE ROLE recourse_worker LOGIN;
    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO recourse_worker;
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO recourse_worker
"""


@pytest.fixture(scope="module")
def as_worker(postgres_databases: PostgresDatabases) -> Iterator[str]:
    """The URL of a migrated database for the role of a worker, which owns no table."""
    owner = make_url(postgres_databases.create("roles"))
    with psycopg.connect(
        owner.set(drivername="postgresql").render_as_string(False), autocommit=True
    ) as connection:
        connection.execute(GRANTS)
        yield owner.set(username="recourse_worker").render_as_string(hide_password=False)
        connection.execute("DROP OWNED BY recourse_worker; DROP ROLE recourse_worker")
    postgres_databases.drop("roles")


def test_the_worker_role_can_do_its_work(as_worker: str) -> None:
    """It runs every operation and logs notices."""
    terms: dict[str, Any] = {"purchase_id": "p-1", "currency": "USD", "at": NOW}
    notice = Notice("p-1", "1-held", "held", "client", "a@b.c", NOW, "smtp", "m-1")
    with engine_of(as_worker) as engine:
        check_schema(engine)
        ledger, log = Ledger(engine), DeliveryLog(engine)
        claim(engine, "deployment", "local")
        ledger.register(
            BoughtPurchase("p-1", "ana", "bo", 5, "USD", "{}", "0" * 64, "run", NOW, b"\0{}")
        )
        ledger.hold(key="h", amount=500, charge="ch_1", **terms)
        dispute = {"account": "escrow", "amount": 500, "reference": "dp_1", **terms}
        ledger.provider_moved(key="o", kind="bank_dispute_opened", **dispute)
        ledger.provider_moved(key="w", kind="bank_dispute_won", **dispute)
        ledger.decide(key="d", refund=300, release=200, **terms)
        ledger.settle(key="s", amount=300, reference="r", **terms)
        (opened,) = log.insert_if_absent([notice])
        log.record([replace(opened, status="sent")])
        balances = ledger.balances("p-1")
        sent = [logged.status for logged in log.list("p-1")]

    assert balances is not None
    assert (balances.held, balances.refunded, balances.released) == (0, 300, 200)
    assert sent == ["sent"]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER transfer_append_only ON transfer",
        "ALTER TABLE transfer DISABLE TRIGGER ALL",
        "ALTER TABLE account DROP CONSTRAINT ck_account_overdraft",
        "SET session_replication_role = replica",
        "TRUNCATE transfer",
        "DROP TABLE operation CASCADE",
    ],
)
def test_the_worker_role_cannot_disable_the_rules(statement: str, as_worker: str) -> None:
    """Only the owner of the tables can."""
    url = make_url(as_worker).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement.encode())
