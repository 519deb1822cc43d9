"""Do the books agree with themselves? Reads everything and relies on no constraint or trigger."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection


@dataclass(frozen=True)
class Difference:
    """One thing that is wrong: of which purchase (None: of the whole book), what, what to do."""

    purchase_id: str | None
    what: str
    what_to_do: str


@dataclass(frozen=True)
class Check:
    """A query that finds nothing in good books. Its first column is what it is about; all its
    columns fill in `what`."""

    about: Literal["currency", "account", "purchase"]
    what: str
    query: str


WHAT_TO_DO = (
    "Something wrote past the ledger's own rules. Stop the workers, find who has write access,"
    " and compare with the last good backup before any more money moves."
)

CHECKS = (
    Check(
        "currency",
        "All balances in {0} add up to {1}, not to 0.",
        "SELECT currency, sum(balance) FROM account GROUP BY currency HAVING sum(balance) <> 0",
    ),
    Check(
        "currency",
        "The purchases in {0} have {1} in escrow, in transit and released; the accounts have {2}.",
        """
        SELECT currency, sum(of_purchases), sum(of_accounts) FROM (
            SELECT currency, held + in_transit + released AS of_purchases, 0 AS of_accounts
            FROM purchase_balances
            UNION ALL
            SELECT currency, 0, balance FROM account WHERE floor IS NOT NULL
        ) AS totals GROUP BY currency HAVING sum(of_purchases) <> sum(of_accounts)
        """,
    ),
    Check(
        "account",
        "The balance of {0} is {1}, but its transfers add up to {2}.",
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
        "{0} is at {1}, below its floor of {2}.",
        "SELECT id, balance, floor FROM account WHERE balance < floor ORDER BY id",
    ),
    Check(
        "purchase",
        "The hold of {0} was {1}, but {2} is held, in transit, refunded and released.",
        """
        SELECT purchase_id, amount, found FROM (
            SELECT purchase_id, transfer.amount, held + in_transit + refunded + released AS found
            FROM purchase_balances JOIN transfer USING (purchase_id) WHERE kind = 'hold'
        ) AS sums WHERE amount <> found ORDER BY purchase_id
        """,
    ),
    Check(
        "purchase",
        "Operation {1} of {0} is applied and should have {2} legs; it has {3}.",
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
        "A transfer of {0} belongs to {1}, which was never applied.",
        """
        SELECT transfer.purchase_id, transfer.operation_key FROM transfer
        LEFT JOIN operation ON operation.key = transfer.operation_key
            AND operation.status = 'applied'
        WHERE operation.key IS NULL ORDER BY transfer.seq
        """,
    ),
    Check(
        "purchase",
        "A transfer of {0}, of operation {1}, names an unknown account.",
        """
        SELECT transfer.purchase_id, transfer.operation_key FROM transfer
        LEFT JOIN account AS debited ON debited.id = transfer.debit_account
        LEFT JOIN account AS credited ON credited.id = transfer.credit_account
        WHERE debited.id IS NULL OR credited.id IS NULL ORDER BY transfer.seq
        """,
    ),
)


def audit(connection: Connection) -> list[Difference]:
    """Every difference that the checks find, on the snapshot that `connection` sees."""
    return [
        Difference(_purchase(check, row[0]), check.what.format(*row), WHAT_TO_DO)
        for check in CHECKS
        for row in connection.execute(sa.text(check.query))
    ]


def _purchase(check: Check, subject: str) -> str | None:
    if check.about == "account":
        role, _, owner = subject.partition(":")
        return None if role == "provider-clearing" else owner
    return subject if check.about == "purchase" else None
