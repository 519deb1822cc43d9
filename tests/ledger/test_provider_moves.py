"""Money that the bank or somebody else moves at the provider, and the one purchase of a charge."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import alembic.command
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from activities.database import migrate
from activities.ledger import Ledger, LedgerRejected, PurchaseBalances
from tests.ledger.conftest import engine_of
from tests.ledger.hostile import account, new_hold
from tests.ledger.test_concurrency import race
from tests.ledger.test_hostile_sql import run

AT = datetime(2026, 11, 1, tzinfo=UTC)
Step = Callable[[Ledger], bool]


def hold(purchase: str = "p-1", charge: str = "", currency: str = "USD") -> Step:
    return lambda ledger: ledger.hold(
        key=f"{purchase}/hold",
        purchase_id=purchase,
        amount=100,
        currency=currency,
        at=AT,
        charge=charge,
    )


def decide(refund: int, release: int) -> Step:
    return lambda ledger: ledger.decide(
        key="p-1/decide", purchase_id="p-1", refund=refund, release=release, currency="USD", at=AT
    )


def settle(amount: int, key: str = "p-1/settled") -> Step:
    return lambda ledger: ledger.settle(
        key=key, purchase_id="p-1", amount=amount, currency="USD", at=AT, reference="re_1"
    )


def moved(kind: str, account: str, amount: int, number: int = 1, **changed: Any) -> Step:
    given: dict[str, Any] = {
        "key": f"p-1/{kind}-{account}-{number}",
        "purchase_id": "p-1",
        "kind": kind,
        "account": account,
        "amount": amount,
        "currency": "USD",
        "at": AT,
        "reference": "dp_1",
    }
    return lambda ledger: ledger.provider_moved(**given | changed)


def opened(amount: int, account: str = "escrow", number: int = 1) -> Step:
    return moved("bank_dispute_opened", account, amount, number)


def won(amount: int, account: str = "escrow", number: int = 1) -> Step:
    return moved("bank_dispute_won", account, amount, number)


def lost(amount: int, account: str = "escrow") -> Step:
    return moved("bank_dispute_lost", account, amount)


def loss(amount: int, account: str, number: int = 1) -> Step:
    return moved("bank_dispute_loss", account, amount, number)


def elsewhere(amount: int, number: int = 1) -> Step:
    return moved("refunded_elsewhere", "escrow", amount, number)


def failed(amount: int, number: int = 1) -> Step:
    return moved("refund_elsewhere_failed", "escrow", amount, number)


def returned(amount: int, number: int = 1) -> Step:
    return moved("refund_returned", "in_transit", amount, number)


def code_of(ledger: Ledger, step: Step) -> str:
    with pytest.raises(LedgerRejected) as rejected:
        step(ledger)
    return rejected.value.code


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([opened(100)], {"charged_back": 100}),
        ([elsewhere(60), failed(60)], {"held": 100}),
        ([elsewhere(60), failed(60), decide(100, 0)], {"in_transit": 100}),
        ([elsewhere(60), failed(20), elsewhere(20, number=2)], {"held": 40, "refunded": 60}),
        ([opened(60)], {"held": 40, "charged_back": 60}),
        ([opened(60), opened(40, number=2)], {"charged_back": 100}),
        ([opened(60), won(60)], {"held": 100}),
        ([opened(60), won(60), opened(60, number=2)], {"held": 40, "charged_back": 60}),
        ([opened(60), lost(60)], {"held": 40, "charged_back": 60}),
        (
            [opened(60), lost(60), decide(30, 10)],
            {"in_transit": 30, "released": 10, "charged_back": 60},
        ),
        ([opened(60), won(60), decide(0, 100)], {"released": 100}),
        ([decide(100, 0), opened(100, "in_transit")], {"charged_back": 100}),
        (
            [decide(60, 40), opened(60, "in_transit"), won(60, "in_transit")],
            {"in_transit": 60, "released": 40},
        ),
        (
            [decide(60, 40), opened(60, "in_transit"), lost(60, "in_transit")],
            {"released": 40, "charged_back": 60},
        ),
        ([elsewhere(100)], {"refunded": 100}),
        ([elsewhere(30), elsewhere(20, 2)], {"held": 50, "refunded": 50}),
        ([elsewhere(30), decide(50, 20), settle(50)], {"refunded": 80, "released": 20}),
        ([decide(60, 40), settle(60), returned(60)], {"in_transit": 60, "released": 40}),
        (
            [decide(60, 40), settle(60), returned(60), settle(60, "p-1/settled-2")],
            {"refunded": 60, "released": 40},
        ),
        (
            [decide(60, 40), settle(60), loss(60, "platform_losses")],
            {"refunded": 60, "released": 40},
        ),
        ([decide(0, 100), loss(100, "freelancer_receivable")], {"released": 100}),
    ],
)
def test_what_came_in_is_always_somewhere(
    ledger: Ledger, steps: list[Step], expected: dict[str, int]
) -> None:
    """Losses and receivables stand beside it."""
    hold()(ledger)
    for step in steps:
        assert step(ledger) is True
        assert step(ledger) is False  # a retry
    balances = ledger.balances("p-1")
    nothing = dict.fromkeys(("held", "in_transit", "refunded", "released", "charged_back"), 0)
    assert balances == PurchaseBalances("p-1", "USD", **nothing | expected)
    assert sum(expected.values()) == 100
    assert sum(account.balance for account in ledger.accounts()) == 0
    assert ledger.audit() == []


@pytest.mark.parametrize(
    ("steps", "last", "code"),
    [
        ([], opened(10), "NO_HOLD"),
        ([], loss(10, "platform_losses"), "NO_HOLD"),
        ([hold()], opened(101), "NOT_ENOUGH_MONEY"),
        ([hold()], opened(1, "in_transit"), "NOT_ENOUGH_MONEY"),
        ([hold()], won(1), "NOT_ENOUGH_MONEY"),
        ([hold()], lost(1), "NOT_ENOUGH_MONEY"),
        ([hold(), opened(60)], won(61), "NOT_ENOUGH_MONEY"),
        ([hold(), opened(60)], lost(61), "NOT_ENOUGH_MONEY"),
        ([hold(), opened(60), won(60)], lost(60), "NOT_ENOUGH_MONEY"),
        ([hold(), opened(60), lost(60)], won(60), "NOT_ENOUGH_MONEY"),
        ([hold(), opened(60)], won(60, "in_transit"), "WRONG_ACCOUNT"),
        ([hold(), decide(100, 0), opened(100, "in_transit")], won(100), "WRONG_ACCOUNT"),
        ([hold(), opened(60)], decide(40, 0), "BANK_DISPUTE_OPEN"),
        ([hold(), elsewhere(30)], elsewhere(71, 2), "NOT_ENOUGH_MONEY"),
        ([hold(), elsewhere(30)], decide(100, 0), "NOT_ENOUGH_MONEY"),
        ([hold(), decide(100, 0)], elsewhere(100), "NOT_ENOUGH_MONEY"),
        ([hold(), decide(100, 0)], returned(1), "NOT_ENOUGH_MONEY"),
        ([hold(), elsewhere(100)], returned(100), "NOT_ENOUGH_MONEY"),
        ([hold(), decide(100, 0), settle(100), returned(60)], returned(41, 2), "NOT_ENOUGH_MONEY"),
        ([hold()], loss(1, "freelancer_receivable"), "NOT_ENOUGH_MONEY"),
        (
            [hold(), decide(60, 40), loss(30, "freelancer_receivable")],
            loss(11, "freelancer_receivable", 2),
            "NOT_ENOUGH_MONEY",
        ),
        ([hold()], moved("refund_returned", "escrow", 1), "INVALID_REQUEST"),
        ([hold(), elsewhere(60)], failed(61), "NOT_ENOUGH_MONEY"),
        ([hold(), elsewhere(60), failed(60)], failed(1, number=2), "NOT_ENOUGH_MONEY"),
        ([hold(), elsewhere(60), decide(40, 0)], failed(60), "WRONG_ACCOUNT"),
        ([hold()], moved("bank_dispute_loss", "escrow", 1), "INVALID_REQUEST"),
        ([hold()], opened(0), "INVALID_AMOUNT"),
    ],
)
def test_a_move_that_cannot_be_is_rejected_until_it_can(
    ledger: Ledger, steps: list[Step], last: Step, code: str
) -> None:
    for step in steps:
        step(ledger)
    before = ledger.accounts()
    assert [code_of(ledger, last), code_of(ledger, last)] == [code, code]
    assert ledger.accounts() == before
    assert ledger.audit() == []


@pytest.mark.parametrize(
    ("steps", "last", "text"),
    [
        (
            [hold(), decide(60, 40), loss(30, "freelancer_receivable")],
            loss(11, "freelancer_receivable", 2),
            "The freelancer of p-1 has 10 USD (minor units), the operation needs 11.",
        ),
        (
            [hold(), decide(100, 0), settle(100), returned(60)],
            returned(41, 2),
            "The client of p-1 has 40 USD (minor units), the operation needs 41.",
        ),
        (
            [hold(), elsewhere(60)],
            failed(61),
            "The client of p-1 has 60 USD (minor units), the operation needs 61.",
        ),
        (
            [hold(), decide(60, 40)],
            settle(61),
            "refunds-in-transit:p-1 has 60 USD (minor units), the operation needs 61.",
        ),
        (
            [hold()],
            moved("bank_dispute_loss", "escrow", 1),
            "A bank_dispute_loss cannot be about escrow: give platform_losses or "
            "freelancer_receivable.",
        ),
    ],
    ids=["owed by the freelancer", "returned", "failed elsewhere", "in transit", "wrong account"],
)
def test_a_rejection_says_who_has_too_little_or_which_account_is_possible(
    ledger: Ledger, steps: list[Step], last: Step, text: str
) -> None:
    for step in steps:
        step(ledger)
    with pytest.raises(LedgerRejected) as rejected:
        last(ledger)
    assert rejected.value.text == text


def test_a_rejected_move_is_posted_when_its_money_is_there(ledger: Ledger) -> None:
    """A ledger that was restored from a backup lacks what came before."""
    for early, missing in ((opened(60), hold()), (won(60), opened(60)), (decide(0, 100), won(60))):
        assert code_of(ledger, early) in ("NO_HOLD", "NOT_ENOUGH_MONEY", "BANK_DISPUTE_OPEN")
        missing(ledger)
    assert decide(0, 100)(ledger)
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 0, 0, 100)


@pytest.mark.parametrize(
    "move",
    [
        moved("bank_dispute_opened", "escrow", 10, currency="EUR"),
        moved("bank_dispute_loss", "platform_losses", 10, currency="EUR"),
    ],
)
def test_a_move_is_in_the_currency_of_the_hold(ledger: Ledger, move: Step) -> None:
    hold()(ledger)
    hold("p-2", currency="EUR")(ledger)
    assert [code_of(ledger, move), code_of(ledger, move)] == ["CURRENCY_MISMATCH"] * 2


def test_a_purchase_may_be_called_like_a_currency(ledger: Ledger) -> None:
    hold("USD")(ledger)
    assert moved("bank_dispute_loss", "platform_losses", 10, purchase_id="USD")(ledger)
    assert ledger.audit() == []


def test_losses_and_receivables_have_accounts_of_their_own(ledger: Ledger) -> None:
    for step in (hold(), decide(60, 40), settle(60), loss(60, "platform_losses")):
        step(ledger)
    loss(40, "freelancer_receivable")(ledger)
    assert {each.account: each.balance for each in ledger.accounts()} == {
        "escrow:p-1": 0,
        "refunds-in-transit:p-1": 0,
        "freelancer-balance:p-1": 40,
        "freelancer-receivable:p-1": -40,
        "platform-losses:USD": -60,
        "provider-clearing:USD": 60,
    }


def test_concurrent_moves_are_applied_as_if_one_after_the_other(ledger: Ledger) -> None:
    """Also the first losses of a currency, which open its account."""
    for purchase in ("p-1", "p-2", "p-3", "p-4"):
        hold(purchase)(ledger)

    def bound(step: Step) -> Callable[[], bool]:
        return lambda: step(ledger)

    losses = [
        moved("bank_dispute_loss", "platform_losses", 10, purchase_id=purchase, key=purchase)
        for purchase in ("p-1", "p-2", "p-3", "p-4")
    ]
    assert race([bound(step) for step in losses]) == {True: 4}
    taken = [opened(60), decide(100, 0), opened(60, number=2), elsewhere(60)]
    assert race([bound(step) for step in taken])[True] == 1
    assert ledger.audit() == []


def test_a_charge_holds_one_purchase(ledger: Ledger, engine: Engine) -> None:
    assert hold(charge="ch_1")(ledger)
    assert not hold(charge="ch_1")(ledger)
    for _ in range(2):
        with pytest.raises(LedgerRejected) as rejected:
            hold("p-2", charge="ch_1")(ledger)
        assert (rejected.value.code, rejected.value.text) == (
            "CHARGE_TAKEN",
            "The charge ch_1 holds purchase p-1, and so cannot hold purchase p-2: give the charge"
            " that was made for it.",
        )
    assert ledger.balances("p-2") is None
    with engine.connect() as connection:
        kept = connection.execute(sa.text("SELECT reference, purchase_id FROM charge")).all()
    assert kept == [("ch_1", "p-1")]


def test_a_charge_without_a_name_is_not_recorded(ledger: Ledger) -> None:
    assert [hold("p-1")(ledger), hold("p-2")(ledger)] == [True, True]


def test_a_rejected_hold_takes_no_charge(ledger: Ledger) -> None:
    hold(charge="ch_1")(ledger)
    again = {"purchase_id": "p-1", "amount": 100, "currency": "USD", "at": AT, "charge": "ch_2"}
    with pytest.raises(LedgerRejected, match="ALREADY_HELD"):
        ledger.hold(key="again", **again)  # type: ignore[arg-type]
    assert hold("p-2", charge="ch_2")(ledger)


def test_of_8_purchases_with_one_charge_one_is_held(ledger: Ledger) -> None:
    def payment(number: int) -> Callable[[], bool]:
        return lambda: hold(f"p-{number}", charge="ch_1")(ledger)

    assert race([payment(number) for number in range(8)]) == {True: 1, "CHARGE_TAKEN": 7}
    assert ledger.audit() == []


def test_a_database_with_purchases_is_migrated(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows stay, and a connection that was open before has the new rules."""
    upgrade = alembic.command.upgrade
    with engine_of(empty_url) as engine, engine_of(empty_url) as other:
        with monkeypatch.context() as before:
            before.setattr("alembic.command.upgrade", lambda config, _: upgrade(config, "0007"))
            migrate(engine)
        script = account("provider-clearing:USD", min_balance="NULL") + new_hold(100).replace(
            ":new", ":p-1"
        ).replace("'new'", "'p-1'")
        run(engine, script)
        with other.connect() as connection:
            connection.execute(sa.text("SELECT * FROM transfer"))
        assert migrate(engine)
        ledger = Ledger(other)
        assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 100, 0, 0, 0)
        assert opened(60)(ledger)
        assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 40, 0, 0, 0, 60)
        assert ledger.audit() == []
