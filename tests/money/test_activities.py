"""The money activities on a real ledger and a real sandbox: money moves once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.database import DatabaseUnreachable, create_engine, migrate
from activities.ledger import LedgerRejected
from activities.money import MoneyActivities
from activities.payments import ProviderRejected, ProviderUnreachable
from activities.requests import (
    ErrorType,
    Model,
    Money,
    RefundRequest,
)
from tests.money.environment import (
    LATER,
    NOW,
    PRICE,
    PURCHASE,
    House,
    decision,
    opened,
    payment,
    refund,
    retried,
    run,
    settlement,
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
    for activity in (house.money.take_payment, house.money.void_payment):
        with pytest.raises(ApplicationError, match="payment provider cannot be reached") as failure:
            retried(activity, request)
        assert failure.value.type == ErrorType.PROVIDER_UNREACHABLE
        assert not failure.value.non_retryable
    assert house.where is None
    assert house.sandbox.charges() == []


def test_a_payment_called_off_in_time_is_never_taken(house: House) -> None:
    assert run(house.money.void_payment, payment()).status == "voided"
    late = run(house.money.take_payment, payment())
    assert (late.status, late.text) == (
        "declined",
        "This charge was voided before it was made.",
    )
    assert house.where is None


@pytest.mark.parametrize("method", ["pm_sandbox_charge_lost", "pm_sandbox_flaky"])
def test_a_payment_that_was_taken_unheard_is_held_instead_of_called_off(
    house: House, method: str
) -> None:
    with pytest.raises(ApplicationError):
        run(house.money.take_payment, payment(method))
    later = payment(method).model_copy(update={"at": NOW + timedelta(hours=1)})
    answer = retried(house.money.void_payment, later)
    assert (answer.status, answer.reference) == ("held", house.sandbox.charges()[0].reference)
    assert retried(house.money.take_payment, payment(method)) == answer
    assert house.where == (25000, 0, 0, 0)


def test_a_charge_of_another_amount_under_the_same_key_is_not_held(house: House) -> None:
    house.sandbox.charge("purchase-p-1/pay", Money(amount=1, currency="USD"), "pm_sandbox_ok", NOW)
    for activity in (house.money.take_payment, house.money.void_payment):
        with pytest.raises(ApplicationError, match="charge of another amount") as failure:
            run(activity, payment())
        assert failure.value.type == ErrorType.PROVIDER_REJECTED
        assert failure.value.non_retryable
    assert house.where is None


# --- Decision, refund, settlement --------------------------------------------------------------


def test_a_decision_is_posted_once(house: House) -> None:
    run(house.money.take_payment, payment())
    assert run(house.money.post_decision, decision(10000, 15000)).created
    assert not run(house.money.post_decision, decision(10000, 15000)).created
    assert house.where == (0, 10000, 0, 15000)


def test_what_the_ledger_refuses_is_not_retried_and_says_why(house: House) -> None:
    for activity, request in (
        (house.money.post_decision, decision()),
        (house.money.post_settlement, settlement()),
    ):
        with pytest.raises(
            ApplicationError, match="The ledger rejected the operation: "
        ) as failure:
            run(activity, request)
        assert failure.value.type == ErrorType.LEDGER_REJECTED
        assert failure.value.details == ("NO_HOLD",)
        assert failure.value.non_retryable


def under_way(house: House, request: RefundRequest) -> None:
    """The refund is on its way: asked again, by Temporal, a day later."""
    with pytest.raises(ApplicationError, match="is on its way") as failure:
        run(house.money.check_refund, request)
    assert failure.value.type == ErrorType.REFUND_PENDING
    assert failure.value.next_retry_delay == timedelta(days=1)
    assert not failure.value.non_retryable


def test_a_later_attempt_asks_how_the_refund_stands_by_then(house: House) -> None:
    run(house.money.take_payment, payment())
    run(house.money.send_refund, refund(house))
    env = ActivityEnvironment()
    env.info = replace(env.info, current_attempt_scheduled_time=LATER)
    assert env.run(house.money.check_refund, refund(house)).status == "settled"


def test_a_refund_is_sent_once_and_settles(house: House) -> None:
    run(house.money.take_payment, payment())
    run(house.money.post_decision, decision())
    sent = run(house.money.send_refund, refund(house))
    assert sent.status == "pending"
    assert run(house.money.send_refund, refund(house)) == sent
    under_way(house, refund(house))
    assert run(house.money.check_refund, refund(house, at=LATER)).status == "settled"
    assert run(house.money.post_settlement, settlement()).created
    assert not run(house.money.post_settlement, settlement()).created
    assert house.where == (0, 0, 25000, 0)
    assert len(house.sandbox.refunds()) == 1


def test_a_refund_that_never_arrived_is_sent_when_checked(house: House) -> None:
    run(house.money.take_payment, payment())
    under_way(house, refund(house, 400))
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


def second_attempt(house: House, **changed: Any) -> RefundRequest:
    first = refund(house, **changed)
    return first.model_copy(
        update={"refund_id": f"{first.refund_id}-2", "earlier": (first.refund_id,)}
    )


def test_a_second_attempt_waits_while_the_first_is_under_way(house: House) -> None:
    """Races, settlement messages: a false report of a failure sends no money twice."""
    run(house.money.take_payment, payment())
    first = run(house.money.send_refund, refund(house, 400))
    again = run(house.money.send_refund, second_attempt(house, amount=400))
    assert (again.status, again.reference) == ("pending", first.reference)
    later = run(house.money.check_refund, second_attempt(house, amount=400, at=LATER))
    assert (later.status, later.reference) == ("settled", first.reference)
    assert len(house.sandbox.refunds()) == 1


def test_a_second_attempt_is_sent_when_the_first_has_failed(house: House) -> None:
    method = "pm_sandbox_refund_fails_once"
    run(house.money.take_payment, payment(method))
    run(house.money.send_refund, refund(house, method=method))
    again = run(house.money.send_refund, second_attempt(house, method=method, at=LATER))
    assert again.status == "pending"
    assert len(house.sandbox.refunds()) == 2


def test_a_refund_above_the_charge_is_refused_by_the_provider(house: House) -> None:
    run(house.money.take_payment, payment())
    with pytest.raises(
        ApplicationError, match="The payment provider rejected the request: "
    ) as failure:
        run(house.money.send_refund, refund(house, 25001))
    assert failure.value.type == ErrorType.PROVIDER_REJECTED
    assert failure.value.non_retryable


def test_a_refund_of_another_amount_under_the_same_id_is_not_taken_for_ours(house: House) -> None:
    run(house.money.take_payment, payment())
    run(house.money.send_refund, refund(house, 400))
    with pytest.raises(ApplicationError, match="refund of another amount") as failure:
        run(house.money.check_refund, refund(house, 500))
    assert failure.value.type == ErrorType.PROVIDER_REJECTED


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
            ProviderRejected("No such PaymentMethod: pm_secret."),
            (
                "The payment provider rejected the request: "
                "No such PaymentMethod: the payment method.",
                ErrorType.PROVIDER_REJECTED,
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
    assert told_by(money.void_payment, payment("pm_secret")) == told
    assert told_by(money.send_refund, refund(house, method="pm_secret")) == told
    assert told_by(money.check_refund, refund(house, method="pm_secret")) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            DatabaseUnreachable("The database cannot be reached: no route."),
            (
                "The database cannot be reached: no route.",
                ErrorType.LEDGER_UNREACHABLE,
                False,
            ),
        ),
        (
            LedgerRejected("ALREADY_HELD", "Another step holds the money."),
            (
                "The ledger rejected the operation: Another step holds the money.",
                ErrorType.LEDGER_REJECTED,
                True,
            ),
        ),
    ],
)
def test_an_error_of_the_ledger_is_told_as_it_is(
    house: House, error: Exception, told: tuple[str, str, bool]
) -> None:
    money = MoneyActivities(cast(Any, Failing(error)), house.sandbox)
    assert told_by(money.take_payment, payment()) == told
    assert told_by(money.void_payment, payment()) == told
    assert told_by(money.post_decision, decision()) == told
    assert told_by(money.post_settlement, settlement()) == told


def test_a_ledger_that_is_not_set_up_yet_is_waited_for(tmp_path: Path) -> None:
    with opened(tmp_path) as house:
        with pytest.raises(ApplicationError, match="recourse setup") as failure:
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
        run(house.money.check_refund, refund(house, 10000, at=LATER))
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
