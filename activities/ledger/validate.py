"""The ledger's rules, checked before an operation so that a rejection has a code and a sentence.

The database enforces the same rules on its own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from activities.ledger.operations import DECISIONS, Operation


@dataclass(frozen=True)
class Account:
    """An account whose row this transaction has locked."""

    currency: str
    balance: int


@dataclass(frozen=True)
class Rejection:
    """Why an operation is rejected: a code for programs, a sentence for people."""

    code: str
    reason: str

    @property
    def is_final(self) -> bool:
        """Whether nothing that the ledger may still record could change it."""
        return self.code in FINAL


FINAL = frozenset({"ALREADY_HELD", "ALREADY_DECIDED", "CURRENCY_MISMATCH"})
"""A purchase never gets a second hold, a second decision or another currency. Every other rejection
depends on what the accounts hold when it is made."""


def validate(
    operation: Operation, accounts: Mapping[str, Account], applied: Collection[str]
) -> Rejection | None:
    """Return why `operation` is rejected, or None.

    The caller has locked its accounts. `applied` has the kinds of the purchase's applied hold and
    decision.
    """
    purchase = f"Purchase {operation.purchase_id}"
    is_hold, is_decision = operation.kind == "hold", operation.kind in DECISIONS
    has_hold = "hold" in applied
    if is_hold and has_hold:
        return Rejection("ALREADY_HELD", f"{purchase} has a hold already; it can have only one.")
    if not is_hold and not has_hold:
        return Rejection("NO_HOLD", f"{purchase} has no hold: post its hold first.")
    other = next((a.currency for a in accounts.values() if a.currency != operation.currency), None)
    if other:
        return Rejection(
            "CURRENCY_MISMATCH", f"{purchase} is in {other}, not {operation.currency}."
        )
    if is_decision and any(kind in applied for kind in DECISIONS):
        return Rejection(
            "ALREADY_DECIDED", f"{purchase} has a decision already; it can have only one."
        )
    return None if is_hold else _check_amount(operation, accounts)


def _check_amount(operation: Operation, accounts: Mapping[str, Account]) -> Rejection | None:
    source = operation.legs[0].debit
    balance = accounts[source].balance if source in accounts else 0
    amount, currency = operation.total, operation.currency
    if amount > balance:
        return Rejection(
            "NOT_ENOUGH_MONEY",
            f"{source} has {balance} {currency} (minor units), the operation needs {amount}.",
        )
    if operation.kind in DECISIONS and amount < balance:
        return Rejection(
            "MONEY_LEFT_OVER",
            f"A decision must move the whole escrow: {source} has {balance} {currency} (minor"
            f" units), the decision moves {amount}.",
        )
    return None
