"""Totals for monitoring: `positions` and `in_transit`."""

from datetime import timedelta

from activities.ledger import InTransit, Ledger, Position
from tests.ledger.test_operations import AT
from tests.ledger.test_provider_moves import (
    Step,
    decide,
    hold,
    loss,
    lost,
    moved,
    opened,
    returned,
    settle,
    won,
)


def test_positions_are_totals_by_currency(ledger: Ledger) -> None:
    """The amounts sum to all holds in that currency."""
    assert ledger.positions() == []
    ledger.hold(key="h1", purchase_id="p-1", amount=500, currency="USD", at=AT)
    assert ledger.positions() == [Position("USD", held=500)]
    ledger.hold(key="h2", purchase_id="p-2", amount=70, currency="EUR", at=AT)
    ledger.decide(key="d2", purchase_id="p-2", refund=40, release=30, currency="EUR", at=AT)
    ledger.hold(key="h3", purchase_id="p-3", amount=9, currency="EUR", at=AT)
    ledger.decide(key="d3", purchase_id="p-3", refund=9, release=0, currency="EUR", at=AT)
    ledger.settle(key="s3", purchase_id="p-3", amount=9, currency="EUR", at=AT, reference="arrived")
    assert ledger.positions() == [
        Position("EUR", held=0, in_transit=40, refunded=9, released=30),
        Position("USD", held=500),
    ]


def test_what_banks_took_and_others_refunded_is_in_the_totals(ledger: Ledger) -> None:
    """Losses and receivables stand beside what came in."""
    steps: list[Step] = [
        hold("p-2"),
        moved("refunded_elsewhere", "escrow", 10, key="e", purchase_id="p-2"),
    ]
    steps += [moved("bank_dispute_opened", "escrow", 30, key="o", purchase_id="p-2")]
    steps += [hold(), opened(60), lost(50), won(10), decide(30, 20), settle(30), returned(5)]
    steps += [loss(25, "platform_losses"), loss(7, "freelancer_receivable")]
    for step in steps:
        assert step(ledger)
    assert ledger.positions() == [
        Position(
            "USD",
            held=60,
            in_transit=5,
            refunded=35,
            released=20,
            charged_back=80,
            platform_losses=25,
            freelancer_receivables=7,
        )
    ]


def test_refunds_in_transit_are_listed_oldest_first(ledger: Ledger) -> None:
    """Each since its decision; without settled refunds and purchases that were only released."""
    later = AT + timedelta(hours=1)
    for number, (refund, at) in enumerate([(10, later), (20, AT), (30, AT), (0, AT)]):
        asked = {"purchase_id": f"p-{number}", "currency": "USD"}
        ledger.hold(key=f"h{number}", amount=50, at=AT - timedelta(days=1), **asked)
        ledger.decide(key=f"d{number}", refund=refund, release=50 - refund, at=at, **asked)
    ledger.settle(
        key="s2", purchase_id="p-2", amount=30, currency="USD", at=later, reference="arrived"
    )
    assert ledger.in_transit() == [
        InTransit("p-1", "USD", 20, AT),
        InTransit("p-0", "USD", 10, later),
    ]
