"""A purchase is forgotten only when nobody needs to know any more who its persons were."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from activities.database.personal import Forgotten
from activities.ledger import BoughtPurchase, Ledger, LedgerRejected
from activities.notices.log import FORGOTTEN, DeliveryLog, Notice
from tests.ledger.test_provider_moves import Step, decide, elsewhere, hold, opened, settle, won
from tests.ledger.test_purchases import AT, FIRST

WINDOW = timedelta(days=120)
INSTANT = timedelta(microseconds=1)
LONG_AFTER = AT + timedelta(days=4000)
TERMS = json.dumps({"policy": {"aftercare_window": "P120D"}})
CLIENT, FREELANCER = "a" * 64, "b" * 64
"""Fingerprints."""
BOUGHT = replace(FIRST, terms=TERMS, people=frozenset({CLIENT, FREELANCER}))
OTHER = replace(BOUGHT, purchase_id="p-2", people=frozenset({CLIENT}))


@pytest.fixture
def log(engine: Engine) -> DeliveryLog:
    return DeliveryLog(engine)


@pytest.fixture
def bought(ledger: Ledger) -> Ledger:
    """Two purchases of one client, registered and not held yet."""
    for purchase in (BOUGHT, OTHER):
        ledger.register(purchase)
    return ledger


def rejection(ledger: Ledger, now: datetime, purchase_id: str = "p-1") -> tuple[str, str]:
    """The code and the sentence, which a dry run gives, too."""
    found = set()
    for dry_run in (True, False):
        with pytest.raises(LedgerRejected) as rejected:
            ledger.forget(purchase_id, now, dry_run=dry_run)
        found.add((rejected.value.code, rejected.value.text))
    (only,) = found
    return only


def is_forgotten(ledger: Ledger, purchase: BoughtPurchase = BOUGHT) -> bool:
    """Whether neither the document nor the index leads to its persons; all or nothing."""
    indexed = purchase.purchase_id in ledger.purchases_of([CLIENT, FREELANCER])
    try:
        saved = ledger.find_state(purchase.purchase_id)
    except Forgotten:
        assert not indexed
        return True
    assert indexed
    assert saved is not None
    assert saved.document == purchase.document
    return False


def test_what_is_forgotten_are_the_persons_of_one_purchase(bought: Ledger) -> None:
    """Its postings stay, and so do the persons of another purchase of the same client."""
    for step in (hold(), decide(0, 100)):
        step(bought)
    before = bought.snapshot(), bought.postings("p-1")
    bought.forget("p-1", LONG_AFTER)
    assert is_forgotten(bought)
    assert not is_forgotten(bought, OTHER)
    assert (bought.snapshot(), bought.postings("p-1")) == before


def test_a_dry_run_forgets_nothing(bought: Ledger) -> None:
    bought.forget("p-1", LONG_AFTER, dry_run=True)
    assert not is_forgotten(bought)


def test_a_purchase_may_be_forgotten_again(bought: Ledger) -> None:
    """As a retry does after a lost answer."""
    bought.forget("p-1", LONG_AFTER)
    bought.forget("p-1", LONG_AFTER)
    assert is_forgotten(bought)


def test_a_purchase_that_was_never_registered_is_not_found(bought: Ledger) -> None:
    """Also one of an early release, which is held and has no terms."""
    hold("p-9")(bought)
    assert rejection(bought, LONG_AFTER, "p-9") == (
        "NOT_FOUND",
        "The ledger has no purchase p-9.",
    )


@pytest.mark.parametrize(
    "steps",
    [[], [hold(), decide(0, 100)], [hold(), decide(100, 0), settle(100)]],
    ids=["never paid", "released", "refunded"],
)
def test_a_purchase_is_forgotten_after_its_aftercare_window(
    bought: Ledger, steps: list[Step]
) -> None:
    """Exactly at its end, news may still come."""
    for step in steps:
        step(bought)
    code, sentence = rejection(bought, AT + WINDOW)
    assert code == "TOO_EARLY"
    assert sentence == (
        "News about the payment of purchase p-1 may come until 2027-03-01 00:00 UTC, and its client"
        " has to be notified then. Forget it after that."
    )
    assert not is_forgotten(bought)
    bought.forget("p-1", AT + WINDOW + INSTANT)
    assert is_forgotten(bought)


def test_the_window_begins_with_the_last_posting(bought: Ledger) -> None:
    """Not with the registration, the first posting, or a posting of another purchase."""
    later = AT + timedelta(days=30)
    hold()(bought)
    bought.decide(
        key="d", purchase_id="p-1", refund=0, release=100, currency="USD", at=later - INSTANT
    )
    bought.hold(key="p-2/hold", purchase_id="p-2", amount=100, currency="USD", at=LONG_AFTER)
    assert rejection(bought, later - INSTANT + WINDOW)[0] == "TOO_EARLY"
    bought.forget("p-1", later + WINDOW)
    assert is_forgotten(bought)


@pytest.mark.parametrize(
    ("steps", "inside"),
    [
        ([hold()], "1.00"),
        ([hold(), elsewhere(99)], "0.01"),
        ([hold(), decide(60, 40)], "0.60"),
        ([hold(), decide(60, 40), settle(59)], "0.01"),
        ([hold(), opened(100)], "1.00"),
        ([hold(), opened(100), won(99)], "1.00"),
        ([hold(), decide(60, 40), opened(20, "in_transit")], "0.60"),
        ([hold(), decide(60, 40), settle(10), opened(50, "in_transit")], "0.50"),
    ],
    ids=[
        "in escrow",
        "one cent in escrow",
        "in transit",
        "one cent in transit",
        "in a bank dispute",
        "in escrow and in a bank dispute",
        "in transit and in a bank dispute",
        "only in a bank dispute",
    ],
)
def test_a_purchase_with_money_inside_is_never_forgotten(
    bought: Ledger, steps: list[Step], inside: str
) -> None:
    """Its client has to be notified where that goes, at any age."""
    for step in steps:
        step(bought)
    assert rejection(bought, LONG_AFTER) == (
        "MONEY_INSIDE",
        f"Purchase p-1 still has {inside} USD inside; it has not ended.",
    )
    assert not is_forgotten(bought)


def test_money_inside_another_purchase_does_not_count(bought: Ledger) -> None:
    hold("p-2")(bought)
    bought.forget("p-1", LONG_AFTER)
    assert is_forgotten(bought)


def test_an_answer_of_a_mail_server_is_forgotten(bought: Ledger, log: DeliveryLog) -> None:
    """It may quote the address. The notice itself is encrypted with the key."""
    notices = [
        Notice(
            *(purchase_id, "1", "payment_held", "client", "ana@example.com", AT),
            message_id=f"{purchase_id}/1",
            text="Dear Ana",
        )
        for purchase_id in ("p-1", "p-2")
    ]
    log.insert_if_absent(notices)
    log.record([replace(each, last_error="ana@example.com: unknown") for each in notices])
    bought.forget("p-1", LONG_AFTER, dry_run=True)
    assert [each.last_error for each in log.list("p-1")] == ["ana@example.com: unknown"]
    bought.forget("p-1", LONG_AFTER)
    read = [(each.last_error, each.address, each.text) for each in log.list("p-1")]
    assert read == [("", FORGOTTEN, FORGOTTEN)]
    assert [each.last_error for each in log.list("p-2")] == ["ana@example.com: unknown"]
