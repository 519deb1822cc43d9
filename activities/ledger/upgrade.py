"""The schema's version: bring a database to it, or say what is wrong."""

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine

from activities.ledger.engine import SET_UP, read, transact
from activities.ledger.errors import SchemaMismatch

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x5EC0_0B5E
"""Any number that nothing else in the database uses."""

_one_at_a_time = threading.Lock()  # Alembic keeps the running migration in module globals


def migrate(engine: Engine) -> None:
    """Bring the database to this version's schema, in one transaction.

    Safe to repeat, and to run from several processes at once: they take turns. Raises
    SchemaMismatch when the database is newer, LedgerUnreachable when it is away.
    """

    def work(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        current = _current(connection)
        _refuse_unknown(current)
        if current != _head():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    with _one_at_a_time:
        transact(engine, work)


def check_schema(engine: Engine) -> None:
    """Return if the database has this version's schema; raise SchemaMismatch if not.

    The sentence says what to run. Raises LedgerUnreachable when the database is away.
    """
    current = read(engine, _current)
    if current is None:
        raise SchemaMismatch(f"The ledger's database is not set up. {SET_UP}")
    _refuse_unknown(current)
    if current != _head():
        raise SchemaMismatch(
            f"The ledger's database is at schema {current}, this version needs {_head()}. {SET_UP}"
        )


def _refuse_unknown(current: str | None) -> None:
    if current is not None and current not in _revisions():
        raise SchemaMismatch(
            f"The ledger's database is at schema {current}, which this version does not know: it"
            f" was set up by a newer one. Update this installation first. {SET_UP}"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


def _head() -> str | None:
    return _scripts().get_current_head()


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
