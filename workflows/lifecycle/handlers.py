"""What the rows of the rules do: the guards and actions named in the tables, and nothing else.

An action works on its Draft and returns None, or a Rejection when the message asks for something
that cannot be done (an amount out of range, an offer that does not stand).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from workflows.lifecycle.draft import Draft
from workflows.lifecycle.state import (
    AttentionKind,
    CheckRefund,
    Code,
    DeadlineName,
    Notify,
    Offer,
    Payment,
    PostSettlement,
    Refund,
    RefundStatus,
    Rejection,
    SendRefund,
    Stage,
    VoidPayment,
)
from workflows.messages import (
    AcceptSplit,
    DecideRefund,
    ProposeSplit,
    ResolveAttention,
    ResolveDispute,
    SettlementUpdate,
)

Action = Callable[[Draft], Rejection | None]


@dataclass(frozen=True)
class Guard:
    """A condition of a row, with its words for the docs."""

    words: str
    holds: Callable[[Draft], bool]


def _free_to_cancel(draft: Draft) -> bool:
    state, policy = draft.state, draft.state.terms.policy
    early = draft.now - state.terms.purchased_at < policy.free_cancel_window
    at_once = policy.cancel_before_requirements == "refund"
    return early or (at_once and state.stage is Stage.AWAITING_REQUIREMENTS)


CAN_STILL_CANCEL = Guard(
    "before requirements, or inside the 24 h window, and before a delivery",
    lambda draft: (
        not draft.state.requirements_received
        or DeadlineName.FREELANCER_CANCEL in draft.state.deadlines
    ),
)
FREE_TO_CANCEL = Guard("the policy makes it free", _free_to_cancel)
HAS_TO_ASK = Guard("the freelancer has to be asked", lambda draft: not _free_to_cancel(draft))
UP_TO_A_MEDIATOR = Guard(
    "disputed, or a person is needed",
    lambda draft: draft.state.stage is Stage.DISPUTED or bool(draft.state.attention),
)
REQUESTED_BY_A_PERSON = Guard(
    "the client asked, not the system", lambda draft: not draft.state.requested_by_system
)
_RETRIED = {
    AttentionKind.PAYMENT_UNKNOWN,
    AttentionKind.EFFECT_BLOCKED,
    AttentionKind.SETTLEMENT_LATE,
    AttentionKind.REFUND_FAILED,
}
CAN_BE_RETRIED = Guard(
    "something is blocked, late or failed",
    lambda draft: any(item.kind in _RETRIED for item in draft.state.attention),
)
REFUND_IN_DOUBT = Guard(
    "a person has to see to a refund",
    lambda draft: draft.state.posted and bool(draft.state.refund) and bool(draft.state.attention),
)


# --- work


def nothing(draft: Draft) -> None:
    """Nothing changes."""


def receive_requirements(draft: Draft) -> None:
    """The freelancer's window to cancel starts."""
    draft.set(requirements_received=True)
    draft.stop(DeadlineName.REQUIREMENTS)
    draft.go(Stage.FREELANCER_REVIEW)
    draft.start(DeadlineName.FREELANCER_CANCEL)


def go_to(stage: Stage) -> Action:
    """Enter a stage."""
    return lambda draft: draft.go(stage)


def deliver(draft: Draft) -> None:
    """The freelancer's window to cancel is over with the first delivery."""
    if DeadlineName.FREELANCER_CANCEL in draft.state.deadlines:
        _close_cancel_window(draft)
    draft.set(delivered=True)
    draft.go(Stage.DELIVERED)


def commit_freelancer(draft: Draft) -> None:
    """The window to cancel has run out, also for a purchase whose cancellation is pending."""
    _close_cancel_window(draft)
    if draft.state.stage is Stage.FREELANCER_REVIEW:
        draft.go(Stage.IN_PROGRESS)
    elif draft.state.left is Stage.FREELANCER_REVIEW:
        draft.set(left=Stage.IN_PROGRESS)


def _close_cancel_window(draft: Draft) -> None:
    draft.stop(DeadlineName.FREELANCER_CANCEL)
    draft.set(cancel_window_closed_at=draft.now)


# --- cancellation


def request_refund(draft: Draft) -> None:
    """The client's cancel becomes an escrow refund request."""
    draft.leave_for_request(by_system=False)


