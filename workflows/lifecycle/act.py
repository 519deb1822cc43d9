"""What the rows of the rules do: the guards and actions named in the tables, and nothing else.

An action works on its Turn and returns None, or a Refusal when the message asks for something
that cannot be done (an amount out of range, an offer that does not stand).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from workflows.lifecycle.state import (
    AttentionKind,
    CallOffPayment,
    CheckRefund,
    Clock,
    Code,
    Notify,
    Offer,
    Payment,
    PostSettlement,
    Refund,
    RefundStatus,
    Refusal,
    SendRefund,
    Stage,
)
from workflows.lifecycle.turn import Turn
from workflows.messages import (
    AcceptSplit,
    DecideRefund,
    ProposeSplit,
    ResolveAttention,
    ResolveDispute,
    SettlementUpdate,
)

Action = Callable[[Turn], Refusal | None]


@dataclass(frozen=True)
class Guard:
    """A condition of a row, with its words for the docs."""

    words: str
    holds: Callable[[Turn], bool]


def _free_to_cancel(turn: Turn) -> bool:
    state, policy = turn.state, turn.state.terms.policy
    early = turn.now - state.terms.purchased_at < policy.free_cancel_window
    at_once = policy.cancel_before_requirements == "refund"
    return early or (at_once and state.stage is Stage.AWAITING_REQUIREMENTS)


INSIDE_CANCEL_WINDOW = Guard(
    "before requirements, or inside the 24 h window, and before a delivery",
    lambda turn: (
        not turn.state.requirements_received or Clock.FREELANCER_CANCEL in turn.state.clocks
    ),
)
FREE_TO_CANCEL = Guard("the policy makes it free", _free_to_cancel)
HAS_TO_ASK = Guard("the freelancer has to be asked", lambda turn: not _free_to_cancel(turn))
UP_TO_A_MEDIATOR = Guard(
    "disputed, or a person is needed",
    lambda turn: turn.state.stage is Stage.DISPUTED or bool(turn.state.attention),
)
REQUESTED_BY_A_PERSON = Guard(
    "the client asked, not the system", lambda turn: not turn.state.requested_by_system
)
_RETRIED = {
    AttentionKind.PAYMENT_UNKNOWN,
    AttentionKind.STEP_BLOCKED,
    AttentionKind.SETTLEMENT_LATE,
    AttentionKind.REFUND_FAILED,
}
CAN_BE_RETRIED = Guard(
    "something is blocked, late or failed",
    lambda turn: any(item.kind in _RETRIED for item in turn.state.attention),
)
REFUND_IN_DOUBT = Guard(
    "a person has to see to a refund",
    lambda turn: turn.state.posted and bool(turn.state.refund) and bool(turn.state.attention),
)


# --- work


def nothing(turn: Turn) -> None:
    """Nothing changes."""


def receive_requirements(turn: Turn) -> None:
    """The freelancer's window to cancel starts."""
    turn.set(requirements_received=True)
    turn.stop(Clock.REQUIREMENTS)
    turn.go(Stage.FREELANCER_REVIEW)
    turn.start(Clock.FREELANCER_CANCEL)


def go_to(stage: Stage) -> Action:
    """Enter a stage."""
    return lambda turn: turn.go(stage)


def deliver(turn: Turn) -> None:
    """The freelancer's window to cancel is over with the first delivery."""
    if Clock.FREELANCER_CANCEL in turn.state.clocks:
        _close_cancel_window(turn)
    turn.set(delivered=True)
    turn.go(Stage.DELIVERED)


def commit_freelancer(turn: Turn) -> None:
    """The window to cancel has run out, also for a purchase whose cancellation is pending."""
    _close_cancel_window(turn)
    if turn.state.stage is Stage.FREELANCER_REVIEW:
        turn.go(Stage.IN_PROGRESS)
    elif turn.state.left is Stage.FREELANCER_REVIEW:
        turn.set(left=Stage.IN_PROGRESS)


def _close_cancel_window(turn: Turn) -> None:
    turn.stop(Clock.FREELANCER_CANCEL)
    turn.set(cancel_window_closed_at=turn.now)


# --- cancellation


def request_refund(turn: Turn) -> None:
    """The client's cancel becomes an escrow refund request."""
    turn.leave_for_request(by_system=False)


def request_refund_for_client(turn: Turn) -> None:
    """Dormancy: a refund request in the client's name."""
    turn.leave_for_request(by_system=True)


def withdraw(turn: Turn) -> None:
    """Back to the stage it left, clocks restored."""
    turn.go_back()


go_back = withdraw


