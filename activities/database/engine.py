"""Engines and transactions: how a connection is opened, and which errors are worth a retry.

`transact` runs work in one transaction and repeats it, at most ATTEMPTS times, when the database
asks for that (serialization failure, deadlock, lock not available, busy) or refuses writes, as a
former primary does. A violated constraint is never retried.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from secrets import SystemRandom
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from activities.database.errors import DatabaseUnreachable, SchemaMismatch
from activities.database.sqlite import open_file

Result = TypeVar("Result")

ATTEMPTS = 5
"""Bounds the retries of one transaction: Temporal retries the activity after that, and shows it."""

LOCK_TIMEOUT_SECONDS = 10
"""Bounds how long PostgreSQL waits for a row lock. A transaction holds its locks for milliseconds,
so a longer wait means that something hangs."""

BUSY_TIMEOUT_SECONDS = 5
"""Bounds how long SQLite waits for the writer of the file."""

CONNECT_TIMEOUT_SECONDS = 5
"""Bounds how long a new connection to PostgreSQL may take."""

SET_UP = "Run: recourse setup"

SERIALIZATION_FAILURE, DEADLOCK, LOCK_NOT_AVAILABLE = "40001", "40P01", "55P03"
READ_ONLY_TRANSACTION, UNDEFINED_TABLE = "25006", "42P01"
RETRYABLE_STATES = {SERIALIZATION_FAILURE, DEADLOCK, LOCK_NOT_AVAILABLE, READ_ONLY_TRANSACTION}
SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_READ_ONLY = "recourse_read_only"
_POOLER = "recourse_pooler"


def create_engine(url: str) -> Engine:
    """Return an engine for `sqlite:///…` (its directory is created) or `postgresql+psycopg://…`.

    On SQLite every commit survives a power loss. The caller disposes of the engine. Raises
    ValueError for another kind of database, DatabaseUnreachable if the directory cannot be created.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return _postgresql(parsed)
    raise ValueError(
        f"{parsed.drivername} is not supported: the database must be sqlite:///… or"
        " postgresql+psycopg://…."
    )


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ValueError("The database must be a file: sqlite:///path/to/recourse.db.")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnreachable(
            f"The directory of the database cannot be created: {error}"
        ) from error
    timeout = {} if "timeout" in url.query else {"timeout": BUSY_TIMEOUT_SECONDS}
    engine = open_file(url, connect_args=timeout, hide_parameters=True)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    # SQLite's busy timeout does not apply to a transaction that reads first and writes later: it
    # fails at once with SQLITE_BUSY_SNAPSHOT. So a transaction that may write takes the lock first.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _postgresql(url: URL) -> Engine:
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "target_session_attrs": "read-write",  # of several hosts the primary; never a standby
    }
    engine = sa.create_engine(
        url,
        connect_args={name: value for name, value in defaults.items() if name not in url.query},
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up_connection)
    event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "handle_error", _end_read_only_connections)
    return engine


def _set_up_connection(connection: Any, record: ConnectionPoolEntry) -> None:
    """Set the lock timeout, or find out that a pooler is between us and the server.

    A pooler such as PgBouncer has process ids of its own. In its transaction mode each transaction
    may run on another server connection: settings and prepared statements of a session would reach
    other clients.
    """
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    record.info[_POOLER] = pid != connection.info.backend_pid
    if record.info[_POOLER]:
        connection.prepare_threshold = None
    else:
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    # Not SQLAlchemy's option `postgresql_readonly`: after it, every transaction would begin READ
    # WRITE, which overrides a server's default, and on a standby is another error than 25006.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    psycopg: Any = connection.connection.dbapi_connection
    psycopg.read_only = read_only or None
    if connection.info[_POOLER] and not read_only:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")


def _end_read_only_connections(context: ExceptionContext) -> None:
    """A former primary refuses writes for as long as the connections to it live. Replacing the
    pool's connections leads to the new primary."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY_TRANSACTION:
        context.is_disconnect = True


def check_writable(engine: Engine) -> None:
    """Return if the database takes writes. Raises DatabaseUnreachable, SchemaMismatch."""
    # Inserts nothing, and is rejected where writes are.
    nothing = sa.text("INSERT INTO owner (kind, value) SELECT kind, value FROM owner WHERE 1 = 0")
    transact(engine, lambda connection: connection.execute(nothing))


def transact(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    """Run `work` in one transaction and commit; retry it where the database asks for that.

    Raises DatabaseUnreachable, SchemaMismatch, and everything that `work` raises.
    """

    def attempt() -> Result:
        with engine.begin() as connection:
            return work(connection)

    return _retrying(attempt)


def read(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    """Run `work` on one snapshot of the database. It waits for no writer."""
    options: dict[str, Any] = {_READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ"}
    return transact(engine.execution_options(**options), work)


def insert_if_absent(connection: Connection, table: sa.Table) -> sa.Executable:
    """Return a statement that inserts a row unless it violates a unique key.

    It waits for a concurrent transaction that inserts the same row. The conflict names no unique
    key, because PostgreSQL would raise for a conflict on any other one.
    """
    return _insert_if_absent(connection.dialect.name, table)


@cache  # building a statement costs more than executing it
def _insert_if_absent(dialect: str, table: sa.Table) -> sa.Executable:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(table).inline().on_conflict_do_nothing()
    return statement.execution_options(preserve_rowcount=True)


def _retrying(attempt: Callable[[], Result]) -> Result:
    reason = ""
    for pause in _pauses():
        try:
            return attempt()
        except PoolTimeout as error:
            raise DatabaseUnreachable("All connections to the database are in use.") from error
        except DBAPIError as error:
            if _is_retryable(error):
                reason = first_line(error)
                time.sleep(pause)
            elif meant := _translated(error):
                raise meant from error
            else:
                raise
    raise DatabaseUnreachable(
        f"The database was busy {ATTEMPTS} times in a row ({reason}). Send the request again."
    )


def _pauses() -> Iterator[float]:
    """Seconds to wait after each attempt, random so that two transactions do not collide again."""
    for number in range(ATTEMPTS):
        yield SystemRandom().uniform(0, 0.02 * 2**number)


def _is_retryable(error: DBAPIError) -> bool:
    """Whether the database rolled back because of a concurrent transaction, or was read-only."""
    return _state(error) in RETRYABLE_STATES or _sqlite_code(error) in SQLITE_BUSY


def _translated(error: DBAPIError) -> DatabaseUnreachable | SchemaMismatch | None:
    """What a driver's error means; None if it is neither transient nor about the schema."""
    state = _state(error)
    if state == UNDEFINED_TABLE or str(error.orig).startswith("no such table"):
        return SchemaMismatch(f"The database is not set up. {SET_UP}")
    transient = isinstance(error, OperationalError | InterfaceError)
    if transient or error.connection_invalidated:
        return DatabaseUnreachable(f"The database cannot be reached: {first_line(error)}")
    return None


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _sqlite_code(error: DBAPIError) -> int:
    """SQLite's primary result code: the extended codes have it in their lowest byte."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def first_line(error: DBAPIError) -> str:
    """The database's message, without its hints."""
    return str(error.orig).strip().partition("\n")[0]
