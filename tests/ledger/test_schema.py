"""The migrations and the check of the schema, on both kinds of database."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, event

from activities.database import DatabaseUnreachable, SchemaMismatch, check_schema, migrate, upgrade
from activities.database.upgrade import ADVISORY_LOCK
from activities.ledger import BoughtPurchase, Ledger, PurchaseExists
from activities.ledger.schema import metadata
from tests.ledger.conftest import PostgresDatabases, SqliteFiles, engine_of

ROOT = Path(__file__).parents[2]


def test_an_empty_database_is_rejected_until_it_is_set_up(empty_url: str) -> None:
    with engine_of(empty_url) as engine:
        with pytest.raises(SchemaMismatch, match="recourse setup"):
            check_schema(engine)
        with pytest.raises(SchemaMismatch, match="recourse setup"):
            Ledger(engine).balances("p-1")
        assert migrate(engine) is True
        check_schema(engine)
        assert Ledger(engine).accounts() == []


def test_a_second_migration_changes_nothing(engine: Engine) -> None:
    assert migrate(engine) is False
    check_schema(engine)


def stamp(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_an_older_schema_names_the_command_to_run(empty_url: str) -> None:
    with engine_of(empty_url) as engine:
        migrate(engine)
        stamp(engine, "0001")
        with pytest.raises(SchemaMismatch, match=r"schema 0001.*recourse setup"):
            check_schema(engine)


def test_a_newer_schema_is_rejected(empty_url: str) -> None:
    with engine_of(empty_url) as engine:
        migrate(engine)
        stamp(engine, "9999")
        for reject in (check_schema, migrate):
            with pytest.raises(SchemaMismatch, match="newer"):
                reject(engine)


def test_two_processes_may_migrate_at_once(empty_url: str) -> None:
    program = (
        "from activities.database import create_engine, migrate; import sys;"
        "engine = create_engine(sys.argv[1]); migrate(engine); engine.dispose()"
    )
    command = [sys.executable, "-W", "error", "-c", program, empty_url]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate()[1] for process in processes] == ["", ""]
    with engine_of(empty_url) as engine:
        check_schema(engine)


@pytest.mark.parametrize("databases", ["postgresql"], indirect=True)
def test_concurrent_migrations_wait_for_each_other(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second migration waits for the first; here until its lock timeout."""
    monkeypatch.setattr("activities.database.engine.LOCK_TIMEOUT_SECONDS", 0.05)
    with engine_of(empty_url) as first, engine_of(empty_url) as second:
        with first.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
            with pytest.raises(DatabaseUnreachable, match="busy 5 times in a row"):
                migrate(second)
        migrate(second)
        check_schema(first)


