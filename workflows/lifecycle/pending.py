"""What of all that was asked for is still to be done: effects can be overtaken by later events."""

from workflows.lifecycle.draft import Draft
from workflows.lifecycle.state import (
    CheckRefund,
    ComputeDeadline,
    DeadlineName,
    Effect,
    Notify,
    Payment,
    PostDecision,
    PostSettlement,
    Refund,
    RefundStatus,
    SendRefund,
    Stage,
    State,
    Step,
    TakePayment,
    VoidPayment,
)

ARRIVED = (RefundStatus.ARRIVED, RefundStatus.SETTLED)


def is_pending(state: State, effect: Effect) -> bool:
    """Whether an effect that was asked for is still to be carried out.

    What a purchase asks for can be overtaken: a payment that was called off, a refund that a
    person has marked as settled, a claim deadline of a claim that is decided.
    """
    refund = state.refund
    match effect:
        case TakePayment():
            return state.payment is Payment.PENDING
        case VoidPayment():
            return state.payment is Payment.VOIDING
        case PostDecision():
            return not state.posted and state.payment is Payment.HELD
        case SendRefund(attempt):
            return _is(refund, attempt, RefundStatus.UNSENT)
        case CheckRefund(attempt):
            return _is(refund, attempt, RefundStatus.PENDING)
        case PostSettlement():
            return refund is not None and refund.status is RefundStatus.ARRIVED
        case ComputeDeadline(deadline):
            return awaits_calendar(state, deadline) and deadline not in state.deadlines
        case Notify():
            return True


def _is(refund: Refund | None, attempt: int, status: RefundStatus) -> bool:
    return refund is not None and (refund.attempt, refund.status) == (attempt, status)


def awaits_calendar(state: State, deadline: DeadlineName) -> bool:
    """Whether the end of this business-day window still matters."""
    if deadline is DeadlineName.CLAIM:
        return state.stage is Stage.CONTESTED
    refund = state.refund
    under_way = refund is None or refund.status not in ARRIVED
    return state.stage is Stage.SETTLING and under_way


def is_kind_pending(state: State, step: str) -> bool:
    """Whether a step of this kind is still to be carried out."""
    attempt = state.refund.attempt if state.refund else 1
    begun = state.terms.purchased_at
    steps: tuple[Step, ...] = (
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
    return any(known.kind == step and is_pending(state, known) for known in steps)


def clear_resolved(draft: Draft) -> None:
    """A step that is done or overtaken needs no person any more."""
    kept = (a for a in draft.state.attention if not a.step or is_kind_pending(draft.state, a.step))
    if draft.state.attention:
        draft.set(attention=tuple(kept))