def decline_refund(turn: Turn) -> Refusal | None:
    """0 < claim ≤ escrow; all of it if the message does not say."""
    message = cast(DecideRefund, turn.event)
    claim = turn.state.terms.amount if message.claim is None else message.claim
    if refusal := turn.not_an_amount(claim, least=1):
        return refusal
    turn.set(claim=claim)
    turn.go(Stage.CONTESTED)
    return None


# --- decisions about money


def refund_all(reason: str) -> Action:
    """The client gets all of the escrow back."""
    return lambda turn: turn.settle(reason, refund=turn.state.terms.amount)


def release_all(reason: str) -> Action:
    """The freelancer gets all of the escrow."""
    return lambda turn: turn.settle(reason, refund=0)


def pay_claim(reason: str) -> Action:
    """The freelancer gets what was claimed, the client the rest."""
    return lambda turn: turn.settle(
        reason, refund=turn.state.terms.amount - (turn.state.claim or 0)
    )


def split_as_sent(reason: str) -> Action:
    """The escrow is divided as the message says."""

    def split(turn: Turn) -> Refusal | None:
        message = cast(ResolveDispute, turn.event)
        if refusal := turn.not_an_amount(message.refund, least=0):
            return refusal
        turn.settle(reason, refund=message.refund)
        return None

    return split


def offer_split(turn: Turn) -> Refusal | None:
    """A newer offer replaces an older one, whosever it was."""
    message = cast(ProposeSplit, turn.event)
    if refusal := turn.not_an_amount(message.refund, least=0):
        return refusal
    turn.set(offer=Offer(message.by.role, message.refund, turn.now))
    return None


def accept_split(turn: Turn) -> Refusal | None:
    """The other side's offer, and exactly that one."""
    message, offer = cast(AcceptSplit, turn.event), turn.state.offer
    if offer is None:
        return Refusal(
            Code.NO_OFFER, "No offer stands. Make one with propose_split, or wait for one."
        )
    if offer.by is message.by.role:
        return Refusal(
            Code.WRONG_ROLE,
            "The offer that stands is your own; the other side may accept it. "
            "A new propose_split replaces it.",
        )
    if offer.refund != message.refund:
        return Refusal(
            Code.INVALID_AMOUNT,
            f"The offer that stands gives {turn.amount(offer.refund)} to the client, not "
            f"{turn.amount(message.refund)}; repeat the amount of the offer you accept.",
        )
    turn.settle("mutual_split", refund=offer.refund)
    return None


# --- payment and settlement


def call_off_payment(turn: Turn) -> None:
    """The payment window is over: nobody may pay for nothing."""
    turn.set(payment=Payment.CALLING_OFF)
    turn.ask(CallOffPayment())


def check_refund(turn: Turn) -> None:
    """Ask the provider now how the refund stands, and from now on."""
    refund = turn.state.refund
    if refund and refund.status is RefundStatus.PENDING:
        turn.ask(CheckRefund(refund.attempt))


def hear_of_settlement(turn: Turn) -> Refusal | None:
    """The provider's word counts once; an unknown refund is refused and so shown."""
    message, state = cast(SettlementUpdate, turn.event), turn.state
    refund = state.refund
    attempts = range(1, refund.attempt + 1) if refund else ()
    for attempt in attempts:
        assert refund is not None
        known = {state.refund_id(attempt), refund.references[attempt - 1]}
        if message.refund_id in known:
            refund_answered(turn, attempt, message.status, message.reference or "")
            return None
    return Refusal(
        Code.NOT_ALLOWED_NOW,
        f"This purchase has no refund {message.refund_id}; its status shows the one it waits for.",
    )


def refund_answered(turn: Turn, attempt: int, status: str, reference: str, text: str = "") -> None:
    """What the provider says of an attempt, by message or by our own asking.

    Money that has arrived stays arrived; a failure reported of an attempt that is not the current
    one, or after the arrival, changes nothing here and is left to the audit.
    """
    refund = turn.state.refund
    if refund is None or refund.status in (RefundStatus.ARRIVED, RefundStatus.SETTLED):
        return
    if status == "settled":
        _refund_arrived(turn, refund, attempt, reference)
    elif attempt == refund.attempt and refund.status is not RefundStatus.FAILED:
        if status == "failed":
            _refund_failed(turn, _named(refund, refund.status, attempt, reference), text)
        else:
            turn.set(refund=_named(refund, RefundStatus.PENDING, attempt, reference))
            turn.ask(CheckRefund(attempt))


