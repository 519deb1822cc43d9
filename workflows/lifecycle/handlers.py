"""What the rows of `transitions.py` change.

A handler works on the Draft and returns None, or a Rejection when the message asks for something
that cannot be done. It never changes the stage: the row's `to` does.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from activities.formatter import spaced, window_text
from workflows.lifecycle import aftercare, provider
from workflows.lifecycle.draft import ESCROW, IN_TRANSIT, PAYMENT_METHOD, Draft
from workflows.lifecycle.events import (
    CheckRefund,
    DeadlineComputed,
    EffectBlocked,
    PaymentDeclined,
    PaymentHeld,
    PaymentNeedsClient,
    PaymentUnusable,
    PostSettlement,
    RefundReported,
    Rejection,
    SendRefund,
    VoidPayment,
)
from workflows.lifecycle.guards import report_of
from workflows.lifecycle.pending import is_kind_pending, may_pay, retry_interval
from workflows.lifecycle.provider import rejected_while_frozen
from workflows.lifecycle.state import (
    NOT_PAID,
    AttentionKind,
    Code,
    DeadlineName,
    Offer,
    Payment,
    Refund,
    RefundStatus,
    Settlement,
    Stage,
)
from workflows.lifecycle.texts import REFUND_TAKES
from workflows.messages import (
    AcceptSplit,
    DecideRefund,
    Message,
    ProposeSplit,
    ResolveAttention,
    ResolveDispute,
    SettlementUpdate,
)

Handler = Callable[[Draft], Rejection | None]

MOST_ATTEMPTS = 20
"""To refund. A purchase keeps the provider's name for each."""


def nothing(draft: Draft) -> None:
    """Nothing changes."""


# --- the work


def receive_requirements(draft: Draft) -> None:
    """The freelancer's window to cancel starts."""
    draft.set(requirements_received=True)
    draft.end(DeadlineName.REQUIREMENTS)
    draft.start(DeadlineName.FREELANCER_CANCEL)


def deliver(draft: Draft) -> None:
    """The freelancer's window to cancel ends with the first delivery."""
    if draft.state.has_deadline(DeadlineName.FREELANCER_CANCEL):
        close_cancel_window(draft)


def close_cancel_window(draft: Draft) -> None:
    """The freelancer is committed, also to a purchase whose cancellation is pending."""
    draft.end(DeadlineName.FREELANCER_CANCEL)
    draft.set(cancel_window_closed_at=draft.now)
    if draft.state.stage_before_request is Stage.FREELANCER_REVIEW:
        draft.set(stage_before_request=Stage.IN_PROGRESS)


# --- cancellation


def request_refund(draft: Draft) -> None:
    """The client's cancel becomes a refund request."""
    draft.open_request(by_system=False)


def request_refund_for_client(draft: Draft) -> None:
    """A refund request in the client's name."""
    draft.open_request(by_system=True)


def decline_refund(draft: Draft) -> Rejection | None:
    """0 < claim ≤ escrow; all of it if the message does not say."""
    message = cast(DecideRefund, draft.event)
    claim = draft.state.escrow if message.claim is None else message.claim
    if rejection := draft.check_amount(claim, least=1):
        return rejection
    draft.set(claim=claim)
    return None


# --- decisions about money


def refund_all(reason: str) -> Handler:
    """The client gets all of the escrow back."""
    return lambda draft: draft.record_decision(reason, refund=draft.state.escrow)


def release_all(reason: str) -> Handler:
    """The freelancer gets all of the escrow."""
    return lambda draft: draft.record_decision(reason, refund=0)


def pay_claim(reason: str) -> Handler:
    """The freelancer gets what was claimed, the client the rest."""
    return lambda draft: draft.record_decision(
        reason, refund=draft.state.escrow - (draft.state.claim or 0)
    )


def split_as_sent(draft: Draft) -> Rejection | None:
    """The escrow is divided as the mediator's message says."""
    message = cast(ResolveDispute, draft.event)
    if rejection := draft.check_amount(message.refund, least=0):
        return rejection
    draft.record_decision("dispute_resolved", refund=message.refund)
    return None


