"""A purchase begins again, because what happened since it began is lost."""

from dataclasses import replace
from datetime import timedelta

from activities.requests import LedgerDecision
from tests.lifecycle.builders import ESCROW, NOON, terms
from workflows.lifecycle import begin, begin_again, decide
from workflows.lifecycle.events import (
    Accepted,
    ComputeDeadline,
    DecisionPosted,
    PaymentHeld,
    PostDecision,
)
from workflows.lifecycle.state import DeadlineName, Decision, Stage, State

LATER = NOON + timedelta(days=10)
"""When it begins again."""


def first(*, requirements_needed: bool = True) -> State:
    """Its first moment, ten days after the purchase: the requirements are long due."""
    return begin(terms(requirements_needed=requirements_needed), LATER).state


def test_its_deadlines_are_as_far_ahead_as_they_were() -> None:
    """R-01: the client has 48 hours again for the requirements; the payment was found, or gets its
    hour."""
    state = first()
    assert begin_again(state, LATER, None) == replace(
        state,
        deadlines={
            DeadlineName.PAYMENT: LATER + timedelta(hours=1),
            DeadlineName.REQUIREMENTS: LATER + timedelta(hours=48),
        },
    )


def test_the_freelancer_may_cancel_again() -> None:
    """R-02: without requirements, the freelancer's window begins again."""
    again = begin_again(first(requirements_needed=False), LATER, None)
    assert again.stage is Stage.FREELANCER_REVIEW
    assert again.deadlines[DeadlineName.FREELANCER_CANCEL] == LATER + timedelta(hours=24)


def test_a_decision_of_the_ledger_is_carried_out_when_the_payment_is_found() -> None:
    """R-09, R-51: nothing is decided anew; only the window of the payment is open until then."""
    state, at = first(), NOON + timedelta(days=3)
    decided = LedgerDecision(refund=10_000, release=15_000, at=at)
    again = begin_again(state, LATER, decided)
    assert again == replace(
        state,
        stage=Stage.SETTLING,
        deadlines={DeadlineName.PAYMENT: LATER + timedelta(hours=1)},
        decision=Decision("restored_from_ledger", 10_000, 15_000, at),
        reason="restored_from_ledger",
    )
    assert again.escrow == ESCROW
    held = decide(again, PaymentHeld("ch_1"), LATER)
    assert isinstance(held, Accepted)
    assert held.effects == (
        ComputeDeadline(DeadlineName.SETTLEMENT, LATER, 5),
        PostDecision(10_000, 15_000),
    )
    posted = decide(held.state, DecisionPosted(), LATER)
    assert isinstance(posted, Accepted)
    assert posted.state.in_transit == 10_000
