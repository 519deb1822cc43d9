"""The audit of the ledger against itself. It relies on no constraint.

It reads every row, or those of a window: of the purchases with an operation recorded since an
instant. Everything that a purchase has is then read, also what is older. The purchases of a window
are read in batches, by indexes only, so that its cost does not grow with what is older.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.ledger import operations, schema
from activities.requests import Difference


@dataclass(frozen=True)
class Check:
    """A query that returns a row for each difference.

    Its first column names the currency, account or purchase; all its columns fill in `what`. With
    `has_window` a window restricts it."""

    about: Literal["currency", "account", "purchase"]
    what: str
    query: str
    has_window: bool = True


WHAT_TO_DO = (
    "The database was changed without the ledger's rules. Stop the workers, find out who has write"
    " access, and compare with the last good backup before any more money moves."
)

CHECKS = (
    Check(
        "currency",
        "The balances in {0} sum to {1}, not to 0.",
        "SELECT currency, sum(balance) FROM account GROUP BY currency HAVING sum(balance) <> 0",
        has_window=False,
    ),
    Check(
        "currency",
        "The purchases in {0} have {1} held, in transit, released and in bank disputes;"
        " the accounts have {2}.",
        """
        SELECT currency, sum(of_purchases), sum(of_accounts) FROM (
            SELECT currency, held + in_transit + released + charged_back AS of_purchases,
                0 AS of_accounts
            FROM purchase_balances
            UNION ALL
            SELECT currency, -amount, 0 FROM transfer WHERE kind = 'bank_dispute_lost'
            UNION ALL
            SELECT currency, 0, balance FROM account WHERE min_balance IS NOT NULL
        ) AS totals GROUP BY currency HAVING sum(of_purchases) <> sum(of_accounts)
        """,
    ),
    Check(
        "account",
        "The balance of {0} is {1}, but its transfers sum to {2}.",
        """
        SELECT id, balance, moved FROM (
            SELECT account.id, account.balance, coalesce(sum(movement.amount), 0) AS moved
            FROM account LEFT JOIN (
                SELECT credit_account AS account, amount FROM transfer
                UNION ALL
                SELECT debit_account, -amount FROM transfer
            ) AS movement ON movement.account = account.id
            GROUP BY account.id, account.balance
        ) AS sums WHERE balance <> moved ORDER BY id
        """,
    ),
    Check(
        "account",
        "The balance of {0} is {1}, below its minimum of {2}.",
        "SELECT id, balance, min_balance FROM account WHERE balance < min_balance ORDER BY id",
    ),
    Check(
        "purchase",
        "The hold of {0} was {1}, but {2} is held, in transit, refunded, released or charged back.",
        """
        SELECT purchase_id, amount, found FROM (
            SELECT purchase_id, transfer.amount,
                held + in_transit + refunded + released + charged_back AS found
            FROM purchase_balances JOIN transfer USING (purchase_id) WHERE kind = 'hold'
        ) AS sums WHERE amount <> found ORDER BY purchase_id
        """,
    ),
    Check(
        "purchase",
        "The client of {0} has {1} of its settled refunds: more was returned than was settled.",
        """
        SELECT purchase_id, settled FROM (
            SELECT purchase_id,
                sum(CASE kind WHEN 'settled' THEN amount ELSE -amount END) AS settled
            FROM transfer WHERE kind IN ('settled', 'refund_returned') GROUP BY purchase_id
        ) AS sums WHERE settled < 0 ORDER BY purchase_id
        """,
    ),
    Check(
        "purchase",
        "The client of {0} has {1} of the refunds that others made: more failed than were made.",
        """
        SELECT purchase_id, made FROM (
            SELECT purchase_id,
                sum(CASE kind WHEN 'refunded_elsewhere' THEN amount ELSE -amount END) AS made
            FROM transfer WHERE kind IN ('refunded_elsewhere', 'refund_elsewhere_failed')
            GROUP BY purchase_id
        ) AS sums WHERE made < 0 ORDER BY purchase_id
        """,
    ),
    Check(
        "purchase",
        "The freelancer of {0} got {1} and owes {2}.",
        """
        SELECT purchase_id, released, owed FROM (
            SELECT purchase_id, released, coalesce(-account.balance, 0) AS owed
            FROM purchase_balances
            JOIN account ON account.id LIKE 'freelancer-receivable:%'
                AND account.id = 'freelancer-receivable:' || purchase_id
        ) AS sums WHERE owed > released ORDER BY purchase_id
        """,
    ),
    Check(
        "purchase",
        "Operation {1} of {0} needs {2} transfers, but has {3}.",
        """
        SELECT operation.purchase_id, operation.key, operation.legs, count(transfer.seq)
        FROM operation LEFT JOIN transfer ON transfer.operation_key = operation.key
        WHERE operation.status = 'applied'
        GROUP BY operation.purchase_id, operation.key, operation.legs
        HAVING count(transfer.seq) <> operation.legs ORDER BY operation.key
        """,
    ),
    Check(
        "purchase",
        "A transfer of {0} belongs to operation {1}, which was not applied.",
        """
        SELECT transfer.purchase_id, transfer.operation_key FROM transfer
        LEFT JOIN operation ON operation.key = transfer.operation_key
            AND operation.status = 'applied'
        WHERE operation.key IS NULL ORDER BY transfer.seq
        """,
    ),
    Check(
        "purchase",
        "A transfer of {0}, in operation {1}, names an unknown account.",
        """
        SELECT transfer.purchase_id, transfer.operation_key FROM transfer
        LEFT JOIN account_balances AS debited ON debited.account = transfer.debit_account
        LEFT JOIN account_balances AS credited ON credited.account = transfer.credit_account
        WHERE debited.account IS NULL OR credited.account IS NULL ORDER BY transfer.seq
        """,
    ),
)


BATCH = 500
"""Bounds the purchases of a window that one query reads: few enough for PostgreSQL to look each up
in an index, against its estimates."""

WINDOW = """
    WITH operation AS (SELECT * FROM {schema}operation WHERE purchase_id {of_batch}),
    transfer AS (SELECT * FROM {schema}transfer WHERE purchase_id {of_batch}),
    purchase_balances AS (SELECT * FROM {schema}purchase_balances WHERE purchase_id {of_batch}),
    account AS (SELECT * FROM {schema}account WHERE id {of_accounts})
