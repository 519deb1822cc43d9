"""The states of purchases that `recourse adopt` continues, and which run continues which. Both are
append-only: a state is continued once.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from activities.database.append_only import NOW, protect
from activities.database.types import Instant

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None

TABLES = ("saved_state", "adoption")
KEY = ("purchase_id", "run_id")


def upgrade() -> None:
    now = sa.text(NOW[op.get_bind().dialect.name])
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
            KEY,
            [f"saved_state.{column}" for column in KEY],
            name="fk_adoption_saved_state",
        ),
        sqlite_strict=True,
    )
    for table in TABLES:
        protect(table, KEY, "the run is recorded already")


def key_of(table: str) -> tuple[Any, ...]:
    return (
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(*KEY, name=f"pk_{table}"),
        sa.CheckConstraint("length(purchase_id) > 0", name=f"ck_{table}_purchase_id"),
        sa.CheckConstraint("length(run_id) > 0", name=f"ck_{table}_run_id"),
    )
