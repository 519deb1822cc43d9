"""The sandbox provider: records, idempotency keys and magic payment methods."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import activities
from activities.payments import (
    ChargeResult,
    PaymentProvider,
    ProviderRejected,
    ProviderUnreachable,
)
from activities.payments.sandbox import SandboxProvider
from activities.requests import Money
from workflows.activity_calls import LONGEST_REASON

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday
PRICE = Money(amount=25000, currency="USD")
KEY = "purchase-p-1/pay"
DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "sandbox.db"


@pytest.fixture
def sandbox(path: Path) -> Iterator[SandboxProvider]:
    provider = SandboxProvider(path)
    yield provider
    provider.close()


def usd(amount: int) -> Money:
    return Money(amount=amount, currency="USD")


def charged(provider: PaymentProvider, method: str = "pm_sandbox_ok", key: str = KEY) -> str:
    """Charge the price; return the reference."""
    return provider.charge(key, PRICE, method, NOW).reference


# --- Charges -----------------------------------------------------------------------------------


def test_a_charge_takes_the_price_and_can_be_looked_up(sandbox: SandboxProvider) -> None:
    assert sandbox.find_charge(KEY) is None
    result = sandbox.charge(KEY, PRICE, "pm_sandbox_ok", NOW)
    assert result == ChargeResult("succeeded", PRICE, result.reference)
    assert sandbox.find_charge(KEY) == result
    (charge,) = sandbox.charges()
    assert (charge.key, charge.status, charge.amount, charge.made_at) == (
        KEY,
        "succeeded",
        PRICE,
        NOW,
    )


def test_the_same_key_and_request_is_one_charge_with_one_answer(sandbox: SandboxProvider) -> None:
    first = sandbox.charge(KEY, PRICE, "pm_sandbox_ok", NOW)
    assert sandbox.charge(KEY, PRICE, "pm_sandbox_ok", NOW + DAY) == first
    assert len(sandbox.charges()) == 1


@pytest.mark.parametrize(
    ("amount", "method"),
    [
        (usd(24999), "pm_sandbox_ok"),
        (Money(amount=25000, currency="EUR"), "pm_sandbox_ok"),
        (PRICE, "pm_sandbox_slow"),
    ],
)
def test_the_same_key_for_another_request_is_rejected(
    sandbox: SandboxProvider, amount: Money, method: str
) -> None:
    charged(sandbox)
    with pytest.raises(ProviderRejected, match="belongs to another charge"):
        sandbox.charge(KEY, amount, method, NOW)
    assert [charge.amount for charge in sandbox.charges()] == [PRICE]


def test_a_declined_charge_is_final(sandbox: SandboxProvider) -> None:
    result = sandbox.charge(KEY, PRICE, "pm_sandbox_declined", NOW)
    assert (result.status, result.charged) == ("declined", None)
    assert result.text == "The client's bank declined the charge."
    assert sandbox.charge(KEY, PRICE, "pm_sandbox_declined", NOW) == result
    assert sandbox.find_charge(KEY) == result
    assert sandbox.void(KEY, PRICE, "pm_sandbox_ok", NOW) is None


def test_an_unknown_payment_method_is_declined_with_where_the_known_ones_are(
    sandbox: SandboxProvider,
) -> None:
    """In a sentence that is short enough to reach people whole."""
    result = sandbox.charge(KEY, PRICE, "4242 4242 4242 4242", NOW)
    assert result.status == "declined"
    assert "Use pm_sandbox_ok, or another one of docs/sandbox.md." in result.text
    assert len(result.text) <= LONGEST_REASON
    assert "4242" not in result.text


# --- Void --------------------------------------------------------------------------------------


def test_a_charge_voided_before_it_arrives_is_never_made(sandbox: SandboxProvider) -> None:
    assert sandbox.void(KEY, PRICE, "pm_sandbox_ok", NOW) is None
    assert sandbox.void(KEY, PRICE, "pm_sandbox_ok", NOW) is None
    late = sandbox.charge(KEY, PRICE, "pm_sandbox_ok", NOW + DAY)
    assert (late.status, late.charged) == ("declined", None)
    assert late.text == "This charge was voided before it was made."
    assert sandbox.find_charge(KEY) == late
    assert [charge.status for charge in sandbox.charges()] == ["void"]


def test_a_charge_that_was_made_cannot_be_voided(sandbox: SandboxProvider) -> None:
    result = sandbox.charge(KEY, PRICE, "pm_sandbox_ok", NOW)
    assert sandbox.void(KEY, PRICE, "pm_sandbox_ok", NOW) == result
    assert sandbox.find_charge(KEY) == result


def test_a_charge_racing_its_void_is_either_made_and_found_or_never_made(
    sandbox: SandboxProvider,
) -> None:
    with ThreadPoolExecutor(8) as pool:
        for n in range(20):
            key = f"race-{n}"
            charging = [
                pool.submit(sandbox.charge, key, PRICE, "pm_sandbox_ok", NOW) for _ in range(2)
            ]
            voiding = [
                pool.submit(sandbox.void, key, PRICE, "pm_sandbox_ok", NOW) for _ in range(2)
            ]
            made = {each.result().status == "succeeded" for each in charging}
            found = {each.result() is not None for each in voiding}
            assert made == found
            assert len(made) == 1


# --- Refunds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "made", "settled"),
    [
        ("pm_sandbox_ok", "2026-03-02T09:00Z", "2026-03-05T12:00Z"),
        ("pm_sandbox_ok", "2026-03-05T23:59Z", "2026-03-10T12:00Z"),  # over a weekend
        ("pm_sandbox_ok", "2026-12-23T09:00Z", "2026-12-29T12:00Z"),  # and a bank holiday
        ("pm_sandbox_slow", "2026-03-02T09:00Z", "2026-03-16T12:00Z"),  # the tenth
    ],
)
def test_a_refund_settles_at_noon_of_the_third_business_day(
    sandbox: SandboxProvider, method: str, made: str, settled: str
) -> None:
    at, arrives = datetime.fromisoformat(made), datetime.fromisoformat(settled)
    charge = charged(sandbox, method)
    assert sandbox.find_refund("r-1", charge, at) is None
    first = sandbox.refund("r-1", charge, PRICE, at)
    assert (first.status, first.amount) == ("pending", PRICE)
    assert sandbox.find_refund("r-1", charge, arrives - timedelta(seconds=1)) == first
    last = sandbox.find_refund("r-1", charge, arrives)
    assert last is not None
    assert (last.status, last.reference) == ("settled", first.reference)


def test_a_refund_may_settle_at_once(sandbox: SandboxProvider) -> None:
    """As at a real provider, whose first answer usually is `settled`."""
    charge = charged(sandbox, "pm_sandbox_at_once")
    assert sandbox.refund("r-1", charge, PRICE, NOW).status == "settled"


def test_the_same_refund_id_is_one_refund_whose_status_follows_time(
    sandbox: SandboxProvider,
) -> None:
    charge = charged(sandbox)
    assert sandbox.refund("r-1", charge, PRICE, NOW).status == "pending"
    assert sandbox.refund("r-1", charge, PRICE, NOW + 4 * DAY).status == "settled"
    (refund,) = sandbox.refunds()
    assert (refund.charge_reference, refund.amount, refund.made_at) == (charge, PRICE, NOW)


def test_the_same_refund_id_for_another_refund_is_rejected(sandbox: SandboxProvider) -> None:
    charge, other = charged(sandbox), charged(sandbox, key="purchase-p-2/pay")
    sandbox.refund("r-1", charge, usd(100), NOW)
    for reference, amount in ((charge, usd(101)), (other, usd(100))):
        with pytest.raises(ProviderRejected, match="belongs to another refund"):
            sandbox.refund("r-1", reference, amount, NOW)


def test_partial_refunds_may_not_exceed_the_charge(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    sandbox.refund("r-1", charge, usd(10000), NOW)
    sandbox.refund("r-2", charge, usd(14999), NOW)
    with pytest.raises(
        ProviderRejected, match=r"refund of 2 exceeds the remaining charge of 1 of 25000"
    ):
        sandbox.refund("r-3", charge, usd(2), NOW)
    sandbox.refund("r-4", charge, usd(1), NOW)
    assert sum(refund.amount.amount for refund in sandbox.refunds()) == PRICE.amount


def test_an_unknown_charge_cannot_be_refunded(sandbox: SandboxProvider) -> None:
    declined = sandbox.charge("declined", PRICE, "pm_sandbox_declined", NOW).reference
    sandbox.void("void", PRICE, "pm_sandbox_ok", NOW)
    void = sandbox.charge("void", PRICE, "pm_sandbox_ok", NOW).reference
    for reference in (declined, void, "ch_unheard_of"):
        with pytest.raises(ProviderRejected, match="does not know this charge"):
            sandbox.refund("r-1", reference, PRICE, NOW)
    with pytest.raises(ProviderRejected, match="charge is in USD, the refund in EUR"):
        sandbox.refund("r-1", charged(sandbox), Money(amount=1, currency="EUR"), NOW)
    assert sandbox.refunds() == []


@pytest.mark.parametrize(
    ("method", "outcomes"),
    [
        ("pm_sandbox_refund_fails", ["failed", "failed", "failed"]),
        ("pm_sandbox_refund_fails_once", ["failed", "settled"]),
        ("pm_sandbox_refund_fails_twice", ["failed", "failed", "settled"]),
    ],
)
def test_a_failing_refund_is_pending_for_a_day_and_can_then_be_retried(
    sandbox: SandboxProvider, method: str, outcomes: list[str]
) -> None:
    charge = charged(sandbox, method)
    for n, outcome in enumerate(outcomes):
        at = NOW + n * 7 * DAY
        assert sandbox.refund(f"r-{n}", charge, PRICE, at).status == "pending"
        while_pending = sandbox.find_refund(f"r-{n}", charge, at + DAY - timedelta(seconds=1))
        later = sandbox.find_refund(f"r-{n}", charge, at + 4 * DAY)
        assert while_pending is not None
        assert later is not None
        assert (while_pending.status, later.status) == ("pending", outcome)
        assert bool(later.text) == (outcome == "failed")


def test_a_refund_cannot_be_retried_while_the_first_is_pending(
    sandbox: SandboxProvider,
) -> None:
    charge = charged(sandbox, "pm_sandbox_refund_fails_once")
    sandbox.refund("r-1", charge, PRICE, NOW)
    with pytest.raises(ProviderRejected, match="0 of 25000"):
        sandbox.refund("r-2", charge, PRICE, NOW + DAY - timedelta(seconds=1))


# --- Unknown is not failed ---------------------------------------------------------------------


def test_an_unreachable_provider_charges_nothing(
    sandbox: SandboxProvider,
) -> None:
    for _ in range(2):
        with pytest.raises(ProviderUnreachable):
            sandbox.charge(KEY, PRICE, "pm_sandbox_unreachable", NOW)
        with pytest.raises(ProviderUnreachable):
            sandbox.find_charge(KEY)
        with pytest.raises(ProviderUnreachable):
            sandbox.void(KEY, PRICE, "pm_sandbox_ok", NOW)
    assert sandbox.charges() == []


def test_a_charge_whose_answer_is_lost_is_made_once_and_found(sandbox: SandboxProvider) -> None:
    for _ in range(2):
        with pytest.raises(ProviderUnreachable):
            sandbox.charge(KEY, PRICE, "pm_sandbox_charge_lost", NOW)
    found = sandbox.find_charge(KEY)
    assert found is not None
    assert found.charged == PRICE
    assert sandbox.void(KEY, PRICE, "pm_sandbox_ok", NOW) == found
    assert len(sandbox.charges()) == 1


def test_a_flaky_provider_answers_from_the_second_call_on(
    sandbox: SandboxProvider,
) -> None:
    def twice(call: str, *args: object) -> object:
        with pytest.raises(ProviderUnreachable):
            getattr(sandbox, call)(*args)
        return getattr(sandbox, call)(*args)

    charge = twice("charge", KEY, PRICE, "pm_sandbox_flaky", NOW)
    assert isinstance(charge, ChargeResult)
    assert twice("find_charge", KEY) == charge
    assert twice("void", KEY, PRICE, "pm_sandbox_ok", NOW) == charge
    refund = twice("refund", "r-1", charge.reference, PRICE, NOW)
    assert twice("find_refund", "r-1", charge.reference, NOW) == refund
    assert (len(sandbox.charges()), len(sandbox.refunds())) == (1, 1)


def test_an_unusable_file_is_an_unreachable_provider(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnreachable, match="cannot be used"):
        SandboxProvider(tmp_path)


# --- Processes ---------------------------------------------------------------------------------

CHARGE_MANY = """
import sys
from datetime import UTC, datetime
from activities.payments.sandbox import SandboxProvider
from activities.requests import Money
from workflows.activity_calls import LONGEST_REASON

