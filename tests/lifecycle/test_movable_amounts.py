"""Only what the payment provider can move is decided: in dinars, multiples of ten fils."""

from dataclasses import replace

import pytest

from tests.lifecycle.builders import ESCROW, Purchase, rejected
from workflows.lifecycle.events import Accepted
from workflows.lifecycle.state import Code, Stage
from workflows.messages import Role


def dinars(purchase: Purchase) -> Purchase:
    """The same purchase for 25.000 KWD."""
    terms = replace(purchase.state.terms, currency="KWD", decimals=3, step=10)
    purchase.state = replace(purchase.state, terms=terms)
    return purchase


def test_a_claim_that_cannot_be_paid_is_rejected_when_it_is_made() -> None:
    purchase = dinars(Purchase().requested())
    answer = purchase.freelancer("decide_refund", decision="decline", claim=5_005)
    rejected(answer, Code.INVALID_AMOUNT, "5.005 KWD", "0.010 KWD", "5.000 KWD or 5.010 KWD")
    answer = purchase.freelancer("decide_refund", decision="decline", claim=3)
    rejected(answer, Code.INVALID_AMOUNT, "nearest possible: 0.010 KWD.")
    assert isinstance(
        purchase.freelancer("decide_refund", decision="decline", claim=5_010), Accepted
    )


def test_all_of_the_escrow_is_claimed_without_an_amount() -> None:
    purchase = dinars(Purchase().requested())
    purchase.freelancer("decide_refund", decision="decline")
    assert purchase.state.claim == ESCROW


@pytest.mark.parametrize("refund", [1, 5_005, ESCROW - 1])
def test_a_split_that_cannot_be_paid_is_rejected_when_it_is_proposed(refund: int) -> None:
    purchase = dinars(Purchase().working())
    answer = purchase.client("propose_split", refund=refund)
    below = refund // 10 * 10
    rejected(answer, Code.INVALID_AMOUNT, f"{below / 1000:.3f} KWD or {below / 1000 + 0.01:.3f}")
    assert purchase.state.offer is None


def test_a_mediator_decides_what_can_be_paid() -> None:
    purchase = dinars(Purchase().disputed())
    answer = purchase.send(Role.MEDIATOR, "resolve_dispute", refund=5_005)
    rejected(answer, Code.INVALID_AMOUNT, "5.000 KWD or 5.010 KWD")
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=5_010)
    assert purchase.state.stage is Stage.SETTLING


def test_a_purchase_from_before_the_rule_keeps_its_amounts() -> None:
    """Its terms have no step."""
    purchase = dinars(Purchase().working())
    purchase.state = replace(purchase.state, terms=replace(purchase.state.terms, step=1))
    assert isinstance(purchase.client("propose_split", refund=5_005), Accepted)
