"""Money that moves at the provider without Recourse, and the one purchase of each charge.

A bank dispute withdraws money and gives it back or keeps it; a refund is made elsewhere, or comes
back. Losses and receivables may be of any size: a bank may take more than was charged, because of
exchange rates. Their accounts have no minimum balance.
"""

from collections.abc import Sequence
from importlib import import_module

import sqlalchemy as sa
from alembic import op

from activities.database.append_only import NOW, protect
from activities.database.types import Instant

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels = None
depends_on = None

FIRST = import_module("activities.database.migrations.versions.0001_tables")
SECOND = import_module("activities.database.migrations.versions.0002_triggers")

MOVES = (
    "'bank_dispute_opened', 'bank_dispute_won', 'bank_dispute_lost', 'bank_dispute_loss',"
    " 'refunded_elsewhere', 'refund_elsewhere_failed', 'refund_returned'"
)

OLD_KINDS = f"kind IN {FIRST.KINDS}"
NEW_KINDS = f"{OLD_KINDS[:-1]}, {MOVES})"

MORE_ACCOUNTS = """
    OR (min_balance IS NOT NULL AND min_balance = 0
        AND substr(id, 1, 14) = 'bank-disputes:' AND length(id) > 14)
    OR (min_balance IS NULL AND (id = 'platform-losses:' || currency
        OR (substr(id, 1, 22) = 'freelancer-receivable:' AND length(id) > 22)))
"""
OF_PURCHASE = "('escrow:' || purchase_id, 'refunds-in-transit:' || purchase_id)"
MORE_ROUTES = f"""
    OR (kind = 'bank_dispute_opened' AND leg = 1
        AND debit_account IN {OF_PURCHASE}
        AND credit_account = 'bank-disputes:' || purchase_id)
    OR (kind = 'bank_dispute_won' AND leg = 1
        AND debit_account = 'bank-disputes:' || purchase_id
        AND credit_account IN {OF_PURCHASE})
    OR (kind = 'bank_dispute_lost' AND leg = 1
        AND debit_account = 'bank-disputes:' || purchase_id
        AND credit_account = 'provider-clearing:' || currency)
    OR (kind = 'bank_dispute_loss' AND leg = 1
        AND debit_account IN ('platform-losses:' || currency,
            'freelancer-receivable:' || purchase_id)
        AND credit_account = 'provider-clearing:' || currency)
    OR (kind = 'refunded_elsewhere' AND leg = 1
        AND debit_account = 'escrow:' || purchase_id
        AND credit_account = 'provider-clearing:' || currency)
    OR (kind = 'refund_elsewhere_failed' AND leg = 1
        AND debit_account = 'provider-clearing:' || currency
        AND credit_account = 'escrow:' || purchase_id)
    OR (kind = 'refund_returned' AND leg = 1
        AND debit_account = 'provider-clearing:' || currency
        AND credit_account = 'refunds-in-transit:' || purchase_id)
"""
Change = tuple[str, str, str, str]
CHECKS: tuple[Change, ...] = (
    ("account", "terms", FIRST.ACCOUNT_TERMS, FIRST.ACCOUNT_TERMS + MORE_ACCOUNTS),
    ("operation", "kind", OLD_KINDS, NEW_KINDS),
    ("transfer", "route", FIRST.TRANSFER_ROUTE, FIRST.TRANSFER_ROUTE + MORE_ROUTES),
)
"""By table: the name of a check, its old condition and its new one."""

HAS_DECISION = f"""
    EXISTS (SELECT 1 FROM operation WHERE purchase_id = NEW.purchase_id
        AND status = 'applied' AND kind IN {FIRST.DECISIONS})
"""  # noqa: S608
FORBIDDEN = (
    (
        "the provider moves money of a purchase that is held, in its currency",
        f"""
        NEW.kind IN ({MOVES}) AND NOT EXISTS (SELECT 1 FROM operation
            WHERE purchase_id = NEW.purchase_id AND currency = NEW.currency
            AND status = 'applied' AND kind = 'hold')
        """,  # noqa: S608
    ),
    (
        "a decision waits for the end of the bank dispute",
        f"""
        NEW.kind IN {FIRST.DECISIONS} AND EXISTS (SELECT 1 FROM account
            WHERE id = 'bank-disputes:' || NEW.purchase_id AND balance > 0)
        """,  # noqa: S608
    ),
    (
        "a bank gives back to escrow before the decision, and to refunds in transit after it",
        f"""
        NEW.kind = 'bank_dispute_won'
            AND (NEW.credit_account = 'escrow:' || NEW.purchase_id) = {HAS_DECISION}
        """,
    ),
    (
        "no more is returned than was settled",
        """
        NEW.kind = 'refund_returned' AND 0 > (SELECT sum(CASE kind
            WHEN 'settled' THEN amount WHEN 'refund_returned' THEN -amount ELSE 0 END)
            FROM transfer WHERE purchase_id = NEW.purchase_id)
        """,
    ),
    (
        "a refund that others made goes back to escrow before the decision",
        f"NEW.kind = 'refund_elsewhere_failed' AND {HAS_DECISION}",
    ),
    (
        "no more fails than others have refunded",
        """
        NEW.kind = 'refund_elsewhere_failed' AND 0 > (SELECT sum(CASE kind
            WHEN 'refunded_elsewhere' THEN amount
            WHEN 'refund_elsewhere_failed' THEN -amount ELSE 0 END)
            FROM transfer WHERE purchase_id = NEW.purchase_id)
        """,
    ),
    (
        "a freelancer owes no more than was released",
        """
        NEW.debit_account = 'freelancer-receivable:' || NEW.purchase_id AND 0 > (
            SELECT sum(balance) FROM account
            WHERE id IN (NEW.debit_account, 'freelancer-balance:' || NEW.purchase_id))
        """,
    ),
)
"""What no transfer may do, as the balances are after it: the error and the condition."""

