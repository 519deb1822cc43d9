"""Measures postings per second: the ledger against bare INSERTs of the same rows with the same
durability, into tables without constraints and into tables with the ledger's keys, checks and
triggers; and, from several threads on PostgreSQL, a split clearing account against one."""

import itertools
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import make_url

from activities.database import create_engine, migrate
from activities.database.sqlite import prepare
from activities.ledger import Ledger
from benchmarks.measure import Finding, in_turn
from tests.ledger.conftest import PostgresDatabases, postgres_server

PURCHASES = 150
ROUNDS = 5
THREADS = 8
CLEARING_ACCOUNTS = 8
AT = datetime(2026, 11, 1, tzinfo=UTC)
TABLES = (
    "CREATE TABLE account (id text, currency text, min_balance bigint)",
    "CREATE TABLE operation (key text, kind text, purchase_id text, currency text,"
    " request text, request_hash text, status text, legs int, at text)",
    "CREATE TABLE transfer (operation_key text, leg int, legs int, kind text,"
    " purchase_id text, debit_account text, credit_account text, currency text, amount bigint)",
)
INSERTS = {
    "account": "id, currency, min_balance",
    "operation": "key, kind, purchase_id, currency, request, request_hash, status, legs, at",
    "transfer": "operation_key, leg, legs, kind, purchase_id, debit_account, credit_account,"
    " currency, amount",
}
CLEARING = "provider-clearing:USD"
numbers = itertools.count()

Rows = list[tuple[str, tuple[Any, ...]]]
Post = Callable[[Rows], None]


def post_ours(ledger: Ledger) -> None:
    """Hold, split and settle one purchase with the ledger."""
    purchase = f"p-{next(numbers)}"
    given: dict[str, Any] = {"purchase_id": purchase, "currency": "USD", "at": AT}
    ledger.hold(key=f"purchase-{purchase}/hold", amount=25_000, **given)
    ledger.decide(key=f"purchase-{purchase}/split", refund=15_000, release=10_000, **given)
    ledger.settle(key=f"purchase-{purchase}/settled", amount=15_000, reference="re", **given)


def post_bare(post: Post) -> None:
    """Insert the same rows."""
    purchase, at = f"p-{next(numbers)}", "2026-11-01T00:00:00.000000Z"
    escrow, transit, balance = (
        f"{kind}:{purchase}" for kind in ("escrow", "refunds-in-transit", "freelancer-balance")
    )
    moves = {
        "hold": [(CLEARING, escrow, 25_000)],
        "split": [(escrow, transit, 15_000), (escrow, balance, 10_000)],
        "settled": [(transit, CLEARING, 15_000)],
    }
    rows: Rows = [("account", (name, "USD", 0)) for name in (escrow, transit, balance)]
    for kind, legs in moves.items():
        terms = (kind, purchase, "USD")
        key, many = f"purchase-{purchase}/{kind}", len(legs)
        rows.append(("operation", (key, *terms, "x" * 200, "0" * 64, "applied", many, at)))
        for leg, (debit, credit, amount) in enumerate(legs, start=1):
            move = (key, leg, many, kind, purchase, debit, credit, "USD", amount)
            rows.append(("transfer", move))
        post(rows)
        rows = []


Bare = Callable[[str, bool], AbstractContextManager[Post]]
"""Opens the database of a URL, with the ledger's own tables or with tables without constraints."""


@contextmanager
def bare_sqlite(url: str, own: bool) -> Iterator[Post]:
    """Insert with the driver alone, with our durability settings."""
    file = str(make_url(url).database)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        prepare(connection)
        for table in () if own else TABLES:
            connection.execute(table)

        def post(rows: Rows) -> None:
            connection.execute("BEGIN IMMEDIATE")
            for table, row in rows:
                connection.execute(_insert(table, "?"), row)
            connection.execute("COMMIT")

        post([("account", (CLEARING, "USD", None))])
        yield post


@contextmanager
def bare_postgresql(url: str, own: bool) -> Iterator[Post]:
    """Insert with the driver alone."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        for table in () if own else TABLES:
            connection.execute(table.encode())
        connection.commit()

        def post(rows: Rows) -> None:
            for table, row in rows:
                connection.execute(_insert(table, "%s").encode(), row)
            connection.commit()

        post([("account", (CLEARING, "USD", None))])
        yield post


@cache
def _insert(table: str, mark: str) -> str:
    columns = INSERTS[table]
    marks = ", ".join([mark] * len(columns.split(", ")))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks})"


async def _rate(one: Callable[[], None]) -> dict[str, float]:
    """Operations per second; a purchase has three."""
    began = time.monotonic()
    for _ in range(PURCHASES):
        one()
    return {"per second": PURCHASES * 3 / (time.monotonic() - began)}


async def measure() -> list[Finding]:
    """Measure on both databases."""
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        file = f"sqlite:///{folder}/{{}}.db".format
        database = partial(PostgresDatabases(server).create, migrated=False)
        return [
            *await _compared("SQLite", file, bare_sqlite),
            *await _compared("PostgreSQL", database, bare_postgresql),
            await _split(database("split")),
        ]


async def _split(url: str) -> Finding:
    """Compare a split clearing account with one, in the same database."""
    engine = _migrated(url)
    one, several = Ledger(engine), Ledger(engine, clearing_accounts=CLEARING_ACCOUNTS)
    with ThreadPoolExecutor(THREADS) as threads:

        async def rate(ledger: Ledger) -> dict[str, float]:
            began = time.monotonic()
            list(threads.map(lambda _: post_ours(ledger), range(PURCHASES)))
            return {"per second": PURCHASES * 3 / (time.monotonic() - began)}

        found = await in_turn(partial(rate, several), partial(rate, one), ROUNDS)
    engine.dispose()
    what = f"ledger postings per second, PostgreSQL, {THREADS} threads"
    return found["per second"].finding(
        f"{what}, {CLEARING_ACCOUNTS} clearing accounts",
        "one clearing account",
        1.5,
        "/s",
        better="more",
    )


async def _compared(name: str, create: Callable[[str], str], bare: Bare) -> list[Finding]:
    engine = _migrated(create("measured"))
    ledger = Ledger(engine)
    findings = []
    for own, whose in ((False, "tables without constraints"), (True, "the ledger's own tables")):
        url = create(f"bare_{own}".lower())
        if own:
            _migrated(url).dispose()
        with bare(url, own) as post:
            found = await in_turn(
                partial(_rate, partial(post_ours, ledger)),
                partial(_rate, partial(post_bare, post)),
                ROUNDS,
            )
        what = f"ledger postings per second, {name}"
        against = f"bare INSERTs of the same rows into {whose}"
        findings.append(found["per second"].finding(what, against, 0.6, "/s", better="more"))
    engine.dispose()
    return findings


def _migrated(url: str) -> sa.Engine:
    engine = create_engine(url)
    migrate(engine)
    return engine
