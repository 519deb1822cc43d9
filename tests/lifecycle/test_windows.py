"""Windows: every row of that table in `RULES.md`, its clock and what silence does."""

from datetime import timedelta

import pytest

from tests.lifecycle.builders import (
    BOTH,
    ESCROW,
    NOON,
    Purchase,
    any_stage_with_escrow,
    becomes,
    purchase_in,
    refund_under_way,
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

DAY = timedelta(days=1)


def in_days(purchase: Purchase, deadline: DeadlineName) -> float:
    """How long the clock still has."""
    return (purchase.state.deadlines[deadline] - purchase.now) / DAY


# --- payment_window


def test_payment_window_starts_at_the_purchase_and_calls_the_charge_off() -> None:
    """payment_window, PT1H: the charge is called off at the provider, looked up first."""
    purchase = Purchase(held=False)
    assert purchase.state.deadlines[DeadlineName.PAYMENT] == NOON + timedelta(hours=1)
    purchase.deadline(DeadlineName.PAYMENT)
    becomes(purchase, Stage.AWAITING_REQUIREMENTS, told=set())
    assert purchase.last.effects == (VoidPayment(),)
    purchase.learns(PaymentVoided())
    becomes(purchase, Stage.CLOSED)
    assert purchase.state.outcome == "payment_failed"


def test_payment_window_finds_a_charge_that_was_made_after_all() -> None:
    """payment_window: looked up first, so that nobody pays for nothing."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.learns(PaymentHeld("ch_1"))
    becomes(purchase, Stage.AWAITING_REQUIREMENTS)
    assert purchase.state.held == ESCROW


def test_payment_unknown_at_the_provider_too_needs_attention() -> None:
    """payment_window: unknown there too → needs_attention, and nothing is given up."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.learns(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    becomes(purchase, Stage.AWAITING_REQUIREMENTS, told={"operator"})
    assert purchase.state.needs(AttentionKind.PAYMENT_UNKNOWN)
    assert purchase.state.payment is Payment.VOIDING
    purchase.learns(PaymentHeld())
    assert purchase.state.attention == ()


# --- requirements_window


def test_requirements_window_is_48_h_from_the_purchase() -> None:
    """requirements_window, PT48H: full refund, requirements_timeout."""
    purchase = Purchase()
    assert dict(purchase.state.deadlines) == {DeadlineName.REQUIREMENTS: NOON + timedelta(hours=48)}
    purchase.deadline(DeadlineName.REQUIREMENTS)
    settles(purchase, "requirements_timeout", refund=ESCROW, release=0)


def test_requirements_window_of_a_purchase_made_before_its_workflow_started() -> None:
    """The 48 h count from the purchase, the payment window from the asking."""
    later = NOON + timedelta(hours=5)
    state = begin(Purchase().state.terms, later).state
    assert state.deadlines[DeadlineName.REQUIREMENTS] == NOON + timedelta(hours=48)
    assert state.deadlines[DeadlineName.PAYMENT] == later + timedelta(hours=1)


# --- freelancer_cancel_window


def test_freelancer_cancel_window_is_24_h_from_the_requirements() -> None:
    """freelancer_cancel_window, PT24H: the freelancer is committed: in_progress."""
    purchase = Purchase().after(hours=30).reviewed()
    assert dict(purchase.state.deadlines) == {
        DeadlineName.FREELANCER_CANCEL: NOON + timedelta(hours=54)
    }
    purchase.deadline(DeadlineName.FREELANCER_CANCEL)
    becomes(purchase, Stage.IN_PROGRESS)
    assert purchase.state.cancel_window_closed_at == NOON + timedelta(hours=54)


def test_without_requirements_the_24_h_count_from_the_purchase() -> None:
    """requirements_needed: false starts in freelancer_review, its 24 h from the purchase."""
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


def test_refund_decision_window_ends_in_a_refund_by_default() -> None:
    """refund_decision_window, P7D: refund E, freelancer_silent."""
    purchase = Purchase().requested()
    assert in_days(purchase, DeadlineName.REFUND_DECISION) == 7
    purchase.deadline(DeadlineName.REFUND_DECISION)
    settles(purchase, "freelancer_silent", refund=ESCROW, release=0)


@pytest.mark.parametrize("stage", [Stage.IN_PROGRESS, Stage.DELIVERED])
def test_refund_decision_silence_may_resume_the_project(stage: Stage) -> None:
    """refund_decision_silence: resume → back to the stage it left."""
    purchase = purchase_in(stage, refund_decision_silence="resume")
    purchase.client("cancel")
    purchase.deadline(DeadlineName.REFUND_DECISION)
    becomes(purchase, stage)
    assert purchase.last.transition == "request_resumed"
    purchase.client("cancel")
    assert in_days(purchase, DeadlineName.REFUND_DECISION) == 7


def test_refund_decision_silence_may_call_a_person() -> None:
    """refund_decision_silence: attention → staff; the freelancer can still answer."""
    purchase = Purchase(refund_decision_silence="attention").requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    becomes(purchase, Stage.REFUND_REQUESTED, told={*BOTH, "operator"})
    assert purchase.state.needs(AttentionKind.DECISION_OVERDUE)
    purchase.freelancer("decide_refund", decision="approve")
    settles(purchase, "refund_approved", refund=ESCROW, release=0)
    assert purchase.state.attention == ()


# --- claim_window


def test_claim_window_is_five_business_days_from_the_decline() -> None:
    """claim_window, 5 business days from the decline: asked of the calendar, then recorded."""
    purchase = Purchase().requested()
    purchase.after(days=1).freelancer("decide_refund", decision="decline", claim=10_000)
    assert ComputeDeadline(DeadlineName.CLAIM, purchase.now, 5) in purchase.last.effects
    assert DeadlineName.CLAIM not in purchase.state.deadlines
    purchase.calendar(DeadlineName.CLAIM, days=7)
    assert in_days(purchase, DeadlineName.CLAIM) == 7


def test_claim_silence_pays_the_claim_by_default() -> None:
    """claim_silence: pay_claim → claim released, rest refunded, claim_lapsed."""
    purchase = Purchase().contested(claim=10_000)
    purchase.deadline(DeadlineName.CLAIM)
    settles(purchase, "claim_lapsed", refund=15_000, release=10_000)


@pytest.mark.parametrize("stage", [Stage.FREELANCER_REVIEW, Stage.DELIVERED])
def test_claim_silence_may_resume_the_project(stage: Stage) -> None:
    """claim_silence: resume → back to the stage it left, the claim forgotten."""
    purchase = purchase_in(stage, claim_silence="resume", freelancer_cancel_window="P30D")
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.calendar(DeadlineName.CLAIM)
    purchase.deadline(DeadlineName.CLAIM)
    becomes(purchase, stage)
    assert purchase.state.claim is None


def test_an_early_answer_of_the_calendar_does_not_shorten_a_later_claim() -> None:
    """claim_window starts at the decline that stands: the answer about an earlier one, coming
    late, takes nothing away."""
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


def test_review_window_releases_the_escrow() -> None:
    """review_window, P14D from each delivery: released, review_lapsed."""
    purchase = Purchase().delivered()
    assert in_days(purchase, DeadlineName.REVIEW) == 14
    purchase.deadline(DeadlineName.REVIEW)
    settles(purchase, "review_lapsed", refund=0, release=ESCROW)


def test_each_delivery_starts_a_review_of_its_own() -> None:
    """review_window starts with each delivery, whatever the one before had left."""
    purchase = Purchase().delivered().after(days=13)
    purchase.client("request_changes")
    assert DeadlineName.REVIEW not in purchase.state.deadlines
    purchase.after(days=2).freelancer("deliver")
    assert in_days(purchase, DeadlineName.REVIEW) == 14


# --- dormancy_window


def test_dormancy_window_asks_for_a_refund_in_the_clients_name() -> None:
    """dormancy_window, P90D: as if the client had cancelled; both are told it was the system."""
    purchase = Purchase().working()
    assert in_days(purchase, DeadlineName.DORMANCY) == 90
    purchase.deadline(DeadlineName.DORMANCY)
    becomes(purchase, Stage.REFUND_REQUESTED)
    assert purchase.notices[0].actor == "system"
    assert "our system asked Bo in Ana's name" in purchase.last.text
    assert in_days(purchase, DeadlineName.REFUND_DECISION) == 7
    purchase.client("withdraw_cancellation")
    becomes(purchase, Stage.IN_PROGRESS)


def test_silence_after_dormancy_calls_a_person_where_it_would_resume() -> None:
    """dormancy_window with refund_decision_silence: resume → nobody asked, so there is nothing to
    resume; staff look into it. Asked by the client afterwards, it resumes as usual."""
    purchase = Purchase(refund_decision_silence="resume").working()
    purchase.deadline(DeadlineName.DORMANCY)
    assert purchase.state.requested_by_system is True
    purchase.deadline(DeadlineName.REFUND_DECISION)
    becomes(purchase, Stage.REFUND_REQUESTED, told={*BOTH, "operator"})
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
def test_dormancy_starts_anew_with_every_act_of_either_party(
    by: str, name: str, fields: dict[str, object]
) -> None:
    """dormancy_window starts with the last act of either party while in progress."""
    purchase = Purchase().working().after(days=89)
    getattr(purchase, by)(name, **fields)
    assert in_days(purchase, DeadlineName.DORMANCY) == 90


def test_a_refused_message_is_no_act() -> None:
    """dormancy_window: what was refused did not happen."""
    purchase = Purchase().working().after(days=89)
    rejected(purchase.client("deliver"), Code.WRONG_ROLE)
    assert in_days(purchase, DeadlineName.DORMANCY) == 1


def test_nobody_is_dormant_while_the_other_side_has_to_answer() -> None:
    """dormancy_window runs in progress only."""
    purchase = Purchase().delivered()
    assert set(purchase.state.deadlines) == {DeadlineName.REVIEW}
    purchase.client("cancel")
    assert set(purchase.state.deadlines) == {DeadlineName.REFUND_DECISION}


# --- dispute_window


def test_dispute_window_alerts_staff_and_decides_nothing() -> None:
    """dispute_window, P30D: needs_attention; nothing is decided by silence."""
    purchase = Purchase().disputed()
    assert in_days(purchase, DeadlineName.DISPUTE) == 30
    purchase.deadline(DeadlineName.DISPUTE)
    becomes(purchase, Stage.DISPUTED, told={*BOTH, "operator"})
    assert purchase.state.needs(AttentionKind.DISPUTE_OVERDUE)
    assert purchase.state.decision is None
    assert purchase.state.deadlines == {}


# --- settlement_window


def test_settlement_window_is_five_business_days_from_the_refund() -> None:
    """settlement_window, 5 business days from the start of the refund: asked of the calendar."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    assert ComputeDeadline(DeadlineName.SETTLEMENT, purchase.now, 5) in purchase.last.effects


def test_settlement_window_tells_staff_and_client_and_keeps_asking() -> None:
    """settlement_window: told that it is late; it stays settling and keeps asking the provider."""
    purchase = refund_under_way()
    purchase.deadline(DeadlineName.SETTLEMENT)
    becomes(purchase, Stage.SETTLING, told={"client", "operator"})
    assert purchase.state.needs(AttentionKind.SETTLEMENT_LATE)
    assert is_pending(purchase.state, CheckRefund(1))
    assert purchase.state.needs(AttentionKind.SETTLEMENT_LATE)


def test_a_release_has_no_settlement_to_wait_for() -> None:
    """settlement_window starts with a refund; a release arrives in our own books."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    assert not [e for e in purchase.last.effects if isinstance(e, ComputeDeadline)]


# --- other choices


def test_cancel_before_requirements_may_refund_at_once() -> None:
    """cancel_before_requirements: refund → no asking while no requirements are in."""
    purchase = Purchase(cancel_before_requirements="refund")
    purchase.client("cancel")
    settles(purchase, "client_cancelled", refund=ESCROW, release=0)
    later = Purchase(cancel_before_requirements="refund").reviewed()
    later.client("cancel")
    becomes(later, Stage.REFUND_REQUESTED)


@pytest.mark.parametrize(("hours", "free"), [(0, True), (23.9, True), (24, False), (25, False)])
def test_free_cancel_window_lets_the_client_cancel_freely_for_a_while(
    hours: float, free: bool
) -> None:
    """free_cancel_window: from the purchase on; off by default."""
    purchase = Purchase(free_cancel_window="PT24H").reviewed().after(hours=hours)
    purchase.client("cancel")
    if free:
        settles(purchase, "client_cancelled", refund=ESCROW, release=0)
    else:
        becomes(purchase, Stage.REFUND_REQUESTED)


@any_stage_with_escrow
def test_a_window_of_the_policy_is_the_window_of_the_purchase(stage: Stage) -> None:
    """Each window is the policy's: twice as long there, twice as long here."""
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


def test_deadlines_say_what_happens_when_they_end() -> None:
    """R-35: the status says beforehand what the deadline will do."""
    purchase = Purchase().requested()
    (deadline,) = deadlines(purchase.state)
    assert (deadline.name, deadline.then) == (
        "refund_decision",
        "all of the money goes back to the client",
    )
