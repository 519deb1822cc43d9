"""The audit finds manipulations made with the rules of the database disabled."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from activities.ledger import Ledger, schema
from activities.ledger.audit import audit

AT = datetime(2026, 11, 1, tzinfo=UTC)
TABLES = ("account", "operation", "transfer")


@contextmanager
def without_rules(engine: Engine) -> Iterator[Connection]:
    """A transaction with all checks, keys and triggers disabled. It is rolled back at the end."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            for table in TABLES:
                connection.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
                for check in sa.inspect(connection).get_check_constraints(table):
                    connection.execute(
                        sa.text(f"ALTER TABLE {table} DROP CONSTRAINT {check['name']}")
                    )
        else:
            connection.exec_driver_sql("ROLLBACK")  # pragmas do nothing inside a transaction
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
            connection.exec_driver_sql("BEGIN")
            query = sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            for trigger in connection.scalars(query).all():
                connection.execute(sa.text(f"DROP TRIGGER {trigger}"))
        yield connection
        connection.rollback()
        connection.invalidate()


MANIPULATIONS = [
    (
        "UPDATE account SET balance = 101 WHERE id = 'escrow:p-1'",
        {
            (None, "The balances in USD sum to 1, not to 0."),
            ("p-1", "The balance of escrow:p-1 is 101, but its transfers sum to 100."),
            (
                "p-1",
                "The hold of p-1 was 100, but 101 is held, in transit, refunded, released or"
                " charged back.",
            ),
        },
    ),
    (
        "UPDATE account SET balance = balance - 1 WHERE id = 'provider-clearing:USD'",
        {
            (None, "The balances in USD sum to -1, not to 0."),
            (
                None,
                "The balance of provider-clearing:USD is -201, but its transfers sum to -200.",
            ),
        },
    ),
    (
        "UPDATE account SET balance = -5 WHERE id = 'refunds-in-transit:p-1'",
        {
            (None, "The balances in USD sum to -5, not to 0."),
            ("p-1", "The balance of refunds-in-transit:p-1 is -5, but its transfers sum to 0."),
            ("p-1", "The balance of refunds-in-transit:p-1 is -5, below its minimum of 0."),
            (
                "p-1",
                "The hold of p-1 was 100, but 95 is held, in transit, refunded, released or"
                " charged back.",
            ),
        },
    ),
    (
        "DELETE FROM transfer WHERE operation_key = 'p-2/decided' AND leg = 2",
        {
            ("p-2", "The balance of escrow:p-2 is 0, but its transfers sum to 40."),
            ("p-2", "The balance of freelancer-balance:p-2 is 40, but its transfers sum to 0."),
            ("p-2", "Operation p-2/decided of p-2 needs 2 transfers, but has 1."),
        },
    ),
    (
        "DELETE FROM operation WHERE key = 'p-1/hold'",
        {
            (
                None,
                "The purchases in USD have 100 held, in transit, released and in bank disputes;"
                " the accounts have 200.",
            ),
            ("p-1", "A transfer of p-1 belongs to operation p-1/hold, which was not applied."),
        },
    ),
    (
        "DELETE FROM account WHERE id = 'escrow:p-2'",
        {
            (
                "p-2",
                "A transfer of p-2, in operation p-2/hold, names an unknown account.",
            ),
            (
                "p-2",
                "A transfer of p-2, in operation p-2/decided, names an unknown account.",
            ),
        },
    ),
]


MOVES_OF_OTHERS = [
    (
        "INSERT INTO account (id, currency, min_balance, balance)"
        " VALUES ('freelancer-receivable:p-2', 'USD', NULL, -41)",
        {
            (None, "The balances in USD sum to -41, not to 0."),
            (
                "p-2",
                "The balance of freelancer-receivable:p-2 is -41, but its transfers sum to 0.",
            ),
            ("p-2", "The freelancer of p-2 got 40 and owes 41."),
        },
    ),
    (
        "UPDATE account SET balance = balance - 1 WHERE id = 'platform-losses:USD'",
        {
            (None, "The balances in USD sum to -1, not to 0."),
            (None, "The balance of platform-losses:USD is -6, but its transfers sum to -5."),
        },
    ),
    (
        "UPDATE transfer SET kind = 'refund_returned' WHERE kind = 'bank_dispute_loss'",
        {
            (
                "p-2",
                "The client of p-2 has -5 of its settled refunds: more was returned than was"
                " settled.",
            ),
            (
                "p-2",
                "The hold of p-2 was 100, but 95 is held, in transit, refunded, released or"
                " charged back.",
            ),
        },
    ),
    (
        "UPDATE account SET balance = balance + 1 WHERE id = 'bank-disputes:p-1'",
        {
            (None, "The balances in USD sum to 1, not to 0."),
            ("p-1", "The balance of bank-disputes:p-1 is 31, but its transfers sum to 30."),
            (
                "p-1",
                "The hold of p-1 was 100, but 101 is held, in transit, refunded, released or"
                " charged back.",
            ),
        },
    ),
]


