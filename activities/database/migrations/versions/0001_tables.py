"""The ledger: accounts, operations and transfers, with every rule that a constraint can state.

Amounts are minor units. On PostgreSQL they are NUMERIC, because a BIGINT column would silently
round 1.5 to 2; a check rejects amounts that are not whole. On SQLite the tables are STRICT.
"""

import sqlalchemy as sa
from alembic import op

from activities.database.types import Instant

revision = "0001"
down_revision = None

MAX_AMOUNT = 2**53 - 1

WHOLE = sa.Numeric().with_variant(sa.Integer(), "sqlite")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

CURRENCY = {
    "sqlite": "currency GLOB '[A-Z][A-Z][A-Z]'",
    "postgresql": "currency ~ '^[A-Z]{3}$'",
}
DAY, TIME = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]", "[0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
RFC_3339 = f"GLOB '{DAY}T{TIME}.[0-9]*Z'"
NOW = {
    "sqlite": "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    "postgresql": "clock_timestamp()",
}

KINDS = "('hold', 'refund', 'release', 'split', 'settled')"
DECISIONS = "('refund', 'release', 'split')"

ACCOUNT_TERMS = """
    (id = 'provider-clearing:' || currency AND min_balance IS NULL)
    OR (min_balance IS NOT NULL AND min_balance = 0 AND (
        (substr(id, 1, 7) = 'escrow:' AND length(id) > 7)
        OR (substr(id, 1, 19) = 'refunds-in-transit:' AND length(id) > 19)
        OR (substr(id, 1, 19) = 'freelancer-balance:' AND length(id) > 19)))
"""
OPERATION_STATUS = """
    (status = 'applied' AND code IS NULL AND reason IS NULL
        AND legs IS NOT NULL AND legs = CASE kind WHEN 'split' THEN 2 ELSE 1 END)
    OR (status = 'rejected' AND code IS NOT NULL AND reason IS NOT NULL AND legs IS NULL)
"""
TRANSFER_ROUTE = """
    (kind = 'hold' AND leg = 1
        AND debit_account = 'provider-clearing:' || currency
        AND credit_account = 'escrow:' || purchase_id)
    OR (kind IN ('refund', 'split') AND leg = 1
        AND debit_account = 'escrow:' || purchase_id
        AND credit_account = 'refunds-in-transit:' || purchase_id)
    OR (((kind = 'release' AND leg = 1) OR (kind = 'split' AND leg = 2))
        AND debit_account = 'escrow:' || purchase_id
        AND credit_account = 'freelancer-balance:' || purchase_id)
    OR (kind = 'settled' AND leg = 1
        AND debit_account = 'refunds-in-transit:' || purchase_id
        AND credit_account = 'provider-clearing:' || currency)
"""


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    create_account(dialect)
    create_operation(dialect)
    create_transfer(dialect)


def create_account(dialect: str) -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("min_balance", SERIAL),
        sa.Column("balance", WHOLE, nullable=False, server_default="0"),
        sa.Column("last_transfer", SERIAL),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("id", "currency", name="uq_account_id_currency"),
        sa.CheckConstraint(CURRENCY[dialect], name="ck_account_currency"),
        sa.CheckConstraint(ACCOUNT_TERMS, name="ck_account_terms"),
        sa.CheckConstraint("balance >= min_balance", name="ck_account_overdraft"),
        sqlite_strict=True,
    )


def create_operation(dialect: str) -> None:
    # An applied operation references its own last leg, so it cannot be committed without its
    # transfers. PostgreSQL needs the table `transfer` before it accepts this foreign key.
    last_leg = (["key", "legs"], ["transfer.operation_key", "transfer.leg"])
    deferred = {"deferrable": True, "initially": "DEFERRED", "name": "fk_operation_last_leg"}
    sqlite_only: list[sa.Constraint] = (
        [
            sa.ForeignKeyConstraint(*last_leg, **deferred),  # type: ignore[arg-type]
            sa.CheckConstraint(f"at {RFC_3339}", name="ck_operation_at"),
            sa.CheckConstraint(f"recorded_at {RFC_3339}", name="ck_operation_recorded_at"),
        ]
        if dialect == "sqlite"
        else []
    )
    op.create_table(
        "operation",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("legs", sa.Integer()),
        sa.Column("code", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False, server_default=sa.text(NOW[dialect])),
        sa.PrimaryKeyConstraint("key", name="pk_operation"),
        sa.UniqueConstraint(
            "key", "legs", "kind", "purchase_id", "currency", name="uq_operation_terms"
        ),
        sa.CheckConstraint("length(key) > 0", name="ck_operation_key"),
        sa.CheckConstraint("length(purchase_id) > 0", name="ck_operation_purchase_id"),
        sa.CheckConstraint("length(request_hash) = 64", name="ck_operation_request_hash"),
        sa.CheckConstraint(f"kind IN {KINDS}", name="ck_operation_kind"),
        sa.CheckConstraint(CURRENCY[dialect], name="ck_operation_currency"),
        sa.CheckConstraint(OPERATION_STATUS, name="ck_operation_status"),
        *sqlite_only,
        sqlite_strict=True,
    )
    create_once_per_purchase("uq_operation_one_hold", "kind = 'hold'")
    create_once_per_purchase("uq_operation_one_decision", f"kind IN {DECISIONS}")


def create_once_per_purchase(name: str, kinds: str) -> None:
    applied = sa.text(f"status = 'applied' AND {kinds}")
    op.create_index(
        name,
        "operation",
        ["purchase_id"],
        unique=True,
        sqlite_where=applied,
        postgresql_where=applied,
    )


def create_transfer(dialect: str) -> None:
    whole = "AND amount = trunc(amount)" if dialect == "postgresql" else ""
    op.create_table(
        "transfer",
        sa.Column("seq", SERIAL, sa.Identity(always=True), nullable=False),
        sa.Column("operation_key", sa.Text(), nullable=False),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("legs", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.Column("debit_account", sa.Text(), nullable=False),
        sa.Column("credit_account", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_transfer"),
        sa.UniqueConstraint("operation_key", "leg", name="uq_transfer_operation_key_leg"),
        sa.ForeignKeyConstraint(
            ["operation_key", "legs", "kind", "purchase_id", "currency"],
            [f"operation.{name}" for name in ("key", "legs", "kind", "purchase_id", "currency")],
            name="fk_transfer_operation",
        ),
        *(
            sa.ForeignKeyConstraint(
                [f"{side}_account", "currency"],
                ["account.id", "account.currency"],
                name=f"fk_transfer_{side}_account",
            )
            for side in ("debit", "credit")
        ),
        sa.CheckConstraint("leg BETWEEN 1 AND legs", name="ck_transfer_leg"),
        sa.CheckConstraint("debit_account <> credit_account", name="ck_transfer_two_accounts"),
        sa.CheckConstraint(TRANSFER_ROUTE, name="ck_transfer_route"),
        sa.CheckConstraint(
            f"amount >= 1 AND amount <= {MAX_AMOUNT} {whole}", name="ck_transfer_amount"
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_transfer_purchase_id", "transfer", ["purchase_id"])
    if dialect == "postgresql":
        op.create_foreign_key(
            "fk_operation_last_leg",
            "operation",
            "transfer",
            ["key", "legs"],
            ["operation_key", "leg"],
            deferrable=True,
            initially="DEFERRED",
        )
