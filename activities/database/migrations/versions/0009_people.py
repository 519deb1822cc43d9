"""The private index of the parties: fingerprints of addresses and names, and the purchases. And the
key of each purchase, which is destroyed when its persons are forgotten.
"""

import sqlalchemy as sa
from alembic import op

from activities.database.types import Instant

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "person",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "purchase_id", name="pk_person"),
        sa.CheckConstraint("length(fingerprint) = 64", name="ck_person_fingerprint"),
        sa.CheckConstraint("length(purchase_id) > 0", name="ck_person_purchase_id"),
        sqlite_strict=True,
    )
    op.create_table(
        "purchase_key",
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("forgotten_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("purchase_id", name="pk_purchase_key"),
        sa.CheckConstraint("length(purchase_id) > 0", name="ck_purchase_key_purchase_id"),
        sa.CheckConstraint("length(key) = 32", name="ck_purchase_key_key"),
        sa.CheckConstraint(
            "(key IS NULL) = (forgotten_at IS NOT NULL)", name="ck_purchase_key_forgotten"
        ),
        sqlite_strict=True,
    )
