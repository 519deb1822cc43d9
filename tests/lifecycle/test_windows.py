"""Each window of the policy: when its deadline starts, how long it is, and what happens on expiry
(R-06, R-11 to R-13, R-17, R-18, R-35 to R-39, R-42, R-61)."""

from datetime import timedelta

import pytest

from tests.lifecycle.builders import (
    BOTH,
    ESCROW,
    NOON,
    Purchase,
    any_undecided_stage,
    becomes,
    pending_refund,
    purchase_in,
    rejected,
    settles,
)
from workflows.lifecycle import begin, deadlines, is_pending
from workflows.lifecycle.events import (
    CheckRefund,
    ComputeDeadline,
    EffectBlocked,
    PaymentHeld,
    PaymentVoided,
    VoidPayment,
)
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, Payment, Stage
from workflows.messages import Role

DAY = timedelta(days=1)


def in_days(purchase: Purchase, deadline: DeadlineName) -> float:
    """The time left until the deadline, in days."""
    return (purchase.state.deadlines[deadline] - purchase.now) / DAY


# --- payment_window


def test_an_expired_payment_window_voids_the_payment() -> None:
    """R-05, R-06: after one hour the payment is voided, and the purchase closes without money."""
    purchase = Purchase(held=False)
    assert purchase.state.deadlines[DeadlineName.PAYMENT] == NOON + timedelta(hours=1)
    purchase.deadline(DeadlineName.PAYMENT)
    becomes(purchase, Stage.AWAITING_REQUIREMENTS, notified=set())
    assert purchase.last.effects == (VoidPayment(),)
    purchase.fact(PaymentVoided())
    becomes(purchase, Stage.CLOSED)
    assert purchase.state.outcome == "payment_failed"


def test_an_expired_payment_window_may_find_the_payment_held() -> None:
    """R-03, R-06: the charge is looked up before it is voided, so that nobody pays for nothing."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(PaymentHeld("ch_1"))
    becomes(purchase, Stage.AWAITING_REQUIREMENTS)
    assert purchase.state.held == ESCROW


def test_an_unknown_payment_needs_a_person() -> None:
    """R-06, R-70: the void stays pending, and a held payment ends the alert."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    becomes(purchase, Stage.AWAITING_REQUIREMENTS, notified={"operator"})
    assert purchase.state.needs(AttentionKind.PAYMENT_UNKNOWN)
    assert purchase.state.payment is Payment.VOIDING
    purchase.fact(PaymentHeld())
    assert purchase.state.attention == ()


# --- requirements_window


def test_missing_requirements_refund_the_client_after_48_hours() -> None:
    """R-11: the client gets the whole escrow back."""
    purchase = Purchase()
    assert dict(purchase.state.deadlines) == {DeadlineName.REQUIREMENTS: NOON + timedelta(hours=48)}
    purchase.deadline(DeadlineName.REQUIREMENTS)
    settles(purchase, "requirements_timeout", refund=ESCROW, release=0)


def test_a_late_start_shortens_only_the_requirements_window() -> None:
    """R-01: the 48 hours count from the purchase, the payment window from the first attempt to
    charge."""
    later = NOON + timedelta(hours=5)
    state = begin(Purchase().state.terms, later).state
    assert state.deadlines[DeadlineName.REQUIREMENTS] == NOON + timedelta(hours=48)
    assert state.deadlines[DeadlineName.PAYMENT] == later + timedelta(hours=1)


# --- freelancer_cancel_window


def test_the_freelancer_is_committed_24_hours_after_the_requirements() -> None:
    """R-10, R-12: the window counts from the requirements; after it the work is in progress."""
    purchase = Purchase().after(hours=30).reviewed()
    assert dict(purchase.state.deadlines) == {
        DeadlineName.FREELANCER_CANCEL: NOON + timedelta(hours=54)
    }
    purchase.deadline(DeadlineName.FREELANCER_CANCEL)
    becomes(purchase, Stage.IN_PROGRESS)
    assert purchase.state.cancel_window_closed_at == NOON + timedelta(hours=54)


