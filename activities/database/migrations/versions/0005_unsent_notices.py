"""An index of the unsent notices, which are few among many sent ones."""

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels = None
depends_on = None

UNSENT = sa.text("status <> 'sent'")


def upgrade() -> None:
    op.create_index(
        "ix_notices_unsent", "notices", ["at"], postgresql_where=UNSENT, sqlite_where=UNSENT
    )


def downgrade() -> None:
    raise NotImplementedError("The schema cannot be downgraded.")
