"""Races, and what each must yield: the rows of that table in `RULES.md` which the rules decide.

First recorded wins: `decide` is asked in the order in which the server recorded things.
"""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from tests.lifecycle.builders import (
    ESCROW,
    NOON,
    Purchase,
    becomes,
    refund_under_way,
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
    Rejection,
)
from workflows.lifecycle.state import Code, DeadlineName, Stage
from workflows.messages import Role


def late_by(answer: Accepted | Rejection) -> timedelta | None:
    """By how much an accepted message came after its window."""
    assert isinstance(answer, Accepted)
    return answer.late_by


# --- a deadline and a message meet


def test_requirements_at_the_last_second_and_a_worker_down_until_hour_50_are_accepted() -> None:
    """requirements at 47:59:59, worker down until hour 50 → accepted, and shown as late."""
    purchase = Purchase().after(hours=50)
    answer = purchase.client("submit_requirements", requirements="a logo")
    becomes(purchase, Stage.FREELANCER_REVIEW)
    assert late_by(answer) == timedelta(hours=2)
    purchase.learns(DeadlineExpired(DeadlineName.REQUIREMENTS))
    becomes(purchase, Stage.FREELANCER_REVIEW, told=set())


@pytest.mark.parametrize(
    ("seconds", "late"), [(-1, None), (0, timedelta(0)), (1, timedelta(seconds=1))]
)
def test_a_message_is_late_from_the_instant_its_window_ends(
    seconds: int, late: timedelta | None
) -> None:
    """A message recorded before the deadline takes effect counts; `late_by` says by how much."""
    purchase = Purchase().requested().after(days=7, seconds=seconds)
    assert late_by(purchase.freelancer("decide_refund", decision="decline")) == late


def test_one_moment_after_the_deadline_took_effect_the_message_is_refused_with_the_reason() -> None:
    """Deadline and message meet: what has taken effect is not taken back."""
    purchase = Purchase()
    purchase.deadline(DeadlineName.REQUIREMENTS)
    answer = purchase.client("submit_requirements", requirements="a logo")
    rejected(answer, Code.ALREADY_SETTLED, "requirements_timeout", "250.00 USD to the client")
    rejected(answer, Code.ALREADY_SETTLED, "The client can now send: send_message.")


def test_the_freelancer_keeps_the_24_h_that_ran_out_while_nothing_acted() -> None:
    """An outage of ours never costs a party its right: cancel at hour 25, window still open."""
    purchase = Purchase().reviewed().after(hours=25)
    answer = purchase.freelancer("cancel")
    settles(purchase, "freelancer_cancelled", refund=ESCROW, release=0)
    assert late_by(answer) == timedelta(hours=1)


def test_asking_the_provider_is_nobodys_window() -> None:
    """late_by speaks of windows: our own asking about a refund, overdue, makes nobody late."""
    purchase = refund_under_way().after(days=2)
    assert late_by(purchase.client("send_message", text="thanks")) is None


def test_a_deadline_that_is_not_running_any_more_changes_nothing() -> None:
    """A timer that fires after the message that stopped it."""
    purchase = Purchase().reviewed()
    before = purchase.state
    for deadline in set(DeadlineName) - set(before.deadlines):
        assert purchase.learns(DeadlineExpired(deadline)).effects == ()
        assert purchase.state == before


# --- two messages meet


def test_a_second_cancel_does_not_restart_the_clock() -> None:
    """second cancel by the client, new id → ALREADY_REQUESTED; the clock is not restarted."""
    purchase = Purchase().requested()
    ends = purchase.state.deadlines[DeadlineName.REFUND_DECISION]
    rejected(purchase.after(days=3).client("cancel"), Code.ALREADY_REQUESTED)
    assert purchase.state.deadlines[DeadlineName.REFUND_DECISION] == ends


def test_client_first_then_freelancer_cancel_inside_24_h() -> None:
    """client and freelancer cancel together: the freelancer's later one still refunds at once."""
    purchase = Purchase().reviewed()
    purchase.client("cancel")
    becomes(purchase, Stage.REFUND_REQUESTED)
    purchase.freelancer("cancel")
    settles(purchase, "freelancer_cancelled", refund=ESCROW, release=0)


def test_freelancer_first_then_client_cancel_inside_24_h() -> None:
    """client and freelancer cancel together: the client's later one gets ALREADY_SETTLED."""
    purchase = Purchase().reviewed()
    purchase.freelancer("cancel")
    rejected(purchase.client("cancel"), Code.ALREADY_SETTLED, "freelancer_cancelled")


