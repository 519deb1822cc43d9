"""Messages and the platform's cancellation, in every stage up to the decision (R-10 to R-32, R-46
to R-50)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.lifecycle.builders import (
    BOTH,
    ESCROW,
    NOON,
    Purchase,
    any_undecided_stage,
    becomes,
    message,
    purchase_in,
    rejected,
    settles,
)
from workflows.lifecycle import begin, decide
from workflows.lifecycle.deadlines import BEFORE_REQUEST, UNDECIDED
from workflows.lifecycle.events import (
    Accepted,
    PaymentDeclined,
    PaymentHeld,
    PlatformCancelled,
    TakePayment,
)
from workflows.lifecycle.state import Code, DeadlineName, Stage
from workflows.messages import Role

EARLY = (Stage.AWAITING_REQUIREMENTS, Stage.FREELANCER_REVIEW)


def cancelled_in(stage: Stage, **given: Any) -> Purchase:
    """The client has cancelled in that stage."""
    purchase = purchase_in(stage, **given)
    purchase.client("cancel", reason="plans change")
    return purchase


def cancelled_up_to(end: Stage, start: Stage) -> Purchase:
    """Cancelled in stage `start` and taken on to `end`; the deadlines of `start` are still open."""
    purchase = cancelled_in(start)
    if end in (Stage.CONTESTED, Stage.DISPUTED):
        purchase.freelancer("decide_refund", decision="decline")
    if end is Stage.DISPUTED:
        purchase.client("open_dispute", reason="nothing was done")
    assert purchase.state.stage is end
    return purchase


# --- the start


def test_a_purchase_charges_the_client_and_waits_for_requirements() -> None:
    """R-01, R-03: the charge is the first effect; held, the money is in escrow."""
    purchase = Purchase(held=False)
    assert purchase.last.effects == (TakePayment(),)
    assert purchase.state.stage is Stage.AWAITING_REQUIREMENTS
    assert purchase.state.held == 0
    purchase.fact(PaymentHeld())
    becomes(purchase, Stage.AWAITING_REQUIREMENTS)
    assert purchase.state.held == ESCROW


def test_a_declined_payment_closes_the_purchase() -> None:
    """R-04: the outcome and the reason are payment_declined."""
    purchase = Purchase(held=False)
    purchase.fact(PaymentDeclined())
    becomes(purchase, Stage.CLOSED)
    assert (purchase.state.outcome, purchase.state.reason) == ("payment_declined",) * 2


# --- requirements


def test_the_requirements_open_the_freelancers_cancel_window() -> None:
    """R-10: the window starts when the requirements come, not with the purchase."""
    purchase = Purchase().after(hours=40).reviewed()
    becomes(purchase, Stage.FREELANCER_REVIEW)
    assert purchase.state.requirements_received
    assert dict(purchase.state.deadlines) == {
        DeadlineName.FREELANCER_CANCEL: NOON + timedelta(hours=40 + 24)
    }


@pytest.mark.parametrize("stage", [Stage.FREELANCER_REVIEW, Stage.IN_PROGRESS, Stage.DELIVERED])
def test_requirements_are_submitted_once(stage: Stage) -> None:
    """R-10: in every later stage submit_requirements is rejected, with what the client can send."""
    answer = purchase_in(stage).client("submit_requirements", requirements="more")
    rejected(answer, Code.NOT_ALLOWED_NOW, "submit_requirements is not possible", "cancel")


# --- cancel by the freelancer


@pytest.mark.parametrize("start", EARLY)
@pytest.mark.parametrize(
    "end", [None, Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DISPUTED], ids=str
)
def test_the_freelancer_cancels_before_requirements_or_inside_the_cancel_window(
    start: Stage, end: Stage | None
) -> None:
    """R-30: the client gets the whole escrow back, also while a request, a claim or a dispute is
    open."""
    purchase = cancelled_up_to(end, start) if end else purchase_in(start)
    purchase.after(hours=23).freelancer("cancel", reason="overbooked")
    settles(purchase, "freelancer_cancelled", refund=ESCROW, release=0)
    assert purchase.notices[0].note == "overbooked"


@pytest.mark.parametrize("stage", UNDECIDED[2:])
def test_the_freelancer_cannot_cancel_after_the_cancel_window(stage: Stage) -> None:
    """R-30: the rejection says when the window closed, and names give_refund."""
    answer = purchase_in(stage).freelancer("cancel")
    rejected(answer, Code.WINDOW_CLOSED, "closed at 2026-03-03T12:00:00Z", "give_refund")


def test_the_freelancer_cannot_cancel_after_a_delivery() -> None:
    """R-14, R-30: the first delivery closes the cancel window, also when changes are requested."""
    purchase = Purchase().reviewed().after(hours=2)
    purchase.freelancer("deliver")
    answer = purchase.after(hours=1).freelancer("cancel")
    rejected(answer, Code.WINDOW_CLOSED, "closed at 2026-03-02T14:00:00Z", "give_refund")
    purchase.client("request_changes")
    rejected(purchase.freelancer("cancel"), Code.WINDOW_CLOSED)


# --- cancel by the client


@pytest.mark.parametrize("stage", BEFORE_REQUEST)
def test_the_clients_cancel_asks_the_freelancer_for_a_refund(
    stage: Stage,
) -> None:
    """R-32: in every stage before a request, the freelancer has seven days to answer."""
    purchase = cancelled_in(stage)
    becomes(purchase, Stage.REFUND_REQUESTED)
    assert purchase.state.deadlines[DeadlineName.REFUND_DECISION] == purchase.now + timedelta(
        days=7
    )
    assert purchase.state.decision is None
    assert purchase.notices[0].note == "plans change"


@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DISPUTED])
def test_a_second_cancel_by_the_client_is_rejected(end: Stage) -> None:
    """R-32: ALREADY_REQUESTED, with what the client can send; nothing changes."""
    purchase = cancelled_up_to(end, Stage.IN_PROGRESS)
    before = purchase.state
    rejected(
        purchase.client("cancel"), Code.ALREADY_REQUESTED, "its deadline stays", "propose_split"
    )
    assert purchase.state == before


@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED])
@pytest.mark.parametrize("start", BEFORE_REQUEST)
def test_a_withdrawn_cancellation_returns_to_the_stage_before_it(start: Stage, end: Stage) -> None:
    """R-24: from a request and from a claim, whichever stage the client cancelled in."""
    purchase = cancelled_up_to(end, start)
    purchase.client("withdraw_cancellation", note="let us go on")
    becomes(purchase, start)
    assert purchase.last.transition == "cancellation_withdrawn"
    assert DeadlineName.REFUND_DECISION not in purchase.state.deadlines
    assert DeadlineName.CLAIM not in purchase.state.deadlines
    assert purchase.state.claim is None


@pytest.mark.parametrize("stage", BEFORE_REQUEST)
def test_a_cancellation_withdrawn_at_once_leaves_no_trace(stage: Stage) -> None:
    """R-24: no claim, no suspended deadline and no deadline of the request is left."""
    purchase = purchase_in(stage)
    before = purchase.state
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.client("withdraw_cancellation")
    if stage is Stage.IN_PROGRESS:  # Accepted messages restart the dormancy window.
        assert purchase.state.deadlines == {
            DeadlineName.DORMANCY: purchase.now + timedelta(days=90)
        }
    else:
        assert purchase.state.deadlines == before.deadlines
    assert replace(purchase.state, deadlines=before.deadlines) == before


def test_a_dispute_cannot_be_withdrawn() -> None:
    """R-24: withdraw_cancellation is rejected in a dispute; a split is still possible."""
    answer = Purchase().disputed().client("withdraw_cancellation")
    rejected(answer, Code.NOT_ALLOWED_NOW, "in a dispute that a mediator decides", "propose_split")


@pytest.mark.parametrize(
    ("name", "role", "start"),
    [
        ("deliver", Role.FREELANCER, Stage.IN_PROGRESS),
        ("submit_requirements", Role.CLIENT, Stage.AWAITING_REQUIREMENTS),
        ("accept_delivery", Role.CLIENT, Stage.DELIVERED),
    ],
)
@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED])
def test_work_waits_while_the_clients_cancellation_is_pending(
    name: str, role: Role, start: Stage, end: Stage
) -> None:
    """R-10, R-14, R-15: CANCELLATION_PENDING, and the rejection names withdraw_cancellation."""
    fields = {"requirements": "a logo"} if name == "submit_requirements" else {}
    answer = cancelled_up_to(end, start).send(role, name, **fields)
    rejected(answer, Code.CANCELLATION_PENDING, f"{name} has to wait", "withdraw_cancellation")
    rejected(answer, Code.CANCELLATION_PENDING, f"The {role} can now send: ")


def test_a_withdrawn_request_of_the_system_leaves_no_trace() -> None:
    """R-18, R-24: the next request is the client's own."""
    purchase = Purchase().working()
    purchase.deadline(DeadlineName.DORMANCY)
    assert purchase.state.requested_by_system
    purchase.client("withdraw_cancellation")
    assert not purchase.state.requested_by_system


