"""What of all that was asked for is still to be done: effects can be overtaken by later events."""

from workflows.lifecycle.state import (
    CallOffPayment,
    CheckRefund,
    Clock,
    Effect,
    FindDeadline,
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
)
from workflows.lifecycle.turn import Turn

ARRIVED = (RefundStatus.ARRIVED, RefundStatus.SETTLED)


def wanted(state: State, effect: Effect) -> bool:
    """Whether an effect that was asked for is still to be carried out.

    What a purchase asks for can be overtaken: a payment that was called off, a refund that a
    person has marked as settled, a claim deadline of a claim that is decided.
    """
    refund = state.refund
    match effect:
        case TakePayment():
            return state.payment is Payment.PENDING
        case CallOffPayment():
            return state.payment is Payment.CALLING_OFF
        case PostDecision():
            return not state.posted and state.payment is Payment.HELD
        case SendRefund(attempt):
            return _is(refund, attempt, RefundStatus.UNSENT)
        case CheckRefund(attempt):
            return _is(refund, attempt, RefundStatus.PENDING)
        case PostSettlement():
            return refund is not None and refund.status is RefundStatus.ARRIVED
        case FindDeadline(clock):
            return awaits_calendar(state, clock) and clock not in state.clocks
        case Notify():
            return True


def _is(refund: Refund | None, attempt: int, status: RefundStatus) -> bool:
    return refund is not None and (refund.attempt, refund.status) == (attempt, status)


def awaits_calendar(state: State, clock: Clock) -> bool:
    """Whether the end of this business-day window still matters."""
    if clock is Clock.CLAIM:
        return state.stage is Stage.CONTESTED
    refund = state.refund
    under_way = refund is None or refund.status not in ARRIVED
    return state.stage is Stage.SETTLING and under_way


def in_hand(state: State, step: str) -> bool:
    """Whether a step of this kind is still to be carried out."""
    attempt = state.refund.attempt if state.refund else 1
    begun = state.terms.purchased_at
    steps: tuple[Step, ...] = (
        TakePayment(),
        CallOffPayment(),
        *(FindDeadline(clock, begun, 1) for clock in (Clock.CLAIM, Clock.SETTLEMENT)),
        PostDecision(0, 0),
        SendRefund(attempt),
        CheckRefund(attempt),
        PostSettlement("", begun),
    )
    return any(known.kind == step and wanted(state, known) for known in steps)


def forget_unblocked(turn: Turn) -> None:
    """A step that is done or overtaken needs no person any more."""
    kept = (a for a in turn.state.attention if not a.step or in_hand(turn.state, a.step))
    if turn.state.attention:
        turn.set(attention=tuple(kept))
