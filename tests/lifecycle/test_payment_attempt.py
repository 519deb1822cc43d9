"""Until when the first attempt to charge the client is answered: before, no later deadline needs a
timer."""

from datetime import datetime, timedelta

import pytest

from tests.lifecycle.builders import NOON, Purchase
from workflows.lifecycle import payment_attempt_ends
from workflows.lifecycle.events import (
    EffectBlocked,
    Fact,
    PaymentHeld,
    PaymentNeedsClient,
    TakePayment,
)
from workflows.lifecycle.queries import BLOCKED_AFTER as SOON

INSTANT = timedelta(microseconds=1)


def attempt_ends(purchase: Purchase) -> datetime | None:
    return payment_attempt_ends(purchase.state, purchase.now)


def test_the_first_payment_attempt_is_answered_soon() -> None:
    """R-03: it begins within five minutes of the purchase, and is answered five minutes later."""
    purchase = Purchase(held=False)
    assert attempt_ends(purchase) == NOON + SOON
    purchase.now = NOON + SOON - INSTANT
    assert attempt_ends(purchase) == purchase.now + SOON
    purchase.now = NOON + SOON
    assert attempt_ends(purchase) is None


@pytest.mark.parametrize(("window", "ends"), [(SOON, NOON + SOON), (SOON - INSTANT, None)])
def test_a_payment_that_is_due_earlier_is_not_waited_for(
    window: timedelta, ends: datetime | None
) -> None:
    """R-06: the end of the payment window is never missed."""
    assert attempt_ends(Purchase(held=False, payment_window=window)) == ends


@pytest.mark.parametrize(
    "fact",
    [
        PaymentHeld(),
        PaymentNeedsClient("https://pay.example/1"),
        EffectBlocked(TakePayment.kind, "The provider does not answer."),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_after_its_first_answer_a_payment_attempt_has_no_end(fact: Fact) -> None:
    """R-03, R-07, R-70: held, to be confirmed by the client, or blocked."""
    purchase = Purchase(held=False)
    purchase.fact(fact)
    assert attempt_ends(purchase) is None
