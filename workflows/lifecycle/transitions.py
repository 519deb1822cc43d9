"""Who may do what: the message table of `RULES.md`. What silence does is in `deadlines`.

To change the policy of the business, add a version with other rows (`versions`). The diagram and
the tables in the docs, the `actions` query, the update validators, the notices and the exhaustive
tests all read these rows.
"""

from dataclasses import dataclass

from workflows.lifecycle import handlers
from workflows.lifecycle.handlers import Action, Guard
from workflows.lifecycle.state import RecipientRole, Stage
from workflows.messages import Message, Role

AWAITING, REVIEW, WORK, DELIVERED, REQUESTED, CONTESTED, DISPUTED, SETTLING, CLOSED = Stage
CLIENT, FREELANCER, MEDIATOR, OPERATOR, PAYMENTS = Role

BEFORE_REQUEST = (AWAITING, REVIEW, WORK, DELIVERED)
WITH_ESCROW = (*BEFORE_REQUEST, REQUESTED, CONTESTED, DISPUTED)
OPEN = (*WITH_ESCROW, SETTLING)
BOTH: tuple[RecipientRole, ...] = ("client", "freelancer")


@dataclass(frozen=True)
class Rule:
    """One row: while the purchase is in one of `stages` and `when` holds, a `message` (with
    `choice`, if it offers one) from one of `by` does `then`.

    `becomes` are the stages it leads to (empty: the stage stays), `says` the sentence of the
    timeline and the notices, `rule` the row in plain words, `mark` where the row comes from
    (A: the article, U: the marketplace's other rules, O: our choice).
    """

    message: str
    by: tuple[Role, ...]
    stages: tuple[Stage, ...]
    then: Action
    transition: str
    says: str
    rule: str
    mark: str
    becomes: tuple[Stage, ...] = ()
    choice: str | None = None
    when: Guard | None = None
    recipients: tuple[RecipientRole, ...] = BOTH


