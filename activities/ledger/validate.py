"""The ledger's rules, checked before an operation so that a rejection has a code and a sentence.

The database enforces the same rules on its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from activities.ledger.operations import (
    DECISIONS,
    Operation,
    bank_disputes,
    escrow,
    freelancer_balance,
    freelancer_receivable,
)


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


FINAL = frozenset({"ALREADY_HELD", "ALREADY_DECIDED", "CHARGE_TAKEN", "CURRENCY_MISMATCH"})
"""A purchase never gets a second hold, a second decision, another purchase's charge or another
currency. Every other rejection depends on what the ledger has when it is made."""

UNLIMITED = ("hold", "refund_elsewhere_failed", "refund_returned", "bank_dispute_loss")
"""Kinds that take from an account without a minimum balance."""


def validate(
    operation: Operation, accounts: Mapping[str, Account], applied: Mapping[str, str]
) -> Rejection | None:
    """Return why `operation` is rejected, or None.

    The caller has locked its accounts. `applied` has the purchase's applied hold and decision: the
    currency by the kind.
    """
    purchase = f"Purchase {operation.purchase_id}"
    is_hold = operation.kind == "hold"
    held_in = applied.get("hold")
    if is_hold and held_in:
        return Rejection("ALREADY_HELD", f"{purchase} has a hold already; it can have only one.")
    if not is_hold and not held_in:
        return Rejection("NO_HOLD", f"{purchase} has no hold: post its hold first.")
    currencies = [held_in, *(account.currency for account in accounts.values())]
    other = next((each for each in currencies if each not in (None, operation.currency)), None)
    if other:
        return Rejection(
            "CURRENCY_MISMATCH", f"{purchase} is in {other}, not {operation.currency}."
        )
    is_decided = any(kind in applied for kind in DECISIONS)
    if operation.kind in DECISIONS:
        return _check_decision(operation, accounts, is_decided=is_decided)
    if operation.kind == "bank_dispute_won":
        goes_to_escrow = operation.legs[0].credit == escrow(operation.purchase_id)
        if goes_to_escrow == is_decided:
            return Rejection(
                "WRONG_ACCOUNT",
                "A bank gives money back to escrow before the decision, and to refunds in transit"
                f" after it; {purchase} has {'a' if is_decided else 'no'} decision.",
            )
    if operation.kind == "refund_elsewhere_failed" and is_decided:
        return Rejection(
            "WRONG_ACCOUNT",
            f"A refund that others made goes back to escrow only before the decision; {purchase} "
            "has one.",
        )
    source = operation.legs[0].debit
    if source == freelancer_receivable(operation.purchase_id):
        return _check_receivable(operation, accounts)
    if operation.kind in UNLIMITED:
        return None
    return _check_amount(operation, source, _balance(accounts, source))


def check_returned(operation: Operation, refunded: int) -> Rejection | None:
    """Return why the return of a refund is rejected. `refunded`: what the client has by the ledger
    of the purchase's own refunds, or of those that others made."""
    return _check_amount(operation, f"The client of {operation.purchase_id}", refunded)


def charge_taken(hold: Operation, owner: str) -> Rejection:
    """The rejection of a hold whose charge holds another purchase, `owner`."""
    return Rejection(
        "CHARGE_TAKEN",
        f"The charge {hold.reference} holds purchase {owner}, and so cannot hold purchase"
        f" {hold.purchase_id}: give the charge that was made for it.",
    )


def _check_decision(
    operation: Operation, accounts: Mapping[str, Account], *, is_decided: bool
) -> Rejection | None:
    purchase, currency = f"Purchase {operation.purchase_id}", operation.currency
    if is_decided:
        return Rejection(
            "ALREADY_DECIDED", f"{purchase} has a decision already; it can have only one."
        )
    if disputed := _balance(accounts, bank_disputes(operation.purchase_id)):
        return Rejection(
            "BANK_DISPUTE_OPEN",
            f"{purchase} has {disputed} {currency} (minor units) in a bank dispute: post the"
            " decision when the dispute is won or lost.",
        )
    source = operation.legs[0].debit
    balance = _balance(accounts, source)
    if operation.total < balance:
        return Rejection(
            "MONEY_LEFT_OVER",
            f"A decision must move the whole escrow: {source} has {balance} {currency} (minor"
            f" units), the decision moves {operation.total}.",
        )
    return _check_amount(operation, source, balance)


def _check_receivable(operation: Operation, accounts: Mapping[str, Account]) -> Rejection | None:
    purchase_id = operation.purchase_id
    released = _balance(accounts, freelancer_balance(purchase_id))
    owed = -_balance(accounts, freelancer_receivable(purchase_id))
    return _check_amount(operation, f"The freelancer of {purchase_id}", released - owed)


def _check_amount(operation: Operation, owner: str, balance: int) -> Rejection | None:
    if operation.total <= balance:
        return None
    return Rejection(
        "NOT_ENOUGH_MONEY",
        f"{owner} has {balance} {operation.currency} (minor units), the operation needs"
        f" {operation.total}.",
    )


def _balance(accounts: Mapping[str, Account], name: str) -> int:
    return accounts[name].balance if name in accounts else 0