# --- the freelancer's answer


@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED])
@pytest.mark.parametrize("start", BEFORE_REQUEST)
def test_the_freelancer_approves_the_refund_also_after_declining(start: Stage, end: Stage) -> None:
    """R-20: the client gets the whole escrow back."""
    purchase = cancelled_up_to(end, start)
    purchase.freelancer("decide_refund", decision="approve")
    settles(purchase, "refund_approved", refund=ESCROW, release=0)


@pytest.mark.parametrize(("sent", "claim"), [(None, ESCROW), (1, 1), (ESCROW, ESCROW)])
def test_the_freelancer_declines_the_refund_with_a_claim(sent: int | None, claim: int) -> None:
    """R-21: 0 < claim ≤ escrow; without a claim, the freelancer claims the escrow."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline", claim=sent, note="work was done")
    becomes(purchase, Stage.CONTESTED)
    assert purchase.state.claim == claim
    assert purchase.state.decision is None
    assert "claimed " in purchase.last.text
    assert DeadlineName.REFUND_DECISION not in purchase.state.deadlines


@pytest.mark.parametrize("claim", [0, ESCROW + 1])
def test_a_claim_of_nothing_or_of_more_than_the_escrow_is_rejected(claim: int) -> None:
    """R-21: INVALID_AMOUNT, with the range that is possible."""
    answer = Purchase().requested().freelancer("decide_refund", decision="decline", claim=claim)
    rejected(answer, Code.INVALID_AMOUNT, "between 0.01 USD and the escrow of 250.00 USD")


@pytest.mark.parametrize("stage", BEFORE_REQUEST)
@pytest.mark.parametrize("decision", ["approve", "decline"])
def test_decide_refund_is_rejected_before_a_request(stage: Stage, decision: str) -> None:
    """R-20, R-21: NOT_ALLOWED_NOW; the freelancer can send give_refund."""
    answer = purchase_in(stage).freelancer("decide_refund", decision=decision)
    rejected(answer, Code.NOT_ALLOWED_NOW, "give_refund")


# --- the client's answer to the claim


def test_the_client_accepts_the_claim() -> None:
    """R-22: the freelancer gets the claim, the client the rest."""
    purchase = Purchase().contested(claim=10_000)
    purchase.client("accept_claim")
    settles(purchase, "claim_accepted", refund=15_000, release=10_000)


def test_the_client_opens_a_dispute() -> None:
    """R-23: the mediator has thirty days, and no other deadline is open. Staff are notified."""
    purchase = Purchase().disputed()
    becomes(purchase, Stage.DISPUTED, notified={"client", "freelancer", "operator"})
    assert dict(purchase.state.deadlines) == {
        DeadlineName.DISPUTE: purchase.now + timedelta(days=30)
    }
    assert purchase.notices[0].note == "not what I asked for"


@pytest.mark.parametrize("name", ["accept_claim", "open_dispute"])
def test_without_a_claim_there_is_nothing_to_accept_or_dispute(name: str) -> None:
    """R-22, R-23: NOT_ALLOWED_NOW while the freelancer has not answered."""
    fields = {"reason": "too slow"} if name == "open_dispute" else {}
    answer = Purchase().requested().client(name, **fields)
    rejected(
        answer, Code.NOT_ALLOWED_NOW, "waiting for an answer to the refund request", "withdraw"
    )


# --- the work


@pytest.mark.parametrize("stage", [Stage.FREELANCER_REVIEW, Stage.IN_PROGRESS])
def test_a_delivery_closes_the_cancel_window_and_opens_the_review(stage: Stage) -> None:
    """R-14: during the freelancer's review and in progress, with the freelancer's note."""
    purchase = purchase_in(stage)
    purchase.freelancer("deliver", note="here it is")
    becomes(purchase, Stage.DELIVERED)
    assert purchase.notices[0].note == "here it is"
    assert dict(purchase.state.deadlines) == {
        DeadlineName.REVIEW: purchase.now + timedelta(days=14)
    }


def test_nothing_is_delivered_before_the_requirements() -> None:
    """R-14: NOT_ALLOWED_NOW while the requirements are awaited."""
    answer = Purchase().freelancer("deliver")
    rejected(answer, Code.NOT_ALLOWED_NOW, "waiting for requirements", "cancel")


def test_the_client_requests_changes() -> None:
    """R-16: the work goes on, and only the dormancy window is open."""
    purchase = Purchase().delivered()
    purchase.client("request_changes", note="bluer")
    becomes(purchase, Stage.IN_PROGRESS)
    assert dict(purchase.state.deadlines) == {
        DeadlineName.DORMANCY: purchase.now + timedelta(days=90)
    }


def test_the_client_accepts_the_delivery() -> None:
    """R-15: the freelancer gets the whole escrow."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    settles(purchase, "delivery_accepted", refund=0, release=ESCROW)


