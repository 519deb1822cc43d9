"""The audit of the ledger against itself. It reads every row and relies on no constraint."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.requests import Difference


@dataclass(frozen=True)
class Check:
    """A query that returns a row for each difference.

    Its first column names the currency, account or purchase; all its columns fill in `what`."""

    about: Literal["currency", "account", "purchase"]
    what: str
    query: str


WHAT_TO_DO = (
    "The database was changed without the ledger's rules. Stop the workers, find out who has write"
    " access, and compare with the last good backup before any more money moves."
)

CHECKS = (
    Check(
        "currency",
        "The balances in {0} sum to {1}, not to 0.",
        "SELECT currency, sum(balance) FROM account GROUP BY currency HAVING sum(balance) <> 0",
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
            JOIN account ON account.id = 'freelancer-receivable:' || purchase_id
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
        LEFT JOIN account AS debited ON debited.id = transfer.debit_account
        LEFT JOIN account AS credited ON credited.id = transfer.credit_account
        WHERE debited.id IS NULL OR credited.id IS NULL ORDER BY transfer.seq
        """,
    ),
)


def audit(connection: Connection) -> list[Difference]:
    """Return every difference that the checks find in the snapshot of `connection`."""
    return [
        Difference(
            purchase_id=_purchase(check, row[0]),
            what=check.what.format(*row),
            what_to_do=WHAT_TO_DO,
        )
        for check in CHECKS
        for row in connection.execute(sa.text(check.query))
    ]


def _purchase(check: Check, subject: str) -> str | None:
    if check.about == "account":
        role, _, owner = subject.partition(":")
        return None if role in ("provider-clearing", "platform-losses") else owner
    return subject if check.about == "purchase" else None
