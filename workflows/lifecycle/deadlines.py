"""What silence does: the window table of `RULES.md`. Who may do what is in `rules`."""

from dataclasses import dataclass

from workflows.lifecycle import handlers
from workflows.lifecycle.handlers import Action, Guard
from workflows.lifecycle.state import DeadlineName, RecipientRole, Stage
from workflows.lifecycle.transitions import (
    BEFORE_REQUEST,
    BOTH,
    CONTESTED,
    DELIVERED,
    DISPUTED,
    OPEN,
    REQUESTED,
    SETTLING,
    WITH_ESCROW,
    WORK,
)


@dataclass(frozen=True)
class DeadlineRule:
    """One row: when `clock` (policy field `window`, from `starts`) runs out in one of `stages`
    and the policy's `silence` says so, `then` happens. `warns` says so beforehand."""

    deadline: DeadlineName
    starts: str
    stages: tuple[Stage, ...]
    then: Action
    transition: str
    says: str
    rule: str
    warns: str
    mark: str
    becomes: tuple[Stage, ...] = ()
    on_expiry: tuple[str, str] | None = None
    recipients: tuple[RecipientRole, ...] = BOTH
    when: Guard | None = None


DEADLINES: tuple[DeadlineRule, ...] = (
    DeadlineRule(
        DeadlineName.PAYMENT,
        "purchase",
        OPEN,
        handlers.void_payment,
        "payment_window_lapsed",
        "The payment could not be made in time; it is being called off.",
        "A payment that cannot be made within its window is called off, so that nobody pays for "
        "nothing.",
        "the payment is called off",
        "O",
        recipients=(),
    ),
    DeadlineRule(
        DeadlineName.REQUIREMENTS,
        "purchase",
        WITH_ESCROW,
        handlers.refund_all("requirements_timeout"),
        "requirements_timeout",
        "No requirements arrived in time; the project is cancelled and {escrow} goes back to "
        "{client}.",
        "If the requirements are not submitted within the window after the purchase, the project "
        "is cancelled and refunded in full.",
        "the project is cancelled and the client gets a full refund",
        "A",
        becomes=(SETTLING,),
    ),
    DeadlineRule(
        DeadlineName.FREELANCER_CANCEL,
        "requirements received",
        WITH_ESCROW,
        handlers.commit_freelancer,
        "freelancer_committed",
        "{freelancer}'s window to cancel is over; {freelancer} is committed to the project.",
        "A freelancer can cancel only within 24 hours of receiving the requirements.",
        "the freelancer is committed to the project",
        "A",
        becomes=(WORK,),
    ),
    DeadlineRule(
        DeadlineName.REFUND_DECISION,
        "client cancelled",
        (REQUESTED,),
        handlers.refund_all("freelancer_silent"),
        "freelancer_silent",
        "{freelancer} did not answer in time; {escrow} goes back to {client}.",
        "A refund request that is not answered in its window is granted.",
        "the client gets a full refund",
        "U",
        becomes=(SETTLING,),
        on_expiry=("refund_decision_silence", "refund"),
    ),
    DeadlineRule(
        DeadlineName.REFUND_DECISION,
        "client cancelled",
        (REQUESTED,),
        handlers.go_back,
        "request_resumed",
        "{freelancer} did not answer in time; the project goes on where it was.",
        "Under this purchase's terms an unanswered request lapses.",
        "the request lapses and the project goes on",
        "U",
        becomes=BEFORE_REQUEST,
        on_expiry=("refund_decision_silence", "resume"),
        when=handlers.REQUESTED_BY_A_PERSON,
    ),
    DeadlineRule(
        DeadlineName.REFUND_DECISION,
        "client cancelled",
        (REQUESTED,),
        handlers.alert_decision_overdue,
        "decision_overdue",
        "{freelancer} did not answer in time; our staff looks into it.",
        "Under this purchase's terms a person decides when the request is not answered.",
        "our staff looks into it",
        "U",
        recipients=("client", "freelancer", "operator"),
    ),
    DeadlineRule(
        DeadlineName.CLAIM,
        "decline",
        (CONTESTED,),
        handlers.pay_claim("claim_lapsed"),
        "claim_lapsed",
        "{client} did not answer the claim in time: {release} to {freelancer}, {refund} back to "
        "{client}.",
        "A claim that is not answered in its window is paid and the rest is refunded.",
        "the claim is paid and the rest is refunded",
        "U",
        becomes=(SETTLING,),
        on_expiry=("claim_silence", "pay_claim"),
    ),
    DeadlineRule(
        DeadlineName.CLAIM,
        "decline",
        (CONTESTED,),
        handlers.go_back,
        "claim_resumed",
        "{client} did not answer the claim in time; the project goes on where it was.",
        "Under this purchase's terms an unanswered claim ends the cancellation.",
        "the cancellation ends and the project goes on",
        "U",
        becomes=BEFORE_REQUEST,
        on_expiry=("claim_silence", "resume"),
    ),
    DeadlineRule(
        DeadlineName.REVIEW,
        "each delivery",
        (DELIVERED,),
        handlers.release_all("review_lapsed"),
        "review_lapsed",
        "{client} did not answer the delivery in time; {escrow} goes to {freelancer}.",
        "A delivery that is not answered in its window counts as accepted.",
        "the escrow is released to the freelancer",
        "U",
        becomes=(SETTLING,),
    ),
    DeadlineRule(
        DeadlineName.DORMANCY,
        "last act of either party while in progress",
        (WORK,),
        handlers.request_refund_for_client,
        "client_dormant",
        "Nothing happened for a long time; the system asks {freelancer} in {client}'s name to "
        "refund {escrow}.",
        "A project in which nobody acts is cancelled by the system as if the client had done it.",
        "the system asks for a refund in the client's name",
        "U",
        becomes=(REQUESTED,),
    ),
    DeadlineRule(
        DeadlineName.DISPUTE,
        "dispute opened",
        (DISPUTED,),
        handlers.alert_dispute_overdue,
        "dispute_overdue",
        "The dispute has been open for too long; our staff looks into it.",
        "Nothing in a dispute is decided by silence.",
        "our staff is alerted; nothing is decided by silence",
        "U/O",
        recipients=("client", "freelancer", "operator"),
    ),
    DeadlineRule(
        DeadlineName.SETTLEMENT,
        "refund started",
        (SETTLING,),
        handlers.alert_settlement_late,
        "settlement_late",
        "The refund of {refund} has not arrived in time; we keep asking the payment provider.",
        "A refund may take up to five business days.",
        "our staff looks into it and the provider is asked again",
        "A",
        recipients=("client", "operator"),
    ),
)
