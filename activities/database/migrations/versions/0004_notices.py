"""The delivery log of notices: what was sent to whom."""

import sqlalchemy as sa
from alembic import op

from activities.database.types import Instant

revision = "0004"
down_revision = "0003"

TEXTS = ("purchase_id", "transition_id", "transition", "role", "address", "channel", "message_id")
ONCE = ("purchase_id", "transition_id", "role", "channel")


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in TEXTS),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notices"),
        sa.UniqueConstraint("message_id", name="uq_notices_message_id"),
        sa.UniqueConstraint(*ONCE, name="uq_notices_once"),
        sa.CheckConstraint("status IN ('pending', 'sent', 'failed')", name="ck_notices_status"),
        sqlite_strict=True,
    )
