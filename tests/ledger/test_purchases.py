"""A purchase id stands for one purchase, and a database belongs to one deployment."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from activities.database import claim
from activities.ledger import (
    BoughtPurchase,
    Ledger,
    LedgerRejected,
    PurchaseExists,
    SavedState,
)
from activities.requests import Money

AT = datetime(2026, 11, 1, tzinfo=UTC)
FIRST = BoughtPurchase(
    purchase_id="p-1",
    client="ana",
    freelancer="bo",
    amount=25000,
    currency="USD",
    terms='{"policy": {}}',
    terms_hash="a" * 64,
    first_run="run-1",
    at=AT,
    document=b"\0{}",
)
STARTED_AGAIN = replace(FIRST, first_run="run-2")
ANOTHER = replace(STARTED_AGAIN, client="eve", terms_hash="b" * 64)


def hold(ledger: Ledger) -> None:
    ledger.hold(key="p-1/hold", purchase_id="p-1", amount=25000, currency="USD", at=AT)


def refund(ledger: Ledger) -> None:
    ledger.decide(
        key="p-1/refund", purchase_id="p-1", refund=25000, release=0, currency="USD", at=AT
    )


def settle(ledger: Ledger) -> None:
    ledger.settle(
        key="p-1/settled", purchase_id="p-1", amount=25000, currency="USD", at=AT, reference="re"
    )


def test_a_purchase_is_registered_once_with_what_was_bought(engine: Engine) -> None:
    ledger = Ledger(engine, "production")
    assert [ledger.register(FIRST), ledger.register(FIRST)] == [True, False]
    with engine.connect() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM purchase")).mappings()
    kept = vars(FIRST) | {"deployment": "production"}
    del kept["people"]
    saved = ledger.find_state("p-1")
    assert saved is not None
    assert (saved.kind, saved.document) == ("terms", kept.pop("document"))
    assert {name: row[name] for name in kept if name != "at"} | {"at": AT} == kept


@pytest.mark.parametrize("paid", [False, True])
def test_another_purchase_is_rejected_in_words_that_name_the_first(
    ledger: Ledger, *, paid: bool
) -> None:
    """Wherever the money of the first is now."""
    ledger.register(FIRST)
    for event in (None, hold, refund, settle):
        if event:
            event(ledger)
        with pytest.raises(PurchaseExists) as failure:
            ledger.register(ANOTHER, paid=paid)
        assert str(failure.value) == (
            "Purchase p-1 was bought before, by ana from bo for 250.00 USD on 2026-11-01. "
            "An id is used once: start it with a new id."
        )
        assert ledger.register(FIRST) is False


def test_the_same_terms_in_another_first_run_count_only_until_the_money_is_held(
    ledger: Ledger,
) -> None:
    """Before, nothing was decided that a new start could forget. While it is inside, the sentence
    says how it is continued. A retry of the one that was accepted is accepted again."""
    ledger.register(FIRST)
    once_more = replace(FIRST, first_run="run-3")
    with pytest.raises(PurchaseExists, match="start it with a new id"):
        ledger.register(STARTED_AGAIN)
    assert ledger.register(STARTED_AGAIN, paid=True) is False
    for event in (hold, refund):
        event(ledger)
        with pytest.raises(PurchaseExists, match="run recourse adopt p-1"):
            ledger.register(once_more, paid=True)
        assert ledger.register(STARTED_AGAIN, paid=True) is False
    settle(ledger)
    with pytest.raises(PurchaseExists, match="start it with a new id"):
        ledger.register(once_more, paid=True)


def test_only_the_workflow_of_a_purchase_decides(ledger: Ledger) -> None:
    """The one that was registered, one that began again, one that has adopted its state. Another
    one gets no record under the key, so the right one can decide."""
    decided: dict[str, Any] = {
        "key": "p-1/refund",
        "purchase_id": "p-1",
        "refund": 25000,
        "release": 0,
        "currency": "USD",
        "at": AT,
    }
    ledger.register(FIRST)
    ledger.register(STARTED_AGAIN, paid=True)
    ledger.save_state(SavedState("p-1", "run-2", "state", b"a state"))
    ledger.adopt("p-1", "run-2", "run-3")
    hold(ledger)
    with pytest.raises(LedgerRejected) as rejected:
        ledger.decide(**decided, first_run="run-9")
    assert rejected.value.code == "OTHER_WORKFLOW"
    assert ledger.decide(**decided, first_run="run-1") is True
    assert ledger.decide(**decided, first_run="run-2") is False
    assert ledger.decide(**decided, first_run="run-3") is False


def test_only_a_refund_in_transit_is_sent(ledger: Ledger) -> None:
    """Of this purchase, of no more than was decided, and of the charge that was held."""
    usd = partial(Money, currency="USD")
    ledger.hold(
        key="p-1/hold", purchase_id="p-1", amount=25000, currency="USD", at=AT, charge="ch_1"
    )
    with pytest.raises(LedgerRejected, match=r"has 0\.00 USD in transit.*recourse restore p-1"):
        ledger.check_refund("p-1", usd(amount=25000), "ch_1")
    refund(ledger)
    ledger.check_refund("p-1", usd(amount=25000), "ch_1")
    for purchase_id, amount, charge, code in (
        ("p-1", usd(amount=25001), "ch_1", "NOT_IN_TRANSIT"),
        ("p-1", Money(amount=25000, currency="EUR"), "ch_1", "NOT_IN_TRANSIT"),
        ("p-2", usd(amount=25000), "ch_1", "NOT_IN_TRANSIT"),
        ("p-1", usd(amount=25000), "ch_2", "OTHER_CHARGE"),
    ):
        with pytest.raises(LedgerRejected) as rejected:
            ledger.check_refund(purchase_id, amount, charge)
        assert rejected.value.code == code
    settle(ledger)
    with pytest.raises(LedgerRejected, match=r"0\.00 USD in transit"):
        ledger.check_refund("p-1", usd(amount=25000), "ch_1")


@pytest.mark.parametrize(
    ("amount", "charge", "text"),
    [
        (
            25001,
            "ch_1",
            "Purchase p-1 has 250.00 USD in transit, and 250.01 USD are to be refunded. Nothing is"
            " sent before its decision is posted; if the ledger has lost it, run: recourse restore"
            " p-1",
        ),
        (
            25000,
            "ch_2",
            "Purchase p-1 was paid by ch_1, and the refund is to be of ch_2. Nothing is sent.",
        ),
    ],
    ids=["more than was decided", "another charge"],
)
def test_a_refund_that_is_not_sent_says_why(
    ledger: Ledger, amount: int, charge: str, text: str
) -> None:
    ledger.hold(
        key="p-1/hold", purchase_id="p-1", amount=25000, currency="USD", at=AT, charge="ch_1"
    )
    refund(ledger)
    with pytest.raises(LedgerRejected) as rejected:
        ledger.check_refund("p-1", Money(amount=amount, currency="USD"), charge)
    assert rejected.value.text == text


def test_a_purchase_that_was_never_held_has_nothing_to_refund(ledger: Ledger) -> None:
    with pytest.raises(LedgerRejected, match=r"p-2 has 0\.00 USD in transit, and 0\.01 USD are"):
        ledger.check_refund("p-2", Money(amount=1, currency="USD"), "ch_1")


def test_a_hold_of_an_early_release_names_no_charge(ledger: Ledger) -> None:
    """So its refund is not compared with one."""
    hold(ledger)
    refund(ledger)
    ledger.check_refund("p-1", Money(amount=25000, currency="USD"), "ch_1")


def test_money_in_a_bank_dispute_is_inside_until_it_is_lost(ledger: Ledger) -> None:
    ledger.register(FIRST)
    hold(ledger)
    move: dict[str, Any] = {
        "purchase_id": "p-1",
        "account": "escrow",
        "amount": 25000,
        "currency": "USD",
        "at": AT,
        "reference": "dp_1",
    }
    ledger.provider_moved(key="opened", kind="bank_dispute_opened", **move)
    with pytest.raises(PurchaseExists, match="run recourse adopt p-1"):
        ledger.register(STARTED_AGAIN)
    ledger.provider_moved(key="lost", kind="bank_dispute_lost", **move)
    with pytest.raises(PurchaseExists, match="start it with a new id"):
        ledger.register(STARTED_AGAIN)


def test_of_many_purchases_at_once_under_one_id_one_is_registered(ledger: Ledger) -> None:
    def attempt(number: int) -> bool | None:
        try:
            return ledger.register(replace(FIRST, client=f"c-{number}", first_run=f"r-{number}"))
        except PurchaseExists:
            return None

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(attempt, range(8)))
    # The terms have one hash, but no money is inside.
    assert sorted(found, key=str) == [None] * 7 + [True]


def test_of_many_paid_starts_at_once_of_one_purchase_all_count(ledger: Ledger) -> None:
    """One is recorded; the others find it, and their money at the provider."""

    def attempt(number: int) -> bool:
        return ledger.register(replace(FIRST, first_run=f"r-{number}"), paid=True)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(attempt, range(8)))
    assert sorted(found) == [False] * 7 + [True]


def test_of_many_claims_at_once_one_stays(engine: Engine) -> None:
    """No later claim replaces it."""
    names = ["production", "staging"] * 4
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(partial(claim, engine, "deployment"), names))
    assert len(found) == 1
    assert {claim(engine, "deployment", name) for name in names} == found
    assert claim(engine, "provider_account", "acct_1") == "acct_1"