VIEW = """
    SELECT
        hold.purchase_id,
        hold.currency,
        CAST(coalesce(escrow.balance, 0) AS BIGINT) AS held,
        CAST(coalesce(transit.balance, 0) AS BIGINT) AS in_transit,
        CAST(coalesce((
            SELECT sum(CASE WHEN transfer.kind IN ('refund_returned', 'refund_elsewhere_failed')
                THEN -amount ELSE amount END)
            FROM transfer WHERE transfer.purchase_id = hold.purchase_id
            AND transfer.kind IN ('settled', 'refunded_elsewhere', 'refund_elsewhere_failed',
                'refund_returned')
        ), 0) AS BIGINT) AS refunded,
        CAST(coalesce(freelancer.balance, 0) AS BIGINT) AS released,
        CAST(coalesce(bank.balance, 0) + coalesce((
            SELECT sum(amount) FROM transfer
            WHERE transfer.purchase_id = hold.purchase_id AND transfer.kind = 'bank_dispute_lost'
        ), 0) AS BIGINT) AS charged_back
    FROM operation AS hold
    LEFT JOIN account AS escrow ON escrow.id = 'escrow:' || hold.purchase_id
    LEFT JOIN account AS transit ON transit.id = 'refunds-in-transit:' || hold.purchase_id
    LEFT JOIN account AS freelancer ON freelancer.id = 'freelancer-balance:' || hold.purchase_id
    LEFT JOIN account AS bank ON bank.id = 'bank-disputes:' || hold.purchase_id
    WHERE hold.kind = 'hold' AND hold.status = 'applied'
"""


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    create_charge(dialect)
    if dialect == "sqlite":
        change_checks_of_sqlite()
        change_trigger_of_sqlite()
        op.execute("DROP VIEW purchase_balances")
        op.execute(f"CREATE VIEW purchase_balances AS {VIEW}")
    else:
        for table, name, _, condition in CHECKS:
            op.drop_constraint(f"ck_{table}_{name}", table)
            op.create_check_constraint(f"ck_{table}_{name}", table, sa.text(condition))
        change_trigger_of_postgresql()
        # Replaced, not dropped: an auditor's right to read it stays.
        op.execute(f"CREATE OR REPLACE VIEW purchase_balances AS {VIEW}")


def create_charge(dialect: str) -> None:
    op.create_table(
        "charge",
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False, server_default=sa.text(NOW[dialect])),
        sa.PrimaryKeyConstraint("reference", name="pk_charge"),
        sa.CheckConstraint("length(reference) > 0", name="ck_charge_reference"),
        sa.CheckConstraint("length(purchase_id) > 0", name="ck_charge_purchase_id"),
        sqlite_strict=True,
    )
    protect("charge", ["reference"], "the charge belongs to a purchase already")


def change_checks_of_sqlite(checks: Sequence[Change] = CHECKS) -> None:
    """Replace the conditions in the text of the tables, without copying a row.

    SQLite has no statement that changes a check. Its documentation of ALTER TABLE describes this
    way for changes that do not affect what is stored.
    """
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    for table, _, old, new in checks:
        changed = connection.execute(
            sa.text(
                "UPDATE sqlite_master SET sql = replace(sql, :old, :new)"
                " WHERE type = 'table' AND name = :name AND instr(sql, :old) > 0"
            ),
            {"old": old, "new": new, "name": table},
        )
        if changed.rowcount != 1:
            raise RuntimeError(f"The table {table} is not the one that revision 0001 created.")
    connection.exec_driver_sql(f"PRAGMA schema_version = {version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema = RESET")


def change_trigger_of_sqlite() -> None:
    (trigger,) = (text for text in SECOND.SQLITE if "CREATE TRIGGER transfer_apply" in text)
    rules = "".join(
        f"SELECT RAISE(ABORT, '{error}') WHERE {condition};" for error, condition in FORBIDDEN
    )
    op.execute("DROP TRIGGER transfer_apply")
    op.execute(sa.text(f"{trigger.rstrip().removesuffix('END')} {rules} END"))


def change_trigger_of_postgresql() -> None:
    connection = op.get_bind()
    schema = connection.scalar(sa.text("SELECT quote_ident(current_schema())"))
    rules = "".join(
        f"IF {condition} THEN RAISE EXCEPTION '{error}'"
        " USING ERRCODE = 'integrity_constraint_violation'; END IF;"
        for error, condition in FORBIDDEN
    )
    body = SECOND.FUNCTIONS["ledger_transfer_apply"].rstrip().removesuffix("RETURN NULL;")
    connection.execute(
        sa.text(
            "CREATE OR REPLACE FUNCTION ledger_transfer_apply() RETURNS trigger LANGUAGE plpgsql"
            f" SET search_path = {schema}, pg_temp AS $$ BEGIN {body} {rules} RETURN NULL; END $$"
        )
    )