RULES: tuple[Rule, ...] = (
    Rule(
        "submit_requirements",
        (CLIENT,),
        (AWAITING,),
        handlers.receive_requirements,
        "requirements_submitted",
        "{client} sent the requirements.",
        "The freelancer may cancel within the review window that starts now; "
        "after it, the freelancer is committed.",
        "A",
        becomes=(REVIEW,),
    ),
    Rule(
        "cancel",
        (FREELANCER,),
        WITH_ESCROW,
        handlers.refund_all("freelancer_cancelled"),
        "freelancer_cancelled",
        "{freelancer} cancelled the project; {escrow} goes back to {client}.",
        "A freelancer may cancel before the requirements arrive, and within 24 hours of receiving "
        "them; the client gets all of the money back.",
        "A",
        becomes=(SETTLING,),
        when=handlers.CAN_STILL_CANCEL,
    ),
    Rule(
        "cancel",
        (CLIENT,),
        BEFORE_REQUEST,
        handlers.refund_all("client_cancelled"),
        "cancelled_free",
        "{client} cancelled while cancelling is free; {escrow} goes back to {client}.",
        "This purchase's terms let the client cancel without asking at this point.",
        "O",
        becomes=(SETTLING,),
        when=handlers.FREE_TO_CANCEL,
    ),
    Rule(
        "cancel",
        (CLIENT,),
        BEFORE_REQUEST,
        handlers.request_refund,
        "client_cancelled",
        "{client} cancelled the project and asks {freelancer} to refund {escrow}.",
        "The decision is the freelancer's: to approve a full refund, or to decline and say how "
        "much to keep.",
        "A",
        becomes=(REQUESTED,),
        when=handlers.HAS_TO_ASK,
    ),
    Rule(
        "withdraw_cancellation",
        (CLIENT,),
        (REQUESTED, CONTESTED),
        handlers.withdraw,
        "cancellation_withdrawn",
        "{client} took the cancellation back; the project goes on where it was.",
        "A cancellation can be taken back until it is decided; stopped clocks go on with the time "
        "they had left.",
        "O",
        becomes=BEFORE_REQUEST,
    ),
    Rule(
        "decide_refund",
        (FREELANCER,),
        (REQUESTED, CONTESTED),
        handlers.refund_all("refund_approved"),
        "refund_approved",
        "{freelancer} approved the refund of {escrow} to {client}.",
        "If the freelancer approves, the money in escrow is returned in full.",
        "A",
        becomes=(SETTLING,),
        choice="approve",
    ),
    Rule(
        "decide_refund",
        (FREELANCER,),
        (REQUESTED,),
        handlers.decline_refund,
        "refund_declined",
        "{freelancer} declined the refund and claims {claim} of {escrow}.",
        "The client may accept the claim, take the cancellation back, or open a dispute.",
        "A",
        becomes=(CONTESTED,),
        choice="decline",
    ),
    Rule(
        "accept_claim",
        (CLIENT,),
        (CONTESTED,),
        handlers.pay_claim("claim_accepted"),
        "claim_accepted",
        "{client} accepted the claim: {release} to {freelancer}, {refund} back to {client}.",
        "The claim is paid from escrow and the rest is refunded.",
        "U",
        becomes=(SETTLING,),
    ),
    Rule(
        "open_dispute",
        (CLIENT,),
        (CONTESTED,),
        handlers.go_to(Stage.DISPUTED),
        "dispute_opened",
        "{client} opened a dispute; a mediator decides on {escrow}.",
        "A mediator hears both sides and divides the escrow; both may still agree on a split.",
        "A",
        becomes=(DISPUTED,),
    ),
    Rule(
        "propose_split",
        (CLIENT, FREELANCER),
        WITH_ESCROW,
        handlers.offer_split,
        "split_proposed",
        "{by} offers a split: {offer_refund} to {client}, {offer_release} to {freelancer}.",
        "The other side may accept the offer as it stands; a newer offer replaces it.",
        "O",
    ),
    Rule(
        "accept_split",
        (CLIENT, FREELANCER),
        WITH_ESCROW,
        handlers.accept_split,
        "mutual_split",
        "{by} accepted the split: {refund} to {client}, {release} to {freelancer}.",
        "Both sides agreed how to divide the escrow.",
        "O",
        becomes=(SETTLING,),
    ),
    Rule(
        "resolve_dispute",
        (MEDIATOR,),
        WITH_ESCROW,
        handlers.split_as_sent("dispute_resolved"),
        "dispute_resolved",
        "The mediator decided: {refund} to {client}, {release} to {freelancer}.",
        "In a dispute, or when nobody else can decide, a mediator divides the escrow.",
        "U",
        becomes=(SETTLING,),
        when=handlers.UP_TO_A_MEDIATOR,
    ),
    Rule(
        "deliver",
        (FREELANCER,),
        (REVIEW, WORK),
        handlers.deliver,
        "delivered",
        "{freelancer} delivered the work.",
        "The client reviews the delivery: accept it, ask for changes, or cancel and ask for a "
        "refund.",
        "U",
        becomes=(DELIVERED,),
    ),
    Rule(
        "request_changes",
        (CLIENT,),
        (DELIVERED,),
        handlers.go_to(Stage.IN_PROGRESS),
        "changes_requested",
        "{client} asks for changes to the delivery.",
        "The work goes on; a new delivery starts a new review.",
        "U",
        becomes=(WORK,),
    ),
    Rule(
        "accept_delivery",
        (CLIENT,),
        (DELIVERED,),
        handlers.release_all("delivery_accepted"),
        "delivery_accepted",
        "{client} accepted the delivery; {escrow} goes to {freelancer}.",
        "An accepted delivery is paid from escrow in full.",
        "U",
        becomes=(SETTLING,),
    ),
    Rule(
        "give_refund",
        (FREELANCER,),
        WITH_ESCROW,
        handlers.refund_all("freelancer_gave_refund"),
        "freelancer_gave_refund",
        "{freelancer} gives {escrow} back to {client}.",
        "A freelancer may refund all of the escrow at any time before it is decided.",
        "U",
        becomes=(SETTLING,),
    ),
    Rule(
        "send_message",
        (CLIENT,),
        OPEN,
        handlers.nothing,
        "message_sent",
        "{client} wrote to {freelancer}.",
        "Messages change nothing; they help to sort things out.",
        "A",
        recipients=("freelancer",),
    ),
    Rule(
        "send_message",
        (FREELANCER,),
        OPEN,
        handlers.nothing,
        "message_sent",
        "{freelancer} wrote to {client}.",
        "Messages change nothing; they help to sort things out.",
        "A",
        recipients=("client",),
    ),
    Rule(
        "settlement_update",
        (PAYMENTS,),
        (SETTLING,),
        handlers.hear_of_settlement,
        "settlement_reported",
        "The payment provider reported on the refund.",
        "The provider says whether the refund has arrived; a failed one is tried once more.",
        "A/O",
        recipients=(),
    ),
    Rule(
        "resolve_attention",
        (OPERATOR,),
        OPEN,
        handlers.retry,
        "attention_retried",
        "An operator asked to try again.",
        "What is blocked is tried again at once.",
        "O",
        choice="retry",
        when=handlers.CAN_BE_RETRIED,
        recipients=("operator",),
    ),
    Rule(
        "resolve_attention",
        (OPERATOR,),
        (SETTLING,),
        handlers.mark_settled,
        "marked_settled",
        "An operator recorded the proof that the refund has arrived.",
        "A person has seen the proof of the settlement.",
        "O",
        choice="mark_settled",
        when=handlers.REFUND_IN_DOUBT,
        recipients=("operator",),
    ),
)


def choice_of(message: Message) -> str | None:
    """Which of a message's choices it makes, if it offers any."""
    return getattr(message, "decision", None) or getattr(message, "action", None)
