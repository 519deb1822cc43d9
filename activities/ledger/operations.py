"""The operations of the ledger and their legs.

An operation that no balance can make valid is rejected here and not recorded.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from activities import fields
from activities.amounts import MAX_AMOUNT
from activities.ledger.errors import LedgerRejected
from activities.requests import MoveAccount, ProviderMoveKind

DECISIONS = ("refund", "release", "split")

MAX_CLEARING_ACCOUNTS = 64
"""Bounds the provider clearing accounts of a currency: more than a database server has cores. The
database has a check for it."""

_PAID_OUT: tuple[MoveAccount, ...] = ("platform_losses", "freelancer_receivable")
MOVE_ACCOUNTS: Mapping[ProviderMoveKind, tuple[MoveAccount, ...]] = {
    "bank_dispute_opened": ("escrow", "in_transit"),
    "bank_dispute_won": ("escrow", "in_transit"),
    "bank_dispute_lost": ("escrow", "in_transit"),
    "bank_dispute_loss": _PAID_OUT,
    "refunded_elsewhere": ("escrow",),
    "refund_elsewhere_failed": ("escrow",),
    "refund_returned": ("in_transit",),
}
"""The accounts that each move of the provider may be about."""


@dataclass(frozen=True)
class Leg:
    """An amount that moves from the account `debit` to the account `credit`."""

    debit: str
    credit: str
    amount: int


@dataclass(frozen=True)
class Operation:
    """One or two legs, applied in one transaction, and their idempotency key."""

    key: str
    kind: str
    purchase_id: str
    currency: str
    at: datetime
    legs: tuple[Leg, ...]
    reference: str = ""
    opens: Mapping[str, int | None] = field(default_factory=dict)
    """The minimum balances of the accounts that it opens if they are missing."""
    requested: tuple[Leg, ...] = ()
    """The legs as its request has them, if a clearing account is split."""

    @property
    def total(self) -> int:
        return sum(leg.amount for leg in self.legs)

    @property
    def locks(self) -> list[str]:
        """The accounts of its legs and those that its validation reads, in the order in which every
        operation locks them."""
        names = {name for leg in self.legs for name in (leg.debit, leg.credit)}
        if self.kind in DECISIONS:
            names.add(bank_disputes(self.purchase_id))
        if freelancer_receivable(self.purchase_id) in names:
            names.add(freelancer_balance(self.purchase_id))
        return sorted(names)

    @property
    def request(self) -> str:
        """The request as stored: its terms and the reference of its proof."""
        return _json({**self._terms, "reference": self.reference})

    @property
    def request_hash(self) -> str:
        """The hash of the terms that the key stands for.

        `at` and `reference` are not part of it: a retry may come later and with another proof.
        """
        return hashlib.sha256(_json(self._terms).encode()).hexdigest()

    def with_clearing_accounts(self, number: int) -> "Operation":
        """The operation, posted to its purchase's own of `number` provider clearing accounts.

        The request still names the clearing account of the currency. So a key has the same meaning
        with every number, and a retry may come with another one.
        """
        whole = provider_clearing(self.currency)
        if not any(whole in (leg.debit, leg.credit) for leg in self.legs):
            return self
        digest = hashlib.sha256(self.purchase_id.encode()).digest()  # the same in every process
        part = int.from_bytes(digest[:8], "big") % number
        own = {whole: f"{whole}:{part}" if part else whole}
        legs = (
            Leg(own.get(leg.debit, leg.debit), own.get(leg.credit, leg.credit), leg.amount)
            for leg in self.legs
        )
        opens = {name: self.opens[name] for name in self.opens if name != whole}
        return replace(
            self, legs=tuple(legs), opens=opens | {own[whole]: None}, requested=self.legs
        )

    @property
    def _terms(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "purchase_id": self.purchase_id,
            "currency": self.currency,
            "legs": [vars(leg) for leg in self.requested or self.legs],
        }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def provider_clearing(currency: str) -> str:
    return f"provider-clearing:{currency}"


def clearing_accounts(number: str) -> int:
    """Read how many provider clearing accounts a currency has. Raises ValueError."""
    if not re.fullmatch("[1-9][0-9]?", number) or int(number) > MAX_CLEARING_ACCOUNTS:
        raise ValueError(f"give a whole number from 1 to {MAX_CLEARING_ACCOUNTS}, not {number!r}.")
    return int(number)


def escrow(purchase_id: str) -> str:
    return f"escrow:{purchase_id}"


def refunds_in_transit(purchase_id: str) -> str:
    return f"refunds-in-transit:{purchase_id}"


def freelancer_balance(purchase_id: str) -> str:
    return f"freelancer-balance:{purchase_id}"


def bank_disputes(purchase_id: str) -> str:
    return f"bank-disputes:{purchase_id}"


def platform_losses(currency: str) -> str:
    return f"platform-losses:{currency}"


def freelancer_receivable(purchase_id: str) -> str:
    return f"freelancer-receivable:{purchase_id}"


def hold(
    key: str, purchase_id: str, amount: int, currency: str, at: datetime, charge: str = ""
) -> Operation:
    leg = Leg(provider_clearing(currency), escrow(purchase_id), amount)
    opens = {
        escrow(purchase_id): 0,
        freelancer_balance(purchase_id): 0,
        provider_clearing(currency): None,
        refunds_in_transit(purchase_id): 0,
    }
    return _check(Operation(key, "hold", purchase_id, currency, at, (leg,), charge, opens))


def decide(
    key: str, purchase_id: str, refund: int, release: int, currency: str, at: datetime
) -> Operation:
    source = escrow(purchase_id)
    sides = {
        "refund": Leg(source, refunds_in_transit(purchase_id), refund),
        "release": Leg(source, freelancer_balance(purchase_id), release),
    }
    # Only the integer 0 leaves a side out; False and 0.0 stay, and are rejected as amounts.
    moving = {kind: leg for kind, leg in sides.items() if type(leg.amount) is not int or leg.amount}
    kind = "split" if len(moving) == 2 else next(iter(moving), "refund")
    legs = tuple(moving.values()) or (sides["refund"],)
    return _check(Operation(key, kind, purchase_id, currency, at, legs))


def settle(
    key: str, purchase_id: str, amount: int, currency: str, at: datetime, reference: str
) -> Operation:
    leg = Leg(refunds_in_transit(purchase_id), provider_clearing(currency), amount)
    return _check(Operation(key, "settled", purchase_id, currency, at, (leg,), reference))


def provider_moved(
    key: str,
    purchase_id: str,
    kind: ProviderMoveKind,
    account: MoveAccount,
    amount: int,
    currency: str,
    at: datetime,
    reference: str,
) -> Operation:
    if account not in MOVE_ACCOUNTS[kind]:
        possible = " or ".join(MOVE_ACCOUNTS[kind])
        raise LedgerRejected(
            "INVALID_REQUEST", f"A {kind} cannot be about {account}: give {possible}."
        )
    bank, provider = bank_disputes(purchase_id), provider_clearing(currency)
    ours = {
        "escrow": escrow(purchase_id),
        "in_transit": refunds_in_transit(purchase_id),
        "platform_losses": platform_losses(currency),
        "freelancer_receivable": freelancer_receivable(purchase_id),
    }[account]
    debit, credit = {
        "bank_dispute_opened": (ours, bank),
        "bank_dispute_won": (bank, ours),
        "bank_dispute_lost": (bank, provider),
        "bank_dispute_loss": (ours, provider),
        "refunded_elsewhere": (ours, provider),
        "refund_elsewhere_failed": (provider, ours),
        "refund_returned": (provider, ours),
    }[kind]
    opens: dict[str, int | None] = {}
    if kind == "bank_dispute_opened":
        opens[bank] = 0
    elif account in _PAID_OUT:
        opens[ours] = None
    leg = Leg(debit, credit, amount)
    return _check(Operation(key, kind, purchase_id, currency, at, (leg,), reference, opens))


def _check(operation: Operation) -> Operation:
    for leg in operation.legs:
        # In Python a bool is an int and 1.0 == 1, so the exact type is compared.
        if type(leg.amount) is not int or not 0 < leg.amount <= MAX_AMOUNT:
            raise LedgerRejected(
                "INVALID_AMOUNT",
                f"The amount {leg.amount!r} is invalid:"
                f" give whole minor units from 1 to {MAX_AMOUNT}.",
            )
    if not re.fullmatch("[A-Z]{3}", operation.currency):
        raise LedgerRejected(
            "INVALID_REQUEST",
            f"The currency {operation.currency!r} is invalid: give three capital letters.",
        )
    _check_text("key", operation.key, fields.word)
    _check_text("purchase_id", operation.purchase_id, fields.word)
    if operation.reference:
        _check_text("reference", operation.reference, fields.line)
    if operation.at.utcoffset() is None:
        raise LedgerRejected(
            "INVALID_REQUEST", f"The time {operation.at} has no time zone: give an instant."
        )
    return operation


def _check_text(name: str, value: str, check: Callable[[str], str]) -> None:
    try:
        check(value)
    except ValueError as error:
        raise LedgerRejected("INVALID_REQUEST", f"The {name} {error}.") from None
