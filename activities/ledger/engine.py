"""Connections: one way to open each database, and one place that tells passing trouble from a no.

`transact` runs work in one transaction and repeats it, a bounded number of times, when the
database asks for that (serialization failure, deadlock, lock not available, busy). A constraint's
refusal is never repeated.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import SystemRandom
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from activities.ledger.errors import LedgerUnreachable, SchemaMismatch
from activities.sqlite import open_file

Result = TypeVar("Result")

ATTEMPTS = 5
LOCK_TIMEOUT_SECONDS = 10
BUSY_TIMEOUT_SECONDS = 5
CONNECT_TIMEOUT_SECONDS = 5

SET_UP = "Run: python -m starter setup"

SERIALIZATION_FAILURE, DEADLOCK, LOCK_NOT_AVAILABLE = "40001", "40P01", "55P03"
READ_ONLY_TRANSACTION, UNDEFINED_TABLE = "25006", "42P01"
WORTH_REPEATING = {SERIALIZATION_FAILURE, DEADLOCK, LOCK_NOT_AVAILABLE}
SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

_READ_ONLY = "ledger_read_only"


def create_engine(url: str) -> Engine:
    """An engine for `sqlite:///…` (its directory is created) or `postgresql+psycopg://…`.

    On SQLite every commit survives a power loss. The caller disposes of the engine. Raises
    ValueError for another kind of database, LedgerUnreachable if the directory cannot be made.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed)
    if parsed.drivername == "postgresql+psycopg":
        return _postgresql(parsed)
    raise ValueError(
        f"The ledger works on sqlite:///… and postgresql+psycopg://…, not on {parsed.drivername}."
    )


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ValueError("The ledger needs a file: sqlite:///path/to/ledger.db.")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnreachable(f"The ledger's directory cannot be made: {error}") from error
    timeout = {} if "timeout" in url.query else {"timeout": BUSY_TIMEOUT_SECONDS}
    engine = open_file(url, connect_args=timeout, hide_parameters=True)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later could not be repeated by the busy timeout.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _postgresql(url: URL) -> Engine:
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s",
    }
    return sa.create_engine(
        url,
        connect_args={name: value for name, value in defaults.items() if name not in url.query},
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        hide_parameters=True,
    )


def transact(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    """Run `work` in one transaction, again if the database asks for it, and commit.

    Raises LedgerUnreachable, SchemaMismatch, or whatever `work` raises.
    """

    def attempt() -> Result:
        with engine.begin() as connection:
            return work(connection)

    return _repeating(attempt)


def read(engine: Engine, work: Callable[[Connection], Result]) -> Result:
    """Run `work` on one unchanging snapshot of the books. It waits for no writer."""
    options: dict[str, Any] = {_READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return transact(engine.execution_options(**options), work)


def _repeating(attempt: Callable[[], Result]) -> Result:
    for pause in _pauses():
        try:
            return attempt()
        except PoolTimeout as error:
            raise LedgerUnreachable(
                "All connections to the ledger's database are in use."
            ) from error
        except DBAPIError as error:
            if _worth_repeating(error):
                time.sleep(pause)
            elif told := _told(error):
                raise told from error
            else:
                raise
    raise LedgerUnreachable(
        f"The ledger's database was busy with others {ATTEMPTS} times in a row. Ask again."
    )


def _pauses() -> Iterator[float]:
    """Seconds after each attempt, random so that those who collided do not collide again."""
    for number in range(ATTEMPTS):
        yield SystemRandom().uniform(0, 0.02 * 2**number)


def _worth_repeating(error: DBAPIError) -> bool:
    """Whether the database undid the transaction through nobody's fault."""
    return _state(error) in WORTH_REPEATING or _sqlite_code(error) in SQLITE_BUSY


def _told(error: DBAPIError) -> LedgerUnreachable | SchemaMismatch | None:
    """What a driver's error means; None if it is neither passing nor about the schema."""
    state = _state(error)
    if state == UNDEFINED_TABLE or str(error.orig).startswith("no such table"):
        return SchemaMismatch(f"The ledger's database is not set up. {SET_UP}")
    passing = isinstance(error, OperationalError | InterfaceError)
    if passing or error.connection_invalidated or state == READ_ONLY_TRANSACTION:
        return LedgerUnreachable(f"The ledger's database cannot be reached: {first_line(error)}")
    return None


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _sqlite_code(error: DBAPIError) -> int:
    """Without what SQLite adds to say more of the same kind of trouble."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def first_line(error: DBAPIError) -> str:
    """What the database said, without its hints."""
    return str(error.orig).strip().partition("\n")[0]
