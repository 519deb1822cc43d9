"""Which effects are still pending: later events can make an effect unnecessary."""

from datetime import timedelta

from workflows.lifecycle.events import (
    CheckPayment,
    CheckRefund,
    ComputeDeadline,
    Effect,
    PostDecision,
    PostProviderMove,
    PostSettlement,
    SendRefund,
    TakePayment,
    VoidPayment,
)
from workflows.lifecycle.state import (
    AttentionKind,
    Payment,
    RefundStatus,
    State,
)

_RETRY_PAYMENT_EVERY = timedelta(minutes=5)
"""The window of a payment is short, and its client may have confirmed it."""
_RETRY_EVERY = timedelta(minutes=15)


def retry_interval(kind: str) -> timedelta:
    """How often a blocked effect is retried by itself; `resolve_attention` retries at once."""
    return _RETRY_PAYMENT_EVERY if kind == TakePayment.kind else _RETRY_EVERY


def is_pending(state: State, effect: Effect) -> bool:
    """Whether an effect is still to be carried out. Not so, for example: the check of a refund
    that a person has marked as settled, the deadline of a claim that is decided."""
    match effect:
        case SendRefund(attempt) | CheckRefund(attempt):
            is_newest = state.refund is not None and state.refund.attempt == attempt
            return is_newest and is_kind_pending(state, effect.kind)
        case PostProviderMove(number):
            return not state.moves[number].posted
        case CheckPayment(number):
            return number == state.payment_checks and is_kind_pending(state, effect.kind)
        case PostDecision(refund, release):
            decided = state.decision and (state.decision.refund, state.decision.release)
            return decided == (refund, release) and is_kind_pending(state, effect.kind)
        case ComputeDeadline(deadline):
            return deadline in state.computing
    return is_kind_pending(state, effect.kind)


def is_kind_pending(state: State, kind: str) -> bool:
    """Whether an effect of this kind is still to be carried out."""
    refund = state.refund
    status = refund.status if refund else None
    match kind:
        case TakePayment.kind:
            return state.payment is Payment.PENDING
        case VoidPayment.kind:
            return state.payment is Payment.VOIDING
        case CheckPayment.kind:
            unanswered = state.payment_checks_done < state.payment_checks
            return state.payment is Payment.HELD and unanswered
        case PostProviderMove.kind:
            return not all(move.posted for move in state.moves)
        case PostDecision.kind:
            return is_unposted(state) and may_pay(state)
        case SendRefund.kind:
            has_amount = refund is not None and bool(refund.amount)
            return has_amount and status is RefundStatus.UNSENT and may_pay(state)
        case CheckRefund.kind:
            return status in (RefundStatus.PENDING, RefundStatus.SENT)
        case PostSettlement.kind:
            unposted = refund is not None and bool(refund.amount) and not refund.posted
            return status is RefundStatus.SETTLED and unposted
    return kind == ComputeDeadline.kind and bool(state.computing)


def is_unposted(state: State) -> bool:
    """Whether there is a decision about money that is held, and the ledger does not have it."""
    decided = state.decision is not None and not state.decision_posted
    return decided and state.payment is Payment.HELD


def may_pay(state: State) -> bool:
    """Whether what is decided may be paid: no bank has the money, nobody has paid it already, and
    no person has to find that out first."""
    doubts = (AttentionKind.REFUNDED_ELSEWHERE, AttentionKind.BANK_DISPUTE_CHANGED)
    return not state.frozen and not any(map(state.needs, doubts))
