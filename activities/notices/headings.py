"""Headings, and what a notice adds for one reader: the article's advice above all.

To say something differently, edit these tables; `activities.notices.texts` says how they speak
to each reader.
"""

HEADINGS = {
    "payment_held": "Payment is in escrow",
    "payment_declined": "Payment declined",
    "payment_failed": "Payment did not go through",
    "payment_unknown": "Payment not confirmed yet",
    "requirements_submitted": "Requirements received",
    "requirements_timeout": "Cancelled: no requirements in time",
    "freelancer_cancelled": "{Freelancer} cancelled the project",
    "freelancer_committed": "{Freelancer} can no longer cancel",
    "client_cancelled": "{Client} cancelled and asked for a refund",
    "client_dormant": "Cancelled after a long silence",
    "cancelled_free": "Cancelled, with a full refund",
    "cancellation_withdrawn": "Cancellation withdrawn",
    "refund_approved": "Refund approved",
    "refund_declined": "Refund request declined",
    "freelancer_silent": "Refund granted: no answer in time",
    "request_resumed": "No answer in time: the project goes on",
    "decision_overdue": "Refund decision is overdue",
    "claim_accepted": "Claim accepted",
    "claim_lapsed": "Claim paid: no answer in time",
    "claim_resumed": "No answer in time: the project goes on",
    "dispute_opened": "{Client} opened a dispute",
    "dispute_overdue": "Dispute is overdue",
    "dispute_resolved": "Dispute resolved",
    "split_proposed": "{Actor} proposed a split",
    "mutual_split": "Split agreed",
    "delivered": "Work delivered",
    "changes_requested": "Changes requested",
    "delivery_accepted": "Delivery accepted",
    "review_lapsed": "Review time is over: payment released",
    "freelancer_gave_refund": "{Freelancer} gave a refund",
    "message_sent": "New message from {actor}",
    "cancelled_by_platform": "Cancelled by the marketplace",
    "settlement_late": "Refund is late",
    "refund_settled": "Refund has arrived",
    "marked_settled": "Refund marked as arrived",
    "refund_retried": "Refund is being sent again",
    "refund_failed": "Refund failed",
    "refund_doubtful": "Refund may arrive twice",
    "effect_blocked": "Held up: a person is needed",
    "attention_retried": "Being tried again",
    "message_rejected": "Message not accepted",
    "reminder": "Reminder",
}

REMINDERS = {
    "requirements": "Reminder: the requirements are due",
    "freelancer_cancel": "Reminder: your time to cancel is ending",
    "refund_decision": "Reminder: please answer the refund request",
    "claim": "Reminder: please answer the claim",
    "review": "Reminder: please answer the delivery",
}
"""Headings of reminders, by the clock that runs out."""

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

NO_PROMISE = frozenset({"settlement_late", "refund_settled", "marked_settled", "refund_failed"})
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
    ("payment_declined", "client"): (
        "You are welcome to buy the project again with another way to pay.",
    ),
    ("payment_failed", "client"): ("You are welcome to buy the project again.",),
    ("requirements_submitted", "freelancer"): ("You can read them with the purchase.",),
    ("client_cancelled", "client"): (_TALK_FIRST, _NOT_GUARANTEED),
    ("client_cancelled", "freelancer"): ("The decision is yours.",),
    ("client_dormant", "client"): (
        "Nobody pressed cancel. If you want the project to go on, take the cancellation back.",
        _NOT_GUARANTEED,
    ),
    ("client_dormant", "freelancer"): (
        "{Client} did not press cancel. The decision is yours: approve the refund, or decline and "
        "say how much of the money the work was worth.",
    ),
    ("refund_declined", "client"): (
        "If you cannot agree with {freelancer}, you may open a dispute: choose “Open a dispute” "
        "and say in your own words what went wrong. A mediator then hears both of you and "
        "decides who gets what.",
    ),
    ("requirements_timeout", "client"): (_LATER,),
    ("freelancer_cancelled", "client"): (_LATER,),
}
"""Paragraphs for (transition, role), beyond what every notice says. RULES.md, Notices."""


def heading(transition: str, clock: str = "") -> str:
    """A short heading; a transition that the table does not know gets its name in words."""
    if transition == "reminder" and clock in REMINDERS:
        return REMINDERS[clock]
    return HEADINGS.get(transition) or in_words(transition).capitalize()


def in_words(name: str) -> str:
    """`refund_decision_window` → `refund decision`."""
    return name.removesuffix("_window").replace("_", " ").strip()
