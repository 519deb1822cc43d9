"""The money activities on a real ledger and a real sandbox: money moves once, whatever breaks."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.ledger import Ledger, LedgerRefused, LedgerUnreachable, create_engine, migrate
from activities.money import MoneyActivities
from activities.payments import ProviderRefused, ProviderUnreachable
from activities.payments.sandbox import SandboxProvider
from activities.requests import (
    DecisionPosting,
    ErrorType,
    Model,
    Money,
    PaymentRequest,
    RefundRequest,
    SettlementPosting,
)

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday
LATER = NOW + timedelta(days=7)
PURCHASE = "p-1"
PRICE = Money(amount=25000, currency="USD")


@dataclass(frozen=True)
class House:
    """One worker's view of the books on disk."""

    ledger: Ledger
    sandbox: SandboxProvider
    money: MoneyActivities

    @property
    def books(self) -> tuple[object, ...]:
        """Everything that ledger and provider have on record."""
        return (
            self.ledger.balances(PURCHASE),
            self.ledger.transfers(PURCHASE),
            self.sandbox.charges(),
            self.sandbox.refunds(),
        )

    @property
    def where(self) -> tuple[int, int, int, int] | None:
        """Held, in transit, refunded, released."""
        money = self.ledger.balances(PURCHASE)
        if money is None:
            return None
        return money.held, money.in_transit, money.refunded, money.released


@contextmanager
def opened(folder: Path, wrap: Callable[[Any], Any] = lambda real: real) -> Iterator[House]:
    """The house over the books in `folder`; the activities see ledger and provider wrapped."""
    engine = create_engine(f"sqlite:///{folder}/ledger.db")
    sandbox = SandboxProvider(folder / "sandbox.db")
    ledger = Ledger(engine)
    try:
        yield House(ledger, sandbox, MoneyActivities(wrap(ledger), wrap(sandbox)))
    finally:
        engine.dispose()
        sandbox.close()


@pytest.fixture(scope="module")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    engine = create_engine(f"sqlite:///{folder}/ledger.db")
    migrate(engine)
    engine.dispose()
    return folder


@pytest.fixture
def folder(empty_books: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty_books, tmp_path / "books"))


@pytest.fixture
def house(folder: Path) -> Iterator[House]:
    with opened(folder) as house:
        yield house


def run(activity: Callable[[Any], Any], request: Model) -> Any:
    return ActivityEnvironment().run(activity, request)


def retried(activity: Callable[[Any], Any], request: Model, attempts: int = 5) -> Any:
    """Run an activity as Temporal does: again, while it fails with something that may pass."""
    for _ in range(attempts - 1):
        try:
            return run(activity, request)
        except ApplicationError as error:
            if error.non_retryable:
                raise
    return run(activity, request)


def payment(method: str = "pm_sandbox_ok", price: Money = PRICE) -> PaymentRequest:
    return PaymentRequest(
        key="purchase-p-1/pay",
        purchase_id=PURCHASE,
        price=price,
        payment_method=method,
        at=NOW,
        calendar="US",
        timezone="UTC",
    )


def decision(refund: int = 25000, release: int = 0) -> DecisionPosting:
    return DecisionPosting(
        key="purchase-p-1/decide",
        purchase_id=PURCHASE,
        refund=refund,
        release=release,
        currency="USD",
        at=NOW,
    )


def refund(
    house: House, amount: int = 25000, method: str = "pm_sandbox_ok", at: datetime = NOW
) -> RefundRequest:
    return RefundRequest(
        refund_id="purchase-p-1/refund-1",
        purchase_id=PURCHASE,
        charge_key="purchase-p-1/pay",
        charge_reference=house.sandbox.charges()[0].reference,
        amount=Money(amount=amount, currency="USD"),
        payment_method=method,
        at=at,
    )


def settlement(amount: int = 25000) -> SettlementPosting:
    return SettlementPosting(
        key="purchase-p-1/settle-1",
        purchase_id=PURCHASE,
        amount=amount,
        currency="USD",
        reference="re_1",
        at=LATER,
    )


# --- Payment -----------------------------------------------------------------------------------


def test_a_payment_is_charged_once_and_held_in_escrow(house: House) -> None:
    first = run(house.money.take_payment, payment())
    assert (first.status, first.reference) == ("held", house.sandbox.charges()[0].reference)
    assert run(house.money.take_payment, payment()) == first
    assert house.where == (25000, 0, 0, 0)
    assert len(house.sandbox.charges()) == len(house.ledger.transfers(PURCHASE)) == 1


def test_a_declined_payment_posts_nothing_and_says_why(house: House) -> None:
    answer = run(house.money.take_payment, payment("pm_sandbox_declined"))
    assert (answer.status, answer.text) == ("declined", "The client's bank declined the charge.")
    assert house.where is None


