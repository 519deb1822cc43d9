"""What the rows do about refunds that others made at the provider, in its dashboard or by another
program: they are noted once, and what was decided about the same money is decided anew."""

from dataclasses import replace
from typing import cast

from workflows.lifecycle.draft import ESCROW, PAYMENT_METHOD, Draft
from workflows.lifecycle.events import RefundedElsewhere, RefundElsewhereFailed
from workflows.lifecycle.provider import lapse_above_escrow
from workflows.lifecycle.state import AttentionKind, Decision, RefundElsewhere, State


def reported(draft: Draft) -> RefundedElsewhere:
    """The event, in a row about refunds made elsewhere."""
    return cast(RefundedElsewhere, draft.event)


def _note_refund(draft: Draft) -> int:
    event = reported(draft)
    made = RefundElsewhere(event.reference, event.amount)
    draft.set(refunds_elsewhere=(*draft.state.refunds_elsewhere, made))
    draft.values["reference"] = event.reference
    return min(event.amount, draft.state.held)


def take_refund_elsewhere(draft: Draft) -> None:
    """Escrow shrinks by what the client has already; offers and decisions above it lapse."""
    taken = _note_refund(draft)
    draft.move(taken, ESCROW, PAYMENT_METHOD)
    draft.record_move("refunded_elsewhere", "escrow", taken, reported(draft).reference)
    if taken < reported(draft).amount:
        _alert_refund_elsewhere(draft)
    decision = draft.state.decision
    if decision and taken <= decision.refund:
        rest = Decision(decision.reason, decision.refund - taken, decision.release, decision.at)
        draft.set(decision=rest if rest.refund or rest.release else None)
        draft.resume_payout()
    elif decision:
        draft.drop_decision()
    if not draft.state.escrow:
        draft.set(reason="refunded_elsewhere")
    lapse_above_escrow(draft)


def alert_refund_elsewhere(draft: Draft) -> None:
    """The refund was decided before: a person looks into it before more is paid."""
    _note_refund(draft)
    _alert_refund_elsewhere(draft)


def _alert_refund_elsewhere(draft: Draft) -> None:
    event, state = reported(draft), draft.state
    decided = state.decision.refund if state.decision and not state.refund else state.refund_amount
    draft.values["ours"] = state.refund_name
    draft.raise_alert(
        AttentionKind.REFUNDED_ELSEWHERE,
        f"{draft.amount(event.amount)} were refunded elsewhere ({event.reference}), and "
        f"{draft.amount(decided)} are decided here ({draft.values['ours']}). "
        "Compare with the payment provider. Then send resolve_attention: mark_settled if the "
        "client has the money, or retry to pay it too.",
    )


def failed(draft: Draft) -> RefundElsewhere | None:
    """The refund that has failed, if it is news."""
    reference = cast(RefundElsewhereFailed, draft.event).reference
    known = draft.state.refunds_elsewhere
    return next((it for it in known if it.reference == reference and not it.failed), None)


def taken_for(state: State, made: RefundElsewhere) -> int:
    """What left escrow because of a refund that was made elsewhere."""
    return sum(
        move.amount
        for move in state.moves
        if (move.kind, move.reference) == ("refunded_elsewhere", made.reference)
    )


def _note_failure(draft: Draft) -> int:
    """Remember it; what left escrow for it. A doubt about it is gone."""
    made = failed(draft)
    assert made is not None
    others = (it for it in draft.state.refunds_elsewhere if it is not made)
    known = (*others, replace(made, failed=True))  # the last, because the texts quote it
    draft.set(refunds_elsewhere=known)
    draft.values["reference"] = made.reference
    draft.quote_reason(cast(RefundElsewhereFailed, draft.event).text)
    if not any(not it.failed and taken_for(draft.state, it) < it.amount for it in known):
        draft.clear_alert(AttentionKind.REFUNDED_ELSEWHERE)
    return taken_for(draft.state, made)


def return_to_escrow(draft: Draft) -> None:
    """The money is back in escrow. Who has decided meanwhile took it for the client's: the decision
    refunds it, too."""
    taken = _note_failure(draft)
    draft.move(taken, PAYMENT_METHOD, ESCROW)
    draft.record_move(
        "refund_elsewhere_failed",
        "escrow",
        taken,
        cast(RefundElsewhereFailed, draft.event).reference,
    )
    if decision := draft.state.decision:
        draft.set(decision=replace(decision, refund=decision.refund + taken))
    draft.resume_payout()


def alert_failed(draft: Draft) -> None:
    """The decision is posted. If the failed refund was part of what was divided, a person has to
    pay it; if not, the client is no longer paid twice."""
    if taken := _note_failure(draft):
        draft.values["next"] = "Pay it another way."
        draft.raise_alert(
            AttentionKind.REFUND_ELSEWHERE_FAILED,
            f"{draft.amount(taken)} were refunded elsewhere ({draft.values['reference']}), and "
            "that refund has failed. The ledger has it as refunded. Pay it another way, and keep "
            "the proof.",
        )
    else:
        draft.values["next"] = "So nobody is paid twice."
        draft.resume_payout()
