"""The database enforces the rules of the ledger itself."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from activities.database import claim
from activities.ledger import BoughtPurchase, Ledger, LedgerRejected
from tests.ledger.hostile import (
    CLEARING,
    HASH,
    ON_BOTH,
    ON_POSTGRESQL,
    ON_SQLITE,
    Attempt,
    account,
    bought,
    charge,
    moved,
    new_hold,
    owner,
)

AT = datetime(2026, 11, 1, tzinfo=UTC)
REJECTIONS = (sqlite3.IntegrityError, psycopg.IntegrityError, psycopg.DataError)


@pytest.fixture(scope="module")
def prepared(shared_engine: Engine) -> Ledger:
    ledger = Ledger(shared_engine)
    for purchase, currency, reference in (
        ("open", "USD", "ch_1"),
        ("decided", "USD", ""),
        ("euro", "EUR", ""),
        ("disputed", "USD", ""),
    ):
        ledger.hold(
            key=f"{purchase}/hold",
            purchase_id=purchase,
            amount=100,
            currency=currency,
            at=AT,
            charge=reference,
        )
    ledger.provider_moved(
        key="disputed/opened",
        purchase_id="disputed",
        kind="bank_dispute_opened",
        account="escrow",
        amount=60,
        currency="USD",
        at=AT,
        reference="dp_1",
    )
    ledger.register(BoughtPurchase("open", "ana", "bo", 100, "USD", "{}", HASH, "run", AT, b"\0{}"))
    claim(shared_engine, "deployment", "local")
    decided = {"purchase_id": "decided", "currency": "USD", "at": AT}
    ledger.decide(key="decided/decision", refund=60, release=40, **decided)  # type: ignore[arg-type]
    with pytest.raises(LedgerRejected):
        ledger.decide(key="rejected", refund=999, release=0, **decided)  # type: ignore[arg-type]
    return ledger


def run(engine: Engine, sql: str, *, foreign_keys: bool = True) -> None:
    """Run a script as one transaction on a bare connection, as a SQL client does."""
    if engine.dialect.name == "postgresql":
        url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with closing(psycopg.connect(url)) as connection:
            connection.execute(sql.encode())
            connection.commit()
        return
    assert engine.url.database
    with closing(sqlite3.connect(engine.url.database, isolation_level=None)) as sqlite:
        sqlite.execute(f"PRAGMA foreign_keys = {foreign_keys}")
        sqlite.executescript(f"BEGIN; {sql} COMMIT;")


TABLES = ("purchase", "owner", "saved_state", "adoption", "charge", "handled_news")


def everything(ledger: Ledger, engine: Engine) -> tuple[object, ...]:
    with engine.connect() as connection:
        registered = [
            connection.execute(sa.text(f"SELECT * FROM {table}")).all() for table in TABLES
        ]
    purchases = ("open", "decided", "euro", "disputed", "new")
    return (
        registered,
        ledger.accounts(),
        [ledger.balances(purchase) for purchase in purchases],
        [ledger.transfers(purchase) for purchase in purchases],
    )


def assert_rejected(
    prepared: Ledger, engine: Engine, attempt: Attempt, *, foreign_keys: bool = True
) -> None:
    before = everything(prepared, engine)
    with pytest.raises(REJECTIONS):
        run(engine, attempt.sql, foreign_keys=foreign_keys)
    assert everything(prepared, engine) == before
    assert prepared.audit() == []


@pytest.mark.parametrize("attempt", ON_BOTH, ids=lambda attempt: attempt.what)
def test_hostile_statement_is_rejected(
    prepared: Ledger, shared_engine: Engine, attempt: Attempt
) -> None:
    assert_rejected(prepared, shared_engine, attempt)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
@pytest.mark.parametrize("attempt", ON_SQLITE, ids=lambda attempt: attempt.what)
def test_hostile_statement_is_rejected_by_sqlite(
    prepared: Ledger, shared_engine: Engine, attempt: Attempt
) -> None:
    assert_rejected(prepared, shared_engine, attempt)


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
@pytest.mark.parametrize("attempt", ON_POSTGRESQL, ids=lambda attempt: attempt.what)
def test_hostile_statement_is_rejected_by_postgresql(
    prepared: Ledger, shared_engine: Engine, attempt: Attempt
) -> None:
    assert_rejected(prepared, shared_engine, attempt)


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_sqlite_rejects_the_same_without_foreign_keys(
    prepared: Ledger, shared_engine: Engine
) -> None:
    for attempt in ON_BOTH + ON_SQLITE:
        if not attempt.needs_foreign_keys:
            assert_rejected(prepared, shared_engine, attempt, foreign_keys=False)


def test_the_database_accepts_valid_sql(ledger: Ledger, engine: Engine) -> None:
    """The attempts above fail because of what they do, not because of their syntax."""
    ledger.hold(key="first/hold", purchase_id="first", amount=100, currency="USD", at=AT)
    run(engine, new_hold(100) + bought() + owner("local") + charge("ch_1", "new"))
    for kind, opened, debit, credit in (
        ("bank_dispute_opened", account("bank-disputes:first"), "escrow", "bank-disputes"),
        ("bank_dispute_won", "", "bank-disputes", "escrow"),
        ("refunded_elsewhere", "", "escrow", "provider-clearing:USD"),
        ("refund_elsewhere_failed", "", "provider-clearing:USD", "escrow"),
    ):
        source, target = (name if ":" in name else f"{name}:first" for name in (debit, credit))
        script = opened + moved(kind, source, target, 100, "first")
        run(engine, script.replace("'bad'", f"'first/{kind}'"))
    run(
        engine,
        new_hold(100).replace("'bad'", "'good'").replace(":new", ":n").replace("'new'", "'n'"),
    )
    part = new_hold(100).replace(CLEARING, f"{CLEARING}:63")
    run(
        engine,
        account(f"{CLEARING}:63", min_balance="NULL")
        + part.replace("'bad'", "'part'").replace(":new", ":q").replace("'new'", "'q'"),
    )
    held = [ledger.balances(purchase) is not None for purchase in ("new", "n", "q")]
    assert held == [True, True, True]
    assert ledger.audit() == []
