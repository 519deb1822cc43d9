"""What was bought under each purchase id, and whose database this is. Both are append-only.

A purchase id is a primary key: a second purchase under it is rejected, also when Temporal has
forgotten the first one.
"""

import sqlalchemy as sa
from alembic import op

from activities.database.append_only import NOW, protect
from activities.database.types import Instant

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels = None
depends_on = None

MAX_AMOUNT = 2**53 - 1
WHOLE = sa.Numeric().with_variant(sa.Integer(), "sqlite")
IS_WHOLE = {"sqlite": "", "postgresql": "AND amount = trunc(amount)"}
CURRENCY = {
    "sqlite": "currency GLOB '[A-Z][A-Z][A-Z]'",
    "postgresql": "currency ~ '^[A-Z]{3}$'",
}
DAY, TIME = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]", "[0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
RFC_3339 = f"GLOB '{DAY}T{TIME}.[0-9]*Z'"
PURCHASE_TEXTS = ("client", "freelancer", "deployment", "terms", "first_run")
PRIMARY_KEYS = {"purchase": "purchase_id", "owner": "kind"}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    create_purchase(dialect)
    create_owner(dialect)
    for table, key in PRIMARY_KEYS.items():
        protect(table, [key], f"the {key} is recorded already")


def create_purchase(dialect: str) -> None:
    instants = ("at", "registered_at") if dialect == "sqlite" else ()
    op.create_table(
        "purchase",
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("freelancer", sa.Text(), nullable=False),
        sa.Column("amount", WHOLE, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("terms_hash", sa.Text(), nullable=False),
        sa.Column("first_run", sa.Text(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("registered_at", Instant(), nullable=False, server_default=sa.text(NOW[dialect])),
        sa.PrimaryKeyConstraint("purchase_id", name="pk_purchase"),
        sa.CheckConstraint("length(purchase_id) > 0", name="ck_purchase_purchase_id"),
        sa.CheckConstraint("client <> freelancer", name="ck_purchase_two_people"),
        sa.CheckConstraint(
            f"amount >= 1 AND amount <= {MAX_AMOUNT} {IS_WHOLE[dialect]}", name="ck_purchase_amount"
        ),
        sa.CheckConstraint(CURRENCY[dialect], name="ck_purchase_currency"),
        sa.CheckConstraint("length(terms_hash) = 64", name="ck_purchase_terms_hash"),
        *(
            sa.CheckConstraint(f"length({name}) > 0", name=f"ck_purchase_{name}")
            for name in PURCHASE_TEXTS
        ),
        *(
            sa.CheckConstraint(f"{name} {RFC_3339}", name=f"ck_purchase_{name}")
            for name in instants
        ),
        sqlite_strict=True,
    )


def create_owner(dialect: str) -> None:
    op.create_table(
        "owner",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False, server_default=sa.text(NOW[dialect])),
        sa.PrimaryKeyConstraint("kind", name="pk_owner"),
        sa.CheckConstraint("kind IN ('deployment', 'provider_account')", name="ck_owner_kind"),
        sa.CheckConstraint("length(value) > 0", name="ck_owner_value"),
        sqlite_strict=True,
    )
