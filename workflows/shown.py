"""How parts of the rules' state are shown to others: in the status and in events alike."""

from workflows.lifecycle.state import Stage, State
from workflows.messages import Escrow, Frozen, Offer, RefundAttempt


def shown_stage(state: State) -> Stage:
    """The stage that others see: the purchase of an aftercare case is closed."""
    return Stage.CLOSED if state.in_aftercare else state.stage


def escrow(state: State) -> Escrow:
    """Where the money is."""
    return Escrow(
        held=state.held,
        in_transit=state.in_transit,
        refunded=state.refunded,
        released=state.released,
        charged_back=state.charged_back,
        currency=state.terms.currency,
    )


def refund_attempt(state: State) -> RefundAttempt | None:
    """The newest attempt to refund."""
    if (refund := state.refund) is None:
        return None
    return RefundAttempt(
        refund_id=state.refund_id(refund.attempt),
        amount=refund.amount,
        status=refund.status.value,
        reference=refund.references[-1],
    )


def offer(state: State) -> Offer | None:
    """The split that stands."""
    if (made := state.offer) is None:
        return None
    return Offer(by=made.by, refund=made.refund, release=state.escrow - made.refund, at=made.at)


def frozen(state: State) -> Frozen | None:
    """The bank dispute because of which nothing is paid."""
    if (dispute := state.frozen) is None:
        return None
    return Frozen(
        why="bank_dispute",
        since=dispute.since,
        amount=dispute.amount,
        reference=dispute.dispute_id,
    )