@any_undecided_stage
def test_the_freelancer_gives_a_refund_in_any_undecided_stage(stage: Stage) -> None:
    """R-46: the client gets the whole escrow back."""
    purchase = purchase_in(stage)
    purchase.freelancer("give_refund")
    settles(purchase, "freelancer_gave_refund", refund=ESCROW, release=0)


# --- messages between the parties


@any_undecided_stage
@pytest.mark.parametrize("by", [Role.CLIENT, Role.FREELANCER])
def test_a_message_reaches_the_other_party_and_changes_nothing(stage: Stage, by: Role) -> None:
    """R-48, R-49: send_message changes neither stage, decision nor offer."""
    purchase = purchase_in(stage)
    before = purchase.state
    purchase.send(by, "send_message", text="how is it going?")
    becomes(purchase, stage, notified=BOTH - {by.value})
    assert purchase.notices[0].note == "how is it going?"
    assert (purchase.state.decision, purchase.state.offer) == (before.decision, before.offer)


def test_a_message_reaches_the_other_party_while_settling() -> None:
    """R-48: the parties can still write after the decision."""
    purchase = Purchase()
    purchase.freelancer("give_refund")
    purchase.client("send_message", text="thank you")
    becomes(purchase, Stage.SETTLING, notified={"freelancer"})


