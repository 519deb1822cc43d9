"""The states of purchases that `recourse adopt` continues, and which run continues which. Both are
append-only: a state is continued once.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from activities.database.types import Instant

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None

NOW = {
    "sqlite": "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    "postgresql": "clock_timestamp()",
}
TABLES = ("saved_state", "adoption")


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    now = sa.text(NOW[dialect])
    op.create_table(
        "saved_state",
        *key_of("saved_state"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", Instant(), nullable=False, server_default=now),
        sa.CheckConstraint("kind IN ('terms', 'state')", name="ck_saved_state_kind"),
        sa.CheckConstraint("length(document) > 0", name="ck_saved_state_document"),
        sqlite_strict=True,
    )
    op.create_table(
        "adoption",
        *key_of("adoption"),
        sa.Column("first_run", sa.Text(), nullable=False),
        sa.Column("adopted_at", Instant(), nullable=False, server_default=now),
        sa.CheckConstraint("length(first_run) > 0", name="ck_adoption_first_run"),
        sa.ForeignKeyConstraint(
            ["purchase_id", "run_id"],
            ["saved_state.purchase_id", "saved_state.run_id"],
            name="fk_adoption_saved_state",
        ),
        sqlite_strict=True,
    )
    for table in TABLES:
        for trigger in sqlite(table) if dialect == "sqlite" else postgresql(table):
            op.execute(sa.text(trigger))


def key_of(table: str) -> tuple[Any, ...]:
    return (
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("purchase_id", "run_id", name=f"pk_{table}"),
        sa.CheckConstraint("length(purchase_id) > 0", name=f"ck_{table}_purchase_id"),
        sa.CheckConstraint("length(run_id) > 0", name=f"ck_{table}_run_id"),
    )


def sqlite(table: str) -> list[str]:
    # INSERT OR REPLACE deletes without firing delete triggers: a duplicate is rejected before.
    same = "purchase_id = NEW.purchase_id AND run_id = NEW.run_id"
    exists = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608
    return [
        f"""
        CREATE TRIGGER {table}_insert BEFORE INSERT ON {table} WHEN {exists} BEGIN
            SELECT RAISE(ABORT, 'the run is recorded already');
        END
        """,
        *(
            f"""
            CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} BEGIN
                SELECT RAISE(ABORT, '{table} is append-only');
            END
            """
            for action in ("UPDATE", "DELETE")
        ),
    ]


def postgresql(table: str) -> list[str]:
    return [
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()"
    ]