def request_refund_for_client(draft: Draft) -> None:
    """Dormancy: a refund request in the client's name."""
    draft.leave_for_request(by_system=True)


def withdraw(draft: Draft) -> None:
    """Back to the stage it left, clocks restored."""
    draft.go_back()


go_back = withdraw


def decline_refund(draft: Draft) -> Rejection | None:
    """0 < claim ≤ escrow; all of it if the message does not say."""
    message = cast(DecideRefund, draft.event)
    claim = draft.state.terms.amount if message.claim is None else message.claim
    if rejection := draft.not_an_amount(claim, least=1):
        return rejection
    draft.set(claim=claim)
    draft.go(Stage.CONTESTED)
    return None


# --- decisions about money


def refund_all(reason: str) -> Action:
    """The client gets all of the escrow back."""
    return lambda draft: draft.settle(reason, refund=draft.state.terms.amount)


def release_all(reason: str) -> Action:
    """The freelancer gets all of the escrow."""
    return lambda draft: draft.settle(reason, refund=0)


def pay_claim(reason: str) -> Action:
    """The freelancer gets what was claimed, the client the rest."""
    return lambda draft: draft.settle(
        reason, refund=draft.state.terms.amount - (draft.state.claim or 0)
    )


def split_as_sent(reason: str) -> Action:
    """The escrow is divided as the message says."""

    def split(draft: Draft) -> Rejection | None:
        message = cast(ResolveDispute, draft.event)
        if rejection := draft.not_an_amount(message.refund, least=0):
            return rejection
        draft.settle(reason, refund=message.refund)
        return None

    return split


def offer_split(draft: Draft) -> Rejection | None:
    """A newer offer replaces an older one, whosever it was."""
    message = cast(ProposeSplit, draft.event)
    if rejection := draft.not_an_amount(message.refund, least=0):
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
    draft.settle("mutual_split", refund=offer.refund)
    return None


# --- payment and settlement


def void_payment(draft: Draft) -> None:
    """The payment window is over: nobody may pay for nothing."""
    draft.set(payment=Payment.VOIDING)
    draft.ask(VoidPayment())


def check_refund(draft: Draft) -> None:
    """Ask the provider now how the refund stands, and from now on."""
    refund = draft.state.refund
    if refund and refund.status is RefundStatus.PENDING:
        draft.ask(CheckRefund(refund.attempt))


def hear_of_settlement(draft: Draft) -> Rejection | None:
    """The provider's word counts once; an unknown refund is refused and so shown."""
    message, state = cast(SettlementUpdate, draft.event), draft.state
    refund = state.refund
    attempts = range(1, refund.attempt + 1) if refund else ()
    for attempt in attempts:
        assert refund is not None
        known = {state.refund_id(attempt), refund.references[attempt - 1]}
        if message.refund_id in known:
            refund_answered(draft, attempt, message.status, message.reference or "")
            return None
    return Rejection(
        Code.NOT_ALLOWED_NOW,
        f"This purchase has no refund {message.refund_id}; its status shows the one it waits for.",
    )


def refund_answered(
    draft: Draft, attempt: int, status: str, reference: str, text: str = ""
) -> None:
    """What the provider says of an attempt, by message or by our own asking.

    Money that has arrived stays arrived; a failure reported of an attempt that is not the current
    one, or after the arrival, changes nothing here and is left to the audit.
    """
    refund = draft.state.refund
    if refund is None or refund.status in (RefundStatus.ARRIVED, RefundStatus.SETTLED):
        return
    if status == "settled":
        _refund_arrived(draft, refund, attempt, reference)
    elif attempt == refund.attempt and refund.status is not RefundStatus.FAILED:
        if status == "failed":
            _refund_failed(draft, _named(refund, refund.status, attempt, reference), text)
        else:
            draft.set(refund=_named(refund, RefundStatus.PENDING, attempt, reference))
            draft.ask(CheckRefund(attempt))


def _named(refund: Refund, status: RefundStatus, attempt: int, reference: str) -> Refund:
    names = list(refund.references)
    names[attempt - 1] = reference or names[attempt - 1]
    return Refund(refund.amount, refund.attempt, status, tuple(names))