def offer_split(draft: Draft) -> Rejection | None:
    """A newer offer replaces an older one of either side."""
    message = cast(ProposeSplit, draft.event)
    if rejection := draft.check_amount(message.refund, least=0):
        return rejection
    draft.set(offer=Offer(message.by.role, message.refund, draft.now))
    return None


def accept_split(draft: Draft) -> Rejection | None:
    """The other side's offer, and exactly that one."""
    message, offer = cast(AcceptSplit, draft.event), draft.state.offer
    if offer is None:
        return Rejection(
            Code.NO_OFFER, "No offer stands. Make one with propose_split, or wait for one."
        )
    if offer.by is message.by.role:
        return Rejection(
            Code.WRONG_ROLE,
            "The offer that stands is your own; the other side may accept it. "
            "A new propose_split replaces it.",
        )
    if offer.refund != message.refund:
        return Rejection(
            Code.INVALID_AMOUNT,
            f"The offer that stands gives {draft.amount(offer.refund)} to the client, not "
            f"{draft.amount(message.refund)}; repeat the amount of the offer you accept.",
        )
    draft.record_decision("mutual_split", refund=offer.refund)
    return None


# --- payment


def hold_payment(draft: Draft) -> None:
    """The money is in escrow; a decision that was made meanwhile is carried out."""
    draft.end(DeadlineName.PAYMENT)
    reference = cast(PaymentHeld, draft.event).reference
    draft.set(payment=Payment.HELD, charge_reference=reference, confirm_url="")
    draft.move(draft.state.terms.amount, PAYMENT_METHOD, ESCROW)
    if draft.state.decision:
        draft.carry_out_decision()


def close_unpaid(outcome: str) -> Handler:
    """The purchase ends without money."""

    def close(draft: Draft) -> None:
        if isinstance(draft.event, PaymentDeclined | PaymentUnusable):
            draft.quote_reason(draft.event.text)
        draft.set(payment=Payment.NONE)
        draft.close(outcome, outcome)

    return close


def ask_client_to_confirm(draft: Draft) -> None:
    """The client's bank wants the client to confirm the payment."""
    url = cast(PaymentNeedsClient, draft.event).url
    draft.set(confirm_url=url)
    draft.values["confirm_url"] = url


def void_payment(draft: Draft) -> None:
    """Void the payment of a purchase that ends."""
    draft.set(payment=Payment.VOIDING)
    draft.emit(VoidPayment())


# --- refund and settlement


def set_computed_deadline(draft: Draft) -> None:
    """The deadline of the calendar, and the time that it would have waited meanwhile."""
    computed = cast(DeadlineComputed, draft.event)
    start = draft.state.computing[computed.deadline]
    draft.set_deadline(computed.deadline, computed.at + (start - computed.start), start)


def start_refund(draft: Draft) -> None:
    """The ledger has the decision; the refund is sent."""
    decision = draft.state.decision
    assert decision is not None
    draft.set(decision_posted=True, refund=Refund(decision.refund))
    draft.emit(SendRefund(1))


def close_released(draft: Draft) -> None:
    """The ledger has the decision, and there is nothing to refund."""
    decision = draft.state.decision
    assert decision is not None
    draft.set(decision_posted=True)
    draft.close("released", decision.reason)


def close_settled(draft: Draft) -> None:
    """The ledger has the settlement."""
    decision, refund = draft.state.decision, draft.state.refund
    assert decision is not None
    assert refund is not None
    draft.set(refund=replace(refund, posted=True))
    draft.move(refund.amount, IN_TRANSIT, PAYMENT_METHOD)
    draft.close("split" if decision.release else "refunded", decision.reason)


def _report(draft: Draft) -> RefundReported:
    report = report_of(draft)
    assert report is not None
    draft.quote_reason(report.text)
    return report


