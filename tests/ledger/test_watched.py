"""The purchases that every audit compares with the provider, however old their charges are."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from activities.ledger import Ledger, LedgerRejected
from activities.ledger.watched import watched
from tests.ledger.test_audit import without_rules
from tests.ledger.test_provider_moves import AT, Step, decide, elsewhere, hold, opened, settle

AFTER = AT + timedelta(microseconds=1)
"""Every posting of these tests is older."""


def test_a_purchase_that_moved_since_is_watched(ledger: Ledger) -> None:
    """From the instant itself, by the name of its charge. A posting makes it recent, not its hold
    alone."""
    for step in (hold(charge="ch_1"), decide(0, 100)):
        step(ledger)
    assert ledger.watched(AT) == {"p-1": "ch_1"}
    assert ledger.watched(AFTER) == {}
    hold("p-2", "ch_2")(ledger)
    later = {"currency": "USD", "at": AFTER + timedelta(days=1)}
    ledger.decide(key="p-2/d", purchase_id="p-2", refund=0, release=100, **later)  # type: ignore[arg-type]
    assert ledger.watched(AFTER) == {"p-2": "ch_2"}


@pytest.mark.parametrize(
    "steps",
    [
        [elsewhere(99)],
        [decide(60, 40), settle(59)],
        [opened(1), elsewhere(99)],
    ],
    ids=["in escrow", "in transit", "in a bank dispute"],
)
def test_a_purchase_with_a_cent_inside_is_watched_at_any_age(
    ledger: Ledger, steps: list[Step]
) -> None:
    for step in (hold(charge="ch_1"), *steps):
        step(ledger)
    assert ledger.watched(AFTER) == {"p-1": "ch_1"}


@pytest.mark.parametrize(
    "steps",
    [[decide(0, 100)], [decide(100, 0), settle(100)]],
    ids=["released", "refunded"],
)
def test_what_is_paid_out_is_not_inside(ledger: Ledger, steps: list[Step]) -> None:
    for step in (hold(charge="ch_1"), *steps):
        step(ledger)
    assert ledger.watched(AFTER) == {}


def test_an_id_with_a_colon_names_its_purchase(ledger: Ledger) -> None:
    """The names of accounts have one, too."""
    hold("shop:7", "ch_7")(ledger)
    assert ledger.watched(AFTER) == {"shop:7": "ch_7"}


def test_a_purchase_is_watched_by_its_id_once_it_was_held(ledger: Ledger) -> None:
    """As a running one is. A rejected hold and an unknown id are none."""
    for purchase, charge in (("p-1", "ch_1"), ("p-2", "")):
        hold(purchase, charge)(ledger)
        ledger.decide(
            key=f"{purchase}/d", purchase_id=purchase, refund=0, release=100, currency="USD", at=AT
        )
    with pytest.raises(LedgerRejected, match="ch_1"):
        hold("p-3", "ch_1")(ledger)
    assert ledger.watched(AFTER, ["p-1"]) == {"p-1": "ch_1"}
    assert ledger.watched(AFTER, ["p-2", "p-3", "p-4"]) == {"p-2": ""}
    assert ledger.watched(AT) == {"p-1": "ch_1", "p-2": ""}


@pytest.mark.parametrize("request_text", ["broken", "{}", "[]"])
def test_a_hold_that_cannot_be_read_has_no_name(
    ledger: Ledger, engine: Engine, request_text: str
) -> None:
    """The audit of the ledger reports it; the purchase is compared by its key."""
    hold(charge="ch_1")(ledger)
    with without_rules(engine) as connection:
        change = sa.text("UPDATE operation SET request = :text")
        connection.execute(change, {"text": request_text})
        assert watched(connection, AFTER, ()) == {"p-1": ""}
