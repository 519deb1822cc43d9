"""What happens to a deadline when the client cancels (R-32), when the cancellation ends (R-24,
R-36, R-39), and when all deadlines are suspended."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from tests.lifecycle.builders import ESCROW, NOON, Purchase, becomes, purchase_in, settles
from workflows.lifecycle import is_pending
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.events import (
    Accepted,
    BankDisputeReported,
    ComputeDeadline,
    DeadlineComputed,
    PlatformCancelled,
)
from workflows.lifecycle.state import DeadlineName, Stage
from workflows.lifecycle.versions import draft_of


def test_the_review_deadline_is_suspended_and_keeps_its_time_left() -> None:
    """R-24, R-32: each withdrawal gives the review the time that it had left."""
    purchase = Purchase().delivered().after(days=10)
    purchase.client("cancel")
    assert DeadlineName.REVIEW not in purchase.state.deadlines
    purchase.after(days=5).client("withdraw_cancellation")
    assert purchase.state.deadlines == {DeadlineName.REVIEW: purchase.now + timedelta(days=4)}
    purchase.after(days=1).client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.after(days=2).client("withdraw_cancellation")
    assert purchase.state.deadlines == {DeadlineName.REVIEW: purchase.now + timedelta(days=3)}


@pytest.mark.parametrize("expiring", ["refund_decision", "claim"])
def test_the_review_deadline_goes_on_when_an_expiry_ends_the_cancellation(expiring: str) -> None:
    """R-36, R-39: resuming gives the review the time that it had left, like a withdrawal."""
    purchase = Purchase(refund_decision_silence="resume", claim_silence="resume")
    purchase.delivered().after(days=10).client("cancel")
    if expiring == "claim":
        purchase.freelancer("decide_refund", decision="decline")
        purchase.calendar(DeadlineName.CLAIM)
    purchase.deadline(DeadlineName(expiring))
    assert purchase.state.deadlines == {DeadlineName.REVIEW: purchase.now + timedelta(days=4)}


def test_the_requirements_deadline_stays_open_during_a_request() -> None:
    """R-24, R-32: neither the request nor its withdrawal moves it."""
    purchase = Purchase().after(hours=10)
    purchase.client("cancel")
    assert purchase.state.deadlines[DeadlineName.REQUIREMENTS] == NOON + timedelta(hours=48)
    purchase.after(hours=5).client("withdraw_cancellation")
    assert purchase.state.deadlines == {DeadlineName.REQUIREMENTS: NOON + timedelta(hours=48)}


def test_the_freelancers_cancel_deadline_stays_open_during_a_request() -> None:
    """R-24, R-32: neither the request nor its withdrawal moves it."""
    purchase = Purchase().reviewed().after(hours=10)
    purchase.client("cancel")
    assert purchase.state.deadlines[DeadlineName.FREELANCER_CANCEL] == NOON + timedelta(hours=24)
    purchase.after(hours=5).client("withdraw_cancellation")
    becomes(purchase, Stage.FREELANCER_REVIEW)
    assert purchase.state.deadlines == {DeadlineName.FREELANCER_CANCEL: NOON + timedelta(hours=24)}


@pytest.mark.parametrize("contested", [False, True])
def test_a_cancel_window_that_ends_during_a_request_commits_the_freelancer(contested: bool) -> None:
    """R-13, R-24: withdrawn, the purchase is in progress, where it would have been without the
    request."""
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


def test_each_request_gets_its_own_seven_days() -> None:
    """R-24, R-32: cancelled again after a withdrawal, the deadline starts anew."""
    purchase = Purchase().working()
    purchase.client("cancel")
    purchase.after(days=6).client("withdraw_cancellation")
    purchase.client("cancel")
    assert purchase.state.deadlines == {
        DeadlineName.REFUND_DECISION: purchase.now + timedelta(days=7)
    }


def test_a_decision_ends_every_deadline() -> None:
    """R-20: no other deadline can decide about the money any more."""
    purchase = Purchase().reviewed()
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="approve")
    settles(purchase, "refund_approved", refund=ESCROW, release=0)
    assert purchase.state.deadlines == {}


def test_a_message_to_the_other_party_stops_no_deadline() -> None:
    """R-49: the deadline of the refund request stays as it is."""
    purchase = Purchase().requested()
    before = dict(purchase.state.deadlines)
    answer = purchase.after(days=1).freelancer("send_message", text="let us talk")
    assert isinstance(answer, Accepted)
    assert dict(purchase.state.deadlines) == before


# --- all deadlines at once


def draft(purchase: Purchase) -> Draft:
    """A draft of that purchase at its own time."""
    return draft_of(purchase.state, PlatformCancelled(), purchase.now)


def test_suspended_deadlines_go_on_with_the_time_they_had_left() -> None:
    """R-06, R-11, R-35: all but the payment deadline are suspended, also one that starts
    meanwhile."""
    purchase = Purchase(held=False).after(minutes=30)
    waiting = draft(purchase)
    waiting.suspend_all()
    assert set(waiting.state.deadlines) == {DeadlineName.PAYMENT}
    assert waiting.state.suspended == {DeadlineName.REQUIREMENTS: timedelta(hours=47, minutes=30)}
    waiting.start(DeadlineName.REFUND_DECISION)
    assert DeadlineName.REFUND_DECISION not in waiting.state.deadlines

    later = draft_of(waiting.state, waiting.event, waiting.now + timedelta(days=3))
    later.enter(Stage.REFUND_REQUESTED)
    later.continue_all()
    assert later.state.suspended == {}
    assert later.state.deadlines[DeadlineName.REQUIREMENTS] == later.now + timedelta(
        hours=47, minutes=30
    )
    assert later.state.deadlines[DeadlineName.REFUND_DECISION] == later.now + timedelta(days=7)


def test_a_suspended_deadline_does_not_go_on_after_its_stage() -> None:
    """R-14, R-18: delivered while suspended, the dormancy window is over."""
    purchase = Purchase().working()
    waiting = draft(purchase)
    waiting.suspend_all()
    waiting.enter(Stage.DELIVERED)
    waiting.continue_all()
    assert set(waiting.state.deadlines) == {DeadlineName.REVIEW}


def test_the_review_deadline_waits_for_the_request_also_when_all_go_on() -> None:
    """R-24, R-32: it goes on only when the cancellation is withdrawn."""
    purchase = Purchase().delivered().after(days=4)
    waiting = draft(purchase)
    waiting.suspend_all()
    waiting.open_request(by_system=False)
    waiting.enter(Stage.REFUND_REQUESTED)
    waiting.continue_all()
    assert set(waiting.state.deadlines) == {DeadlineName.REFUND_DECISION}
    waiting.return_to_stage_before_request()
    assert waiting.state.deadlines == {DeadlineName.REVIEW: waiting.now + timedelta(days=10)}


def test_deadlines_that_continue_at_once_are_as_they_were() -> None:
    """R-11: to suspend all deadlines and continue them changes nothing by itself."""
    purchase = Purchase(held=False)
    waiting = draft(purchase)
    waiting.suspend_all()
    waiting.continue_all()
    assert waiting.state == purchase.state


def test_a_suspended_deadline_ends_with_its_stage() -> None:
    """R-20, R-35: a request that is answered while all deadlines are suspended has none left."""
    waiting = draft(Purchase().requested())
    waiting.suspend_all()
    assert set(waiting.state.suspended) == {DeadlineName.REFUND_DECISION}
    waiting.enter(Stage.SETTLING)
    assert waiting.state.suspended == {}


def test_a_suspended_deadline_is_not_computed_again() -> None:
    """R-60: the computed deadline is suspended with the others, so the calendar is not asked
    again."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    waiting = draft(purchase)
    waiting.suspend_all()
    waiting.set_deadline(DeadlineName.CLAIM, waiting.now + timedelta(days=7), waiting.now)
    assert not is_pending(waiting.state, ComputeDeadline(DeadlineName.CLAIM, NOON, 5))


