"""How a SQLite file is opened that several processes write to and that survives a power loss."""

import sqlite3
import time
from typing import Any

import sqlalchemy as sa

WAL_PATIENCE_SECONDS = 30
"""Bounds how long the first connection to a new file waits for the others to switch it to WAL."""

CONNECTIONS = 4
"""Bounds the connections of one engine. SQLite has one writer at a time and makes the others sleep
and poll, so threads wait for a connection instead. Measured with twenty threads: the slowest in a
hundred waits a third as long as with SQLAlchemy's fifteen connections."""


def open_file(url: sa.URL, **options: Any) -> sa.Engine:
    """Return an engine for the file whose connections are all prepared.

    The caller decides how its transactions begin: by a listener of the event "begin".
    """
    engine = sa.create_engine(url, pool_size=CONNECTIONS, max_overflow=0, **options)
    sa.event.listen(engine, "connect", lambda connection, _record: prepare(connection))
    return engine


def prepare(connection: sqlite3.Connection) -> None:
    """Enforce foreign keys, make commits survive a power loss, and leave BEGIN to the caller."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    # The switch takes an exclusive lock on the file, so only the very first connection makes it.
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        _switch_to_wal(connection)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to its write-ahead log.

    The busy timeout does not apply to this statement, so processes that open a new file together
    would fail with "database is locked". This loop waits instead.
    """
    give_up = time.monotonic() + WAL_PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
