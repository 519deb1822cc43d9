"""Who may do what: every row of that table in `RULES.md` up to the decisions about money."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.lifecycle.builders import (
    BOTH,
    ESCROW,
    NOON,
    Purchase,
    any_stage_with_escrow,
    becomes,
    purchase_in,
    rejected,
    said,
    settles,
)
from workflows.lifecycle import begin, decide
from workflows.lifecycle.deadlines import BEFORE_REQUEST, WITH_ESCROW
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


def carried_to(end: Stage, start: Stage) -> Purchase:
    """Cancelled in stage `start` and taken on to `end` while the early clocks still run."""
    purchase = cancelled_in(start)
    if end in (Stage.CONTESTED, Stage.DISPUTED):
        purchase.freelancer("decide_refund", decision="decline")
    if end is Stage.DISPUTED:
        purchase.client("open_dispute", reason="nothing was done")
    assert purchase.state.stage is end
    return purchase


# --- the start


def test_start_charges_the_payment_method_and_waits_for_requirements() -> None:
    """(start): charge the payment method, hold E in escrow."""
    purchase = Purchase(held=False)
    assert purchase.last.effects == (TakePayment(),)
    assert purchase.state.stage is Stage.AWAITING_REQUIREMENTS
    assert purchase.state.held == 0
    purchase.learns(PaymentHeld())
    becomes(purchase, Stage.AWAITING_REQUIREMENTS)
    assert purchase.state.held == ESCROW


def test_start_that_is_declined_closes_as_payment_declined() -> None:
    """(start): declined → closed/payment_declined."""
    purchase = Purchase(held=False)
    purchase.learns(PaymentDeclined())
    becomes(purchase, Stage.CLOSED)
    assert (purchase.state.outcome, purchase.state.reason) == ("payment_declined",) * 2


# --- requirements


def test_client_submits_requirements_while_awaiting_and_the_24_h_start() -> None:
    """submit_requirements, client, awaiting_requirements → freelancer_review."""
    purchase = Purchase().after(hours=40).reviewed()
    becomes(purchase, Stage.FREELANCER_REVIEW)
    assert purchase.state.requirements_received
    assert dict(purchase.state.deadlines) == {
        DeadlineName.FREELANCER_CANCEL: NOON + timedelta(hours=40 + 24)
    }


@pytest.mark.parametrize("stage", [Stage.FREELANCER_REVIEW, Stage.IN_PROGRESS, Stage.DELIVERED])
def test_requirements_are_submitted_once(stage: Stage) -> None:
    """submit_requirements anywhere else is refused and says what the client can do."""
    answer = purchase_in(stage).client("submit_requirements", requirements="more")
    rejected(answer, Code.NOT_ALLOWED_NOW, "submit_requirements is not possible", "cancel")


# --- cancel by the freelancer


@pytest.mark.parametrize("start", EARLY)
@pytest.mark.parametrize(
    "end", [None, Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DISPUTED], ids=str
)
def test_freelancer_cancels_before_requirements_or_inside_the_24_h(
    start: Stage, end: Stage | None
) -> None:
    """cancel, freelancer, before requirements or inside the 24 h, whatever the client has asked
    meanwhile → refund E, freelancer_cancelled."""
    purchase = carried_to(end, start) if end else purchase_in(start)
    purchase.after(hours=23).freelancer("cancel", reason="overbooked")
    settles(purchase, "freelancer_cancelled", refund=ESCROW, release=0)
    assert purchase.notices[0].note == "overbooked"


@pytest.mark.parametrize("stage", WITH_ESCROW[2:])
def test_freelancer_cancels_too_late_and_is_shown_give_refund(stage: Stage) -> None:
    """cancel, freelancer, later → WINDOW_CLOSED; says when it closed, and names give_refund."""
    answer = purchase_in(stage).freelancer("cancel")
    rejected(answer, Code.WINDOW_CLOSED, "closed at 2026-03-03T12:00:00Z", "give_refund")


def test_freelancer_cannot_cancel_inside_the_24_h_after_a_delivery() -> None:
    """cancel, freelancer: inside the 24 h window, but before a delivery."""
    purchase = Purchase().reviewed().after(hours=2)
    purchase.freelancer("deliver")
    answer = purchase.after(hours=1).freelancer("cancel")
    rejected(answer, Code.WINDOW_CLOSED, "closed at 2026-03-02T14:00:00Z", "give_refund")
    purchase.client("request_changes")
    rejected(purchase.freelancer("cancel"), Code.WINDOW_CLOSED)


# --- cancel by the client


@pytest.mark.parametrize("stage", BEFORE_REQUEST)
def test_client_cancels_while_awaiting_freelancer_review_in_progress_or_delivered(
    stage: Stage,
) -> None:
    """cancel, client → refund_requested; the freelancer has seven days."""
    purchase = cancelled_in(stage)
    becomes(purchase, Stage.REFUND_REQUESTED)
    assert purchase.state.deadlines[DeadlineName.REFUND_DECISION] == purchase.now + timedelta(
        days=7
    )
    assert purchase.state.decision is None
    assert purchase.notices[0].note == "plans change"


@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DISPUTED])
def test_client_cancels_again(end: Stage) -> None:
    """cancel, client, while one is under way → ALREADY_REQUESTED, and what the client can do."""
    purchase = carried_to(end, Stage.IN_PROGRESS)
    before = purchase.state
    rejected(
        purchase.client("cancel"), Code.ALREADY_REQUESTED, "its deadline stays", "propose_split"
    )
    assert purchase.state == before


@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED])
@pytest.mark.parametrize("start", BEFORE_REQUEST)
def test_client_withdraws_the_cancellation(start: Stage, end: Stage) -> None:
    """withdraw_cancellation, client, refund_requested or contested → back to the stage it left."""
    purchase = carried_to(end, start)
    purchase.client("withdraw_cancellation", note="let us go on")
    becomes(purchase, start)
    assert purchase.last.transition == "cancellation_withdrawn"
    assert DeadlineName.REFUND_DECISION not in purchase.state.deadlines
    assert DeadlineName.CLAIM not in purchase.state.deadlines
    assert purchase.state.claim is None


@pytest.mark.parametrize("stage", BEFORE_REQUEST)
def test_a_cancellation_taken_back_at_once_leaves_no_trace(stage: Stage) -> None:
    """withdraw_cancellation: no claim, no remainder and no clock is left of the request."""
    purchase = purchase_in(stage)
    before = purchase.state
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.client("withdraw_cancellation")
    if stage is Stage.IN_PROGRESS:  # where acting counts
        assert purchase.state.deadlines == {
            DeadlineName.DORMANCY: purchase.now + timedelta(days=90)
        }
    else:
        assert purchase.state.deadlines == before.deadlines
    assert replace(purchase.state, deadlines=before.deadlines) == before


def test_a_dispute_is_not_withdrawn() -> None:
    """withdraw_cancellation, client, disputed → refused; a split is still possible."""
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
    """deliver, submit_requirements, accept_delivery → CANCELLATION_PENDING, names the way out."""
    fields = {"requirements": "a logo"} if name == "submit_requirements" else {}
    answer = carried_to(end, start).staff(role, name, **fields)
    rejected(answer, Code.CANCELLATION_PENDING, f"{name} has to wait", "withdraw_cancellation")
    rejected(answer, Code.CANCELLATION_PENDING, f"The {role} can now send: ")


def test_a_request_of_the_system_that_is_withdrawn_leaves_no_trace() -> None:
    """The next one is the client's own."""
    purchase = Purchase().working()
    purchase.deadline(DeadlineName.DORMANCY)
    assert purchase.state.requested_by_system
    purchase.client("withdraw_cancellation")
    assert not purchase.state.requested_by_system


