"""Races: of two events that exclude each other, the one that the server recorded first takes
effect."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from tests.lifecycle.builders import (
    ESCROW,
    NOON,
    Purchase,
    becomes,
    pending_refund,
    rejected,
    settles,
)
from workflows.lifecycle.events import (
    Accepted,
    DeadlineExpired,
    PaymentDeclined,
    PaymentHeld,
    PaymentVoided,
    PostDecision,
    RefundedElsewhere,
    Rejection,
)
from workflows.lifecycle.state import Code, DeadlineName, Stage
from workflows.messages import Role


def late_by(answer: Accepted | Rejection) -> timedelta | None:
    """How long after the earliest open deadline an accepted message came."""
    assert isinstance(answer, Accepted)
    return answer.late_by


# --- a deadline and a message meet


def test_requirements_handled_late_are_accepted_and_shown_as_late() -> None:
    """R-10, R-11: a worker that is down until hour 50 handles them before the expired deadline
    takes effect."""
    purchase = Purchase().after(hours=50)
    answer = purchase.client("submit_requirements", requirements="a logo")
    becomes(purchase, Stage.FREELANCER_REVIEW)
    assert late_by(answer) == timedelta(hours=2)
    purchase.fact(DeadlineExpired(DeadlineName.REQUIREMENTS))
    becomes(purchase, Stage.FREELANCER_REVIEW, notified=set())


@pytest.mark.parametrize(
    ("seconds", "late"), [(-1, None), (0, timedelta(0)), (1, timedelta(seconds=1))]
)
def test_a_message_is_late_from_the_instant_of_the_deadline(
    seconds: int, late: timedelta | None
) -> None:
    """R-21: accepted before the deadline takes effect; `late_by` says how late."""
    purchase = Purchase().requested().after(days=7, seconds=seconds)
    assert late_by(purchase.freelancer("decide_refund", decision="decline")) == late


def test_a_message_after_the_deadline_took_effect_is_rejected() -> None:
    """R-10, R-11: ALREADY_SETTLED, with the decision and what the client can send."""
    purchase = Purchase()
    purchase.deadline(DeadlineName.REQUIREMENTS)
    answer = purchase.client("submit_requirements", requirements="a logo")
    rejected(answer, Code.ALREADY_SETTLED, "requirements_timeout", "250.00 USD to the client")
    rejected(answer, Code.ALREADY_SETTLED, "The client can now send: send_message.")


def test_an_outage_does_not_close_the_freelancers_cancel_window() -> None:
    """R-12, R-30: a cancel at hour 25 is accepted while the expired deadline has not taken
    effect."""
    purchase = Purchase().reviewed().after(hours=25)
    answer = purchase.freelancer("cancel")
    settles(purchase, "freelancer_cancelled", refund=ESCROW, release=0)
    assert late_by(answer) == timedelta(hours=1)


def test_an_overdue_check_of_a_refund_makes_no_message_late() -> None:
    """R-48, R-53: `late_by` is about deadlines; the daily check is not one."""
    purchase = pending_refund().after(days=2)
    assert late_by(purchase.client("send_message", text="thanks")) is None


def test_the_expiry_of_a_deadline_that_is_not_open_changes_nothing() -> None:
    """R-06, R-11, R-17, R-18, R-35, R-38, R-42, R-61: a timer may fire after the message that
    stopped its deadline."""
    purchase = Purchase().reviewed()
    before = purchase.state
    for deadline in set(DeadlineName) - set(before.deadlines):
        assert purchase.fact(DeadlineExpired(deadline)).effects == ()
        assert purchase.state == before


# --- two messages meet


def test_a_second_cancel_does_not_restart_the_deadline() -> None:
    """R-32: ALREADY_REQUESTED; the freelancer's seven days stay as they are."""
    purchase = Purchase().requested()
    ends = purchase.state.deadlines[DeadlineName.REFUND_DECISION]
    rejected(purchase.after(days=3).client("cancel"), Code.ALREADY_REQUESTED)
    assert purchase.state.deadlines[DeadlineName.REFUND_DECISION] == ends


def test_a_freelancers_cancel_after_the_clients_refunds_at_once() -> None:
    """R-30, R-32: inside the cancel window, the freelancer's later cancel is accepted."""
    purchase = Purchase().reviewed()
    purchase.client("cancel")
    becomes(purchase, Stage.REFUND_REQUESTED)
    purchase.freelancer("cancel")
    settles(purchase, "freelancer_cancelled", refund=ESCROW, release=0)


def test_a_clients_cancel_after_the_freelancers_is_rejected() -> None:
    """R-30, R-32: ALREADY_SETTLED, with the reason of the decision."""
    purchase = Purchase().reviewed()
    purchase.freelancer("cancel")
    rejected(purchase.client("cancel"), Code.ALREADY_SETTLED, "freelancer_cancelled")


def test_a_cancel_after_everything_was_refunded_elsewhere_is_rejected() -> None:
    """R-32, R-90: ALREADY_SETTLED; nothing was decided, so the rejection says who has the money."""
    purchase = Purchase().working()
    purchase.fact(RefundedElsewhere("re_9", ESCROW))
    becomes(purchase, Stage.SETTLING, notified={"client", "freelancer", "operator"})
    rejected(
        purchase.client("cancel"),
        Code.ALREADY_SETTLED,
        "The client has all of the money already, by the bank or by a refund made elsewhere "
        "(refunded_elsewhere). The client can now send: send_message.",
    )


