"""The words of notices: one heading per transition, advice per reader, one label per message.

To say something differently, edit these tables. `{client}` and `{freelancer}` are their names.
"""

from dataclasses import dataclass

HEADINGS = {
    "payment_held": "Payment is in escrow",
    "payment_declined": "Payment declined",
    "payment_failed": "Payment did not go through",
    "payment_unknown": "Payment not confirmed yet",
    "requirements_submitted": "Requirements received",
    "requirements_timeout": "Cancelled: no requirements in time",
    "freelancer_cancelled": "Cancelled by the freelancer",
    "freelancer_committed": "The freelancer is committed",
    "client_cancelled": "Cancellation and refund requested",
    "client_dormant": "Refund requested after a long silence",
    "cancelled_free": "Cancelled and refunded",
    "cancellation_withdrawn": "Cancellation withdrawn",
    "refund_approved": "Refund approved",
    "refund_declined": "Refund request declined",
    "freelancer_silent": "Refunded: no answer in time",
    "request_resumed": "No answer in time: the project goes on",
    "decision_overdue": "Refund decision is overdue",
    "claim_accepted": "Claim accepted",
    "claim_lapsed": "Claim paid: no answer in time",
    "claim_resumed": "No answer in time: the project goes on",
    "dispute_opened": "Dispute opened",
    "dispute_overdue": "Dispute is overdue",
    "dispute_resolved": "Dispute resolved",
    "split_proposed": "A split is proposed",
    "mutual_split": "Split agreed",
    "delivered": "Work delivered",
    "changes_requested": "Changes requested",
    "delivery_accepted": "Delivery accepted",
    "review_lapsed": "Review time is over: payment released",
    "freelancer_gave_refund": "Refund given by the freelancer",
    "message_sent": "New message",
    "cancelled_by_platform": "Cancelled by the marketplace",
    "settlement_late": "Refund is late",
    "refund_settled": "Refund has arrived",
    "marked_settled": "Refund marked as arrived",
    "settlement_reported": "News of the refund",
    "refund_retried": "Refund is being sent again",
    "refund_failed": "Refund failed",
    "step_blocked": "Held up: a person is looking into it",
    "step_resumed": "Going on again",
    "attention_retried": "Being tried again",
    "message_refused": "Message not accepted",
    "reminder": "Reminder",
}

FULL_REFUNDS = frozenset(
    {
        "requirements_timeout",
        "freelancer_cancelled",
        "cancelled_free",
        "refund_approved",
        "freelancer_silent",
        "freelancer_gave_refund",
        "cancelled_by_platform",
    }
)
"""Transitions that always send money back: their notices say how long it takes, whatever else."""

NO_PROMISE = frozenset(
    {"settlement_late", "settlement_reported", "refund_settled", "marked_settled", "refund_failed"}
)
"""Transitions that say themselves how the refund stands: the usual time would mislead."""

_LATER = (
    "You may message {freelancer} to see if they can take the project at a later time, "
    "or choose another project entirely."
)
_TALK_FIRST = (
    "Before you go on, consider messaging {freelancer}: freelancers are often more than happy "
    "to work with you if your approach to the project has changed."
)
_NOT_GUARANTEED = (
    "A refund is not guaranteed: {freelancer} may have begun or even finished the work. "
    "We ask for your money back, but the decision is theirs."
)

ADVICE: dict[tuple[str, str], tuple[str, ...]] = {
    ("client_cancelled", "client"): (_TALK_FIRST, _NOT_GUARANTEED),
    ("client_cancelled", "freelancer"): (
        "The decision is yours: approve, and {client} gets the money back in full; or decline, "
        "and say how much of it you have earned.",
    ),
    ("client_dormant", "client"): (
        "Nobody pressed cancel: the system asked in your name. If you want the project to go on, "
        "withdraw the cancellation.",
        _NOT_GUARANTEED,
    ),
    ("client_dormant", "freelancer"): (
        "{client} did not press cancel: the system asked in their name. The decision is yours.",
    ),
    ("refund_declined", "client"): (
        "If you cannot agree with {freelancer}, you may open a dispute: choose “Open a dispute” "
        "and say in your own words what went wrong. A mediator then hears both of you and "
        "decides who gets what.",
    ),
    ("requirements_timeout", "client"): (_LATER,),
    ("freelancer_cancelled", "client"): (_LATER,),
    ("dispute_opened", "client"): ("You can still agree on a split with {freelancer}.",),
    ("dispute_opened", "freelancer"): ("You can still agree on a split with {client}.",),
    ("message_refused", "client"): ("Nothing about the purchase has changed.",),
    ("message_refused", "freelancer"): ("Nothing about the purchase has changed.",),
}
"""Paragraphs for (transition, role), beyond what every notice says. RULES.md, Notices."""


@dataclass(frozen=True)
class Way:
    """One thing a reader can do: in words, and as options of the message's command."""

    label: str
    options: str = ""


_SPLIT = "--refund AMOUNT --currency {currency}"

WAYS: dict[str, tuple[Way, ...]] = {
    "submit_requirements": (Way("Send the requirements", '--text "…"'),),
    "cancel": (Way("Cancel the project"),),
    "decide_refund": (
        Way("Approve the refund", "--decision approve"),
        Way(
            "Decline it and claim what you have earned",
            "--decision decline --claim AMOUNT --currency {currency}",
        ),
    ),
    "withdraw_cancellation": (Way("Withdraw the cancellation"),),
    "accept_claim": (Way("Accept the claim"),),
    "accept_delivery": (Way("Accept the delivery and release the money"),),
    "give_refund": (Way("Give a full refund"),),
    "open_dispute": (Way("Open a dispute", '--reason "…"'),),
    "propose_split": (Way("Propose a split", _SPLIT),),
    "accept_split": (Way("Accept the proposed split", _SPLIT),),
    "resolve_dispute": (Way("Decide the dispute", _SPLIT),),
    "deliver": (Way("Deliver the work"),),
    "request_changes": (Way("Ask for changes", '--note "…"'),),
    "send_message": (Way("Send a message", '--text "…"'),),
    "resolve_attention": (
        Way("Try again", "--action retry"),
        Way("Mark as settled, with the proof", '--action mark_settled --reference "…"'),
    ),
}


def heading(transition: str) -> str:
    """A short heading; a transition that the table does not know gets its name in words."""
    return HEADINGS.get(transition) or in_words(transition).capitalize()


def ways(message: str) -> tuple[Way, ...]:
    """What one message lets its sender do; an unknown one is its name in words."""
    return WAYS.get(message) or (Way(in_words(message).capitalize()),)


def in_words(name: str) -> str:
    """`refund_decision_window` → `refund decision`."""
    return name.removesuffix("_window").replace("_", " ").strip()
