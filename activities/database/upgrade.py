"""The version of the schema: migrate a database to it, or check that a database has it."""

import threading
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine

from activities.database.engine import SET_UP, read, transact
from activities.database.errors import SchemaMismatch

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x5EC0_0B5E
"""The key of the advisory lock; any number that nothing else in the database uses."""

_one_at_a_time = threading.Lock()  # Alembic keeps the running migration in module globals


def migrate(engine: Engine) -> bool:
    """Migrate the database to this version's schema, in one transaction.

    Returns whether the schema changed. Safe to repeat. Several processes may call it at once: they
    wait for each other. Raises SchemaMismatch when the database is newer, DatabaseUnreachable when
    it is away.
    """

    def work(connection: Connection) -> bool:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        current = _current(connection)
        _check_known(current)
        if current == _head():
            return False
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return True

    with _one_at_a_time:
        return transact(engine, work)


def check_schema(engine: Engine) -> None:
    """Return if the database has this version's schema; raise SchemaMismatch if not.

    The message names the command to run. Raises DatabaseUnreachable when the database is away.
    """
    current = read(engine, _current)
    if current is None:
        raise SchemaMismatch(f"The database is not set up. {SET_UP}")
    _check_known(current)
    if current != _head():
        raise SchemaMismatch(
            f"The database is at schema {current}, this version needs {_head()}. {SET_UP}"
        )


def _check_known(current: str | None) -> None:
    if current is not None and current not in _revisions():
        raise SchemaMismatch(
            f"The database is at schema {current}, which this version does not know: a newer"
            f" version set it up. Update this installation first. {SET_UP}"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@cache  # reading the files takes longer than the questions to a database that is up to date
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


def _head() -> str | None:
    return _scripts().get_current_head()


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