# --- the freelancer's answer


@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED])
@pytest.mark.parametrize("start", BEFORE_REQUEST)
def test_freelancer_approves_the_refund_also_after_declining(start: Stage, end: Stage) -> None:
    """decide_refund approve, freelancer, refund_requested or contested → refund E."""
    purchase = carried_to(end, start)
    purchase.freelancer("decide_refund", decision="approve")
    settles(purchase, "refund_approved", refund=ESCROW, release=0)


@pytest.mark.parametrize(("sent", "claim"), [(None, ESCROW), (1, 1), (ESCROW, ESCROW)])
def test_freelancer_declines_with_a_claim(sent: int | None, claim: int) -> None:
    """decide_refund decline, freelancer, refund_requested → contested; 0 < claim ≤ E, default E."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline", claim=sent, note="work was done")
    becomes(purchase, Stage.CONTESTED)
    assert purchase.state.claim == claim
    assert purchase.state.decision is None
    assert "claimed " in purchase.last.text
    assert DeadlineName.REFUND_DECISION not in purchase.state.deadlines


@pytest.mark.parametrize("claim", [0, ESCROW + 1])
def test_a_claim_of_nothing_or_of_more_than_the_escrow_is_refused(claim: int) -> None:
    """decide_refund decline → INVALID_AMOUNT, and the range that is possible."""
    answer = Purchase().requested().freelancer("decide_refund", decision="decline", claim=claim)
    rejected(answer, Code.INVALID_AMOUNT, "between 0.01 USD and the escrow of 250.00 USD")


@pytest.mark.parametrize("stage", BEFORE_REQUEST)
@pytest.mark.parametrize("decision", ["approve", "decline"])
def test_there_is_nothing_to_answer_before_a_request(stage: Stage, decision: str) -> None:
    """decide_refund without a request → NOT_ALLOWED_NOW; give_refund is the freelancer's way."""
    answer = purchase_in(stage).freelancer("decide_refund", decision=decision)
    rejected(answer, Code.NOT_ALLOWED_NOW, "give_refund")


# --- the client's answer to the claim


def test_client_accepts_the_claim() -> None:
    """accept_claim, client, contested → release claim, refund the rest, claim_accepted."""
    purchase = Purchase().contested(claim=10_000)
    purchase.client("accept_claim")
    settles(purchase, "claim_accepted", refund=15_000, release=10_000)