def test_without_requirements_the_freelancer_is_committed_after_24_hours() -> None:
    """R-02, R-10, R-12: the window counts from the purchase, and requirements are rejected."""
    purchase = Purchase(requirements_needed=False)
    assert purchase.state.stage is Stage.FREELANCER_REVIEW
    assert dict(purchase.state.deadlines) == {
        DeadlineName.FREELANCER_CANCEL: NOON + timedelta(hours=24)
    }
    rejected(
        purchase.client("submit_requirements", requirements="a logo"),
        Code.NOT_ALLOWED_NOW,
        "under review by the freelancer",
    )
    purchase.deadline(DeadlineName.FREELANCER_CANCEL)
    becomes(purchase, Stage.IN_PROGRESS)
    rejected(purchase.freelancer("cancel"), Code.WINDOW_CLOSED, "2026-03-03T12:00:00Z")


# --- refund_decision_window


def test_an_unanswered_refund_request_refunds_the_client_by_default() -> None:
    """R-35: after seven days the client gets the whole escrow back."""
    purchase = Purchase().requested()
    assert in_days(purchase, DeadlineName.REFUND_DECISION) == 7
    purchase.deadline(DeadlineName.REFUND_DECISION)
    settles(purchase, "freelancer_silent", refund=ESCROW, release=0)


@pytest.mark.parametrize("stage", [Stage.IN_PROGRESS, Stage.DELIVERED])
def test_an_unanswered_refund_request_may_resume_the_project(stage: Stage) -> None:
    """R-36: under refund_decision_silence: resume, the purchase returns to the stage before the
    request."""
    purchase = purchase_in(stage, refund_decision_silence="resume")
    purchase.client("cancel")
    purchase.deadline(DeadlineName.REFUND_DECISION)
    becomes(purchase, stage)
    assert purchase.last.transition == "request_resumed"
    purchase.client("cancel")
    assert in_days(purchase, DeadlineName.REFUND_DECISION) == 7


def test_an_unanswered_refund_request_may_call_a_person() -> None:
    """R-20, R-37: under refund_decision_silence: attention, staff are alerted and the freelancer
    can still answer."""
    purchase = Purchase(refund_decision_silence="attention").requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    becomes(purchase, Stage.REFUND_REQUESTED, notified={*BOTH, "operator"})
    assert purchase.state.needs(AttentionKind.DECISION_OVERDUE)
    purchase.freelancer("decide_refund", decision="approve")
    settles(purchase, "refund_approved", refund=ESCROW, release=0)
    assert purchase.state.attention == ()


# --- claim_window


def test_the_claim_window_is_five_business_days_from_the_decline() -> None:
    """R-21, R-60: the calendar computes the deadline, and its answer is recorded."""
    purchase = Purchase().requested()
    purchase.after(days=1).freelancer("decide_refund", decision="decline", claim=10_000)
    assert ComputeDeadline(DeadlineName.CLAIM, purchase.now, 5) in purchase.last.effects
    assert DeadlineName.CLAIM not in purchase.state.deadlines
    purchase.calendar(DeadlineName.CLAIM, days=7)
    assert in_days(purchase, DeadlineName.CLAIM) == 7


def test_an_unanswered_claim_is_paid_by_default() -> None:
    """R-38: the freelancer gets the claim, the client the rest."""
    purchase = Purchase().contested(claim=10_000)
    purchase.deadline(DeadlineName.CLAIM)
    settles(purchase, "claim_lapsed", refund=15_000, release=10_000)


@pytest.mark.parametrize("stage", [Stage.FREELANCER_REVIEW, Stage.DELIVERED])
def test_an_unanswered_claim_may_resume_the_project(stage: Stage) -> None:
    """R-39: under claim_silence: resume, the purchase returns to the stage before the request,
    without a claim."""
    purchase = purchase_in(stage, claim_silence="resume", freelancer_cancel_window="P30D")
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.calendar(DeadlineName.CLAIM)
    purchase.deadline(DeadlineName.CLAIM)
    becomes(purchase, stage)
    assert purchase.state.claim is None


