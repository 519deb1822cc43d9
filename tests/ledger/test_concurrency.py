"""Concurrent operations have the same result as sequential ones."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

from activities.ledger import Ledger, LedgerRejected, PurchaseBalances

AT = datetime(2026, 11, 1, tzinfo=UTC)


def hold(ledger: Ledger, purchase: str, amount: int = 100) -> bool:
    return ledger.hold(
        key=f"{purchase}/hold", purchase_id=purchase, amount=amount, currency="USD", at=AT
    )


def decide(ledger: Ledger, purchase: str, refund: int, release: int, key: str = "decided") -> bool:
    return ledger.decide(
        key=f"{purchase}/{key}",
        purchase_id=purchase,
        refund=refund,
        release=release,
        currency="USD",
        at=AT,
    )


def settle(ledger: Ledger, purchase: str, amount: int, key: str = "settled") -> bool:
    return ledger.settle(
        key=f"{purchase}/{key}",
        purchase_id=purchase,
        amount=amount,
        currency="USD",
        at=AT,
        reference="re_1",
    )


def race(calls: Sequence[Callable[[], bool]]) -> Counter[bool | str]:
    """Start all calls at the same moment and count their results: True, False or a code."""
    start = Barrier(len(calls))

    def run(call: Callable[[], bool]) -> bool | str:
        start.wait()
        try:
            return call()
        except LedgerRejected as rejected:
            return rejected.code

    with ThreadPoolExecutor(len(calls)) as threads:
        return Counter(threads.map(run, calls))


def test_of_16_calls_with_one_key_one_is_applied(ledger: Ledger) -> None:
    outcomes = race([lambda: hold(ledger, "p-1")] * 16)
    assert outcomes == {True: 1, False: 15}
    assert len(ledger.transfers("p-1")) == 1


def test_of_16_operations_with_one_key_one_is_applied(ledger: Ledger) -> None:
    def claim(number: int) -> Callable[[], bool]:
        purchase = f"p-{number}"
        return lambda: ledger.hold(key="k", purchase_id=purchase, amount=100, currency="USD", at=AT)

    outcomes = race([claim(number) for number in range(16)])
    assert outcomes == {True: 1, "KEY_REUSED": 15}
    assert sum(len(ledger.transfers(f"p-{number}")) for number in range(16)) == 1


def test_of_20_settlements_of_10_from_100_ten_are_applied(ledger: Ledger) -> None:
    hold(ledger, "p-1")
    decide(ledger, "p-1", refund=100, release=0)

    def withdrawal(number: int) -> Callable[[], bool]:
        return lambda: settle(ledger, "p-1", 10, key=f"settled/{number}")

    outcomes = race([withdrawal(number) for number in range(20)])
    assert outcomes == {True: 10, "NOT_ENOUGH_MONEY": 10}
    assert ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 0, 100, 0)


def test_of_two_concurrent_decisions_one_is_applied(ledger: Ledger) -> None:
    hold(ledger, "p-1")
    outcomes = race(
        [
            lambda: decide(ledger, "p-1", refund=100, release=0, key="approved"),
            lambda: decide(ledger, "p-1", refund=0, release=100, key="lapsed"),
        ]
    )
    assert outcomes == {True: 1, "ALREADY_DECIDED": 1}


def test_of_two_concurrent_holds_one_is_applied(ledger: Ledger) -> None:
    def payment(key: str) -> Callable[[], bool]:
        return lambda: ledger.hold(key=key, purchase_id="p-1", amount=9, currency="USD", at=AT)

    assert race([payment("a"), payment("b")]) == {True: 1, "ALREADY_HELD": 1}


def test_concurrent_first_holds_of_a_currency_are_all_applied(ledger: Ledger) -> None:
    """One of them creates the clearing account; the others then lock it one after the other."""

    def payment(number: int, currency: str) -> Callable[[], bool]:
        purchase = f"p-{currency}-{number}"
        return lambda: ledger.hold(
            key=purchase, purchase_id=purchase, amount=9, currency=currency, at=AT
        )

    for currency in ("USD", "EUR", "GBP", "CHF", "SEK", "JPY", "CAD", "PLN"):
        assert race([payment(number, currency) for number in range(8)]) == {True: 8}
    assert ledger.audit() == []


def test_opposite_transfers_from_8_threads_are_all_applied(ledger: Ledger) -> None:
    """Half of the threads move money from clearing, half back to it, through the same purchases in
    opposite order, while a ninth audits."""
    purchases = [f"p-{number}" for number in range(8)]
    for purchase in purchases:
        hold(ledger, f"{purchase}-in", 4)
        decide(ledger, f"{purchase}-in", refund=4, release=0)

    def inwards() -> bool:
        return all(hold(ledger, p) + decide(ledger, p, 60, 40) >= 0 for p in purchases)

    def outwards(thread: int) -> Callable[[], bool]:
        return lambda: all(
            settle(ledger, f"{p}-in", 1, key=f"settled/{thread}") for p in reversed(purchases)
        )

    def auditing() -> bool:
        return all(ledger.audit() == [] for _ in range(10))

    outcomes = race([inwards] * 4 + [outwards(thread) for thread in range(4)] + [auditing])
    assert outcomes == {True: 9}
    assert ledger.audit() == []
    for purchase in purchases:
        assert ledger.balances(purchase) == PurchaseBalances(purchase, "USD", 0, 60, 0, 40)
        settled = PurchaseBalances(f"{purchase}-in", "USD", 0, 0, 4, 0)
        assert ledger.balances(f"{purchase}-in") == settled
