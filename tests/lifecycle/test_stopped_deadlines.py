"""What happens to a clock when the client cancels, and when the cancellation ends (`RULES.md`,
Who may do what: cancel by the client, withdraw_cancellation)."""

from datetime import timedelta

import pytest

from tests.lifecycle.builders import ESCROW, NOON, Purchase, becomes, settles
from workflows.lifecycle import is_pending
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.events import Accepted, ComputeDeadline, PlatformCancelled
from workflows.lifecycle.state import DeadlineName, Stage
from workflows.lifecycle.versions import draft_of


def test_the_review_clock_stops_and_keeps_its_remainder() -> None:
    """cancel, client, delivered: the review stops; withdrawn, it goes on with what it had."""
    purchase = Purchase().delivered().after(days=10)
    purchase.client("cancel")
    assert DeadlineName.REVIEW not in purchase.state.deadlines
    purchase.after(days=5).client("withdraw_cancellation")
    assert purchase.state.deadlines == {DeadlineName.REVIEW: purchase.now + timedelta(days=4)}
    purchase.after(days=1).client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.after(days=2).client("withdraw_cancellation")
    assert purchase.state.deadlines == {DeadlineName.REVIEW: purchase.now + timedelta(days=3)}


@pytest.mark.parametrize("silence", ["refund_decision", "claim"])
def test_the_review_clock_goes_on_when_silence_ends_the_cancellation(silence: str) -> None:
    """resume: clocks restored as by a withdrawal."""
    purchase = Purchase(refund_decision_silence="resume", claim_silence="resume")
    purchase.delivered().after(days=10).client("cancel")
    if silence == "claim":
        purchase.freelancer("decide_refund", decision="decline")
        purchase.calendar(DeadlineName.CLAIM)
    purchase.deadline(DeadlineName(silence))
    assert purchase.state.deadlines == {DeadlineName.REVIEW: purchase.now + timedelta(days=4)}


def test_the_48_h_run_on_while_a_request_is_open() -> None:
    """cancel, client, awaiting_requirements: the 48 h run on, and end in a full refund."""
    purchase = Purchase().after(hours=10)
    purchase.client("cancel")
    assert purchase.state.deadlines[DeadlineName.REQUIREMENTS] == NOON + timedelta(hours=48)
    purchase.after(hours=5).client("withdraw_cancellation")
    assert purchase.state.deadlines == {DeadlineName.REQUIREMENTS: NOON + timedelta(hours=48)}


def test_the_24_h_run_on_while_a_request_is_open() -> None:
    """cancel, client, freelancer_review: the freelancer's 24 h run on."""
    purchase = Purchase().reviewed().after(hours=10)
    purchase.client("cancel")
    assert purchase.state.deadlines[DeadlineName.FREELANCER_CANCEL] == NOON + timedelta(hours=24)
    purchase.after(hours=5).client("withdraw_cancellation")
    becomes(purchase, Stage.FREELANCER_REVIEW)
    assert purchase.state.deadlines == {DeadlineName.FREELANCER_CANCEL: NOON + timedelta(hours=24)}


@pytest.mark.parametrize("contested", [False, True])
def test_the_24_h_that_ended_meanwhile_commit_the_freelancer(contested: bool) -> None:
    """The window that ran on ends while the request is open: withdrawn, the project goes on
    where it would be by then, in progress."""
    purchase = Purchase().reviewed()
    purchase.client("cancel")
    if contested:
        purchase.freelancer("decide_refund", decision="decline")
    stage = purchase.state.stage
    purchase.deadline(DeadlineName.FREELANCER_CANCEL)
    becomes(purchase, stage)
    purchase.after(hours=1).client("withdraw_cancellation")
    becomes(purchase, Stage.IN_PROGRESS)
    assert purchase.state.deadlines == {DeadlineName.DORMANCY: purchase.now + timedelta(days=90)}


def test_the_request_gets_its_seven_days_each_time() -> None:
    """cancel, withdraw, cancel: a new request is a new question."""
    purchase = Purchase().working()
    purchase.client("cancel")
    purchase.after(days=6).client("withdraw_cancellation")
    purchase.client("cancel")
    assert purchase.state.deadlines == {
        DeadlineName.REFUND_DECISION: purchase.now + timedelta(days=7)
    }


def test_every_clock_stops_with_a_decision() -> None:
    """Decided: no other deadline can act on the money any more."""
    purchase = Purchase().reviewed()
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="approve")
    settles(purchase, "refund_approved", refund=ESCROW, release=0)
    assert purchase.state.deadlines == {}


def test_a_message_to_the_freelancer_stops_no_clock() -> None:
    """send_message never changes anything: the seven days run on."""
    purchase = Purchase().requested()
    before = dict(purchase.state.deadlines)
    answer = purchase.after(days=1).freelancer("send_message", text="let us talk")
    assert isinstance(answer, Accepted)
    assert dict(purchase.state.deadlines) == before


# --- all deadlines at once


def draft(purchase: Purchase) -> Draft:
    """A draft of that purchase at its own time."""
    return draft_of(purchase.state, PlatformCancelled(), purchase.now)


def test_all_deadlines_can_wait_and_go_on_with_what_they_had() -> None:
    """A payment does not wait; what starts meanwhile waits, too."""
    purchase = Purchase(held=False).after(minutes=30)
    waiting = draft(purchase)
    waiting.suspend_all()
    assert set(waiting.state.deadlines) == {DeadlineName.PAYMENT}
    assert waiting.state.suspended == {DeadlineName.REQUIREMENTS: timedelta(hours=47, minutes=30)}
    waiting.start(DeadlineName.REFUND_DECISION)
    assert DeadlineName.REFUND_DECISION not in waiting.state.deadlines

    later = Draft(waiting.state, waiting.event, waiting.now + timedelta(days=3))
    later.enter(Stage.REFUND_REQUESTED)
    later.continue_all()
    assert later.state.suspended == {}
    assert later.state.deadlines[DeadlineName.REQUIREMENTS] == later.now + timedelta(
        hours=47, minutes=30
    )
    assert later.state.deadlines[DeadlineName.REFUND_DECISION] == later.now + timedelta(days=7)


def test_a_deadline_whose_stage_is_over_does_not_go_on() -> None:
    """Delivered meanwhile: the freelancer is no longer waited for."""
    purchase = Purchase().working()
    waiting = draft(purchase)
    waiting.suspend_all()
    waiting.enter(Stage.DELIVERED)
    waiting.continue_all()
    assert set(waiting.state.deadlines) == {DeadlineName.REVIEW}


def test_what_a_request_suspends_waits_for_the_request() -> None:
    """R-32 while all wait: the review goes on only when the cancellation is withdrawn."""
    purchase = Purchase().delivered().after(days=4)
    waiting = draft(purchase)
    waiting.suspend_all()
    waiting.open_request(by_system=False)
    waiting.enter(Stage.REFUND_REQUESTED)
    waiting.continue_all()
    assert set(waiting.state.deadlines) == {DeadlineName.REFUND_DECISION}
    waiting.return_to_stage_before_request()
    assert waiting.state.deadlines == {DeadlineName.REVIEW: waiting.now + timedelta(days=10)}


def test_a_deadline_computed_while_all_wait_is_not_computed_again() -> None:
    """R-60: the calendar's answer waits with the others."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    waiting = draft(purchase)
    waiting.suspend_all()
    waiting.set_deadline(DeadlineName.CLAIM, waiting.now + timedelta(days=7))
    assert not is_pending(waiting.state, ComputeDeadline(DeadlineName.CLAIM, NOON, 5))
