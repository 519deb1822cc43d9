"""The provider clearing account of a currency may be split into several."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import alembic.command
import pytest
from sqlalchemy import Engine

from activities.database import migrate
from activities.ledger import Ledger, PurchaseBalances, operations
from activities.ledger.operations import MAX_CLEARING_ACCOUNTS, clearing_accounts
from activities.services import Services, Settings, WrongSetting
from tests.conftest import settings
from tests.ledger.conftest import engine_of
from tests.ledger.test_concurrency import race

AT = datetime(2026, 11, 1, tzinfo=UTC)
LAST = MAX_CLEARING_ACCOUNTS
CHOSEN = ["provider-clearing:USD:3", "provider-clearing:USD:5", "provider-clearing:USD:1"]


def given(purchase: str) -> dict[str, Any]:
    return {"purchase_id": purchase, "currency": "USD", "at": AT}


def hold(ledger: Ledger, purchase: str) -> bool:
    return ledger.hold(key=f"{purchase}/hold", amount=100, **given(purchase))


def decide(ledger: Ledger, purchase: str) -> bool:
    return ledger.decide(key=f"{purchase}/decided", refund=60, release=40, **given(purchase))


def settle(ledger: Ledger, purchase: str) -> bool:
    terms = given(purchase) | {"reference": "re_1"}
    return ledger.settle(key=f"{purchase}/settled", amount=60, **terms)


def move(ledger: Ledger, purchase: str, kind: Any, account: Any, amount: int) -> bool:
    terms = given(purchase) | {"kind": kind, "account": account, "reference": f"{kind} 1"}
    return ledger.provider_moved(key=f"{purchase}/{kind}", amount=amount, **terms)


def clearing(ledger: Ledger) -> dict[str, int]:
    return {
        found.account: found.balance
        for found in ledger.accounts()
        if found.account.startswith("provider-clearing:")
    }


def parts_of(ledger: Ledger, purchase: str) -> set[str]:
    return {
        account
        for transfer in ledger.transfers(purchase)
        for account in (transfer.debit_account, transfer.credit_account)
        if account.startswith("provider-clearing:")
    }


def test_each_purchase_has_one_of_the_clearing_accounts(engine: Engine) -> None:
    """The same from the hold to the settlement, in every process. The first has the name of the
    account that is not split."""
    names = {"provider-clearing:USD", *(f"provider-clearing:USD:{part}" for part in (1, 2, 3))}
    ledger, other_process = Ledger(engine, clearing_accounts=4), Ledger(engine, clearing_accounts=4)
    purchases = [f"p-{number}" for number in range(40)]
    for purchase in purchases:
        assert hold(ledger, purchase)
        assert decide(ledger, purchase)
        assert settle(other_process, purchase)
    assert {len(parts_of(ledger, purchase)) for purchase in purchases} == {1}
    assert clearing(ledger).keys() == names
    assert sum(clearing(ledger).values()) == -40 * (100 - 60)
    assert ledger.audit() == []


def test_a_later_release_chooses_the_same_clearing_account() -> None:
    """Retries may come from two releases at the same time."""
    posted = [
        operations.hold(f"{name}/hold", name, 100, "USD", AT).with_clearing_accounts(8)
        for name in ("p-1", "p-2", "shop:7:p-1")
    ]
    assert [operation.legs[0].debit for operation in posted] == CHOSEN


def test_the_number_may_change_while_money_moves(engine: Engine) -> None:
    """Up and down, also to an account that does not exist yet. A key means the same with every
    number, so a retry is recognised."""
    few, some, many = (Ledger(engine, clearing_accounts=number) for number in (1, 3, LAST))
    purchases = [f"p-{number}" for number in range(10)]
    for purchase in purchases:
        assert hold(many, purchase)
        assert not hold(few, purchase)
        assert decide(some, purchase)
        assert not decide(many, purchase)
        assert settle(few, purchase)
        assert not settle(some, purchase)
        assert move(many, purchase, "refund_returned", "in_transit", 60)
        assert not move(few, purchase, "refund_returned", "in_transit", 60)
    for purchase in purchases:
        assert few.balances(purchase) == PurchaseBalances(purchase, "USD", 0, 60, 0, 40)
    assert sum(clearing(few).values()) == -1000
    assert few.audit() == []
    assert few.audit(datetime.now(UTC) - timedelta(days=1)) == []
    assert few.positions() == many.positions()


def test_an_older_ledger_keeps_its_clearing_account(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their purchases continue after the migration, also at a part of it."""
    upgrade = alembic.command.upgrade
    with engine_of(empty_url) as engine:
        with monkeypatch.context() as before:
            before.setattr("alembic.command.upgrade", lambda config, _: upgrade(config, "0009"))
            migrate(engine)
        hold(Ledger(engine), "p-1")
        assert migrate(engine)
        ledger = Ledger(engine, clearing_accounts=LAST)
        assert not hold(ledger, "p-1")
        assert decide(ledger, "p-1")
        assert settle(ledger, "p-1")
        assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 0, 60, 40)
        assert clearing(ledger)["provider-clearing:USD"] == -100
        assert sum(clearing(ledger).values()) == -40
        assert ledger.audit() == []