def test_an_answer_of_the_calendar_during_a_bank_dispute_loses_no_time() -> None:
    """R-38, R-60: what is left is counted from the decline, or from a dispute that came later."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    began, ends = purchase.now, purchase.now + timedelta(days=7)
    waiting = draft(purchase.after(days=1))
    waiting.suspend_all()
    later = draft_of(waiting.state, waiting.event, waiting.now + timedelta(days=3))
    later.set_deadline(DeadlineName.CLAIM, ends, began)
    assert later.state.suspended[DeadlineName.CLAIM] == timedelta(days=6)
    later.set_deadline(DeadlineName.CLAIM, ends, waiting.now + timedelta(days=2))
    assert later.state.suspended[DeadlineName.CLAIM] == timedelta(days=4)


@pytest.mark.parametrize("answered", ["meanwhile", "afterwards"])
def test_a_claim_gets_the_time_of_a_bank_dispute_whenever_the_calendar_answers(
    answered: str,
) -> None:
    """R-38, R-60, R-83: the dispute begins a day after the decline, and takes ten."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    began = purchase.now
    computed = DeadlineComputed(DeadlineName.CLAIM, began, began + timedelta(days=7))
    dispute = partial(BankDisputeReported, "dp_1", amount=ESCROW)
    purchase.after(days=1).fact(dispute(status="opened"))
    if answered == "meanwhile":
        purchase.after(days=4).fact(computed)
        purchase.after(days=6).fact(dispute(status="won"))
    else:
        purchase.after(days=10).fact(dispute(status="won"))
        purchase.after(hours=1).fact(computed)
    assert purchase.state.deadlines[DeadlineName.CLAIM] == began + timedelta(days=17)


