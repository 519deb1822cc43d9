"""Stories of purchases whose payment is held: the work, cancellations, claims and disputes."""

from tests.lifecycle.builders import ESCROW
from tests.lifecycle.recorded import Recorded, story
from workflows.lifecycle.events import EffectBlocked
from workflows.lifecycle.state import DeadlineName
from workflows.messages import Role


@story
def the_work_is_delivered_changed_and_accepted() -> Recorded:
    purchase = Recorded()
    purchase.after(hours=2).client("submit_requirements", requirements="a logo")
    purchase.after(hours=3).freelancer("send_message", text="I begin.")
    purchase.deadline(DeadlineName.FREELANCER_CANCEL)
    purchase.after(days=3).client("send_message", text="How far are you?")
    purchase.after(days=2).freelancer("deliver", note="the first draft")
    purchase.after(days=1).client("request_changes", note="larger, please")
    purchase.after(days=1).freelancer("deliver")
    purchase.after(days=13).client("accept_delivery")
    purchase.posted()
    return purchase


@story
def the_work_is_delivered_while_the_freelancer_may_cancel() -> Recorded:
    purchase = Recorded(requirements_needed=False)
    purchase.after(hours=1).freelancer("deliver")
    purchase.freelancer("cancel", reason="too much work")
    purchase.deadline(DeadlineName.REVIEW)
    return purchase


@story
def the_requirements_never_come() -> Recorded:
    purchase = Recorded()
    purchase.after(hours=1).client("cancel", reason="changed my mind")
    purchase.freelancer("decide_refund", decision="decline", claim=5_000, note="I have begun")
    purchase.calendar(DeadlineName.CLAIM)
    purchase.deadline(DeadlineName.REQUIREMENTS)
    purchase.calendar(DeadlineName.SETTLEMENT)
    return purchase


@story
def the_client_is_silent_for_months() -> Recorded:
    purchase = Recorded().working().from_here()
    purchase.deadline(DeadlineName.DORMANCY)
    purchase.after(days=1).client("cancel")
    purchase.deadline(DeadlineName.REFUND_DECISION)
    return purchase


@story
def a_request_of_the_system_ends_with_a_refund() -> Recorded:
    """Also if the policy lets a client's request lapse."""
    purchase = Recorded(refund_decision_silence="resume").working().from_here()
    purchase.deadline(DeadlineName.DORMANCY)
    purchase.deadline(DeadlineName.REFUND_DECISION)
    return purchase


@story
def a_cancellation_is_withdrawn_after_the_freelancer_was_committed() -> Recorded:
    purchase = Recorded().reviewed().from_here()
    purchase.after(hours=1).client("cancel")
    purchase.client("cancel")
    purchase.deadline(DeadlineName.FREELANCER_CANCEL)
    purchase.after(hours=1).client("withdraw_cancellation", note="sorry")
    purchase.client("withdraw_cancellation")
    return purchase


@story
def a_delivered_work_is_cancelled_declined_and_continued() -> Recorded:
    purchase = Recorded().delivered().from_here()
    purchase.after(days=4).client("cancel")
    for claim in (0, ESCROW + 1, None):
        purchase.freelancer("decide_refund", decision="decline", claim=claim)
    purchase.after(days=1).calendar(DeadlineName.CLAIM)
    purchase.after(days=2).client("withdraw_cancellation")
    purchase.deadline(DeadlineName.REVIEW)
    return purchase


@story
def a_claim_is_accepted() -> Recorded:
    purchase = Recorded().requested().from_here()
    purchase.freelancer("decide_refund", decision="decline", claim=10_000)
    purchase.calendar(DeadlineName.CLAIM)
    purchase.client("propose_split", refund=20_000)
    purchase.after(days=1).client("accept_claim", note="fine")
    return purchase


@story
def a_claim_lapses() -> Recorded:
    purchase = Recorded().contested(ESCROW).from_here()
    purchase.deadline(DeadlineName.CLAIM)
    purchase.posted()
    return purchase


@story
def a_claim_lapses_and_the_work_goes_on() -> Recorded:
    purchase = Recorded(claim_silence="resume").delivered()
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline", claim=1)
    purchase.calendar(DeadlineName.CLAIM)
    purchase.from_here()
    purchase.deadline(DeadlineName.CLAIM)
    return purchase


@story
def a_request_lapses_and_the_review_goes_on() -> Recorded:
    purchase = Recorded(refund_decision_silence="resume").delivered().from_here()
    purchase.after(days=5).client("cancel")
    purchase.deadline(DeadlineName.REFUND_DECISION)
    return purchase


@story
def nobody_answers_a_request_and_a_mediator_decides() -> Recorded:
    purchase = Recorded(refund_decision_silence="attention").requested().from_here()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=1)
    purchase.deadline(DeadlineName.REFUND_DECISION)
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=ESCROW + 1)
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=ESCROW)
    return purchase


@story
def nobody_answers_a_request_in_time_and_the_freelancer_approves() -> Recorded:
    purchase = Recorded(refund_decision_silence="attention").requested().from_here()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    purchase.after(days=1).freelancer("decide_refund", decision="approve", note="agreed")
    return purchase


@story
def a_dispute_is_overdue() -> Recorded:
    purchase = Recorded().contested().from_here()
    purchase.client("open_dispute", reason="not what I asked for")
    purchase.deadline(DeadlineName.DISPUTE)
    purchase.after(days=1).send(Role.MEDIATOR, "resolve_dispute", refund=0, note="it was done")
    return purchase


@story
def a_client_cancels_where_it_is_free() -> Recorded:
    purchase = Recorded(cancel_before_requirements="refund", requirements_window="PT72H")
    purchase.after(hours=71).client("cancel", reason="found somebody else")
    purchase.fact(EffectBlocked("send_refund", "nothing to send yet"))
    return purchase


@story
def a_message_comes_after_a_deadline_that_has_not_taken_effect() -> Recorded:
    purchase = Recorded().working().from_here()
    purchase.after(days=91).client("cancel")
    return purchase