def test_approve_after_the_seven_days_took_effect() -> None:
    """→ ALREADY_SETTLED, money moved once."""
    purchase = Purchase().requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    assert purchase.last.effects.count(PostDecision(ESCROW, 0)) == 1
    answer = purchase.freelancer("decide_refund", decision="approve")
    rejected(answer, Code.ALREADY_SETTLED, "freelancer_silent", "250.00 USD to the client")


def test_decline_after_the_seven_days_took_effect() -> None:
    """→ TOO_LATE; a decision about money is never taken back."""
    purchase = Purchase().requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    answer = purchase.freelancer("decide_refund", decision="decline")
    rejected(answer, Code.TOO_LATE, "never taken back", "send_message")


def test_approve_then_decline_from_two_devices() -> None:
    """approve and decline from two devices: first recorded wins; the other is refused."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="approve")
    rejected(purchase.freelancer("decide_refund", decision="decline"), Code.TOO_LATE)


def test_decline_from_two_devices() -> None:
    """The first claim stands; approving is still the freelancer's, by its own row."""
    purchase = Purchase().contested(claim=10_000)
    answer = purchase.freelancer("decide_refund", decision="decline", claim=20_000)
    rejected(answer, Code.NOT_ALLOWED_NOW, "decide_refund")
    assert purchase.state.claim == 10_000


def test_withdraw_then_approve() -> None:
    """withdraw against approve: first recorded wins."""
    purchase = Purchase().requested()
    purchase.client("withdraw_cancellation")
    answer = purchase.freelancer("decide_refund", decision="approve")
    rejected(answer, Code.NOT_ALLOWED_NOW, "in progress", "give_refund")


def test_approve_then_withdraw() -> None:
    """withdraw against approve: first recorded wins."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="approve")
    answer = purchase.client("withdraw_cancellation")
    rejected(answer, Code.ALREADY_SETTLED, "refund_approved")


@pytest.mark.parametrize("first", [Role.CLIENT, Role.MEDIATOR])
def test_split_accepted_while_the_mediator_resolves(first: Role) -> None:
    """split accepted while the mediator resolves: first recorded wins."""
    purchase = Purchase().disputed()
    purchase.freelancer("propose_split", refund=15_000)
    messages = {Role.CLIENT: ("accept_split", 15_000), Role.MEDIATOR: ("resolve_dispute", 20_000)}
    name, refund = messages.pop(first)
    purchase.staff(first, name, refund=refund)
    reason = "mutual_split" if first is Role.CLIENT else "dispute_resolved"
    settles(purchase, reason, refund=refund, release=ESCROW - refund)
    ((second, (name, amount)),) = messages.items()
    rejected(purchase.staff(second, name, refund=amount), Code.ALREADY_SETTLED, reason)


# --- the 48 h meet a cancellation


@pytest.mark.parametrize("end", [Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DISPUTED])
def test_48_h_end_while_a_request_a_decline_or_a_dispute_is_open(end: Stage) -> None:
    """48 h end while a request, an early decline or a dispute is open and no requirements came →
    full refund: asking is never worse than waiting."""
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


# --- a decision meets the hold


def test_a_decision_before_the_hold_is_carried_out_after_it() -> None:
    """a decision falls while the hold is still being made → carried out after the hold."""
    purchase = Purchase(held=False)
    purchase.freelancer("cancel")
    becomes(purchase, Stage.SETTLING)
    assert not any(isinstance(effect, PostDecision) for effect in purchase.last.effects)
    purchase.learns(PaymentHeld())
    settles(purchase, "freelancer_cancelled", refund=ESCROW, release=0, moved=False)


@pytest.mark.parametrize(
    ("fact", "outcome"),
    [(PaymentDeclined(), "payment_declined"), (PaymentVoided(), "payment_failed")],
)
def test_a_decision_before_a_hold_that_fails_moves_nothing(
    fact: PaymentDeclined | PaymentVoided, outcome: str
) -> None:
    """… if the hold fails, there is nothing to move."""
    purchase = Purchase(held=False)
    purchase.freelancer("cancel")
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.learns(fact)
    becomes(purchase, Stage.CLOSED)
    state = purchase.state
    assert state.outcome == outcome
    assert (state.held, state.in_transit, state.refunded, state.released) == (0, 0, 0, 0)


# --- the policy


def test_a_running_purchase_keeps_its_snapshot_of_the_policy() -> None:
    """policy changed for new purchases → running ones keep their snapshot, which is frozen."""
    purchase = Purchase(refund_decision_window="P3D").requested()
    with pytest.raises(ValidationError, match="frozen"):
        purchase.state.terms.policy.refund_decision_window = timedelta(days=9)  # type: ignore[misc]
    assert purchase.state.deadlines[DeadlineName.REFUND_DECISION] == purchase.now + timedelta(
        days=3
    )
