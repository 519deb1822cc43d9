"""Which effects are still pending: later events can make an effect unnecessary."""

from workflows.lifecycle.events import (
    CheckRefund,
    ComputeDeadline,
    Effect,
    PostDecision,
    PostSettlement,
    SendRefund,
    TakePayment,
    VoidPayment,
)
from workflows.lifecycle.state import DeadlineName, Payment, Refund, RefundStatus, Stage, State


def is_pending(state: State, effect: Effect) -> bool:
    """Whether an effect is still to be carried out. Not so, for example: the check of a refund
    that a person has marked as settled, the deadline of a claim that is decided."""
    refund = state.refund
    match effect:
        case TakePayment():
            return state.payment is Payment.PENDING
        case VoidPayment():
            return state.payment is Payment.VOIDING
        case PostDecision():
            decided = state.decision is not None and not state.decision_posted
            return decided and state.payment is Payment.HELD
        case SendRefund(attempt):
            return _is(refund, attempt, RefundStatus.UNSENT)
        case CheckRefund(attempt):
            return _is(refund, attempt, RefundStatus.PENDING)
        case PostSettlement():
            return (
                refund is not None and refund.status is RefundStatus.SETTLED and not refund.posted
            )
        case ComputeDeadline(deadline):
            known = deadline in state.deadlines or deadline in state.suspended
            return awaits_calendar(state, deadline) and not known


def _is(refund: Refund | None, attempt: int, status: RefundStatus) -> bool:
    return refund is not None and (refund.attempt, refund.status) == (attempt, status)


def awaits_calendar(state: State, deadline: DeadlineName) -> bool:
    """Whether the end of this window in business days still matters."""
    if deadline is DeadlineName.CLAIM:
        return state.stage is Stage.CONTESTED
    settled = state.refund is not None and state.refund.status is RefundStatus.SETTLED
    return state.stage is Stage.SETTLING and not settled


def is_kind_pending(state: State, kind: str) -> bool:
    """Whether an effect of this kind is still to be carried out."""
    attempt = state.refund.attempt if state.refund else 1
    begun = state.terms.purchased_at
    effects: tuple[Effect, ...] = (
        TakePayment(),
        VoidPayment(),
        *(
            ComputeDeadline(deadline, begun, 1)
            for deadline in (DeadlineName.CLAIM, DeadlineName.SETTLEMENT)
        ),
        PostDecision(0, 0),
        SendRefund(attempt),
        CheckRefund(attempt),
        PostSettlement("", begun),
    )
    return any(effect.kind == kind and is_pending(state, effect) for effect in effects)
