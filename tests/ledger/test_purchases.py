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
from activities.ledger import BoughtPurchase, Ledger, PurchaseExists

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
    says how it is continued."""
    ledger.register(FIRST)
    with pytest.raises(PurchaseExists, match="start it with a new id"):
        ledger.register(STARTED_AGAIN)
    assert ledger.register(STARTED_AGAIN, paid=True) is False
    for event in (hold, refund):
        event(ledger)
        with pytest.raises(PurchaseExists, match="run recourse adopt p-1"):
            ledger.register(STARTED_AGAIN, paid=True)
    settle(ledger)
    with pytest.raises(PurchaseExists, match="start it with a new id"):
        ledger.register(STARTED_AGAIN, paid=True)


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
    """And for ever."""
    names = ["production", "staging"] * 4
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(partial(claim, engine, "deployment"), names))
    assert len(found) == 1
    assert {claim(engine, "deployment", name) for name in names} == found
    assert claim(engine, "provider_account", "acct_1") == "acct_1"