def test_the_program_may_be_installed_in_any_directory(
    empty_url: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alembic interpolates percent signs in its settings, so they are escaped."""
    folder = tmp_path_factory.mktemp("installed") / "100%(here)s" / "migrations"
    shutil.copytree(upgrade.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(upgrade, "MIGRATIONS", folder)
    with engine_of(empty_url) as engine:
        migrate(engine)
        check_schema(engine)


def test_a_failed_migration_is_rolled_back(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine_of(empty_url) as engine:
        with monkeypatch.context() as broken:
            broken.setattr("alembic.op.create_index", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                migrate(engine)
        assert sa.inspect(engine).get_table_names() == []
        migrate(engine)
        check_schema(engine)


def test_the_tables_in_code_have_every_column(engine: Engine) -> None:
    found = sa.inspect(engine)
    for table in metadata.sorted_tables:
        assert table.columns.keys() == [column["name"] for column in found.get_columns(table.name)]


INSTANTS = {
    f"ck_{column}"
    for column in (
        "operation_at",
        "operation_recorded_at",
        "purchase_at",
        "purchase_registered_at",
    )
}


def shape(engine: Engine) -> dict[str, object]:
    found = sa.inspect(engine)
    return {
        name: (
            [column["name"] for column in found.get_columns(name)],
            {check["name"] for check in found.get_check_constraints(name)} - INSTANTS,
            {key["name"] for key in found.get_foreign_keys(name)},
            {index["name"] for index in found.get_indexes(name)}
            - {key["name"] for key in found.get_unique_constraints(name)},
            {key["name"] for key in found.get_unique_constraints(name)},
            found.get_pk_constraint(name)["name"],
        )
        for name in found.get_table_names()
    } | {name: found.get_columns(name) and None for name in found.get_view_names()}


def test_both_databases_have_the_same_schema(
    sqlite_files: SqliteFiles, postgres_databases: PostgresDatabases
) -> None:
    """Only SQLite has checks for instants, which are text there."""
    with (
        engine_of(sqlite_files.create("shape")) as sqlite,
        engine_of(postgres_databases.create("shape")) as postgresql,
    ):
        assert shape(sqlite) == shape(postgresql)


VIEWS = {
    "account_balances": ["account", "currency", "balance"],
    "purchase_balances": [
        "purchase_id", "currency", "held", "in_transit", "refunded", "released", "charged_back"
    ],
    "transfers": [
        "key", "leg", "debit_account", "credit_account", "currency", "amount", "created_at"
    ],
}  # fmt: skip


@pytest.mark.parametrize("view", VIEWS)
def test_the_public_views_have_their_columns(engine: Engine, view: str) -> None:
    assert [column["name"] for column in sa.inspect(engine).get_columns(view)] == VIEWS[view]


Query = tuple[str, Any]


@contextmanager
def queries(engine: Engine) -> Iterator[list[Query]]:
    """Collect the queries that the block sends."""
    asked: list[Query] = []

    def note(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def scanned(engine: Engine, asked: Sequence[Query]) -> list[tuple[str, str]]:
    """Which queries read a table as a whole where an index would do, and by which step."""
    explain = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    scan = re.compile(r"(?:Seq Scan on|SCAN) ((?:main\.)?\w+)")
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        found = []
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
            text = "\n".join(str(step) for step in plan)
            # SQLite calls a common table expression by its name, and a table behind one main.name.
            named = {*re.findall(r"(?:MATERIALIZE|CO-ROUTINE) (\w+)", text), "json_each"}
            found += [(statement, name) for name in scan.findall(text) if name not in named]
    return found


def test_no_query_about_a_purchase_scans_a_table(ledger: Ledger, engine: Engine) -> None:
    terms: dict[str, Any] = {"purchase_id": "p-1", "currency": "USD", "at": datetime.now(UTC)}
    bought = BoughtPurchase(
        "p-1", "ana", "bo", 100, "USD", "{}", "0" * 64, "run", terms["at"], b"\0{}"
    )
    with queries(engine) as asked:
        ledger.register(bought)
        ledger.hold(key="hold", amount=100, charge="ch_1", **terms)
        dispute = {"account": "escrow", "amount": 100, "reference": "dp_1", **terms}
        ledger.provider_moved(key="opened", kind="bank_dispute_opened", **dispute)
        ledger.provider_moved(key="won", kind="bank_dispute_won", **dispute)
        with pytest.raises(PurchaseExists):
            ledger.register(replace(bought, first_run="another"))
        ledger.decide(key="decide", refund=60, release=40, **terms)
        ledger.settle(key="settle", amount=60, reference="re_1", **terms)
        returned = dispute | {"account": "in_transit", "amount": 60}
        ledger.provider_moved(key="returned", kind="refund_returned", **returned)
        ledger.balances("p-1")
        ledger.decision("p-1")
        ledger.transfers("p-1")
    assert asked
    assert scanned(engine, asked) == []


def test_the_audit_of_a_window_scans_no_table(ledger: Ledger, engine: Engine) -> None:
    """But for the one sum of all balances: its cost is that of the window, however old the ledger
    is."""
    terms: dict[str, Any] = {"purchase_id": "p-1", "currency": "USD", "at": datetime.now(UTC)}
    ledger.hold(key="hold", amount=100, **terms)
    with queries(engine) as asked:
        assert ledger.audit(datetime.now(UTC) - timedelta(days=1)) == []
    whole, *of_window = asked
    assert "sum(balance)" in whole[0]
    assert len(of_window) > 5
    assert scanned(engine, of_window) == []