@pytest.mark.parametrize("method", ["pm_sandbox_charge_lost", "pm_sandbox_flaky"])
def test_a_charge_of_unknown_outcome_is_looked_up_and_never_made_twice(
    house: House, method: str
) -> None:
    with pytest.raises(ApplicationError) as failure:
        run(house.money.take_payment, payment(method))
    assert failure.value.type == ErrorType.PROVIDER_UNREACHABLE
    assert house.where is None
    assert retried(house.money.take_payment, payment(method)).status == "held"
    assert house.where == (25000, 0, 0, 0)
    assert len(house.sandbox.charges()) == 1


def test_while_the_provider_is_unreachable_nothing_is_charged_held_or_called_off(
    house: House,
) -> None:
    request = payment("pm_sandbox_unreachable")
    for activity in (house.money.take_payment, house.money.call_off_payment):
        with pytest.raises(ApplicationError, match="payment provider cannot be reached") as failure:
            retried(activity, request)
        assert failure.value.type == ErrorType.PROVIDER_UNREACHABLE
        assert not failure.value.non_retryable
    assert house.where is None
    assert house.sandbox.charges() == []


def test_a_payment_called_off_in_time_is_never_taken(house: House) -> None:
    assert run(house.money.call_off_payment, payment()).status == "called_off"
    late = run(house.money.take_payment, payment())
    assert (late.status, late.text) == (
        "declined",
        "This charge was called off before it was made.",
    )
    assert house.where is None


@pytest.mark.parametrize("method", ["pm_sandbox_charge_lost", "pm_sandbox_flaky"])
def test_a_payment_that_was_taken_unheard_is_held_instead_of_called_off(
    house: House, method: str
) -> None:
    with pytest.raises(ApplicationError):
        run(house.money.take_payment, payment(method))
    later = payment(method).model_copy(update={"at": NOW + timedelta(hours=1)})
    answer = retried(house.money.call_off_payment, later)
    assert (answer.status, answer.reference) == ("held", house.sandbox.charges()[0].reference)
    assert retried(house.money.take_payment, payment(method)) == answer
    assert house.where == (25000, 0, 0, 0)


def test_a_charge_of_another_amount_under_the_same_key_is_not_held(house: House) -> None:
    house.sandbox.charge("purchase-p-1/pay", Money(amount=1, currency="USD"), "pm_sandbox_ok", NOW)
    for activity in (house.money.take_payment, house.money.call_off_payment):
        with pytest.raises(ApplicationError, match="charge of another amount") as failure:
            run(activity, payment())
        assert failure.value.type == ErrorType.PROVIDER_REFUSED
        assert failure.value.non_retryable
    assert house.where is None


# --- Decision, refund, settlement --------------------------------------------------------------


def test_a_decision_is_posted_once(house: House) -> None:
    run(house.money.take_payment, payment())
    assert run(house.money.post_decision, decision(10000, 15000)).fresh
    assert not run(house.money.post_decision, decision(10000, 15000)).fresh
    assert house.where == (0, 10000, 0, 15000)


def test_what_the_ledger_refuses_is_not_retried_and_says_why(house: House) -> None:
    for activity, request in (
        (house.money.post_decision, decision()),
        (house.money.post_settlement, settlement()),
    ):
        with pytest.raises(ApplicationError, match="The ledger refused: ") as failure:
            run(activity, request)
        assert failure.value.type == ErrorType.LEDGER_REFUSED
        assert failure.value.details == ("NO_HOLD",)
        assert failure.value.non_retryable


def test_a_refund_is_sent_once_and_settles(house: House) -> None:
    run(house.money.take_payment, payment())
    run(house.money.post_decision, decision())
    sent = run(house.money.send_refund, refund(house))
    assert sent.status == "pending"
    assert run(house.money.send_refund, refund(house)) == sent
    assert run(house.money.check_refund, refund(house)) == sent
    assert run(house.money.check_refund, refund(house, at=LATER)).status == "settled"
    assert run(house.money.post_settlement, settlement()).fresh
    assert not run(house.money.post_settlement, settlement()).fresh
    assert house.where == (0, 0, 25000, 0)
    assert len(house.sandbox.refunds()) == 1


def test_a_refund_that_never_arrived_is_sent_when_checked(house: House) -> None:
    run(house.money.take_payment, payment())
    assert run(house.money.check_refund, refund(house, 400)).status == "pending"
    assert [each.amount.amount for each in house.sandbox.refunds()] == [400]


