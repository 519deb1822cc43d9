"""What happens at the sandbox without a call of ours: the client confirms a payment, the bank
disputes one, a refund is made elsewhere, a refund goes another way.

An event takes effect at once and lasts: it replaces what the payment method does otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

import sqlalchemy as sa

from activities.payments import RefundStatus
from activities.payments.sandbox_records import (
    CHARGES,
    DISPUTES,
    REFUNDS,
    Charge,
    Dispute,
    Outcome,
    Refund,
    arn,
    disputes_of,
    elsewhere,
    insert,
    is_elsewhere,
    new_charge,
    new_dispute,
    new_refund,
    not_refunded,
    records,
    refunds_of,
    withdrawn_from,
)
from activities.requests import Money


class SandboxEvent(StrEnum):
    """What can be made to happen."""

    PAYMENT_MADE = "payment-made"
    PAYMENT_CONFIRMED = "payment-confirmed"
    DISPUTE_OPENED = "dispute-opened"
    DISPUTE_WON = "dispute-won"
    DISPUTE_LOST = "dispute-lost"
    INQUIRY_OPENED = "inquiry-opened"
    REFUND_ELSEWHERE = "refund-elsewhere"
    REFUND_ELSEWHERE_FAILED = "refund-elsewhere-failed"
    REFUND_SENT = "refund-sent"
    REFUND_SETTLED = "refund-settled"
    REFUND_FAILED = "refund-failed"
    REFUND_RETURNED = "refund-returned"
    REFUND_CANCELLED = "refund-cancelled"


class EventRejected(Exception):
    """The event cannot happen now. `code` is one of the rejection codes; the message says why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class EventResult:
    """What an event has changed. `reference`, `amount` and `status` are those of the payment, the
    refund or the dispute that the event is about."""

    event: SandboxEvent
    charge_reference: str
    reference: str
    amount: Money
    status: str


def make_payment(
    connection: sa.Connection, label: str, amount: Money | None, at: datetime
) -> EventResult:
    """Make a payment without Recourse, as a marketplace's own checkout does.

    Each call makes another one, also with the same `label`. Raises ValueError without an amount.
    """
    if amount is None or amount.amount <= 0:
        raise ValueError(f"{SandboxEvent.PAYMENT_MADE} needs an amount of more than 0.")
    number = connection.scalar(sa.select(sa.func.count()).select_from(CHARGES)) or 0
    key = elsewhere(f"{label}#{number + 1}")
    charge = new_charge(key, amount, "pm_sandbox_ok", at)
    return _charge_result(SandboxEvent.PAYMENT_MADE, insert(connection, charge))


def make_happen(
    connection: sa.Connection, event: SandboxEvent, key: str, amount: Money | None, at: datetime
) -> EventResult:
    """Make an event happen to the charge with this key. `at`: the time of what is made, and that at
    which the status of a refund is asked for.

    `amount`: how much is disputed or refunded; None: all that is left. Raises ValueError for an
    event that takes none; EventRejected.
    """
    if amount and event not in WITH_AMOUNT:
        raise ValueError(f"{event} takes no amount.")
    charge = next(iter(records(connection, Charge, CHARGES.c.key == key)), None)
    if charge is None:
        raise EventRejected("NOT_FOUND", "The sandbox has no payment of this purchase.")
    if event is SandboxEvent.PAYMENT_CONFIRMED:
        return _confirm(connection, charge)
    if charge.captured is None:
        raise EventRejected("NOT_ALLOWED_NOW", "The client has not paid.")
    if event in WITH_AMOUNT:
        return WITH_AMOUNT[event](connection, charge, amount, at)
    if event in _DISPUTE_ENDS:
        return _end_dispute(connection, charge, event)
    return _change_refund(connection, charge, event, at)


def _confirm(connection: sa.Connection, charge: Charge) -> EventResult:
    if charge.status != "needs_client":
        text = f"The payment does not wait for the client: it is {charge.status}."
        raise EventRejected("NOT_ALLOWED_NOW", text)
    charge = replace(charge, status="succeeded")
    confirmed = CHARGES.c.reference == charge.reference
    connection.execute(CHARGES.update().where(confirmed).values(status=charge.status))
    return _charge_result(SandboxEvent.PAYMENT_CONFIRMED, charge)


# --- disputes


def _open_inquiry(
    connection: sa.Connection, charge: Charge, amount: Money | None, at: datetime
) -> EventResult:
    amount = _checked(charge, amount, _not_withdrawn(connection, charge))
    dispute = new_dispute(connection, charge, "inquiry", amount, at)
    return _dispute_result(SandboxEvent.INQUIRY_OPENED, insert(connection, dispute))


def _open_dispute(
    connection: sa.Connection, charge: Charge, amount: Money | None, at: datetime
) -> EventResult:
    """Withdraw money. An open inquiry becomes the dispute, under its id."""
    inquiry = _last_dispute(connection, charge, "inquiry")
    wanted = amount or (inquiry.amount if inquiry else None)
    amount = _checked(charge, wanted, _not_withdrawn(connection, charge))
    if inquiry is None:
        dispute = insert(connection, new_dispute(connection, charge, "opened", amount, at))
    else:
        dispute = _update(connection, replace(inquiry, status="opened", amount=amount))
    return _dispute_result(SandboxEvent.DISPUTE_OPENED, dispute)


