"""The grants of the worker's role on PostgreSQL, and what it cannot do (docs/threats.md)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import make_url
from sqlalchemy.exc import ProgrammingError

from activities.database import check_schema, claim
from activities.ledger import BoughtPurchase, Ledger
from activities.notices.log import DeliveryLog, Notice
from activities.people import fingerprints_for
from activities.sealing import UNENCRYPTED
from activities.services import Settings, open_existing
from tests.ledger.conftest import PostgresDatabases, engine_of
from workroom.database import Database

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


async def test_the_workrooms_role_reads_what_it_needs_and_nothing_else(
    postgres_databases: PostgresDatabases,
) -> None:
    """It finds persons and looks deliveries up; it reads no text and no address, and writes
    nothing."""
    owner = make_url(postgres_databases.create("reader"))
    admin = owner.set(drivername="postgresql").render_as_string(False)
    notice = Notice("p-1", "1-held", "held", "client", "a@b.c", NOW, "smtp", "m-1")
    person = fingerprints_for("Ana", UNENCRYPTED)
    bought = BoughtPurchase(
        "p-1", "ana", "bo", 5, "USD", "{}", "0" * 64, "run", NOW, b"\0{}", frozenset(person)
    )
    url = owner.set(username="recourse_workroom").render_as_string(hide_password=False)
    settings = Settings(database_url=url)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE recourse_workroom LOGIN")
        connection.execute(
            "GRANT SELECT ON person, notices, owner, alembic_version TO recourse_workroom"
        )
        with engine_of(owner.render_as_string(hide_password=False)) as engine:
            claim(engine, "deployment", settings.deployment)
            Ledger(engine).register(bought)
            DeliveryLog(engine).insert_if_absent([notice])
        engine = open_existing(settings)
        assert await Database(lambda: engine, UNENCRYPTED).purchases_of("Ana") == ["p-1"]
        assert [each.status for each in DeliveryLog(engine).deliveries("p-1")] == ["pending"]
        with pytest.raises(ProgrammingError, match="permission denied"):
            DeliveryLog(engine).list("p-1")
        engine.dispose()
        reader = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        for statement in ("SELECT * FROM purchase_key", "DELETE FROM person"):
            with psycopg.connect(reader) as other, pytest.raises(InsufficientPrivilege):
                other.execute(statement)
        connection.execute("DROP OWNED BY recourse_workroom; DROP ROLE recourse_workroom")
    postgres_databases.drop("reader")


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