def test_a_refund_whose_answer_was_lost_is_not_sent_again(house: House) -> None:
    retried(house.money.take_payment, payment("pm_sandbox_flaky"))
    with pytest.raises(ApplicationError) as failure:
        run(house.money.send_refund, refund(house))
    assert failure.value.type == ErrorType.PROVIDER_UNREACHABLE
    assert retried(house.money.send_refund, refund(house)).status == "pending"
    assert len(house.sandbox.refunds()) == 1


def test_a_failed_refund_says_why_and_its_money_stays_in_transit(house: House) -> None:
    method = "pm_sandbox_refund_fails_once"
    run(house.money.take_payment, payment(method))
    run(house.money.post_decision, decision())
    run(house.money.send_refund, refund(house, method=method))
    failed = run(house.money.check_refund, refund(house, method=method, at=LATER))
    assert failed.status == "failed"
    assert failed.text.startswith("The client's bank sent the money back")
    assert house.where == (0, 25000, 0, 0)
    again = refund(house, method=method, at=LATER).model_copy(update={"refund_id": "refund-2"})
    assert run(house.money.send_refund, again).status == "pending"


def test_a_refund_above_the_charge_is_refused_by_the_provider(house: House) -> None:
    run(house.money.take_payment, payment())
    with pytest.raises(ApplicationError, match="The payment provider refused: ") as failure:
        run(house.money.send_refund, refund(house, 25001))
    assert failure.value.type == ErrorType.PROVIDER_REFUSED
    assert failure.value.non_retryable


def test_a_refund_of_another_amount_under_the_same_id_is_not_taken_for_ours(house: House) -> None:
    run(house.money.take_payment, payment())
    run(house.money.send_refund, refund(house, 400))
    with pytest.raises(ApplicationError, match="refund of another amount") as failure:
        run(house.money.check_refund, refund(house, 500))
    assert failure.value.type == ErrorType.PROVIDER_REFUSED


def test_workers_that_take_the_same_payment_at_once_take_it_once(folder: Path) -> None:
    def worker(_number: int) -> Any:
        with opened(folder) as house:
            return run(house.money.take_payment, payment())

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(worker, range(12)))
    with opened(folder) as house:
        assert {answer.reference for answer in answers} == {house.sandbox.charges()[0].reference}
        assert len(house.ledger.transfers(PURCHASE)) == len(house.sandbox.charges()) == 1


# --- Crashes -----------------------------------------------------------------------------------


class Crash(Exception):
    """The worker is gone; what it had written is on disk."""


@dataclass
class Fuse:
    """Passes calls on to the real thing and burns at the n-th point: before or after a call."""

    points: int

    def step(self) -> None:
        self.points -= 1
        if self.points == 0:
            raise Crash

    def wrap(self, real: Any) -> Any:
        return Fused(real, self)


@dataclass(frozen=True)
class Fused:
    real: Any
    fuse: Fuse

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.fuse.step()
            answer = getattr(self.real, name)(*args, **named)
            self.fuse.step()
            return answer

        return call


Step = Callable[[House], object]


def step(name: str, request: Callable[[House], Model]) -> Step:
    return lambda house: retried(getattr(house.money, name), request(house))


def story_of_a_refund(method: str) -> list[Step]:
    return [
        step("take_payment", lambda _: payment(method)),
        step("post_decision", lambda _: decision(10000, 15000)),
        step("send_refund", partial(refund, amount=10000, method=method)),
        step("check_refund", partial(refund, amount=10000, method=method, at=LATER)),
        step("post_settlement", lambda _: settlement(10000)),
    ]


STORIES: dict[str, list[Step]] = {
    "refund": story_of_a_refund("pm_sandbox_ok"),
    "refund on a flaky line": story_of_a_refund("pm_sandbox_flaky"),
    "charge whose answer is lost": [
        step("take_payment", lambda _: payment("pm_sandbox_charge_lost"))
    ],
    "declined": [step("take_payment", lambda _: payment("pm_sandbox_declined"))],
    "called off": [step("call_off_payment", lambda _: payment())],
    "charged, then called off": [
        lambda house: house.sandbox.charge("purchase-p-1/pay", PRICE, "pm_sandbox_ok", NOW),
        step("call_off_payment", lambda _: payment()),
        step("take_payment", lambda _: payment()),
    ],
}


def told(story: list[Step], folder: Path, fuse: Fuse) -> tuple[tuple[object, ...], int]:
    """The books at the end of a story, and how often the worker crashed and started anew."""
    crashes = 0
    left = list(story)
    while True:
        with opened(folder, fuse.wrap) as house:
            try:
                while left:
                    left[0](house)
                    del left[0]
                return house.books, crashes
            except Crash:
                crashes += 1


