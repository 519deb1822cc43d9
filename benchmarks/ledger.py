"""Postings a second: the ledger, and bare INSERTs of the same rows in the same durability."""

import itertools
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from activities.ledger import Ledger, create_engine, migrate
from activities.sqlite import prepare
from benchmarks.measure import Finding, in_turn
from tests.ledger.conftest import PostgresDatabases, postgres_server

PURCHASES = 150
ROUNDS = 5
AT = datetime(2026, 11, 1, tzinfo=UTC)
TABLES = (
    "CREATE TABLE bare_account (id text, currency text, floor bigint, balance bigint)",
    "CREATE TABLE bare_operation (key text, kind text, purchase_id text, currency text,"
    " request text, request_hash text, status text, legs int, at text)",
    "CREATE TABLE bare_transfer (operation_key text, leg int, legs int, kind text,"
    " purchase_id text, debit_account text, credit_account text, currency text, amount bigint)",
)
numbers = itertools.count()

Rows = list[tuple[str, tuple[Any, ...]]]
Post = Callable[[Rows], None]


def post_ours(ledger: Ledger) -> None:
    """Hold, split and settle one purchase."""
    purchase = f"p-{next(numbers)}"
    given: dict[str, Any] = {"purchase_id": purchase, "currency": "USD", "at": AT}
    ledger.hold(key=f"purchase-{purchase}/hold", amount=25_000, **given)
    ledger.decide(key=f"purchase-{purchase}/split", refund=15_000, release=10_000, **given)
    ledger.settle(key=f"purchase-{purchase}/settled", amount=15_000, reference="re", **given)


def post_bare(post: Post) -> None:
    """The same rows."""
    purchase = f"p-{next(numbers)}"
    accounts = [
        ("bare_account", (f"{kind}:{purchase}", "USD", 0, 0))
        for kind in ("escrow", "freelancer-balance", "provider-clearing", "refunds-in-transit")
    ]
    request, digest = "x" * 200, "0" * 64
    for kind, legs in (("hold", 1), ("split", 2), ("settled", 1)):
        key = f"purchase-{purchase}/{kind}"
        rows: Rows = accounts if kind == "hold" else []
        operation = (key, kind, purchase, "USD", request, digest, "applied", legs, AT.isoformat())
        rows = [*rows, ("bare_operation", operation)]
        for leg in range(legs):
            names = (f"escrow:{purchase}", f"refunds-in-transit:{purchase}")
            transfer = (key, leg + 1, legs, kind, purchase, *names, "USD", 15_000)
            rows.append(("bare_transfer", transfer))
        post(rows)


@contextmanager
def bare_sqlite(file: Path) -> Iterator[Post]:
    """The driver alone, as careful with the disk as ours."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        prepare(connection)
        for table in TABLES:
            connection.execute(table)

        def post(rows: Rows) -> None:
            connection.execute("BEGIN IMMEDIATE")
            for table, row in rows:
                marks = ",".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
            connection.execute("COMMIT")

        yield post


@contextmanager
def bare_postgresql(url: str) -> Iterator[Post]:
    """The driver alone."""
    with psycopg.connect(url) as connection:
        for table in TABLES:
            connection.execute(table.encode())
        connection.commit()

        def post(rows: Rows) -> None:
            for table, row in rows:
                marks = ",".join(["%s"] * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})".encode(), row)
            connection.commit()

        yield post


def rate(one: Callable[[], None], operations: int = 3) -> dict[str, float]:
    """Operations a second."""
    began = time.monotonic()
    for _ in range(PURCHASES):
        one()
    return {"per second": PURCHASES * operations / (time.monotonic() - began)}


async def measure() -> list[Finding]:
    """On both databases."""
    findings = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/ledger.db"
        with bare_sqlite(Path(folder, "bare.db")) as post:
            findings.append(await _compared("SQLite", url, post))
    with postgres_server() as server:
        url = PostgresDatabases(server).create("measured")
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with bare_postgresql(plain) as post:
            findings.append(await _compared("PostgreSQL", url, post))
    return findings


async def _compared(name: str, url: str, post: Post) -> Finding:
    engine = create_engine(url)
    migrate(engine)
    ledger = Ledger(engine)

    async def ours() -> dict[str, float]:
        return rate(lambda: post_ours(ledger))

    async def theirs() -> dict[str, float]:
        return rate(lambda: post_bare(post))

    found = await in_turn(ours, theirs, ROUNDS)
    engine.dispose()
    return found["per second"].finding(
        f"ledger postings per second, {name}",
        "bare INSERTs of the same rows",
        0.6,
        "/s",
        better="more",
    )
