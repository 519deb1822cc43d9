"""For many purchases a day: several clearing accounts, and indexes for the audit of a window.

The provider clearing account of a currency may be split into 64, so that fewer purchases wait for
the same row: `provider-clearing:USD`, `provider-clearing:USD:1` to `provider-clearing:USD:63`.
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels = None
depends_on = None

EIGHTH = import_module("activities.database.migrations.versions.0008_provider_moves")

PARTS = ", ".join(f"'{part}'" for part in range(1, 64))
IS_PART = "substr({0}, 1, 22) = 'provider-clearing:' || currency || ':'"
MORE_ACCOUNTS = f"""
    OR (min_balance IS NULL AND {IS_PART.format("id")} AND substr(id, 23) IN ({PARTS}))
"""

(_, _, _, ACCOUNT_TERMS), _, (_, _, _, TRANSFER_ROUTE) = EIGHTH.CHECKS


def with_parts(route: str) -> str:
    """What may go to or from a clearing account may go to or from a part of it. Which parts there
    are says the table `account`, which each transfer references."""
    for side in ("debit_account", "credit_account"):
        whole = f"{side} = 'provider-clearing:' || currency"
        route = route.replace(whole, f"({whole} OR {IS_PART.format(side)})")
    return route


CHECKS = (
    ("account", "terms", ACCOUNT_TERMS, ACCOUNT_TERMS + MORE_ACCOUNTS),
    ("transfer", "route", TRANSFER_ROUTE, with_parts(TRANSFER_ROUTE)),
)
"""By table: the name of a check, its old condition and its new one."""


def upgrade() -> None:
    # Rows are appended in this order, so a BRIN index has a few pages for millions of them.
    op.create_index(
        "ix_operation_recorded_at", "operation", ["recorded_at"], postgresql_using="brin"
    )
    op.create_index("ix_operation_purchase_id", "operation", ["purchase_id"])
    if op.get_bind().dialect.name == "sqlite":
        EIGHTH.change_checks_of_sqlite(CHECKS)
        return
    for table, name, _, condition in CHECKS:
        op.drop_constraint(f"ck_{table}_{name}", table)
        op.create_check_constraint(f"ck_{table}_{name}", table, sa.text(condition))
