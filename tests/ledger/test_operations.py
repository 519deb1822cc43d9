"""The operations and queries of the ledger."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from activities.database.types import Instant
from activities.ledger import (
    AccountBalance,
    Ledger,
    LedgerRejected,
    PurchaseBalances,
    Transfer,
    operations,
    schema,
)
from activities.ledger.audit import WHAT_TO_DO, Check
from activities.requests import Difference

AT = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)


def hold(
    ledger: Ledger,
    amount: int = 100,
    purchase: str = "p-1",
    currency: str = "USD",
    at: datetime = AT,
    key: str = "",
) -> bool:
    key = key or f"{purchase}/hold"
    return ledger.hold(key=key, purchase_id=purchase, amount=amount, currency=currency, at=at)


def decide(ledger: Ledger, refund: int, release: int, key: str = "p-1/decision") -> bool:
    return ledger.decide(
        key=key, purchase_id="p-1", refund=refund, release=release, currency="USD", at=AT
    )


def settle(ledger: Ledger, amount: int, key: str = "p-1/settled") -> bool:
    return ledger.settle(
        key=key, purchase_id="p-1", amount=amount, currency="USD", at=AT, reference="re_1"
    )


def test_money_moves_through_escrow_to_client_and_freelancer(ledger: Ledger) -> None:
    assert hold(ledger)
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 100, 0, 0, 0)
    assert decide(ledger, refund=60, release=40)
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 60, 0, 40)
    assert settle(ledger, 60)
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 0, 60, 40)
    assert ledger.accounts() == [
        AccountBalance("escrow:p-1", "USD", 0),
        AccountBalance("freelancer-balance:p-1", "USD", 40),
        AccountBalance("provider-clearing:USD", "USD", -40),
        AccountBalance("refunds-in-transit:p-1", "USD", 0),
    ]
    assert ledger.audit() == []


def test_each_leg_is_one_transfer_between_two_accounts(ledger: Ledger) -> None:
    hold(ledger)
    decide(ledger, refund=60, release=40)
    assert ledger.transfers("p-1") == [
        Transfer("p-1/hold", 1, "provider-clearing:USD", "escrow:p-1", "USD", 100, AT),
        Transfer("p-1/decision", 1, "escrow:p-1", "refunds-in-transit:p-1", "USD", 60, AT),
        Transfer("p-1/decision", 2, "escrow:p-1", "freelancer-balance:p-1", "USD", 40, AT),
    ]


@pytest.mark.parametrize(("refund", "release"), [(100, 0), (0, 100)])
def test_an_amount_of_zero_has_no_leg(ledger: Ledger, refund: int, release: int) -> None:
    hold(ledger)
    decide(ledger, refund, release)
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, refund, 0, release)
    assert len(ledger.transfers("p-1")) == 2


def test_a_purchase_without_a_hold_has_no_balances(ledger: Ledger) -> None:
    assert ledger.balances("p-1") is None
    assert ledger.transfers("p-1") == []


def test_the_largest_amount_is_exact(ledger: Ledger) -> None:
    largest = 2**53 - 1
    hold(ledger, amount=largest)
    hold(ledger, amount=largest, purchase="p-2")
    decide(ledger, refund=1, release=largest - 1)
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 1, 0, largest - 1)
    assert ledger.audit() == []


def test_a_refund_may_settle_in_parts_but_not_twice(ledger: Ledger) -> None:
    hold(ledger)
    decide(ledger, refund=100, release=0)
    assert settle(ledger, 70, key="p-1/settled/1")
    with pytest.raises(LedgerRejected, match="NOT_ENOUGH_MONEY"):
        settle(ledger, 70, key="p-1/settled/2")
    assert settle(ledger, 30, key="p-1/settled/3")
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 0, 100, 0)


def test_a_retry_is_answered_and_moves_no_money(ledger: Ledger) -> None:
    assert [hold(ledger), hold(ledger)] == [True, False]
    assert [decide(ledger, 60, 40), decide(ledger, 60, 40)] == [True, False]
    assert [settle(ledger, 60), settle(ledger, 60)] == [True, False]
    assert len(ledger.transfers("p-1")) == 4


def test_the_first_instant_is_kept_in_utc(ledger: Ledger) -> None:
    lisbon = AT.astimezone(timezone(timedelta(hours=1)))
    assert hold(ledger, at=lisbon)
    assert not hold(ledger, at=AT + timedelta(days=1))
    assert [transfer.created_at for transfer in ledger.transfers("p-1")] == [AT]
    assert ledger.transfers("p-1")[0].created_at.tzinfo is UTC


def test_a_key_belongs_to_one_operation(ledger: Ledger) -> None:
    hold(ledger)
    requests: tuple[Callable[[], bool], ...] = (
        lambda: hold(ledger, amount=101),
        lambda: hold(ledger, currency="EUR"),
        lambda: decide(ledger, 100, 0, key="p-1/hold"),
        lambda: settle(ledger, 100, key="p-1/hold"),
    )
    for request in requests:
        with pytest.raises(LedgerRejected, match="KEY_REUSED"):
            request()
    assert len(ledger.transfers("p-1")) == 1


def test_a_rejection_by_circumstances_is_asked_again(ledger: Ledger) -> None:
    """After a restore the ledger misses a hold for a while; the decision is posted after it."""
    with pytest.raises(LedgerRejected, match="NO_HOLD"):
        decide(ledger, refund=100, release=0)
    with pytest.raises(LedgerRejected, match="NO_HOLD"):
        settle(ledger, 100)
    hold(ledger)
    with pytest.raises(LedgerRejected, match="NOT_ENOUGH_MONEY"):
        settle(ledger, 100)
    assert decide(ledger, refund=100, release=0)
    assert settle(ledger, 100)
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 0, 100, 0)
    assert ledger.audit() == []


def test_a_rejection_that_nothing_can_change_keeps_its_key(ledger: Ledger) -> None:
    hold(ledger)
    decide(ledger, refund=100, release=0)
    for _ in range(2):
        with pytest.raises(LedgerRejected, match="ALREADY_DECIDED: Purchase p-1 has a decision"):
            decide(ledger, refund=0, release=100, key="again")
    with pytest.raises(LedgerRejected, match="KEY_REUSED"):
        decide(ledger, refund=60, release=40, key="again")


@pytest.mark.parametrize(
    ("code", "refund", "release", "currency"),
    [
        ("NOT_ENOUGH_MONEY", 101, 0, "USD"),
        ("NOT_ENOUGH_MONEY", 60, 41, "USD"),
        ("MONEY_LEFT_OVER", 60, 39, "USD"),
        ("CURRENCY_MISMATCH", 60, 40, "EUR"),
    ],
)
def test_a_decision_must_move_the_whole_escrow(
    ledger: Ledger, code: str, refund: int, release: int, currency: str
) -> None:
    hold(ledger)
    decision = {"purchase_id": "p-1", "refund": refund, "release": release, "currency": currency}
    for _ in range(2):
        with pytest.raises(LedgerRejected) as rejected:
            ledger.decide(key="d", at=AT, **decision)  # type: ignore[arg-type]
        assert rejected.value.code == code
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 100, 0, 0, 0)


def test_a_purchase_has_one_hold_and_one_decision(ledger: Ledger) -> None:
    hold(ledger)
    with pytest.raises(LedgerRejected, match="ALREADY_HELD"):
        ledger.hold(key="again", purchase_id="p-1", amount=100, currency="USD", at=AT)
    decide(ledger, refund=60, release=40)
    with pytest.raises(LedgerRejected, match="ALREADY_DECIDED"):
        decide(ledger, refund=0, release=100, key="again/2")


def test_a_settlement_needs_a_refund_in_transit(ledger: Ledger) -> None:
    with pytest.raises(LedgerRejected, match="NO_HOLD"):
        settle(ledger, 1, key="early")
    hold(ledger)
    with pytest.raises(LedgerRejected, match="NOT_ENOUGH_MONEY"):
        settle(ledger, 1)


@pytest.mark.parametrize("amount", [0, -1, 2**53, 1.5, 1.0, True, "100", None])
def test_an_invalid_amount_is_rejected_and_uses_no_key(ledger: Ledger, amount: object) -> None:
    with pytest.raises(LedgerRejected, match="INVALID_AMOUNT"):
        hold(ledger, amount=amount)  # type: ignore[arg-type]
    assert hold(ledger, amount=100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ""},
        {"key": "a\0b"},
        {"purchase_id": ""},
        {"purchase_id": "a\ud800"},
        {"currency": "usd"},
        {"currency": "US"},
        {"at": datetime(2026, 11, 1)},  # noqa: DTZ001
    ],
)
def test_an_invalid_request_is_rejected(ledger: Ledger, wrong: dict[str, object]) -> None:
    right = {"key": "k", "purchase_id": "p-1", "amount": 100, "currency": "USD", "at": AT}
    with pytest.raises(LedgerRejected, match="INVALID_REQUEST"):
        ledger.hold(**(right | wrong))  # type: ignore[arg-type]
    assert ledger.accounts() == []


def test_a_decision_of_zero_is_rejected(ledger: Ledger) -> None:
    hold(ledger)
    with pytest.raises(LedgerRejected, match="INVALID_AMOUNT"):
        decide(ledger, refund=0, release=0)
    with pytest.raises(LedgerRejected, match="INVALID_AMOUNT"):
        decide(ledger, refund=-1, release=101)


def test_purchases_in_different_currencies_are_separate(ledger: Ledger) -> None:
    hold(ledger)
    hold(ledger, purchase="p-2", currency="JPY", amount=7)
    clearing = {a.account: a.balance for a in ledger.accounts() if "clearing" in a.account}
    assert clearing == {"provider-clearing:USD": -100, "provider-clearing:JPY": -7}
    assert ledger.audit() == []


def test_each_operation_is_recorded_with_its_result(ledger: Ledger, engine: Engine) -> None:
    started = datetime.now(UTC) - timedelta(seconds=1)
    hold(ledger)
    with pytest.raises(LedgerRejected) as rejected:
        hold(ledger, key="again")
    table = schema.operation
    with engine.connect() as connection:
        applied, rejection = connection.execute(sa.select(table).order_by(table.c.status)).all()
    assert (applied.status, applied.legs, applied.code, applied.at) == ("applied", 1, None, AT)
    assert (rejection.status, rejection.legs, rejection.code) == (
        "rejected",
        None,
        "ALREADY_HELD",
    )
    assert rejection.reason == rejected.value.text
    assert '"amount":100' in rejection.request
    assert started < rejection.recorded_at < datetime.now(UTC) + timedelta(seconds=1)


def test_a_snapshot_is_the_whole_ledger_at_one_moment(ledger: Ledger) -> None:
    """Accounts and purchases by name, the proof of each settlement, and the differences."""
    for purchase in ("p-2", "p-1"):
        hold(ledger, purchase=purchase)
    decide(ledger, refund=60, release=40)
    with pytest.raises(LedgerRejected, match="CURRENCY_MISMATCH"):
        ledger.settle(
            key="in-euros", purchase_id="p-1", amount=60, currency="EUR", at=AT, reference="no"
        )
    before = ledger.snapshot()
    assert before.proofs == {}
    settle(ledger, 60)
    snapshot = ledger.snapshot()
    assert snapshot.accounts == tuple(ledger.accounts())
    assert [account.account for account in snapshot.accounts] == [
        "escrow:p-1",
        "escrow:p-2",
        "freelancer-balance:p-1",
        "freelancer-balance:p-2",
        "provider-clearing:USD",
        "refunds-in-transit:p-1",
        "refunds-in-transit:p-2",
    ]
    assert snapshot.purchases == (
        PurchaseBalances("p-1", "USD", 0, 0, 60, 40),
        PurchaseBalances("p-2", "USD", 100, 0, 0, 0),
    )
    assert snapshot.proofs == {"p-1": "re_1"}
    assert snapshot.differences == ()


def test_a_snapshot_contains_the_differences(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as the audit finds."""
    always = Check("purchase", "{0} is wrong.", "SELECT DISTINCT purchase_id FROM transfer")
    monkeypatch.setattr("activities.ledger.audit.CHECKS", (always,))
    hold(ledger)
    assert ledger.snapshot().differences == (
        Difference(purchase_id="p-1", what="p-1 is wrong.", what_to_do=WHAT_TO_DO),
    )