def test_an_approval_after_the_expiry_took_effect_is_rejected() -> None:
    """R-20, R-35: ALREADY_SETTLED, and the money is decided once."""
    purchase = Purchase().requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    assert purchase.last.effects.count(PostDecision(ESCROW, 0)) == 1
    answer = purchase.freelancer("decide_refund", decision="approve")
    rejected(answer, Code.ALREADY_SETTLED, "freelancer_silent", "250.00 USD to the client")


def test_a_decline_after_the_expiry_took_effect_is_too_late() -> None:
    """R-21, R-35: TOO_LATE; a decision about money is never taken back."""
    purchase = Purchase().requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    answer = purchase.freelancer("decide_refund", decision="decline")
    rejected(answer, Code.TOO_LATE, "never taken back", "send_message")


def test_a_decline_after_an_approval_is_too_late() -> None:
    """R-20, R-21: from two devices, the first decision recorded counts."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="approve")
    rejected(purchase.freelancer("decide_refund", decision="decline"), Code.TOO_LATE)


def test_a_second_decline_does_not_change_the_claim() -> None:
    """R-21: from two devices, the first claim stands and the second is rejected."""
    purchase = Purchase().contested(claim=10_000)
    answer = purchase.freelancer("decide_refund", decision="decline", claim=20_000)
    rejected(answer, Code.NOT_ALLOWED_NOW, "decide_refund")
    assert purchase.state.claim == 10_000


def test_an_approval_after_a_withdrawal_is_rejected() -> None:
    """R-20, R-24: NOT_ALLOWED_NOW; the freelancer can send give_refund."""
    purchase = Purchase().requested()
    purchase.client("withdraw_cancellation")
    answer = purchase.freelancer("decide_refund", decision="approve")
    rejected(answer, Code.NOT_ALLOWED_NOW, "in progress", "give_refund")


def test_a_withdrawal_after_an_approval_is_rejected() -> None:
    """R-20, R-24: ALREADY_SETTLED, with the reason of the decision."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="approve")
    answer = purchase.client("withdraw_cancellation")
    rejected(answer, Code.ALREADY_SETTLED, "refund_approved")


@pytest.mark.parametrize("first", [Role.CLIENT, Role.MEDIATOR])
def test_an_accepted_split_and_a_mediators_decision_exclude_each_other(first: Role) -> None:
    """R-41, R-45: the first recorded decides; the second is rejected as ALREADY_SETTLED."""
    purchase = Purchase().disputed()
    purchase.freelancer("propose_split", refund=15_000)
    messages = {Role.CLIENT: ("accept_split", 15_000), Role.MEDIATOR: ("resolve_dispute", 20_000)}
    name, refund = messages.pop(first)
    purchase.send(first, name, refund=refund)
    reason = "mutual_split" if first is Role.CLIENT else "dispute_resolved"
    settles(purchase, reason, refund=refund, release=ESCROW - refund)
    ((second, (name, amount)),) = messages.items()
    rejected(purchase.send(second, name, refund=amount), Code.ALREADY_SETTLED, reason)


# --- missing requirements meet a cancellation


@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DISPUTED])
def test_missing_requirements_end_a_request_a_claim_or_a_dispute_in_a_full_refund(
    end: Stage,
) -> None:
    """R-11: a client who asks for the money back is never worse off than one who waits."""
    purchase = Purchase()
    purchase.client("cancel")
    if end is not Stage.REFUND_REQUESTED:
        purchase.freelancer("decide_refund", decision="decline")
    if end is Stage.DISPUTED:
        purchase.client("open_dispute", reason="nothing was done")
    assert purchase.state.stage is end
    purchase.deadline(DeadlineName.REQUIREMENTS)
    assert purchase.now == NOON + timedelta(hours=48)
    settles(purchase, "requirements_timeout", refund=ESCROW, release=0)


# --- a decision meets the payment


def test_a_decision_before_the_payment_is_carried_out_after_it() -> None:
    """R-09, R-30: the decision is posted when the payment is held."""
    purchase = Purchase(held=False)
    purchase.freelancer("cancel")
    becomes(purchase, Stage.SETTLING)
    assert not any(isinstance(effect, PostDecision) for effect in purchase.last.effects)
    purchase.fact(PaymentHeld())
    settles(purchase, "freelancer_cancelled", refund=ESCROW, release=0, moved=False)


@pytest.mark.parametrize(
    ("fact", "outcome"),
    [(PaymentDeclined(), "payment_declined"), (PaymentVoided(), "payment_failed")],
)
def test_a_decision_before_a_failed_payment_moves_nothing(
    fact: PaymentDeclined | PaymentVoided, outcome: str
) -> None:
    """R-04, R-05, R-30: the purchase closes with the outcome of the payment."""
    purchase = Purchase(held=False)
    purchase.freelancer("cancel")
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(fact)
    becomes(purchase, Stage.CLOSED)
    state = purchase.state
    assert state.outcome == outcome
    assert (state.held, state.in_transit, state.refunded, state.released) == (0, 0, 0, 0)


# --- the policy


def test_an_open_purchase_keeps_its_snapshot_of_the_policy() -> None:
    """R-32: the window is the policy's at the time of the purchase, and the snapshot is frozen."""
    purchase = Purchase(refund_decision_window="P3D").requested()
    with pytest.raises(ValidationError, match="frozen"):
        purchase.state.terms.policy.refund_decision_window = timedelta(days=9)  # type: ignore[misc]
    assert purchase.state.deadlines[DeadlineName.REFUND_DECISION] == purchase.now + timedelta(
        days=3
    )