def test_a_late_answer_about_an_earlier_claim_does_not_shorten_a_later_one() -> None:
    """R-60: the window starts at the decline that stands."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    first_ends = purchase.now + 7 * DAY
    purchase.client("withdraw_cancellation")
    purchase.after(days=3).client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.calendar(DeadlineName.CLAIM, days=7)
    purchase.calendar(DeadlineName.CLAIM, days=(first_ends - purchase.now).days)
    assert in_days(purchase, DeadlineName.CLAIM) == 7


# --- review_window


def test_an_unanswered_delivery_releases_the_escrow() -> None:
    """R-17: fourteen days after the delivery, the freelancer gets the whole escrow."""
    purchase = Purchase().delivered()
    assert in_days(purchase, DeadlineName.REVIEW) == 14
    purchase.deadline(DeadlineName.REVIEW)
    settles(purchase, "review_lapsed", refund=0, release=ESCROW)


def test_each_delivery_starts_its_own_review() -> None:
    """R-14, R-16: the time left of an earlier review does not count."""
    purchase = Purchase().delivered().after(days=13)
    purchase.client("request_changes")
    assert DeadlineName.REVIEW not in purchase.state.deadlines
    purchase.after(days=2).freelancer("deliver")
    assert in_days(purchase, DeadlineName.REVIEW) == 14


# --- dormancy_window


def test_a_dormant_purchase_asks_for_a_refund_in_the_clients_name() -> None:
    """R-18, R-24: both parties are notified that the system asked, and the client can withdraw."""
    purchase = Purchase().working()
    assert in_days(purchase, DeadlineName.DORMANCY) == 90
    purchase.deadline(DeadlineName.DORMANCY)
    becomes(purchase, Stage.REFUND_REQUESTED)
    assert purchase.notices[0].actor == "system"
    assert "our system asked Bo in Ana's name" in purchase.last.text
    assert in_days(purchase, DeadlineName.REFUND_DECISION) == 7
    purchase.client("withdraw_cancellation")
    becomes(purchase, Stage.IN_PROGRESS)


def test_an_unanswered_request_of_the_system_calls_a_person_instead_of_resuming() -> None:
    """R-18, R-36, R-37: no party asked, so nothing can resume; a later request of the client
    resumes as usual."""
    purchase = Purchase(refund_decision_silence="resume").working()
    purchase.deadline(DeadlineName.DORMANCY)
    assert purchase.state.requested_by_system is True
    purchase.deadline(DeadlineName.REFUND_DECISION)
    becomes(purchase, Stage.REFUND_REQUESTED, notified={*BOTH, "operator"})
    assert purchase.state.needs(AttentionKind.DECISION_OVERDUE)
    purchase.client("withdraw_cancellation")
    assert purchase.state.attention == ()
    purchase.client("cancel")
    assert purchase.state.requested_by_system is False
    purchase.deadline(DeadlineName.REFUND_DECISION)
    becomes(purchase, Stage.IN_PROGRESS)


@pytest.mark.parametrize("by", ["client", "freelancer"])
@pytest.mark.parametrize(
    ("name", "fields"), [("send_message", {"text": "hello"}), ("propose_split", {"refund": 1})]
)
def test_every_message_of_a_party_restarts_the_dormancy_window(
    by: str, name: str, fields: dict[str, object]
) -> None:
    """R-18, R-47, R-48, R-49: ninety days from the last accepted message."""
    purchase = Purchase().working().after(days=89)
    getattr(purchase, by)(name, **fields)
    assert in_days(purchase, DeadlineName.DORMANCY) == 90


def test_a_rejected_message_does_not_restart_the_dormancy_window() -> None:
    """R-18: only accepted messages count."""
    purchase = Purchase().working().after(days=89)
    rejected(purchase.client("deliver"), Code.WRONG_ROLE)
    assert in_days(purchase, DeadlineName.DORMANCY) == 1


def test_the_dormancy_window_is_open_in_progress_only() -> None:
    """R-18: a delivered or cancelled purchase has the deadline of the other party's answer."""
    purchase = Purchase().delivered()
    assert set(purchase.state.deadlines) == {DeadlineName.REVIEW}
    purchase.client("cancel")
    assert set(purchase.state.deadlines) == {DeadlineName.REFUND_DECISION}


