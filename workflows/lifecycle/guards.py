"""What the rows of `transitions.py` check before they apply."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from workflows.lifecycle import aftercare, elsewhere, provider
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.events import (
    DeadlineComputed,
    EffectBlocked,
    PaymentNeedsClient,
    RefundReported,
    Rejection,
    VoidPayment,
)
from workflows.lifecycle.formatting import instant
from workflows.lifecycle.pending import is_kind_pending
from workflows.lifecycle.state import (
    NOT_PAID,
    AttentionKind,
    Code,
    DeadlineName,
    Payment,
    Refund,
    RefundStatus,
    Stage,
)
from workflows.messages import SettlementUpdate


@dataclass(frozen=True)
class Guard:
    """A condition of a row, and its description for the docs. `rejection`: the answer to the row's
    message in one of its stages if the condition does not hold; by default a general one."""

    description: str
    holds: Callable[[Draft], bool]
    rejection: Callable[[Draft], Rejection] | None = None


def _free_to_cancel(draft: Draft) -> bool:
    state, policy = draft.state, draft.state.terms.policy
    early = draft.now - state.terms.purchased_at < policy.free_cancel_window
    at_once = policy.cancel_before_requirements == "refund"
    return early or (at_once and state.stage is Stage.AWAITING_REQUIREMENTS)


def _window_closed(draft: Draft) -> Rejection:
    closed_at = draft.state.cancel_window_closed_at
    assert closed_at is not None
    return Rejection(
        Code.WINDOW_CLOSED,
        f"The window in which the freelancer can cancel closed at {instant(closed_at)}. "
        "To give the money back, send give_refund.",
    )


def _policy(field: str, value: str) -> Callable[[Draft], bool]:
    return lambda draft: bool(getattr(draft.state.terms.policy, field) == value)


def _unposted(*, with_refund: bool) -> Callable[[Draft], bool]:
    def check(draft: Draft) -> bool:
        decision = draft.state.decision
        pending = is_kind_pending(draft.state, "post_decision")
        return pending and decision is not None and (decision.refund > 0) is with_refund

    return check


def _retryable(draft: Draft) -> bool:
    kinds = {
        AttentionKind.PAYMENT_UNKNOWN,
        AttentionKind.EFFECT_BLOCKED,
        AttentionKind.SETTLEMENT_LATE,
        AttentionKind.REFUND_FAILED,
        AttentionKind.REFUNDED_ELSEWHERE,
        AttentionKind.BANK_DISPUTE_CHANGED,
    }
    return any(item.kind in kinds for item in draft.state.attention)


REQUIREMENTS_NEEDED = Guard(
    "requirements are needed", lambda draft: draft.state.terms.requirements_needed
)
CAN_STILL_CANCEL = Guard(
    "before requirements, or inside the freelancer's cancel window and before a delivery",
    lambda draft: (
        not draft.state.requirements_received
        or draft.state.has_deadline(DeadlineName.FREELANCER_CANCEL)
    ),
    rejection=_window_closed,
)
FREE_TO_CANCEL = Guard("the policy makes it free", _free_to_cancel)
MUST_ASK = Guard("the freelancer must be asked", lambda draft: not _free_to_cancel(draft))
MEDIATOR_DECIDES = Guard(
    "disputed, or a person is needed",
    lambda draft: draft.state.stage is Stage.DISPUTED or bool(draft.state.attention),
)
POLICY_REFUND = Guard(
    "`refund_decision_silence`: `refund`", _policy("refund_decision_silence", "refund")
)
POLICY_RESUME_REQUEST = Guard(
    "`refund_decision_silence`: `resume`, and the client asked, not the system",
    lambda draft: (
        draft.state.terms.policy.refund_decision_silence == "resume"
        and not draft.state.requested_by_system
    ),
)
POLICY_PAY_CLAIM = Guard("`claim_silence`: `pay_claim`", _policy("claim_silence", "pay_claim"))
POLICY_RESUME_CLAIM = Guard("`claim_silence`: `resume`", _policy("claim_silence", "resume"))
CAN_BE_RETRIED = Guard("something is blocked, late or failed", _retryable)
REFUND_UNCERTAIN = Guard(
    "a refund, or an aftercare case, needs a person",
    lambda draft: (
        bool(draft.state.refund or draft.state.in_aftercare) and bool(draft.state.attention)
    ),
)


def _is_newly_paid(draft: Draft) -> bool:
    return PAYMENT_UNDECIDED.holds(draft) and draft.state.terms.imported_at is None


PAYMENT_UNDECIDED = Guard(
    "the payment is pending or being cancelled",
    lambda draft: draft.state.payment in (Payment.PENDING, Payment.VOIDING),
)
NEWLY_PAID = Guard(
    "the payment is pending or being cancelled, nothing is decided, and the purchase was not "
    "imported",
    lambda draft: _is_newly_paid(draft) and draft.state.decision is None,
)
DECIDED_BEFORE_PAID = Guard(
    "the payment is pending or being cancelled, it is decided who gets the money, and the purchase "
    "was not imported",
    lambda draft: _is_newly_paid(draft) and draft.state.decision is not None,
)
IMPORTED = Guard(
    "the payment is pending or being cancelled, and the purchase was imported",
    lambda draft: PAYMENT_UNDECIDED.holds(draft) and draft.state.terms.imported_at is not None,
)
CONFIRMATION_AWAITED = Guard(
    "the payment is pending, and the client was not asked yet",
    lambda draft: (
        draft.state.payment is Payment.PENDING
        and draft.state.confirm_url != cast(PaymentNeedsClient, draft.event).url
    ),
)
CALENDAR_AWAITED = Guard(
    "the deadline still matters",
    lambda draft: cast(DeadlineComputed, draft.event).deadline in draft.state.computing,
)
DECISION_UNPOSTED_REFUND = Guard("the decision has a refund", _unposted(with_refund=True))
DECISION_UNPOSTED_RELEASE = Guard("the decision has no refund", _unposted(with_refund=False))
SETTLEMENT_UNPOSTED = Guard(
    "the refund is settled and not yet posted",
    lambda draft: _settled(draft, presumed=False),
)
SETTLEMENT_PRESUMED = Guard(
    "the refund is presumed to have arrived, and not yet posted",
    lambda draft: _settled(draft, presumed=True),
)
SETTLED_AGAIN = Guard(
    "in aftercare, the refund is settled and not yet posted",
    lambda draft: _settled(draft, presumed=False, again=True),
)
PRESUMED_AGAIN = Guard(
    "in aftercare, the refund is presumed to have arrived, and not yet posted",
    lambda draft: _settled(draft, presumed=True, again=True),
)
NOTHING_OPEN = Guard("in aftercare, nothing is open any more", aftercare.is_over)
PAYMENT_BLOCKED = Guard(
    "it is not known whether the payment was made, for the first time",
    lambda draft: _newly_blocked(draft) and _blocked(draft).effect == VoidPayment.kind,
)
NEWLY_BLOCKED = Guard(
    "the effect is pending, and was not blocked before", lambda draft: _newly_blocked(draft)
)
STILL_BLOCKED = Guard(
    "the effect is pending", lambda draft: is_kind_pending(draft.state, _blocked(draft).effect)
)


def _settled(draft: Draft, *, presumed: bool, again: bool = False) -> bool:
    settlement = draft.state.settlement
    pending = is_kind_pending(draft.state, "post_settlement")
    waits = pending and draft.state.in_aftercare is again
    return waits and settlement is not None and settlement.presumed is presumed


def _blocked(draft: Draft) -> EffectBlocked:
    return cast(EffectBlocked, draft.event)


def _newly_blocked(draft: Draft) -> bool:
    kind = _blocked(draft).effect
    known = any(item.effect == kind for item in draft.state.attention)
    return is_kind_pending(draft.state, kind) and not known


# --- reports on the refund


def report_of(draft: Draft) -> RefundReported | None:
    """What the provider reports, by an answer or by `settlement_update`; None if the message names
    a refund that this purchase does not have, and for any other event."""
    event, refund = draft.event, draft.state.refund
    if isinstance(event, RefundReported):
        return event
    if refund is None or not isinstance(event, SettlementUpdate):
        return None
    for attempt in range(1, refund.attempt + 1):
        if event.refund_id in (draft.state.refund_id(attempt), refund.references[attempt - 1]):
            return RefundReported(attempt, event.status, event.reference or "")
    return None


def _reports(holds: Callable[[Refund, RefundReported], bool]) -> Callable[[Draft], bool]:
    """A settled refund stays settled: reports that come later change nothing here. The row's cause
    says which status is reported."""

    def check(draft: Draft) -> bool:
        report, refund = report_of(draft), draft.state.refund
        if report is None or refund is None or refund.status is RefundStatus.SETTLED:
            return False
        return holds(refund, report)

    return check


def _is_open(refund: Refund, report: RefundReported) -> bool:
    return report.attempt == refund.attempt and refund.status not in NOT_PAID


def _waits(refund: Refund, report: RefundReported) -> bool:
    return _is_open(refund, report) and not _is_sent(refund)


def _is_delayed(refund: Refund, report: RefundReported) -> bool:
    return report.text not in ("", refund.why)


def _is_sent(refund: Refund) -> bool:
    return refund.status is RefundStatus.SENT


def _is_same(refund: Refund, report: RefundReported) -> bool:
    """Whether the report is about the current attempt, also under the name of an earlier one."""
    current = refund.references[refund.attempt - 1]
    earlier = refund.references[report.attempt - 1]
    return report.attempt == refund.attempt or bool(current and current == earlier)


REPORTED_PENDING = Guard(
    "the current attempt is open and not sent, and the provider gives no new reason",
    _reports(lambda refund, report: _waits(refund, report) and not _is_delayed(refund, report)),
)
REPORTED_DELAY = Guard(
    "the current attempt is open and not sent, and the provider gives a new reason",
    _reports(lambda refund, report: _waits(refund, report) and _is_delayed(refund, report)),
)
REPORTED_SENT = Guard("the current attempt is open and not sent", _reports(_waits))
REFUND_SENT = Guard(
    "the refund was sent, and `arrival` is `presumed`",
    lambda draft: (
        draft.state.refund is not None
        and _is_sent(draft.state.refund)
        and draft.state.terms.policy.arrival == "presumed"
    ),
)


def _came_back(draft: Draft) -> bool:
    """Whether the report says that the settled refund failed. What a person has proved is no such
    refund: its attempts had failed before."""
    report, refund, settlement = report_of(draft), draft.state.refund, draft.state.settlement
    if report is None or settlement is None:
        return False
    assert refund is not None
    names = (draft.state.refund_id(report.attempt), refund.references[report.attempt - 1])
    settled = settlement.reference in names and not settlement.proved_by_person
    return draft.state.in_aftercare and refund.posted and settled


REFUND_CAME_BACK = Guard("in aftercare, the refund that was settled", _came_back)
CHANGES_NOTHING = Guard(
    "it changes nothing",
    lambda draft: (
        not (_came_back(draft) and cast(SettlementUpdate, draft.event).status == "failed")
    ),
)
REPORTED_FIRST_FAILURE = Guard(
    "the first attempt is open, and nobody has cancelled it",
    _reports(
        lambda refund, report: (
            _is_open(refund, report) and refund.attempt == 1 and not report.cancelled
        )
    ),
)
REPORTED_FAILURE = Guard(
    "a later attempt is open, or somebody has cancelled it", _reports(_is_open)
)
REPORTED_SETTLED = Guard("the current attempt", _reports(_is_same))
REPORTED_EARLIER_SETTLED = Guard(
    "an earlier attempt that was reported as failed", _reports(lambda *_: True)
)


# --- bank disputes, and refunds made elsewhere


def _dispute(*statuses: str) -> Callable[[Draft], bool]:
    """A payment that is held, and a report of one of these statuses that was not there before."""

    def check(draft: Draft) -> bool:
        event, before = provider.reported(draft), provider.known(draft)
        news = before is None or (before.status != event.status and not before.ended)
        return draft.state.payment is Payment.HELD and news and event.status in statuses

    return check


def _rest_after_loss(draft: Draft) -> int | None:
    return provider.rest_after_loss(draft) if _dispute("lost")(draft) else None


def _wins(*, frozen: bool) -> Callable[[Draft], bool]:
    def check(draft: Draft) -> bool:
        before = provider.known(draft)
        was_frozen = before is not None and before.status == "opened" and bool(before.account)
        return _dispute("won")(draft) and was_frozen is frozen

    return check


BANK_ASKS = Guard(
    "the bank asks for the first time, and took no money",
    lambda draft: _dispute("inquiry")(draft) and provider.known(draft) is None,
)
BANK_FREEZES = Guard(
    "the bank took money that is still to be paid",
    lambda draft: _dispute("opened")(draft) and provider.payable_from(draft.state) is not None,
)
BANK_RETURNS = Guard("the bank gives back what it took", _wins(frozen=True))
BANK_WITHDRAWS = Guard("a dispute that took nothing here ended", _wins(frozen=False))
BANK_KEEPS_ALL = Guard(
    "the bank keeps it, and nothing is left", lambda draft: _rest_after_loss(draft) == 0
)
BANK_KEEPS_ESCROW = Guard(
    "the bank keeps a part of the escrow",
    lambda draft: _rest_after_loss(draft) is not None and not draft.state.decision_posted,
)
BANK_KEEPS_REFUND = Guard(
    "the bank keeps a part of the refund", lambda draft: _rest_after_loss(draft) is not None
)
BANK_CHANGED_ITS_MIND = Guard(
    "the dispute had ended otherwise",
    lambda draft: (
        (before := provider.known(draft)) is not None
        and before.ended
        and provider.reported(draft).status != before.newest
    ),
)
BANK_CHANGED_WHAT_IS_UNPAID = Guard(
    "the dispute had ended otherwise, and money is still to be paid",
    lambda draft: (
        BANK_CHANGED_ITS_MIND.holds(draft) and provider.payable_from(draft.state) is not None
    ),
)
FREELANCER_MAY_OWE = Guard(
    "a dispute was opened after the release, and `chargeback_after_release` is `freelancer`",
    lambda draft: (
        _dispute("opened")(draft)
        and provider.payable_from(draft.state) is None
        and provider.debt_of_freelancer(draft.state, provider.reported(draft).amount) > 0
    ),
)
FREELANCER_OWES_NOTHING = Guard(
    "a dispute ended after which the freelancer could have owed money",
    lambda draft: (
        _wins(frozen=False)(draft)
        and (before := provider.known(draft)) is not None
        and before.status == "opened"
        and provider.debt_of_freelancer(draft.state, before.amount) > 0
    ),
)
FREELANCER_OWES = Guard(
    "a dispute was lost after the release, and `chargeback_after_release` is `freelancer`",
    lambda draft: (
        _dispute("lost")(draft)
        and provider.rest_after_loss(draft) is None
        and provider.debt_of_freelancer(draft.state, provider.reported(draft).amount) > 0
    ),
)
BANK_AFTER_PAYOUT = Guard(
    "a dispute was opened or lost after the money was paid", _dispute("opened", "lost")
)


def _elsewhere(holds: Callable[[Draft, int], bool]) -> Callable[[Draft], bool]:
    """A refund that was not there before; `holds` gets its amount."""

    def check(draft: Draft) -> bool:
        event = elsewhere.reported(draft)
        is_new = all(made.reference != event.reference for made in draft.state.refunds_elsewhere)
        return draft.state.payment is Payment.HELD and is_new and holds(draft, event.amount)

    return check


def _is_held(draft: Draft, _: int) -> bool:
    return bool(draft.state.held)


def _is_within_decision(draft: Draft, amount: int) -> bool:
    decision = draft.state.decision
    return bool(draft.state.held and decision and amount <= decision.refund)


REFUNDED_ALL = Guard(
    "all that is held, and no bank has a part",
    _elsewhere(
        lambda draft, amount: (
            bool(draft.state.held) and not draft.state.frozen and amount >= draft.state.escrow
        )
    ),
)
REFUNDED_BELOW_CLAIM = Guard(
    "less is left than is claimed",
    _elsewhere(
        lambda draft, amount: (
            (draft.state.claim or 0) > draft.state.escrow - min(amount, draft.state.held)
        )
    ),
)
REFUNDED_PART = Guard("a part of it", _elsewhere(lambda *_: True))
REFUNDED_WITHIN_DECISION = Guard(
    "no more than the decision gives back, and it is not posted",
    _elsewhere(_is_within_decision),
)
REFUNDED_BEYOND_DECISION = Guard(
    "more than the decision gives back, and it is not posted",
    _elsewhere(_is_held),
)
REFUNDED_LATE = Guard(
    "the decision is posted, or a bank has all of the money", _elsewhere(lambda *_: True)
)
REFUND_BACK_IN_ESCROW = Guard(
    "it was taken from escrow, and no decision is posted",
    lambda draft: (
        (made := elsewhere.failed(draft)) is not None
        and elsewhere.taken_for(draft.state, made) > 0
        and not draft.state.decision_posted
        and (draft.state.stage is not Stage.SETTLING or draft.state.decision is not None)
    ),
)
REFUND_ELSEWHERE_KNOWN = Guard(
    "it was reported before", lambda draft: elsewhere.failed(draft) is not None
)
NOTHING_LEFT = Guard("nothing is left to pay", provider.nothing_left)
MOVE_UNPOSTED = Guard(
    "the move is not yet posted",
    lambda draft: not draft.state.moves[provider.posted_number(draft)].posted,
)
