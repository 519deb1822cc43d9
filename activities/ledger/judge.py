"""What the books say to an operation, in words. The database refuses the same by itself."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.ledger.operations import DECISIONS, Operation

# In the words of the partial indexes: such an index answers only for constants.
APPLIED_HOLD = sa.text(
    "SELECT key FROM operation WHERE purchase_id = :id AND status = 'applied' AND kind = 'hold'"
)
APPLIED_DECISION = sa.text(
    "SELECT key FROM operation WHERE purchase_id = :id AND status = 'applied'"
    " AND kind IN ('refund', 'release', 'split')"
)


@dataclass(frozen=True)
class Account:
    """A locked account: nobody else moves it until the transaction ends."""

    currency: str
    balance: int


@dataclass(frozen=True)
class Refusal:
    """Why not: a code for programs and a sentence for people."""

    code: str
    reason: str


def judge(
    connection: Connection, operation: Operation, accounts: Mapping[str, Account]
) -> Refusal | None:
    """The refusal that `operation` deserves, if any. Its accounts are locked by the caller."""
    purchase = f"Purchase {operation.purchase_id}"
    is_hold, is_decision = operation.kind == "hold", operation.kind in DECISIONS
    held_before = _there_is(connection, operation.purchase_id, APPLIED_HOLD)
    if is_hold and held_before:
        return Refusal("ALREADY_HELD", f"{purchase} has its one hold already.")
    if not is_hold and not held_before:
        return Refusal("NO_HOLD", f"{purchase} has no money in escrow: post its hold first.")
    other = next((a.currency for a in accounts.values() if a.currency != operation.currency), None)
    if other:
        return Refusal("CURRENCY_MISMATCH", f"{purchase} is in {other}, not {operation.currency}.")
    if is_decision and _there_is(connection, operation.purchase_id, APPLIED_DECISION):
        return Refusal("ALREADY_DECIDED", f"{purchase} has its one decision about money already.")
    return None if is_hold else _enough(operation, accounts)


def _enough(operation: Operation, accounts: Mapping[str, Account]) -> Refusal | None:
    source = operation.legs[0].debit
    there = accounts[source].balance if source in accounts else 0
    asked, currency = operation.total, operation.currency
    if asked > there:
        return Refusal(
            "NOT_ENOUGH_MONEY", f"{source} has {there} {currency} (minor units), not {asked}."
        )
    if operation.kind in DECISIONS and asked < there:
        return Refusal(
            "MONEY_LEFT_OVER",
            f"A decision is about all that is held: {source} has {there} {currency} (minor units),"
            f" the decision moves {asked}.",
        )
    return None


def _there_is(connection: Connection, purchase_id: str, applied: sa.TextClause) -> bool:
    return connection.execute(applied, {"id": purchase_id}).first() is not None
