"""What the rows of `transitions.py` check before they apply."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from workflows.lifecycle.draft import Draft
from workflows.lifecycle.events import DeadlineComputed, EffectBlocked, RefundReported, VoidPayment
from workflows.lifecycle.pending import awaits_calendar, is_kind_pending
from workflows.lifecycle.state import (
    AttentionKind,
    DeadlineName,
    Payment,
    Refund,
    RefundStatus,
    Stage,
)
from workflows.messages import SettlementUpdate


@dataclass(frozen=True)
class Guard:
    """A condition of a row, and its description for the docs."""

    description: str
    holds: Callable[[Draft], bool]


def _free_to_cancel(draft: Draft) -> bool:
    state, policy = draft.state, draft.state.terms.policy
    early = draft.now - state.terms.purchased_at < policy.free_cancel_window
    at_once = policy.cancel_before_requirements == "refund"
    return early or (at_once and state.stage is Stage.AWAITING_REQUIREMENTS)


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
    }
    return any(item.kind in kinds for item in draft.state.attention)


REQUIREMENTS_NEEDED = Guard(
    "requirements are needed", lambda draft: draft.state.terms.requirements_needed
)
CAN_STILL_CANCEL = Guard(
    "before requirements, or inside the freelancer's cancel window and before a delivery",
    lambda draft: (
        not draft.state.requirements_received
        or DeadlineName.FREELANCER_CANCEL in {*draft.state.deadlines, *draft.state.suspended}
    ),
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
    "a refund needs a person",
    lambda draft: bool(draft.state.refund) and bool(draft.state.attention),
)
PAYMENT_UNDECIDED = Guard(
    "the payment is pending or being cancelled",
    lambda draft: draft.state.payment in (Payment.PENDING, Payment.VOIDING),
)
CALENDAR_AWAITED = Guard(
    "the deadline still matters",
    lambda draft: awaits_calendar(draft.state, cast(DeadlineComputed, draft.event).deadline),
)
DECISION_UNPOSTED_REFUND = Guard("the decision has a refund", _unposted(with_refund=True))
DECISION_UNPOSTED_RELEASE = Guard("the decision has no refund", _unposted(with_refund=False))
SETTLEMENT_UNPOSTED = Guard(
    "the refund is settled and not yet posted",
    lambda draft: is_kind_pending(draft.state, "post_settlement"),
)
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
    return report.attempt == refund.attempt and refund.status is not RefundStatus.FAILED


def _is_same(refund: Refund, report: RefundReported) -> bool:
    """Whether the report is about the current attempt, also under the name of an earlier one."""
    current = refund.references[refund.attempt - 1]
    earlier = refund.references[report.attempt - 1]
    return report.attempt == refund.attempt or bool(current and current == earlier)


REPORTED_PENDING = Guard("the current attempt is open", _reports(_is_open))
REPORTED_FIRST_FAILURE = Guard(
    "the first attempt is open",
    _reports(lambda refund, report: _is_open(refund, report) and refund.attempt == 1),
)
REPORTED_FAILURE = Guard("a later attempt is open", _reports(_is_open))
REPORTED_SETTLED = Guard("the current attempt", _reports(_is_same))
REPORTED_EARLIER_SETTLED = Guard(
    "an earlier attempt that was reported as failed", _reports(lambda *_: True)
)
