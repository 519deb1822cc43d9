"""What can be asked of the ledger: each operation with its legs, and what makes it impossible.

An operation that could never be right, whatever the books say, is refused here and not recorded.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from activities.ledger.errors import LedgerRejected

MAX_AMOUNT = 2**53 - 1
DECISIONS = ("refund", "release", "split")


@dataclass(frozen=True)
class Leg:
    """One amount from the debited account to the credited one."""

    debit: str
    credit: str
    amount: int


@dataclass(frozen=True)
class Operation:
    """One to two legs that happen together or not at all, and the key that names them for ever."""

    key: str
    kind: str
    purchase_id: str
    currency: str
    at: datetime
    legs: tuple[Leg, ...]
    reference: str = ""

    @property
    def total(self) -> int:
        return sum(leg.amount for leg in self.legs)

    @property
    def accounts(self) -> set[str]:
        return {name for leg in self.legs for name in (leg.debit, leg.credit)}

    @property
    def request(self) -> str:
        """What was asked for, and where the proof is."""
        return _json({**self._meaning, "reference": self.reference})

    @property
    def request_hash(self) -> str:
        """What the key means. `at` and `reference` are left out: asking again later, with a proof
        that was found elsewhere, is asking for the same."""
        return hashlib.sha256(_json(self._meaning).encode()).hexdigest()

    @property
    def _meaning(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "purchase_id": self.purchase_id,
            "currency": self.currency,
            "legs": [vars(leg) for leg in self.legs],
        }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def provider_clearing(currency: str) -> str:
    return f"provider-clearing:{currency}"


def escrow(purchase_id: str) -> str:
    return f"escrow:{purchase_id}"


def refunds_in_transit(purchase_id: str) -> str:
    return f"refunds-in-transit:{purchase_id}"


def freelancer_balance(purchase_id: str) -> str:
    return f"freelancer-balance:{purchase_id}"


def hold(key: str, purchase_id: str, amount: int, currency: str, at: datetime) -> Operation:
    leg = Leg(provider_clearing(currency), escrow(purchase_id), amount)
    return _check(Operation(key, "hold", purchase_id, currency, at, (leg,)))


def decide(
    key: str, purchase_id: str, refund: int, release: int, currency: str, at: datetime
) -> Operation:
    source = escrow(purchase_id)
    sides = {
        "refund": Leg(source, refunds_in_transit(purchase_id), refund),
        "release": Leg(source, freelancer_balance(purchase_id), release),
    }
    # Only the integer 0 leaves a side out; False and 0.0 stay, to be refused as no amounts.
    moving = {kind: leg for kind, leg in sides.items() if type(leg.amount) is not int or leg.amount}
    kind = "split" if len(moving) == 2 else next(iter(moving), "refund")
    legs = tuple(moving.values()) or (sides["refund"],)
    return _check(Operation(key, kind, purchase_id, currency, at, legs))


def settle(
    key: str, purchase_id: str, amount: int, currency: str, at: datetime, reference: str
) -> Operation:
    leg = Leg(refunds_in_transit(purchase_id), provider_clearing(currency), amount)
    return _check(Operation(key, "settled", purchase_id, currency, at, (leg,), reference))


def _check(operation: Operation) -> Operation:
    for leg in operation.legs:
        # A bool is an int to Python, and 1.0 equals 1: only the exact type is an amount.
        if type(leg.amount) is not int or not 0 < leg.amount <= MAX_AMOUNT:
            raise LedgerRejected(
                "INVALID_AMOUNT",
                f"{leg.amount!r} is not an amount: give whole minor units from 1 to {MAX_AMOUNT}.",
            )
    if not re.fullmatch("[A-Z]{3}", operation.currency):
        raise LedgerRejected(
            "INVALID_REQUEST",
            f"{operation.currency!r} is not a currency: give its three capital letters.",
        )
    for name in ("key", "purchase_id"):
        value = getattr(operation, name)
        if not (value and value.isprintable()):
            raise LedgerRejected(
                "INVALID_REQUEST", f"{name} must be printable text, not {value!r}."
            )
    if not operation.reference.isprintable():
        raise LedgerRejected("INVALID_REQUEST", "reference must be printable text.")
    if operation.at.utcoffset() is None:
        raise LedgerRejected(
            "INVALID_REQUEST", f"{operation.at} has no time zone: give an instant."
        )
    return operation
