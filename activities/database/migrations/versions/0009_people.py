"""The private index of the parties: fingerprints of addresses and names, and the purchases."""

import sqlalchemy as sa
from alembic import op

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