def test_client_opens_a_dispute() -> None:
    """open_dispute, client, contested → disputed; thirty days, then staff are alerted."""
    purchase = Purchase().disputed()
    becomes(purchase, Stage.DISPUTED)
    assert dict(purchase.state.deadlines) == {
        DeadlineName.DISPUTE: purchase.now + timedelta(days=30)
    }
    assert purchase.notices[0].note == "not what I asked for"


@pytest.mark.parametrize("name", ["accept_claim", "open_dispute"])
def test_without_a_claim_there_is_nothing_to_accept_or_dispute(name: str) -> None:
    """accept_claim, open_dispute, client, refund_requested → NOT_ALLOWED_NOW."""
    fields = {"reason": "too slow"} if name == "open_dispute" else {}
    answer = Purchase().requested().client(name, **fields)
    rejected(answer, Code.NOT_ALLOWED_NOW, "waiting for the freelancer's answer", "withdraw")


# --- the work


@pytest.mark.parametrize("stage", [Stage.FREELANCER_REVIEW, Stage.IN_PROGRESS])
def test_freelancer_delivers_and_the_24_h_window_is_over(stage: Stage) -> None:
    """deliver, freelancer, freelancer_review or in_progress → delivered."""
    purchase = purchase_in(stage)
    purchase.freelancer("deliver", note="here it is")
    becomes(purchase, Stage.DELIVERED)
    assert purchase.state.delivered
    assert purchase.notices[0].note == "here it is"
    assert dict(purchase.state.deadlines) == {
        DeadlineName.REVIEW: purchase.now + timedelta(days=14)
    }


def test_nothing_is_delivered_before_the_requirements() -> None:
    """deliver, freelancer, awaiting_requirements → NOT_ALLOWED_NOW."""
    answer = Purchase().freelancer("deliver")
    rejected(answer, Code.NOT_ALLOWED_NOW, "waiting for the client's requirements", "cancel")


def test_client_requests_changes() -> None:
    """request_changes, client, delivered → in_progress."""
    purchase = Purchase().delivered()
    purchase.client("request_changes", note="bluer")
    becomes(purchase, Stage.IN_PROGRESS)
    assert dict(purchase.state.deadlines) == {
        DeadlineName.DORMANCY: purchase.now + timedelta(days=90)
    }


def test_client_accepts_the_delivery() -> None:
    """accept_delivery, client, delivered → release E, delivery_accepted."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    settles(purchase, "delivery_accepted", refund=0, release=ESCROW)


@any_stage_with_escrow
def test_freelancer_gives_a_refund_in_any_stage_with_escrow(stage: Stage) -> None:
    """give_refund, freelancer, any stage with escrow → refund E, freelancer_gave_refund."""
    purchase = purchase_in(stage)
    purchase.freelancer("give_refund")
    settles(purchase, "freelancer_gave_refund", refund=ESCROW, release=0)


# --- words


@any_stage_with_escrow
@pytest.mark.parametrize("by", [Role.CLIENT, Role.FREELANCER])
def test_a_message_is_passed_on_and_changes_nothing(stage: Stage, by: Role) -> None:
    """send_message, client or freelancer, any stage, never changes it → the other side."""
    purchase = purchase_in(stage)
    before = purchase.state
    purchase.staff(by, "send_message", text="how is it going?")
    becomes(purchase, stage, told=BOTH - {by.value})
    assert purchase.notices[0].note == "how is it going?"
    assert (purchase.state.decision, purchase.state.offer) == (before.decision, before.offer)


def test_a_message_is_passed_on_while_settling_too() -> None:
    """send_message, client, settling: decided is not silent."""
    purchase = Purchase()
    purchase.freelancer("give_refund")
    purchase.client("send_message", text="thank you")
    becomes(purchase, Stage.SETTLING, told={"freelancer"})


# --- the platform


@any_stage_with_escrow
def test_the_platform_cancels_in_any_stage_with_escrow(stage: Stage) -> None:
    """workflow cancellation, operator, any stage with escrow → refund E, cancelled_by_platform."""
    purchase = purchase_in(stage)
    purchase.learns(PlatformCancelled())
    settles(purchase, "cancelled_by_platform", refund=ESCROW, release=0)


def test_the_platform_cannot_take_a_decision_back() -> None:
    """workflow cancellation while settling changes nothing."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    before = purchase.state
    purchase.learns(PlatformCancelled())
    assert purchase.state == before
    assert purchase.last.effects == ()


def test_a_closed_purchase_changes_no_more() -> None:
    """Anything after the end → CLOSED, with how it ended."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.posted()
    answer = purchase.client("cancel")
    rejected(answer, Code.CLOSED, "released, delivery_accepted", "nothing can be changed")
    rejected(purchase.freelancer("send_message", text="thanks"), Code.CLOSED)


def test_the_same_purchase_starts_the_same_way_whoever_asks() -> None:
    """The rules have no clock and no memory of their own: equal questions, equal answers."""
    purchase = Purchase()
    message = said("cancel", Role.CLIENT)
    first, second = (decide(purchase.state, message, NOON) for _ in range(2))
    assert first == second
    assert isinstance(first, Accepted)
    assert begin(purchase.state.terms, NOON) == begin(purchase.state.terms, NOON)
