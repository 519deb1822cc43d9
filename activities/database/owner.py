"""Whose database this is: the name of its deployment, and the account at the payment provider."""

from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from activities.database.engine import insert_if_absent, read, transact

Kind = Literal["deployment", "provider_account"]

_owner = sa.Table(
    "owner",
    sa.MetaData(),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", sa.Text),
)


def claim(engine: Engine, kind: Kind, value: str) -> str:
    """Record `value` unless the database has one of this kind; return the one that it has.

    The first one is never replaced: a copy or a backup names the deployment that it was made of.
    Raises DatabaseUnreachable and SchemaMismatch.
    """
    query = sa.select(_owner.c.value).where(_owner.c.kind == kind)

    def find(connection: Connection) -> str | None:
        return connection.scalar(query)

    def record(connection: Connection) -> str:
        found = find(connection)
        if found is None:
            connection.execute(insert_if_absent(connection, _owner), {"kind": kind, "value": value})
            found = find(connection)
        return found or value

    return read(engine, find) or transact(engine, record)
