"""What the books say to an operation, in words. The database refuses the same by itself."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from activities.ledger.operations import DECISIONS, Operation


@dataclass(frozen=True)
class Account:
    """A locked account: nobody else moves it until the transaction ends."""

    currency: str
    balance: int


@dataclass(frozen=True)
class Rejection:
    """Why not: a code for programs and a sentence for people."""

    code: str
    reason: str


def validate(
    operation: Operation, accounts: Mapping[str, Account], done: Collection[str]
) -> Rejection | None:
    """The refusal that `operation` deserves, if any. Its accounts are locked by the caller; `done`
    are the kinds of hold and decision that the purchase has had."""
    purchase = f"Purchase {operation.purchase_id}"
    is_hold, is_decision = operation.kind == "hold", operation.kind in DECISIONS
    held_before = "hold" in done
    if is_hold and held_before:
        return Rejection("ALREADY_HELD", f"{purchase} has its one hold already.")
    if not is_hold and not held_before:
        return Rejection("NO_HOLD", f"{purchase} has no money in escrow: post its hold first.")
    other = next((a.currency for a in accounts.values() if a.currency != operation.currency), None)
    if other:
        return Rejection(
            "CURRENCY_MISMATCH", f"{purchase} is in {other}, not {operation.currency}."
        )
    if is_decision and any(kind in done for kind in DECISIONS):
        return Rejection("ALREADY_DECIDED", f"{purchase} has its one decision about money already.")
    return None if is_hold else _enough(operation, accounts)


def _enough(operation: Operation, accounts: Mapping[str, Account]) -> Rejection | None:
    source = operation.legs[0].debit
    there = accounts[source].balance if source in accounts else 0
    asked, currency = operation.total, operation.currency
    if asked > there:
        return Rejection(
            "NOT_ENOUGH_MONEY", f"{source} has {there} {currency} (minor units), not {asked}."
        )
    if operation.kind in DECISIONS and asked < there:
        return Rejection(
            "MONEY_LEFT_OVER",
            f"A decision is about all that is held: {source} has {there} {currency} (minor units),"
            f" the decision moves {asked}.",
        )
    return None