@pytest.mark.parametrize(
    ("statement", "found"), MOVES_OF_OTHERS, ids=[statement for statement, _ in MOVES_OF_OTHERS]
)
def test_the_audit_knows_what_moves_at_the_provider(
    ledger: Ledger, engine: Engine, statement: str, found: set[tuple[str | None, str]]
) -> None:
    for purchase in ("p-1", "p-2"):
        ledger.hold(key=f"{purchase}/hold", purchase_id=purchase, amount=100, currency="USD", at=AT)
    ledger.decide(
        key="p-2/decided", purchase_id="p-2", refund=60, release=40, currency="USD", at=AT
    )
    dispute: dict[str, Any] = {"currency": "USD", "at": AT, "reference": "dp_1"}
    moves: list[Any] = [
        ("bank_dispute_opened", "escrow", 50),
        ("bank_dispute_lost", "escrow", 20),
    ]
    for kind, account, amount in moves:
        ledger.provider_moved(
            key=kind, purchase_id="p-1", kind=kind, account=account, amount=amount, **dispute
        )
    ledger.provider_moved(
        key="loss",
        purchase_id="p-2",
        kind="bank_dispute_loss",
        account="platform_losses",
        amount=5,
        **dispute,
    )
    with without_rules(engine) as connection:
        connection.execute(sa.text(statement))
        differences = audit(connection)
    assert {(one.purchase_id, one.what) for one in differences} == found
    assert ledger.audit() == []


@pytest.mark.parametrize(
    ("statement", "found"), MANIPULATIONS, ids=[statement for statement, _ in MANIPULATIONS]
)
def test_the_audit_finds_each_manipulation(
    ledger: Ledger, engine: Engine, statement: str, found: set[tuple[str | None, str]]
) -> None:
    for purchase in ("p-1", "p-2"):
        ledger.hold(key=f"{purchase}/hold", purchase_id=purchase, amount=100, currency="USD", at=AT)
    ledger.decide(
        key="p-2/decided", purchase_id="p-2", refund=60, release=40, currency="USD", at=AT
    )
    with without_rules(engine) as connection:
        connection.execute(sa.text(statement))
        differences = audit(connection)
        of_window = audit(connection, datetime.now(UTC) - timedelta(days=1))
        of_nothing = audit(connection, datetime.now(UTC) + timedelta(days=1))
    assert {(one.purchase_id, one.what) for one in differences} == found
    assert all("Stop the workers" in one.what_to_do for one in differences)
    # Without its only operation a purchase is in no window.
    assert of_window or "DELETE FROM operation" in statement
    assert {(one.purchase_id, one.what) for one in of_window} <= found
    assert all("sum to" in one.what for one in of_nothing)  # the balances of each currency
    assert ledger.audit() == []


def test_the_audit_of_a_window_reads_its_purchases_from_their_beginning(
    ledger: Ledger, engine: Engine
) -> None:
    """A purchase that was held before and is decided within; none that only rests."""
    for purchase in ("p-1", "p-2"):
        ledger.hold(key=f"{purchase}/hold", purchase_id=purchase, amount=100, currency="USD", at=AT)
    since = datetime.now(UTC)
    ledger.decide(
        key="p-2/decided", purchase_id="p-2", refund=60, release=40, currency="USD", at=AT
    )
    assert ledger.audit(since) == []
    with without_rules(engine) as connection:
        connection.execute(sa.text("UPDATE transfer SET amount = 99 WHERE kind = 'hold'"))
        found = {one.purchase_id for one in audit(connection, since)}
        everything = {one.purchase_id for one in audit(connection)}
    assert found == {"p-2"}
    assert everything == {"p-1", "p-2", None}


def test_a_window_begins_with_what_was_recorded_at_its_instant(
    ledger: Ledger, engine: Engine
) -> None:
    """So windows that follow each other leave no operation out."""
    ledger.hold(key="p-1/hold", purchase_id="p-1", amount=100, currency="USD", at=AT)
    with without_rules(engine) as connection:
        recorded_at = connection.scalar(sa.select(schema.operation.c.recorded_at))
        connection.execute(sa.text("UPDATE operation SET legs = 2"))
        (found,) = audit(connection, recorded_at)
        assert found.purchase_id == "p-1"
        assert recorded_at is not None
        assert audit(connection, recorded_at + timedelta(milliseconds=1)) == []


def test_the_audit_of_a_window_reads_it_in_batches(
    ledger: Ledger, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault in any batch is found, once."""
    monkeypatch.setattr("activities.ledger.audit.BATCH", 2)
    purchases = {f"p-{number}" for number in range(7)}
    for purchase in purchases:
        ledger.hold(key=f"{purchase}/hold", purchase_id=purchase, amount=100, currency="USD", at=AT)
    since = datetime.now(UTC) - timedelta(days=1)
    assert ledger.audit(since) == []
    with without_rules(engine) as connection:
        connection.execute(sa.text("UPDATE operation SET legs = 2"))
        found = [one.purchase_id for one in audit(connection, since)]
    assert sorted(map(str, found)) == sorted(purchases)