def test_every_move_of_the_provider_is_posted_to_a_clearing_account(engine: Engine) -> None:
    """With a number at which no account of the hold is used again, unless by chance."""
    before, ledger = Ledger(engine), Ledger(engine, clearing_accounts=LAST)
    hold(before, "p-1")
    for kind, account, amount in (
        ("bank_dispute_opened", "escrow", 30),
        ("bank_dispute_lost", "escrow", 30),
        ("refunded_elsewhere", "escrow", 20),
        ("refund_elsewhere_failed", "escrow", 20),
        ("bank_dispute_loss", "platform_losses", 5),
    ):
        assert move(ledger, "p-1", kind, account, amount)
    assert sum(clearing(ledger).values()) == -100 + 30 + 5
    assert len(clearing(ledger)) == 2
    assert ledger.audit() == []


def test_a_request_names_the_clearing_account_of_the_currency(
    ledger: Ledger, engine: Engine
) -> None:
    """So what a key stands for is the same with every number; the transfers name the part."""
    hold(Ledger(engine, clearing_accounts=LAST), "p-1")
    hold(ledger, "p-2")
    with engine.connect() as connection:
        requests = [
            row.request.replace("p-2", "p-1")
            for row in connection.exec_driver_sql("SELECT request FROM operation ORDER BY key")
        ]
    assert requests[0] == requests[1]
    assert parts_of(ledger, "p-1") != parts_of(ledger, "p-2") == {"provider-clearing:USD"}


def test_concurrent_operations_with_different_numbers_are_all_applied(engine: Engine) -> None:
    """As during a deploy that changes the number: old and new workers post side by side."""
    ledgers = [Ledger(engine, clearing_accounts=number) for number in (1, 2, 8, LAST)]

    def life(ledger: Ledger, thread: int) -> Callable[[], bool]:
        def run() -> bool:
            mine = [f"p-{thread}-{number}" for number in range(6)]
            return all(
                step(ledger, purchase) for purchase in mine for step in (hold, decide, settle)
            )

        return run

    outcomes = race([life(ledgers[thread % 4], thread) for thread in range(8)])
    assert outcomes == {True: 8}
    assert sum(clearing(ledgers[0]).values()) == -8 * 6 * 40
    assert ledgers[0].audit() == []


@pytest.mark.parametrize("value", ["1", "8", str(LAST)])
def test_a_number_of_clearing_accounts_is_read(value: str) -> None:
    assert clearing_accounts(value) == int(value)


@pytest.mark.parametrize("value", ["0", "-1", "65", "1.5", "many", "", "٣", "1_0", " 8"])
def test_an_invalid_number_of_clearing_accounts_is_rejected(value: str) -> None:
    with pytest.raises(ValueError, match="whole number from 1 to 64"):
        clearing_accounts(value)


def test_a_worker_with_an_invalid_number_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(WrongSetting) as failure:
        Services(replace(settings(tmp_path), clearing_accounts="0"))
    assert str(failure.value) == (
        "RECOURSE_CLEARING_ACCOUNTS: give a whole number from 1 to 64, not '0'."
    )


def test_a_worker_posts_to_as_many_clearing_accounts_as_are_set(tmp_path: Path) -> None:
    environment = {"RECOURSE_CLEARING_ACCOUNTS": "2"}
    number = Settings.from_environment(environment).clearing_accounts
    with closing(Services(replace(settings(tmp_path), clearing_accounts=number))) as services:
        for purchase in (f"p-{number}" for number in range(10)):
            hold(services.ledger, purchase)
        assert len(clearing(services.ledger)) == 2
