"""What Stripe's objects mean: amounts, names, states and reasons. Makes no calls."""

from decimal import Decimal
from typing import Any, Literal

import stripe

from activities.amounts import decimals
from activities.keys import own_key, provider_key
from activities.payments import (
    BankDispute,
    ChargeRecord,
    ProviderRejected,
    RefundRecord,
    RefundResult,
    RefundStatus,
)
from activities.requests import Money

CHARGE_KEY, REFUND_KEY = "recourse_charge", "recourse_refund"
"""Names in Stripe's metadata: the key of a charge, the id of a refund."""

ELSEWHERE = "elsewhere"
"""A person gives this as `recourse_refund` to a refund that is not one of Recourse."""

CANCELLED = "Somebody cancelled the refund at Stripe"
"""Begins the text of a refund that a person has cancelled."""

_CODES = {
    0: "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF",
    3: "BHD JOD KWD OMR TND",
}
_DECIMALS = {code: digits for digits, codes in _CODES.items() for code in codes.split()}
"""Stripe's decimals where they are not two. ISK and UGX have none but are sent with two."""

_REFUND_STATUS: dict[str | None, RefundStatus] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "sent",  # Stripe has handed it to the bank, which may still return it
    "failed": "failed",
    "canceled": "failed",
}

_PENDING = {
    "insufficient_funds": "The balance at Stripe is too low for this refund: add funds at Stripe.",
    "charge_pending": "Stripe sends the refund when the payment itself has cleared.",
    "processing": "Stripe is processing the refund.",
}
_CLIENT_MUST_ACT = (
    "The client must act: Stripe has asked the client by mail where to send the money."
)

_DISPUTE_STATUS: dict[str, Literal["inquiry", "opened", "won", "lost"]] = {
    "warning_needs_response": "inquiry",
    "warning_under_review": "inquiry",
    "warning_closed": "won",
    "won": "won",
    "lost": "lost",
}
"""Any other status, also one that Stripe adds, counts as opened: nothing is paid meanwhile."""


class Names:
    """The names that one deployment gives to its charges and refunds at Stripe."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment

    def of(self, key: str) -> str:
        """Return what a key or refund id is called at Stripe."""
        return provider_key(self._deployment, key)

    def key_of(self, made: stripe.Charge | stripe.PaymentIntent) -> str:
        """Return the key of a payment; "" for one of other deployments and programs."""
        return self.key_in(made.metadata, made.transfer_group)

    def key_in(self, metadata: Any, transfer_group: str | None) -> str:
        """Return the key in these fields of a payment; "" for other deployments and programs. A
        transfer group cannot be changed at Stripe, metadata can."""
        marked = metadata[CHARGE_KEY] if metadata and CHARGE_KEY in metadata else ""
        return self.own(str(marked)) or self.own(transfer_group or "")

    def refund_id_of(self, refund: stripe.Refund) -> str:
        """Return our id of a refund; "" if somebody else made it."""
        return self.own(written(refund, REFUND_KEY))

    def own(self, name: str) -> str:
        """Return the key that a name is of; "" if another deployment or program gave it."""
        return own_key(self._deployment, name)


def written(made: Any, name: str) -> str:
    """Return a value of the metadata; "" if there is none."""
    metadata = made.metadata
    return str(metadata[name]) if metadata and name in metadata else ""


def refund_result(refund: stripe.Refund) -> RefundResult:
    """Convert a refund. Its reference is the bank's, such as an ARN, once Stripe has it."""
    return RefundResult(
        _REFUND_STATUS.get(refund.status, "pending"),
        from_stripe(refund.amount, refund.currency),
        _bank_reference(refund) or refund.id,
        text := _reason(refund),
        cancelled=text.startswith(CANCELLED),
    )


def refund_record(refund: stripe.Refund, names: Names) -> RefundRecord:
    """Convert a refund. One that somebody else made is recognised by its reference: that is
    Stripe's id, which does not change."""
    result = refund_result(refund)
    own, charge = names.refund_id_of(refund), payment_of(refund)
    return RefundRecord(
        own,
        result.amount,
        refund.id,
        result.status,
        charge,
        result.text,
        _bank_reference(refund),
        result.cancelled,
    )


def _bank_reference(refund: stripe.Refund) -> str:
    details: Any = getattr(refund, "destination_details", None)
    destination = getattr(details, details.type, None) if details else None
    return getattr(destination, "reference", None) or ""


def _reason(refund: stripe.Refund) -> str:
    """Return why a refund is pending or failed; "" for any other."""
    why: str = getattr(refund, "failure_reason", None) or ""
    match refund.status:
        case "succeeded":
            return ""
        case "canceled":
            return f"{CANCELLED}."
        case "failed" if why == "merchant_request":
            return f"{CANCELLED}."
        case "failed":
            return f"Stripe says: {why or 'failed'}."
        case "requires_action":
            return _CLIENT_MUST_ACT
    return _PENDING.get(getattr(refund, "pending_reason", None) or "", "")


def bank_dispute(dispute: stripe.Dispute) -> BankDispute:
    """Convert a dispute. One that was prevented before it began is lost if money was withdrawn."""
    status = _DISPUTE_STATUS.get(dispute.status, "opened")
    if dispute.status == "prevented":
        moved = sum(each.amount for each in dispute.balance_transactions)
        status = "lost" if moved < 0 else "won"
    amount = from_stripe(dispute.amount, dispute.currency)
    return BankDispute(dispute.id, status, amount, dispute.reason)


def charge_record(
    key: str, charge: stripe.Charge, disputes: tuple[BankDispute, ...]
) -> ChargeRecord:
    """Convert a succeeded charge."""
    captured = captured_of(charge)
    refunded = from_stripe(charge.amount_refunded, charge.currency).amount
    return ChargeRecord(key, captured, payment_of(charge), refunded, charge.disputed, disputes)


def captured_of(charge: stripe.Charge) -> Money:
    """Return what was captured of a charge: what the client really paid."""
    return from_stripe(charge.amount_captured, charge.currency)


def is_paid(charge: stripe.Charge) -> bool:
    """Whether the client has paid. Stripe also calls a charge succeeded that is only authorised."""
    return charge.status == "succeeded" and charge.captured


def payment_of(made: stripe.Charge | stripe.Refund) -> str:
    """Return the payment intent, by which refunds and disputes are listed. Charges of the old
    Charges API have none: their own id."""
    intent = made.payment_intent
    if intent is not None:
        return id_of(intent)
    return made.id if isinstance(made, stripe.Charge) else id_of(made.charge)


def by_payment(reference: str, **more: object) -> Any:
    """Return the parameters of a call about a payment."""
    return {"payment_intent" if reference.startswith("pi_") else "charge": reference} | more


def id_of(made: Any) -> str:
    """Return the id of an object that may be expanded; "" for none."""
    return made if isinstance(made, str) else made.id if made else ""


def to_stripe(amount: Money) -> int:
    """Convert to Stripe's minor units. Raises ProviderRejected if that is impossible."""
    sent = _DECIMALS.get(amount.currency, 2)
    minor = Decimal(amount.amount).scaleb(sent - decimals(amount.currency))
    # Stripe requires the third of three decimals to be 0.
    if minor % (10 if sent == 3 else 1):
        raise ProviderRejected(f"Stripe cannot express {amount}: it has too many decimals.")
    return int(minor)


def from_stripe(minor: int, currency: str) -> Money:
    """Convert from Stripe's minor units to those of ISO 4217."""
    code = currency.upper()
    shift = decimals(code) - _DECIMALS.get(code, 2)
    return Money(amount=int(Decimal(minor).scaleb(shift)), currency=code)
