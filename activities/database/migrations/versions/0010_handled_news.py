"""The news about payments that closed purchases and their aftercare cases have handled. The audit
opens a case for what is not here. Append-only.
"""

import sqlalchemy as sa
from alembic import op

from activities.database.append_only import NOW, protect
from activities.database.types import Instant

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels = None
depends_on = None

WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = ("purchase_id", "kind", "reference", "status")


def upgrade() -> None:
    now = sa.text(NOW[op.get_bind().dialect.name])
    op.create_table(
        "handled_news",
        *(sa.Column(name, sa.Text(), nullable=False) for name in KEY),
        sa.Column("amount", WHOLE, nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False, server_default=now),
        sa.PrimaryKeyConstraint(*KEY, name="pk_handled_news"),
        sa.CheckConstraint("length(purchase_id) > 0", name="ck_handled_news_purchase_id"),
        sa.CheckConstraint("kind IN ('dispute', 'refund')", name="ck_handled_news_kind"),
        sa.CheckConstraint("length(reference) > 0", name="ck_handled_news_reference"),
        sa.CheckConstraint("length(status) > 0", name="ck_handled_news_status"),
        sa.CheckConstraint("amount >= 0", name="ck_handled_news_amount"),
        sqlite_strict=True,
    )
    protect("handled_news", KEY, "the news is recorded already")