def _end_dispute(connection: sa.Connection, charge: Charge, event: SandboxEvent) -> EventResult:
    """An inquiry can only be won: no money was withdrawn."""
    status = _DISPUTE_ENDS[event]
    among = ("opened", "inquiry") if status == "won" else ("opened",)
    dispute = _last_dispute(connection, charge, *among)
    if dispute is None:
        text = f"The payment has no open dispute that can be {status}."
        raise EventRejected("NOT_ALLOWED_NOW", text)
    return _dispute_result(event, _update(connection, replace(dispute, status=status)))


def _last_dispute(connection: sa.Connection, charge: Charge, *among: str) -> Dispute | None:
    found = [each for each in disputes_of(connection, charge) if each.status in among]
    return found[-1] if found else None


def _update(connection: sa.Connection, dispute: Dispute) -> Dispute:
    values = {"status": dispute.status, "amount": dispute.amount.amount}
    this = DISPUTES.c.dispute_id == dispute.dispute_id
    connection.execute(DISPUTES.update().where(this).values(values))
    return dispute


def _not_withdrawn(connection: sa.Connection, charge: Charge) -> int:
    """A bank can also withdraw what was refunded."""
    captured = charge.captured.amount if charge.captured else 0
    return captured - withdrawn_from(connection, charge)


# --- refunds


def _refund_elsewhere(
    connection: sa.Connection, charge: Charge, amount: Money | None, at: datetime
) -> EventResult:
    left = not_refunded(connection, charge, at) - withdrawn_from(connection, charge)
    amount = _checked(charge, amount, left)
    refund_id = elsewhere(f"{charge.reference}#{len(refunds_of(connection, charge)) + 1}")
    refund = insert(connection, new_refund(connection, charge, refund_id, amount, at))
    return _refund_result(SandboxEvent.REFUND_ELSEWHERE, refund, at)


def _change_refund(
    connection: sa.Connection, charge: Charge, event: SandboxEvent, at: datetime
) -> EventResult:
    """Change the status of the last refund that Recourse has asked for, or that others made."""
    outcome, before = _REFUND_CHANGES[event]
    by_others = event is SandboxEvent.REFUND_ELSEWHERE_FAILED
    refunds = [
        each for each in refunds_of(connection, charge) if is_elsewhere(each.refund_id) is by_others
    ]
    if not refunds:
        what = "was made elsewhere" if by_others else "was asked for"
        raise EventRejected("NOT_ALLOWED_NOW", f"No refund of this purchase {what}.")
    refund = refunds[-1]
    status = refund.result(at).status
    if status not in before:
        text = f"The refund {refund.reference} is {status}; it must be {' or '.join(before)}."
        raise EventRejected("NOT_ALLOWED_NOW", text)
    name = arn(refund.refund_id) if outcome == "sent" else refund.reference
    refund = replace(refund, outcome=outcome, done_at=refund.made_at, reference=name)
    values = {"outcome": outcome, "done_at": refund.done_at, "reference": name}
    this = REFUNDS.c.refund_id == refund.refund_id
    connection.execute(REFUNDS.update().where(this).values(values))
    return _refund_result(event, refund, at)


# --- amounts, names and results


def _checked(charge: Charge, amount: Money | None, left: int) -> Money:
    """Return the amount, or all that is left. Raises EventRejected."""
    assert charge.captured is not None
    rest = Money(amount=left, currency=charge.captured.currency)
    amount = amount or rest
    if amount.currency != rest.currency:
        raise EventRejected("INVALID_AMOUNT", f"The payment is in {rest.currency}.")
    if left <= 0:
        raise EventRejected(
            "NOT_ALLOWED_NOW", f"Nothing of the payment {charge.reference} is left."
        )
    if not 0 < amount.amount <= left:
        text = f"{amount} is not possible: {rest} of the payment is left."
        raise EventRejected("INVALID_AMOUNT", text)
    return amount


def _charge_result(event: SandboxEvent, charge: Charge) -> EventResult:
    assert charge.amount is not None
    return EventResult(event, charge.reference, charge.reference, charge.amount, charge.status)


def _dispute_result(event: SandboxEvent, dispute: Dispute) -> EventResult:
    return EventResult(
        event, dispute.charge_reference, dispute.dispute_id, dispute.amount, dispute.status
    )


def _refund_result(event: SandboxEvent, refund: Refund, at: datetime) -> EventResult:
    status = refund.result(at).status
    return EventResult(event, refund.charge_reference, refund.reference, refund.amount, status)


WITH_AMOUNT: dict[
    SandboxEvent, Callable[[sa.Connection, Charge, Money | None, datetime], EventResult]
] = {
    SandboxEvent.DISPUTE_OPENED: _open_dispute,
    SandboxEvent.INQUIRY_OPENED: _open_inquiry,
    SandboxEvent.REFUND_ELSEWHERE: _refund_elsewhere,
}
_DISPUTE_ENDS: dict[SandboxEvent, Literal["won", "lost"]] = {
    SandboxEvent.DISPUTE_WON: "won",
    SandboxEvent.DISPUTE_LOST: "lost",
}
_REFUND_CHANGES: dict[SandboxEvent, tuple[Outcome, tuple[RefundStatus, ...]]] = {
    SandboxEvent.REFUND_SENT: ("sent", ("pending",)),
    SandboxEvent.REFUND_SETTLED: ("settled", ("pending", "sent")),
    SandboxEvent.REFUND_FAILED: ("failed", ("pending", "sent")),
    SandboxEvent.REFUND_RETURNED: ("returned", ("sent", "settled")),
    SandboxEvent.REFUND_CANCELLED: ("cancelled", ("pending",)),
    SandboxEvent.REFUND_ELSEWHERE_FAILED: ("failed", ("pending", "sent", "settled")),
}
"""By event: the outcome of the refund, and the statuses that it may have before."""