# --- dispute_window


def test_an_overdue_dispute_alerts_staff_and_decides_nothing() -> None:
    """R-42: after thirty days a mediator still has to decide."""
    purchase = Purchase().disputed()
    assert in_days(purchase, DeadlineName.DISPUTE) == 30
    purchase.deadline(DeadlineName.DISPUTE)
    becomes(purchase, Stage.DISPUTED, notified={*BOTH, "operator"})
    assert purchase.state.needs(AttentionKind.DISPUTE_OVERDUE)
    assert purchase.state.decision is None
    assert purchase.state.deadlines == {}


def test_a_decided_dispute_is_not_overdue_any_more() -> None:
    """R-41, R-42: the mediator's decision clears the alert."""
    purchase = Purchase().disputed()
    purchase.deadline(DeadlineName.DISPUTE)
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=0)
    becomes(purchase, Stage.SETTLING)
    assert purchase.state.attention == ()


# --- settlement_window


def test_the_settlement_window_is_five_business_days_from_the_refund() -> None:
    """R-46: the decision to refund asks the calendar for the deadline."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    assert ComputeDeadline(DeadlineName.SETTLEMENT, purchase.now, 5) in purchase.last.effects


def test_a_late_refund_alerts_staff_and_is_still_checked() -> None:
    """R-61: the client and operators are notified, and the provider is still asked."""
    purchase = pending_refund()
    purchase.deadline(DeadlineName.SETTLEMENT)
    becomes(purchase, Stage.SETTLING, notified={"client", "operator"})
    assert purchase.state.needs(AttentionKind.SETTLEMENT_LATE)
    assert is_pending(purchase.state, CheckRefund(1))
    assert purchase.state.needs(AttentionKind.SETTLEMENT_LATE)


def test_a_release_has_no_settlement_window() -> None:
    """R-15: a release is complete when the ledger has it."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    assert not [e for e in purchase.last.effects if isinstance(e, ComputeDeadline)]


# --- other choices


def test_a_cancel_before_requirements_may_refund_at_once() -> None:
    """R-31, R-32: under cancel_before_requirements: refund, the freelancer is asked only after the
    requirements."""
    purchase = Purchase(cancel_before_requirements="refund")
    purchase.client("cancel")
    settles(purchase, "client_cancelled", refund=ESCROW, release=0)
    later = Purchase(cancel_before_requirements="refund").reviewed()
    later.client("cancel")
    becomes(later, Stage.REFUND_REQUESTED)


@pytest.mark.parametrize(("hours", "free"), [(0, True), (23.9, True), (24, False), (25, False)])
def test_the_client_cancels_freely_inside_the_free_cancel_window(hours: float, free: bool) -> None:
    """R-31, R-32: the window counts from the purchase and is off by default."""
    purchase = Purchase(free_cancel_window="PT24H").reviewed().after(hours=hours)
    purchase.client("cancel")
    if free:
        settles(purchase, "client_cancelled", refund=ESCROW, release=0)
    else:
        becomes(purchase, Stage.REFUND_REQUESTED)


@any_undecided_stage
def test_a_window_of_the_policy_is_the_window_of_the_purchase(stage: Stage) -> None:
    """R-11, R-12, R-17, R-18, R-35, R-42: a window twice as long gives twice the time."""
    windows = {
        "requirements_window": "PT96H",
        "freelancer_cancel_window": "PT48H",
        "refund_decision_window": "P14D",
        "review_window": "P28D",
        "dormancy_window": "P180D",
        "dispute_window": "P60D",
    }
    usual, twice = purchase_in(stage), purchase_in(stage, **windows)
    for deadline in set(usual.state.deadlines) - {DeadlineName.CLAIM}:
        assert in_days(twice, deadline) == 2 * in_days(usual, deadline)


def test_a_deadline_says_what_happens_on_expiry() -> None:
    """R-35: the status says in advance what the deadline will do."""
    purchase = Purchase().requested()
    (deadline,) = deadlines(purchase.state)
    assert (deadline.name, deadline.then) == (
        "refund_decision",
        "all of the money goes back to the client",
    )