"""
"""Hides the tables behind the rows of a batch of purchases. SQLite reads an unqualified name in a
common table expression of the same name as a reference to itself."""

OF_PURCHASE = (
    operations.escrow(""),
    operations.refunds_in_transit(""),
    operations.freelancer_balance(""),
    operations.bank_disputes(""),
    operations.freelancer_receivable(""),
)
"""Prefixes of the accounts whose transfers are all of one purchase. A window has no others; their
balances follow: all balances sum to 0."""


def audit(connection: Connection, since: datetime | None = None) -> list[Difference]:
    """Return every difference that the checks find in the snapshot of `connection`: of all
    purchases, or of those with an operation recorded since this instant."""
    if since is None:
        return [found for check in CHECKS for found in _differences(connection, check)]
    found = [
        each for check in CHECKS if not check.has_window for each in _differences(connection, check)
    ]
    for ids in _recent(connection, since):
        batch = _parameters(connection, ids)
        for check in CHECKS:
            if check.has_window:
                found += _differences(connection, check, batch)
    return found


def _differences(
    connection: Connection, check: Check, batch: Mapping[str, object] | None = None
) -> list[Difference]:
    query = check.query
    if batch:
        query = _window(connection) + query
    return [
        Difference(
            purchase_id=_purchase(check, row[0]),
            what=check.what.format(*row),
            what_to_do=WHAT_TO_DO,
        )
        for row in connection.execute(sa.text(query), batch)
    ]


def _recent(connection: Connection, since: datetime) -> Iterator[Sequence[str]]:
    """Yield the ids of the purchases of a window, in batches."""
    operation = schema.operation.c
    # An expression, because SQLite would read the whole index of a column to find distinct values.
    purchase_id = operation.purchase_id + sa.literal("")
    query = sa.select(purchase_id).where(operation.recorded_at >= since).distinct()
    found = connection.execute(query, execution_options={"yield_per": BATCH})
    yield from found.scalars().partitions()


def _parameters(connection: Connection, ids: Sequence[str]) -> Mapping[str, object]:
    accounts = [prefix + purchase_id for prefix, purchase_id in product(OF_PURCHASE, ids)]
    given: dict[str, Sequence[str]] = {"ids": list(ids), "accounts": accounts}
    if connection.dialect.name == "sqlite":
        return {name: json.dumps(value) for name, value in given.items()}
    return given


def _window(connection: Connection) -> str:
    if connection.dialect.name == "sqlite":
        is_in, database = "IN (SELECT value FROM json_each(:{}))", "main."
    else:
        is_in, database = "= ANY(:{})", ""
    return WINDOW.format(
        schema=database, of_batch=is_in.format("ids"), of_accounts=is_in.format("accounts")
    )


def _purchase(check: Check, subject: str) -> str | None:
    if check.about == "account":
        role, _, owner = subject.partition(":")
        return None if role in ("provider-clearing", "platform-losses") else owner
    return subject if check.about == "purchase" else None