# --- the platform


@any_undecided_stage
def test_the_platform_cancels_in_any_undecided_stage(stage: Stage) -> None:
    """R-50: the client gets the whole escrow back."""
    purchase = purchase_in(stage)
    purchase.fact(PlatformCancelled())
    settles(purchase, "cancelled_by_platform", refund=ESCROW, release=0)


def test_the_platform_cannot_take_a_decision_back() -> None:
    """R-50: the platform's cancellation changes nothing while settling."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    before = purchase.state
    purchase.fact(PlatformCancelled())
    assert purchase.state == before
    assert purchase.last.effects == ()


def test_a_closed_purchase_rejects_every_message() -> None:
    """R-32, R-49, R-52: after the end a message is rejected as CLOSED, with the outcome."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.posted()
    answer = purchase.client("cancel")
    rejected(answer, Code.CLOSED, "released, delivery_accepted", "nothing can be changed")
    rejected(purchase.freelancer("send_message", text="thanks"), Code.CLOSED)


def test_the_same_state_and_event_give_the_same_answer() -> None:
    """R-01, R-32: the rules have no clock and no memory of their own."""
    purchase = Purchase()
    cancel = message("cancel", Role.CLIENT)
    first, second = (decide(purchase.state, cancel, NOON) for _ in range(2))
    assert first == second
    assert isinstance(first, Accepted)
    assert begin(purchase.state.terms, NOON) == begin(purchase.state.terms, NOON)