provider = SandboxProvider(sys.argv[1])
for n in range(int(sys.argv[2])):
    key, price = f"key-{n}", Money(amount=25000, currency="USD")
    result = provider.charge(key, price, "pm_sandbox_ok", datetime.now(UTC))
    provider.refund(f"refund-{n}", result.reference, price, datetime.now(UTC))
    print(key, flush=True)
"""


def charging_process(path: Path, charges: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CHARGE_MANY, str(path), str(charges)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(activities.__path__[0]).parent,
    )


def test_several_processes_with_the_same_keys_make_each_charge_once(path: Path) -> None:
    processes = [charging_process(path, 30) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=30)
    assert [process.returncode for process in processes] == [0, 0, 0]
    sandbox = SandboxProvider(path)
    assert sorted(charge.key for charge in sandbox.charges()) == sorted(
        f"key-{n}" for n in range(30)
    )
    assert len(sandbox.refunds()) == 30
    sandbox.close()


def test_opening_a_new_file_waits_for_a_process_that_creates_it(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # SQLite's busy timeout does not apply to the switch to WAL
    done = threading.Timer(0.1, other.close)
    done.start()
    sandbox = SandboxProvider(path)
    done.join()
    assert sandbox.charges() == []
    sandbox.close()


def test_answered_calls_survive_kill_9(path: Path) -> None:
    with charging_process(path, 100_000) as process:
        assert process.stdout is not None
        answered = [process.stdout.readline().strip() for _ in range(20)]
        process.kill()
        process.stdout.read()
    sandbox = SandboxProvider(path)
    kept = [charge.key for charge in sandbox.charges()]
    assert kept[:20] == answered
    assert len(kept) == len(set(kept))
    assert sandbox.charge("key-0", PRICE, "pm_sandbox_ok", NOW).charged == PRICE
    sandbox.close()
