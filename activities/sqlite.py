"""One way to open a SQLite file that several processes write to and that must not forget."""

import sqlite3
import time
from typing import Any

import sqlalchemy as sa

PATIENCE_SECONDS = 30

CONNECTIONS = 4
"""Few, for which threads wait in turn: SQLite has one writer at a time, and makes those who wait
for it sleep and try again. With twenty threads the slowest in a hundred waits a third as long as
with SQLAlchemy's fifteen connections."""


def open_file(url: sa.URL, **options: Any) -> sa.Engine:
    """An engine for the file, every connection of which is prepared; whoever opens it also says how
    its transactions begin."""
    engine = sa.create_engine(url, pool_size=CONNECTIONS, max_overflow=0, **options)
    sa.event.listen(engine, "connect", lambda connection, _record: prepare(connection))
    return engine


def prepare(connection: sqlite3.Connection) -> None:
    """Foreign keys on; what was committed survives a power loss; transactions are begun by hand."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    # Switching takes the whole file, so only the first connection of all does it.
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        _keep_a_write_ahead_log(connection)


def _keep_a_write_ahead_log(connection: sqlite3.Connection) -> None:
    """The one statement for which SQLite does not wait its turn: processes that open a new file
    together would fail with "database is locked"."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