def _name_attempt(
    draft: Draft, report: RefundReported, status: RefundStatus | None = None
) -> Refund:
    """The refund with the provider's name for the reported attempt."""
    refund = draft.state.refund
    assert refund is not None
    names = list(refund.references)
    names[report.attempt - 1] = report.reference or names[report.attempt - 1]
    named = replace(refund, status=status or refund.status, references=tuple(names))
    draft.set(refund=named)
    return named


def await_refund(draft: Draft) -> None:
    """The provider has the refund; it is asked until the refund is settled or failed."""
    report = _report(draft)
    refund = _name_attempt(draft, report, RefundStatus.PENDING)
    draft.set(refund=replace(refund, why=report.text))
    draft.emit(CheckRefund(refund.attempt))


def record_sent(draft: Draft) -> None:
    """The provider has done its part; it is asked until the refund is settled or comes back."""
    report = _report(draft)
    refund = _name_attempt(draft, report, RefundStatus.SENT)
    draft.set(refund=replace(refund, why=""))
    draft.clear_alert(AttentionKind.SETTLEMENT_LATE)
    if not draft.state.has_deadline(DeadlineName.SETTLEMENT):  # it was sent late
        draft.start(DeadlineName.SETTLEMENT)
    draft.values["reference"] = draft.state.refund_name
    draft.money_text = REFUND_TAKES
    draft.emit(CheckRefund(refund.attempt))


def presume_settled(draft: Draft) -> None:
    """The refund was sent and has not come back within its window."""
    _settle(draft, draft.state.refund_name, presumed=True)


def retry_failed_refund(draft: Draft) -> None:
    """The first failure: a second attempt, without a person."""
    _send_again(draft, _name_attempt(draft, _report(draft)))


def await_person_for_refund(draft: Draft) -> None:
    """It failed again: a person looks into it."""
    refund = _name_attempt(draft, _report(draft), RefundStatus.FAILED)
    draft.raise_alert(
        AttentionKind.REFUND_FAILED,
        f"The provider could not send the refund of {draft.amount(refund.amount)}"
        f"{draft.values['because']}. The money is in transit. "
        "Send resolve_attention: retry, or mark_settled with the proof.",
    )


def confirm_refund(draft: Draft) -> None:
    """The provider says that the refund is settled."""
    report = _report(draft)
    refund = _name_attempt(draft, report)
    draft.values.update(attempt=str(report.attempt), newest=str(refund.attempt))
    _settle(draft, report.reference or draft.state.refund_id(report.attempt))


def _settle(
    draft: Draft, reference: str, *, proved_by_person: bool = False, presumed: bool = False
) -> None:
    refund = draft.state.refund
    assert refund is not None
    draft.set(
        refund=replace(refund, status=RefundStatus.SETTLED),
        settlement=Settlement(reference, draft.now, proved_by_person, presumed),
    )
    draft.end(DeadlineName.SETTLEMENT)
    draft.clear_alert(
        AttentionKind.SETTLEMENT_LATE,
        AttentionKind.REFUND_FAILED,
        AttentionKind.REFUNDED_ELSEWHERE,
        AttentionKind.BANK_DISPUTE_CHANGED,
    )
    draft.emit(PostSettlement(reference, draft.now))


def _send_again(draft: Draft, refund: Refund) -> None:
    """A new attempt, under a new id. The alert of the earlier attempt is cleared."""
    attempt = refund.attempt + 1
    draft.clear_blocked(SendRefund.kind)
    draft.set(refund=Refund(refund.amount, attempt, RefundStatus.UNSENT, (*refund.references, "")))
    draft.emit(SendRefund(attempt))


def check_report(draft: Draft) -> Rejection | None:
    """A report that changes nothing is accepted; one on an unknown refund is rejected."""
    if report_of(draft):
        return None
    refund_id = cast(SettlementUpdate, draft.event).refund_id
    return Rejection(
        Code.NOT_ALLOWED_NOW,
        f"This purchase has no refund {refund_id}; its status shows the one it waits for.",
    )


# --- what needs a person


