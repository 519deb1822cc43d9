"""Until when news about a closed purchase opens an aftercare case."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from activities.ledger import Ledger
from tests.ledger.test_forgetting import BOUGHT, WINDOW
from tests.ledger.test_provider_moves import AT, hold

Posted = tuple[str, dict[str, Any]]

HELD: Posted = ("hold", {"amount": 100})
RELEASED: Posted = ("decide", {"refund": 0, "release": 100})
SPLIT: Posted = ("decide", {"refund": 60, "release": 40})
SETTLED: Posted = ("settle", {"amount": 60, "reference": "re_1"})


def moved(kind: str, account: str, amount: int) -> Posted:
    given = {"kind": kind, "account": account, "amount": amount, "reference": "dp_1"}
    return "provider_moved", given


DISPUTED, LOST = (moved(f"bank_dispute_{how}", "escrow", 100) for how in ("opened", "lost"))
PARTLY_ELSEWHERE, ELSEWHERE = (moved("refunded_elsewhere", "escrow", each) for each in (99, 100))
RETURNED = moved("refund_returned", "in_transit", 60)
LOSS = moved("bank_dispute_loss", "platform_losses", 10)


def post(ledger: Ledger, *posted: Posted) -> None:
    """Post these, one on each day."""
    for day, (method, given) in enumerate(posted):
        same = {"key": f"p-1/{day}", "purchase_id": "p-1", "currency": "USD", "at": on(day)}
        assert getattr(ledger, method)(**same, **given)


def on(day: int) -> datetime:
    return AT + timedelta(days=day)


@pytest.mark.parametrize(
    "posted",
    [(), (HELD,), (HELD, PARTLY_ELSEWHERE), (HELD, SPLIT), (HELD, DISPUTED)],
    ids=["not paid", "in escrow", "a cent in escrow", "in transit", "in a bank dispute"],
)
def test_a_purchase_that_was_never_closed_has_no_end(
    ledger: Ledger, posted: tuple[Posted, ...]
) -> None:
    ledger.register(BOUGHT)
    post(ledger, *posted)
    assert ledger.aftercare_ends("p-1") is None


@pytest.mark.parametrize(
    ("posted", "closed"),
    [
        ((HELD, RELEASED), 1),
        ((HELD, SPLIT, SETTLED), 2),
        ((HELD, ELSEWHERE), 1),
        ((HELD, DISPUTED, LOST), 2),
        ((HELD, RELEASED, LOSS), 1),
        ((HELD, SPLIT, SETTLED, RETURNED), 2),
    ],
    ids=[
        "released",
        "settled",
        "refunded elsewhere",
        "lost to a bank",
        "a loss after its end",
        "a refund that came back after its end",
    ],
)
def test_the_window_begins_when_nothing_is_inside_for_the_first_time(
    ledger: Ledger, posted: tuple[Posted, ...], closed: int
) -> None:
    """By the policy of the purchase; what moves after that does not move its end."""
    ledger.register(BOUGHT)
    hold("p-2")(ledger)
    post(ledger, *posted)
    assert ledger.aftercare_ends("p-1") == on(closed) + WINDOW


def test_a_purchase_that_was_never_registered_has_no_window(ledger: Ledger) -> None:
    """As one of an early release, whose policy the ledger does not have."""
    post(ledger, HELD, RELEASED)
    assert ledger.aftercare_ends("p-1") is None


@pytest.mark.parametrize("terms", ["{}", '{"policy": {}}'], ids=["no policy", "no window"])
def test_terms_without_an_aftercare_window_have_no_end(ledger: Ledger, terms: str) -> None:
    ledger.register(replace(BOUGHT, terms=terms))
    post(ledger, HELD, RELEASED)
    assert ledger.aftercare_ends("p-1") is None
