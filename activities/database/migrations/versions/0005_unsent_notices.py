"""An index of the unsent notices, which are few among many sent ones."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

UNSENT = sa.text("status <> 'sent'")


def upgrade() -> None:
    op.create_index(
        "ix_notices_unsent", "notices", ["at"], postgresql_where=UNSENT, sqlite_where=UNSENT
    )