def test_an_answer_of_the_calendar_counts_once() -> None:
    """R-60: a second one changes nothing."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    computed = DeadlineComputed(DeadlineName.CLAIM, purchase.now, purchase.now + timedelta(days=7))
    purchase.fact(computed)
    purchase.fact(replace(computed, at=purchase.now + timedelta(days=9)))
    assert purchase.state.deadlines[DeadlineName.CLAIM] == computed.at


def test_a_cancellation_that_is_withdrawn_during_a_bank_dispute_gives_the_review_its_time() -> None:
    """R-24, R-80, R-83: eleven of the fourteen days were left."""
    purchase = purchase_in(Stage.DELIVERED).after(days=3)
    purchase.client("cancel")
    purchase.after(days=1).fact(BankDisputeReported("dp_1", "opened", ESCROW, "fraudulent"))
    purchase.after(days=1).client("withdraw_cancellation")
    purchase.after(days=1).fact(BankDisputeReported("dp_1", "won", ESCROW))
    assert purchase.state.deadlines == {DeadlineName.REVIEW: purchase.now + timedelta(days=11)}


def test_a_review_that_was_suspended_ends_with_its_stage() -> None:
    """R-16, R-80: the client asks for changes during a bank dispute."""
    purchase = purchase_in(Stage.DELIVERED).after(days=3)
    purchase.fact(BankDisputeReported("dp_1", "opened", ESCROW, "fraudulent"))
    purchase.client("request_changes")
    assert DeadlineName.REVIEW not in purchase.state.suspended


def test_all_deadlines_wait_exactly_while_a_bank_has_money() -> None:
    """R-80, R-83: also those of the stage that a message enters meanwhile."""
    purchase = Purchase().working().after(days=1)
    opened = purchase.now
    purchase.fact(BankDisputeReported("dp_1", "opened", ESCROW, "fraudulent"))
    assert set(purchase.state.deadlines) == set()
    purchase.freelancer("deliver")
    assert DeadlineName.REVIEW in purchase.state.suspended
    assert purchase.state.suspended_since == opened
    purchase.after(days=2).fact(BankDisputeReported("dp_1", "won", ESCROW))
    assert purchase.state.suspended_since is None
    assert purchase.state.deadlines == {DeadlineName.REVIEW: purchase.now + timedelta(days=14)}