def _refund_arrived(draft: Draft, refund: Refund, attempt: int, reference: str) -> None:
    draft.set(refund=_named(refund, RefundStatus.ARRIVED, attempt, reference))
    draft.stop(DeadlineName.SETTLEMENT)
    draft.clear_alert(AttentionKind.SETTLEMENT_LATE, AttentionKind.REFUND_FAILED)
    current = refund.references[refund.attempt - 1]
    if attempt != refund.attempt and not (current and current == refund.references[attempt - 1]):
        draft.ask(
            Notify(
                "refund_doubtful",
                "payments",
                f"Refund attempt {attempt}, once reported as failed, has arrived; attempt "
                f"{refund.attempt} may arrive, too. Compare with the payment provider.",
                "A refund must reach the client once.",
                ("operator",),
            )
        )
    draft.ask(PostSettlement(reference or draft.state.refund_id(attempt), draft.now))


def _refund_failed(draft: Draft, refund: Refund, text: str) -> None:
    why = f" ({text.rstrip('.')})" if text else ""
    if refund.attempt == 1:
        send_again(draft, refund)
        draft.ask(
            Notify(
                "refund_retried",
                "payments",
                f"The provider could not send the refund of {draft.amount(refund.amount)}{why}; "
                "it is tried once more.",
                "A failed refund is tried once more before a person looks into it.",
                ("client", "operator"),
            )
        )
        return
    draft.set(refund=Refund(refund.amount, refund.attempt, RefundStatus.FAILED, refund.references))
    draft.raise_alert(
        AttentionKind.REFUND_FAILED,
        f"The provider could not send the refund of {draft.amount(refund.amount)}{why}. The money "
        "is in transit. Send resolve_attention: retry, or mark_settled with the proof.",
    )
    draft.ask(
        Notify(
            "refund_failed",
            "payments",
            f"The provider could not send the refund of {draft.amount(refund.amount)}{why}; "
            "our staff looks into it.",
            "The money is safe in transit until it has arrived.",
            ("client", "operator"),
        )
    )


def send_again(draft: Draft, refund: Refund) -> None:
    """A new attempt, under a new reference. What held up the one before says nothing about it."""
    attempt = refund.attempt + 1
    draft.clear_blocked(SendRefund.kind)
    draft.set(refund=Refund(refund.amount, attempt, RefundStatus.UNSENT, (*refund.references, "")))
    draft.ask(SendRefund(attempt))


# --- what needs a person


def retry(draft: Draft) -> None:
    """What is blocked or failed is tried again now; a late refund is asked about now."""
    state = draft.state
    refund = state.refund
    draft.clear_alert(
        AttentionKind.PAYMENT_UNKNOWN, AttentionKind.EFFECT_BLOCKED, AttentionKind.REFUND_FAILED
    )
    if refund and refund.status is RefundStatus.FAILED:
        send_again(draft, refund)
    elif state.needs(AttentionKind.SETTLEMENT_LATE):
        check_refund(draft)


def mark_settled(draft: Draft) -> Rejection | None:
    """An operator has the proof that the money has arrived."""
    message, refund = cast(ResolveAttention, draft.event), draft.state.refund
    if not message.reference:
        return Rejection(
            Code.INVALID_MESSAGE,
            "mark_settled needs a reference to the proof of the settlement in `reference`.",
        )
    if refund is None or refund.status in (RefundStatus.ARRIVED, RefundStatus.SETTLED):
        return Rejection(Code.ALREADY_SETTLED, "The refund is already known to have arrived.")
    _refund_arrived(draft, refund, refund.attempt, message.reference)
    return None


def alert_decision_overdue(draft: Draft) -> None:
    """Nobody answered: a mediator may decide, and the freelancer still can."""
    draft.raise_alert(
        AttentionKind.DECISION_OVERDUE,
        "The freelancer has not answered the refund request; a mediator may send resolve_dispute.",
    )


def alert_dispute_overdue(draft: Draft) -> None:
    """Nothing in a dispute is decided by silence."""
    draft.raise_alert(
        AttentionKind.DISPUTE_OVERDUE,
        "The dispute is still undecided; a mediator has to send resolve_dispute.",
    )


def alert_settlement_late(draft: Draft) -> None:
    """It stays settling, and the provider is asked on."""
    draft.raise_alert(
        AttentionKind.SETTLEMENT_LATE,
        "The refund has not arrived within its window. Ask the provider; then send "
        "resolve_attention: retry, or mark_settled with the proof.",
    )