def _named(refund: Refund, status: RefundStatus, attempt: int, reference: str) -> Refund:
    names = list(refund.references)
    names[attempt - 1] = reference or names[attempt - 1]
    return Refund(refund.amount, refund.attempt, status, tuple(names))


def _refund_arrived(turn: Turn, refund: Refund, attempt: int, reference: str) -> None:
    turn.set(refund=_named(refund, RefundStatus.ARRIVED, attempt, reference))
    turn.stop(Clock.SETTLEMENT)
    turn.calm(AttentionKind.SETTLEMENT_LATE, AttentionKind.REFUND_FAILED)
    current = refund.references[refund.attempt - 1]
    if attempt != refund.attempt and not (current and current == refund.references[attempt - 1]):
        turn.ask(
            Notify(
                "refund_doubtful",
                "payments",
                f"Refund attempt {attempt}, once reported as failed, has arrived; attempt "
                f"{refund.attempt} may arrive, too. Compare with the payment provider.",
                "A refund must reach the client once.",
                ("operator",),
            )
        )
    turn.ask(PostSettlement(reference or turn.state.refund_id(attempt), turn.now))


def _refund_failed(turn: Turn, refund: Refund, text: str) -> None:
    why = f" ({text.rstrip('.')})" if text else ""
    if refund.attempt == 1:
        send_again(turn, refund)
        turn.ask(
            Notify(
                "refund_retried",
                "payments",
                f"The provider could not send the refund of {turn.amount(refund.amount)}{why}; "
                "it is tried once more.",
                "A failed refund is tried once more before a person looks into it.",
                ("client", "operator"),
            )
        )
        return
    turn.set(refund=Refund(refund.amount, refund.attempt, RefundStatus.FAILED, refund.references))
    turn.alert(
        AttentionKind.REFUND_FAILED,
        f"The provider could not send the refund of {turn.amount(refund.amount)}{why}. The money "
        "is in transit. Send resolve_attention: retry, or mark_settled with the proof.",
    )
    turn.ask(
        Notify(
            "refund_failed",
            "payments",
            f"The provider could not send the refund of {turn.amount(refund.amount)}{why}; "
            "our staff looks into it.",
            "The money is safe in transit until it has arrived.",
            ("client", "operator"),
        )
    )


def send_again(turn: Turn, refund: Refund) -> None:
    """A new attempt, under a new reference. What held up the one before says nothing about it."""
    attempt = refund.attempt + 1
    turn.unblock(SendRefund.kind)
    turn.set(refund=Refund(refund.amount, attempt, RefundStatus.UNSENT, (*refund.references, "")))
    turn.ask(SendRefund(attempt))


# --- what needs a person


def retry(turn: Turn) -> None:
    """What is blocked or failed is tried again now; a late refund is asked about now."""
    state = turn.state
    refund = state.refund
    turn.calm(
        AttentionKind.PAYMENT_UNKNOWN, AttentionKind.STEP_BLOCKED, AttentionKind.REFUND_FAILED
    )
    if refund and refund.status is RefundStatus.FAILED:
        send_again(turn, refund)
    elif state.needs(AttentionKind.SETTLEMENT_LATE):
        check_refund(turn)


def mark_settled(turn: Turn) -> Refusal | None:
    """An operator has the proof that the money has arrived."""
    message, refund = cast(ResolveAttention, turn.event), turn.state.refund
    if not message.reference:
        return Refusal(
            Code.INVALID_MESSAGE,
            "mark_settled needs a reference to the proof of the settlement in `reference`.",
        )
    if refund is None or refund.status in (RefundStatus.ARRIVED, RefundStatus.SETTLED):
        return Refusal(Code.ALREADY_SETTLED, "The refund is already known to have arrived.")
    _refund_arrived(turn, refund, refund.attempt, message.reference)
    return None


def alert_decision_overdue(turn: Turn) -> None:
    """Nobody answered: a mediator may decide, and the freelancer still can."""
    turn.alert(
        AttentionKind.DECISION_OVERDUE,
        "The freelancer has not answered the refund request; a mediator may send resolve_dispute.",
    )


def alert_dispute_overdue(turn: Turn) -> None:
    """Nothing in a dispute is decided by silence."""
    turn.alert(
        AttentionKind.DISPUTE_OVERDUE,
        "The dispute is still undecided; a mediator has to send resolve_dispute.",
    )


def alert_settlement_late(turn: Turn) -> None:
    """It stays settling, and the provider is asked on."""
    turn.alert(
        AttentionKind.SETTLEMENT_LATE,
        "The refund has not arrived within its window. Ask the provider; then send "
        "resolve_attention: retry, or mark_settled with the proof.",
    )