@pytest.mark.parametrize("name", STORIES)
def test_a_crash_before_or_after_any_call_leaves_the_same_books(
    name: str, empty_books: Path, tmp_path: Path
) -> None:
    def books(crash_at: int) -> tuple[tuple[object, ...], int]:
        folder = Path(shutil.copytree(empty_books, tmp_path / str(crash_at)))
        return told(STORIES[name], folder, Fuse(crash_at))

    expected, _ = books(crash_at=0)
    crash_at, crashes = 0, 1
    while crashes:
        crash_at += 1
        ended, crashes = books(crash_at)
        assert ended == expected, f"crash at point {crash_at}"
    assert crash_at > 2, "no call was ever interrupted"


# --- What people and logs are told -------------------------------------------------------------


class Failing:
    """A ledger or provider of which every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_args: Any, **_named: Any) -> Any:
            raise self._error

        return fail


def told_by(activity: Callable[[Any], Any], request: Model) -> tuple[str, str | None, bool]:
    """The sentence, type and finality of the error that an activity fails with."""
    with pytest.raises(ApplicationError) as failure:
        run(activity, request)
    assert failure.value.__cause__ is None, "a cause would be kept in history"
    return failure.value.message, failure.value.type, failure.value.non_retryable


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ProviderUnreachable("no answer about pm_secret"),
            (
                "The payment provider cannot be reached: no answer about the payment method",
                ErrorType.PROVIDER_UNREACHABLE,
                False,
            ),
        ),
        (
            ProviderRefused("No such PaymentMethod: pm_secret."),
            (
                "The payment provider refused: No such PaymentMethod: the payment method.",
                ErrorType.PROVIDER_REFUSED,
                True,
            ),
        ),
    ],
)
def test_an_error_of_the_provider_is_told_without_the_payment_method(
    house: House, error: Exception, told: tuple[str, str, bool]
) -> None:
    money = MoneyActivities(house.ledger, cast(Any, Failing(error)))
    house.sandbox.charge("purchase-p-1/pay", PRICE, "pm_sandbox_ok", NOW)
    assert told_by(money.take_payment, payment("pm_secret")) == told
    assert told_by(money.call_off_payment, payment("pm_secret")) == told
    assert told_by(money.send_refund, refund(house, method="pm_secret")) == told
    assert told_by(money.check_refund, refund(house, method="pm_secret")) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            LedgerUnreachable("The ledger's database cannot be reached: no route."),
            (
                "The ledger's database cannot be reached: no route.",
                ErrorType.LEDGER_UNREACHABLE,
                False,
            ),
        ),
        (
            LedgerRefused("ALREADY_HELD", "Another step holds the money."),
            ("The ledger refused: Another step holds the money.", ErrorType.LEDGER_REFUSED, True),
        ),
    ],
)
def test_an_error_of_the_ledger_is_told_as_it_is(
    house: House, error: Exception, told: tuple[str, str, bool]
) -> None:
    money = MoneyActivities(cast(Any, Failing(error)), house.sandbox)
    assert told_by(money.take_payment, payment()) == told
    assert told_by(money.call_off_payment, payment()) == told
    assert told_by(money.post_decision, decision()) == told
    assert told_by(money.post_settlement, settlement()) == told


def test_a_ledger_that_is_not_set_up_yet_is_waited_for(tmp_path: Path) -> None:
    with opened(tmp_path) as house:
        with pytest.raises(ApplicationError, match="python -m starter setup") as failure:
            run(house.money.take_payment, payment())
        assert failure.value.type == ErrorType.LEDGER_UNREACHABLE
        assert not failure.value.non_retryable
    engine = create_engine(f"sqlite:///{tmp_path}/ledger.db")
    migrate(engine)
    engine.dispose()
    with opened(tmp_path) as house:
        assert run(house.money.take_payment, payment()).status == "held"
        assert len(house.sandbox.charges()) == 1


def test_each_movement_is_one_log_line_without_the_payment_method(house: House) -> None:
    with capture_logs() as lines:
        run(house.money.take_payment, payment())
        run(house.money.post_decision, decision(10000, 15000))
        run(house.money.send_refund, refund(house, 10000))
        run(house.money.check_refund, refund(house, 10000))
        run(house.money.post_settlement, settlement(10000))
    assert [(line["event"], line["amount"]) for line in lines] == [
        ("payment_held", 25000),
        ("decision_posted", 25000),
        ("refund_sent", 10000),
        ("settlement_posted", 10000),
    ]
    assert {(line["purchase_id"], line["currency"]) for line in lines} == {(PURCHASE, "USD")}
    assert all(line["key"].startswith("purchase-p-1/") for line in lines)
    assert "pm_sandbox" not in str(lines)