def test_the_hash_of_a_request_is_the_same_in_every_release() -> None:
    """A retry in a new release must match what an older release recorded."""
    request = operations.settle("k", "p-1", 100, "USD", AT, "re_1")
    assert request.request == (
        '{"currency":"USD","kind":"settled","legs":[{"amount":100,'
        '"credit":"provider-clearing:USD","debit":"refunds-in-transit:p-1"}],'
        '"purchase_id":"p-1","reference":"re_1"}'
    )
    assert request.request_hash == (
        "a109b7846e7e1f3b4e32a93c233b41787939de88e496b80bf0d5255de25591f4"
    )
    later = operations.settle("k", "p-1", 100, "USD", AT + timedelta(days=1), "re_2")
    assert later.request_hash == request.request_hash


def test_instants_do_not_depend_on_the_zone_of_the_machine(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        hold(ledger)
        assert [transfer.created_at for transfer in ledger.transfers("p-1")] == [AT]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_a_missing_instant_is_none(ledger: Ledger, engine: Engine) -> None:
    instant = Instant()
    assert instant.process_bind_param(None, engine.dialect) is None
    assert instant.process_result_value(None, engine.dialect) is None


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_sqlite_keeps_instants_as_rfc_3339(ledger: Ledger, engine: Engine) -> None:
    hold(ledger)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT created_at FROM transfers")) == (
            "2026-11-01T12:30:15.123456Z"
        )