def retry(draft: Draft) -> Rejection | None:
    """What is blocked or failed is retried now; a late refund is asked about now."""
    refund, late = draft.state.refund, draft.state.needs(AttentionKind.SETTLEMENT_LATE)
    failed = refund is not None and refund.status in NOT_PAID
    if failed and draft.state.frozen:
        return rejected_while_frozen(draft.state)
    if refund and failed and refund.attempt >= MOST_ATTEMPTS:
        return Rejection(
            Code.NOT_ALLOWED_NOW,
            f"The refund has failed {MOST_ATTEMPTS} times. Send the money another way; then send "
            "mark_settled with the proof.",
        )
    draft.clear_alert(
        AttentionKind.PAYMENT_UNKNOWN, AttentionKind.EFFECT_BLOCKED, AttentionKind.REFUND_FAILED
    )
    if not may_pay(draft.state):
        draft.clear_alert(AttentionKind.REFUNDED_ELSEWHERE, AttentionKind.BANK_DISPUTE_CHANGED)
        draft.resume_payout()
    if refund and failed:
        _send_again(draft, refund)
        if draft.state.in_aftercare:
            draft.start(DeadlineName.SETTLEMENT)
    elif late and refund and is_kind_pending(draft.state, CheckRefund.kind):
        draft.emit(CheckRefund(refund.attempt))
    return None


def mark_settled(draft: Draft) -> Rejection | None:
    """An operator has the proof that the refund is settled."""
    message, refund = cast(ResolveAttention, draft.event), draft.state.refund
    if not message.reference:
        return Rejection(
            Code.INVALID_MESSAGE,
            "mark_settled needs a reference to the proof of the settlement in `reference`.",
        )
    if refund is None or refund.status is RefundStatus.SETTLED:
        if draft.state.in_aftercare:
            return aftercare.acknowledge(draft)
        return Rejection(Code.ALREADY_SETTLED, "The refund is already known to be settled.")
    if draft.state.frozen:
        return rejected_while_frozen(draft.state)
    names = (*refund.references[:-1], message.reference)
    draft.set(refund=replace(refund, references=names))
    _settle(draft, message.reference, proved_by_person=True)
    return None


def raise_blocked(draft: Draft) -> None:
    """An effect cannot be carried out: a person is needed."""
    blocked = cast(EffectBlocked, draft.event)
    voiding = blocked.effect == VoidPayment.kind
    kind = AttentionKind.PAYMENT_UNKNOWN if voiding else AttentionKind.EFFECT_BLOCKED
    every = window_text(retry_interval(blocked.effect))
    draft.values.update(effect=spaced(blocked.effect), problem=blocked.text, interval=every)
    problem = f"{blocked.text.removesuffix('.')}. It is tried again every {every}."
    draft.raise_alert(kind, problem, blocked.effect)
    if blocked.effect == SendRefund.kind:  # the provider may say why
        provider.request_payment_check(draft)


def raise_decision_overdue(draft: Draft) -> None:
    """Nobody answered: a mediator may decide, and the freelancer still can."""
    draft.raise_alert(
        AttentionKind.DECISION_OVERDUE,
        "The freelancer has not answered the refund request; a mediator may send resolve_dispute.",
    )


def raise_dispute_overdue(draft: Draft) -> None:
    """This deadline decides nothing; only missing requirements end a dispute (R-11)."""
    draft.raise_alert(
        AttentionKind.DISPUTE_OVERDUE,
        "The dispute is still undecided; a mediator has to send resolve_dispute.",
    )


def raise_settlement_late(draft: Draft) -> None:
    """It stays settling, and the provider is still asked."""
    draft.raise_alert(
        AttentionKind.SETTLEMENT_LATE,
        "The refund is not settled within its window. Ask the provider; then send "
        "resolve_attention: retry, or mark_settled with the proof.",
    )


def note_of(message: Message) -> str | None:
    """What the sender wrote to the other side, if anything."""
    for field in ("text", "reason", "note"):
        if text := getattr(message, field, None):
            return str(text)
    return None
