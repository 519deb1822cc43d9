"""Triggers for append-only tables. Migrations create them, so their SQL never changes."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

NOW = {
    "sqlite": "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    "postgresql": "clock_timestamp()",
}
"""The default of a column that says when a row was inserted, by dialect."""


def protect(table: str, key: Sequence[str], duplicate: str) -> None:
    """Reject changes and deletions; `duplicate` is the error for a row whose primary key is there.
    The triggers of the ledger must have been created."""
    dialect = op.get_bind().dialect.name
    triggers = _sqlite(table, key, duplicate) if dialect == "sqlite" else _postgresql(table)
    for trigger in triggers:
        op.execute(sa.text(trigger))


def _sqlite(table: str, key: Sequence[str], duplicate: str) -> list[str]:
    # INSERT OR REPLACE deletes without firing delete triggers: a duplicate is rejected before.
    same = " AND ".join(f"{column} = NEW.{column}" for column in key)
    exists = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608
    return [
        f"""
        CREATE TRIGGER {table}_insert BEFORE INSERT ON {table} WHEN {exists} BEGIN
            SELECT RAISE(ABORT, '{duplicate}');
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


def _postgresql(table: str) -> list[str]:
    return [
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()"
    ]
