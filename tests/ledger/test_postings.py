"""What the ledger says of one purchase: its postings, its decision, its charge, its moves."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from activities.ledger import Decision, Ledger, Posting, ProviderMove, schema
from activities.ledger.audit import WHAT_TO_DO
from activities.ledger.snapshot import snapshot
from activities.requests import Difference
from tests.ledger.test_audit import without_rules
from tests.ledger.test_provider_moves import (
    AT,
    Step,
    decide,
    elsewhere,
    hold,
    loss,
    lost,
    moved,
    opened,
    returned,
    settle,
    won,
)
from tests.ledger.test_purchases import FIRST

CLEARING, ESCROW, TRANSIT = "provider-clearing:USD", "escrow:p-1", "refunds-in-transit:p-1"
BANK, RECEIVABLE = "bank-disputes:p-1", "freelancer-receivable:p-1"


def test_the_postings_of_a_purchase_are_listed_in_order(ledger: Ledger) -> None:
    """Each leg with its accounts, amount, instant and reference, and nothing of other purchases."""
    hold("p-2")(ledger)
    later = AT + timedelta(days=1)
    asked = {"purchase_id": "p-1", "currency": "USD", "at": later}
    hold(charge="ch_1")(ledger)
    ledger.decide(key="p-1/decide", refund=60, release=40, **asked)  # type: ignore[arg-type]
    settle(60)(ledger)
    returned(60)(ledger)
    assert ledger.postings("p-1") == [
        Posting("p-1/hold", "hold", CLEARING, ESCROW, 100, AT, "ch_1"),
        Posting("p-1/decide", "split", ESCROW, TRANSIT, 60, later, ""),
        Posting("p-1/decide", "split", ESCROW, "freelancer-balance:p-1", 40, later, ""),
        Posting("p-1/settled", "settled", TRANSIT, CLEARING, 60, AT, "re_1"),
        Posting(
            "p-1/refund_returned-in_transit-1", "refund_returned", CLEARING, TRANSIT, 60, AT, "dp_1"
        ),
    ]
    assert {type(posting.amount) for posting in ledger.postings("p-1")} == {int}
    assert ledger.postings("p-3") == []


@pytest.mark.parametrize(("refund", "release"), [(100, 0), (60, 40), (0, 100)])
def test_a_decision_is_found_as_it_was_posted(ledger: Ledger, refund: int, release: int) -> None:
    """With its instant; a later settlement or another purchase's decision is none."""
    hold()(ledger)
    hold("p-2")(ledger)
    assert ledger.decision("p-1") is None
    decide(refund, release)(ledger)
    if refund:
        settle(refund)(ledger)
    assert ledger.decision("p-1") == Decision(refund=refund, release=release, at=AT)
    assert ledger.decision("p-2") is None


def test_a_charge_leads_to_its_purchase(ledger: Ledger) -> None:
    """And an unknown one to none."""
    hold(charge="ch_1")(ledger)
    hold("p-2", charge="ch_2")(ledger)
    assert ledger.purchase_of_charge("ch_2") == "p-2"
    assert ledger.purchase_of_charge("ch_3") is None


def test_a_snapshot_has_what_moved_at_the_provider(ledger: Ledger) -> None:
    """By purchase, the oldest first, without holds, decisions and settlements."""
    ledger.register(FIRST)
    steps: list[Step] = [hold(), opened(60), won(60), opened(30, number=2), lost(30)]
    steps += [elsewhere(10), decide(20, 40), settle(20), loss(15, "freelancer_receivable")]
    steps += [hold("p-2"), moved("refunded_elsewhere", "escrow", 5, purchase_id="p-2", key="p-2/e")]
    for step in steps:
        assert step(ledger)
    snapshot = ledger.snapshot()
    assert snapshot.registered == {"p-1"}
    assert snapshot.proofs == {"p-1": "re_1"}
    assert snapshot.moves == {
        "p-1": tuple(
            ProviderMove(f"p-1/{kind}-{account}-{number}", kind, debit, credit, amount, "dp_1")  # type: ignore[arg-type]
            for kind, account, number, debit, credit, amount in (
                ("bank_dispute_opened", "escrow", 1, ESCROW, BANK, 60),
                ("bank_dispute_won", "escrow", 1, BANK, ESCROW, 60),
                ("bank_dispute_opened", "escrow", 2, ESCROW, BANK, 30),
                ("bank_dispute_lost", "escrow", 1, BANK, CLEARING, 30),
                ("refunded_elsewhere", "escrow", 1, ESCROW, CLEARING, 10),
                ("bank_dispute_loss", "freelancer_receivable", 1, RECEIVABLE, CLEARING, 15),
            )
        ),
        "p-2": (ProviderMove("p-2/e", "refunded_elsewhere", "escrow:p-2", CLEARING, 5, "dp_1"),),
    }


@pytest.mark.parametrize("stored", ["{", "{}", "[]"], ids=["cut off", "empty", "a list"])
def test_a_snapshot_names_what_it_cannot_read(ledger: Ledger, engine: Engine, stored: str) -> None:
    """And lists everything else."""
    steps: list[Step] = [hold(), decide(60, 40), settle(60), hold("p-2")]
    for kind in ("bank_dispute_opened", "refunded_elsewhere"):
        steps += [moved(kind, "escrow", 5, purchase_id="p-2", key=f"p-2/{kind}")]
    for step in steps:
        assert step(ledger)
    with without_rules(engine) as connection:
        connection.execute(
            sa.update(schema.operation)
            .where(schema.operation.c.kind.in_(("settled", "bank_dispute_opened")))
            .values(request=stored)
        )
        found = snapshot(connection)
    assert found.differences == tuple(
        Difference(purchase_id=purchase, what=f"The {what} cannot be read.", what_to_do=WHAT_TO_DO)
        for purchase, what in (
            ("p-1", "settlement of p-1"),
            ("p-2", "bank dispute opened of p-2"),
        )
    )
    assert found.proofs == {}
    assert [move.key for move in found.moves["p-2"]] == ["p-2/refunded_elsewhere"]
