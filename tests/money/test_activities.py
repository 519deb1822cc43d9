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

from activities import amounts
from activities.database import DatabaseUnreachable, create_engine, migrate
from activities.ledger import LedgerRejected
from activities.money import MoneyActivities
from activities.payments import ProviderRejected, ProviderUnreachable
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import (
    ErrorType,
    Model,
    Money,
    RefundRequest,
)
from activities.restore import post
from tests.money.environment import (
    LATER,
    NOW,
    PRICE,
    PURCHASE,
    Environment,
    decision,
    opened,
    payment,
    refund,
    retried,
    run,
    settlement,
)

# --- Payment -----------------------------------------------------------------------------------


def test_a_payment_is_charged_once_and_held_in_escrow(environment: Environment) -> None:
    first = run(environment.money.take_payment, payment())
    assert (first.status, first.reference) == ("held", environment.sandbox.charges()[0].reference)
    assert run(environment.money.take_payment, payment()) == first
    assert environment.balances == (25000, 0, 0, 0)
    assert len(environment.sandbox.charges()) == len(environment.ledger.transfers(PURCHASE)) == 1


def test_a_declined_payment_posts_nothing_and_says_why(environment: Environment) -> None:
    answer = run(environment.money.take_payment, payment("pm_sandbox_declined"))
    assert (answer.status, answer.text) == ("declined", "The client's bank declined the charge.")
    assert environment.balances is None


def test_a_withdrawn_currency_is_charged_to_nobody_but_a_charge_made_before_counts(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check comes after the search for the charge of an earlier attempt."""
    held = run(environment.money.take_payment, payment())
    monkeypatch.setattr(amounts, "WITHDRAWN", {"USD"})
    assert run(environment.money.take_payment, payment()) == held
    another = payment().model_copy(update={"key": "purchase-p-2/pay", "purchase_id": "p-2"})
    with pytest.raises(ApplicationError, match="USD is no longer in use") as failure:
        run(environment.money.take_payment, another)
    assert (failure.value.type, failure.value.non_retryable) == ("WITHDRAWN_CURRENCY", True)
    assert len(environment.sandbox.charges()) == 1


@pytest.mark.parametrize("method", ["pm_sandbox_charge_lost", "pm_sandbox_flaky"])
def test_a_charge_of_unknown_outcome_is_looked_up_and_never_made_twice(
    environment: Environment, method: str
) -> None:
    with pytest.raises(ApplicationError) as failure:
        run(environment.money.take_payment, payment(method))
    assert failure.value.type == ErrorType.PROVIDER_UNREACHABLE
    assert environment.balances is None
    assert retried(environment.money.take_payment, payment(method)).status == "held"
    assert environment.balances == (25000, 0, 0, 0)
    assert len(environment.sandbox.charges()) == 1


def test_while_the_provider_is_unreachable_nothing_is_charged_held_or_voided(
    environment: Environment,
) -> None:
    request = payment("pm_sandbox_unreachable")
    for activity in (environment.money.take_payment, environment.money.void_payment):
        with pytest.raises(ApplicationError, match="payment provider cannot be reached") as failure:
            retried(activity, request)
        assert failure.value.type == ErrorType.PROVIDER_UNREACHABLE
        assert not failure.value.non_retryable
    assert environment.balances is None
    assert environment.sandbox.charges() == []


def test_a_payment_voided_in_time_is_never_charged(environment: Environment) -> None:
    assert run(environment.money.void_payment, payment()).status == "voided"
    late = run(environment.money.take_payment, payment())
    assert (late.status, late.text) == (
        "declined",
        "This charge was voided before it was made.",
    )
    assert environment.balances is None


@pytest.mark.parametrize("method", ["pm_sandbox_charge_lost", "pm_sandbox_flaky"])
def test_a_payment_that_was_charged_already_is_held_not_voided(
    environment: Environment, method: str
) -> None:
    with pytest.raises(ApplicationError):
        run(environment.money.take_payment, payment(method))
    later = payment(method).model_copy(update={"at": NOW + timedelta(hours=1)})
    answer = retried(environment.money.void_payment, later)
    assert (answer.status, answer.reference) == ("held", environment.sandbox.charges()[0].reference)
    assert retried(environment.money.take_payment, payment(method)) == answer
    assert environment.balances == (25000, 0, 0, 0)


@pytest.mark.parametrize("first", ["take_payment", "void_payment"])
@pytest.mark.parametrize("second", ["take_payment", "void_payment"])
@pytest.mark.parametrize("method", ["pm_sandbox_ok", "pm_sandbox_declined"])
def test_another_purchase_under_the_id_is_neither_charged_nor_voided(
    environment: Environment, first: str, second: str, method: str
) -> None:
    """Also after the first one was declined or voided."""
    answer = run(getattr(environment.money, first), payment(method))
    before = environment.records
    other = payment().model_copy(update={"first_run": "run-2", "document": '{"title": "Other"}'})
    with pytest.raises(ApplicationError, match="bought before, by ana from bo") as failure:
        run(getattr(environment.money, second), other)
    assert (failure.value.type, failure.value.non_retryable) == ("PURCHASE_EXISTS", True)
    assert environment.records == before
    assert run(getattr(environment.money, first), payment(method)) == answer


def test_nothing_is_charged_before_the_purchase_is_registered(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise DatabaseUnreachable("away")

    monkeypatch.setattr(environment.ledger, "register", away)
    for activity in (environment.money.take_payment, environment.money.void_payment):
        with pytest.raises(ApplicationError, match="away"):
            run(activity, payment())
    assert environment.sandbox.charges() == []


def test_a_payment_charged_and_not_held_goes_on_in_a_purchase_started_again(
    environment: Environment,
) -> None:
    """Temporal lost the first run between charge and hold; another purchase is still rejected."""
    with pytest.raises(ApplicationError):
        run(environment.money.take_payment, payment("pm_sandbox_charge_lost"))
    again = payment("pm_sandbox_charge_lost").model_copy(update={"first_run": "run-2"})
    with pytest.raises(ApplicationError, match="bought before"):
        run(
            environment.money.take_payment,
            again.model_copy(update={"document": '{"title": "Other"}'}),
        )
    assert run(environment.money.take_payment, again).status == "held"
    assert len(environment.sandbox.charges()) == 1


def test_a_payment_that_was_made_is_held_though_its_calendar_is_known_no_more(
    environment: Environment,
) -> None:
    """The answer was lost, or the client confirmed late, and meanwhile a release of the table of
    holidays has dropped the country."""
    request = payment("pm_sandbox_charge_lost")
    with pytest.raises(ApplicationError):
        run(environment.money.take_payment, request)
    later = request.model_copy(update={"calendar": "XX"})
    assert run(environment.money.take_payment, later).status == "held"


def test_a_charge_of_another_amount_under_the_same_key_is_not_held(
    environment: Environment,
) -> None:
    environment.sandbox.charge(
        "purchase-p-1/pay", Money(amount=1, currency="USD"), "pm_sandbox_ok", NOW
    )
    for activity in (environment.money.take_payment, environment.money.void_payment):
        with pytest.raises(
            ApplicationError, match=r"a charge of 0\.01 USD under the same key"
        ) as failure:
            run(activity, payment())
        assert failure.value.type == ErrorType.PROVIDER_REJECTED
        assert failure.value.non_retryable
    assert environment.balances is None


# --- Decision, refund, settlement --------------------------------------------------------------


def test_a_decision_is_posted_once(environment: Environment) -> None:
    run(environment.money.take_payment, payment())
    assert run(environment.money.post_decision, decision(10000, 15000)).created
    assert not run(environment.money.post_decision, decision(10000, 15000)).created
    assert environment.balances == (0, 10000, 0, 15000)


def test_a_rejection_by_the_ledger_is_not_retried_and_says_why(environment: Environment) -> None:
    for activity, request in (
        (environment.money.post_decision, decision()),
        (environment.money.post_settlement, settlement()),
    ):
        with pytest.raises(
            ApplicationError, match="The ledger rejected the operation: "
        ) as failure:
            run(activity, request)
        assert failure.value.type == ErrorType.LEDGER_REJECTED
        assert failure.value.details == ("NO_HOLD",)
        assert failure.value.non_retryable


def under_way(environment: Environment, request: RefundRequest) -> None:
    """Assert that the refund is pending, so that Temporal retries the check a day later."""
    known = request.model_copy(update={"known_status": "pending"})
    with pytest.raises(ApplicationError, match="is pending; its status is checked") as failure:
        run(environment.money.check_refund, known)
    assert failure.value.type == ErrorType.REFUND_PENDING
    assert failure.value.next_retry_delay == timedelta(days=1)
    assert not failure.value.non_retryable


def test_a_later_check_uses_its_own_time(environment: Environment) -> None:
    run(environment.money.take_payment, payment())
    post(environment.ledger, decision())
    run(environment.money.send_refund, refund(environment))
    env = ActivityEnvironment()
    env.info = replace(env.info, current_attempt_scheduled_time=LATER)
    assert env.run(environment.money.check_refund, refund(environment)).status == "settled"


def test_a_refund_is_sent_once_and_settles(environment: Environment) -> None:
    run(environment.money.take_payment, payment())
    run(environment.money.post_decision, decision())
    sent = run(environment.money.send_refund, refund(environment))
    assert sent.status == "pending"
    assert run(environment.money.send_refund, refund(environment)) == sent
    under_way(environment, refund(environment))
    assert run(environment.money.check_refund, refund(environment, at=LATER)).status == "settled"
    assert run(environment.money.post_settlement, settlement()).created
    assert not run(environment.money.post_settlement, settlement()).created
    assert environment.balances == (0, 0, 25000, 0)
    assert len(environment.sandbox.refunds()) == 1


def test_a_refund_that_the_provider_does_not_know_is_sent_when_checked(
    environment: Environment,
) -> None:
    run(environment.money.take_payment, payment())
    post(environment.ledger, decision(400, 24600))
    under_way(environment, refund(environment, 400))
    assert [each.amount.amount for each in environment.sandbox.refunds()] == [400]


def test_a_refund_whose_answer_was_lost_is_not_sent_again(environment: Environment) -> None:
    retried(environment.money.take_payment, payment("pm_sandbox_flaky"))
    post(environment.ledger, decision())
    with pytest.raises(ApplicationError) as failure:
        run(environment.money.send_refund, refund(environment))
    assert failure.value.type == ErrorType.PROVIDER_UNREACHABLE
    assert retried(environment.money.send_refund, refund(environment)).status == "pending"
    assert len(environment.sandbox.refunds()) == 1


def test_a_failed_refund_says_why_and_its_money_stays_in_transit(environment: Environment) -> None:
    method = "pm_sandbox_refund_fails_once"
    run(environment.money.take_payment, payment(method))
    run(environment.money.post_decision, decision())
    run(environment.money.send_refund, refund(environment, method=method))
    failed = run(environment.money.check_refund, refund(environment, method=method, at=LATER))
    assert failed.status == "failed"
    assert failed.text.startswith("The account cannot receive money")
    assert environment.balances == (0, 25000, 0, 0)
    again = refund(environment, method=method, at=LATER).model_copy(
        update={"refund_id": "refund-2"}
    )
    assert run(environment.money.send_refund, again).status == "pending"


def second_attempt(environment: Environment, **changed: Any) -> RefundRequest:
    first = refund(environment, **changed)
    return first.model_copy(
        update={"refund_id": f"{first.refund_id}-2", "earlier": (first.refund_id,)}
    )


def test_no_second_attempt_is_sent_while_the_first_is_pending(environment: Environment) -> None:
    """A false report of a failure does not send money twice."""
    run(environment.money.take_payment, payment())
    post(environment.ledger, decision(400, 24600))
    first = run(environment.money.send_refund, refund(environment, 400))
    again = run(environment.money.send_refund, second_attempt(environment, amount=400))
    assert (again.status, again.reference) == ("pending", first.reference)
    later = run(environment.money.check_refund, second_attempt(environment, amount=400, at=LATER))
    assert (later.status, later.reference) == ("settled", first.reference)
    assert len(environment.sandbox.refunds()) == 1


def test_a_second_attempt_is_sent_when_the_first_has_failed(environment: Environment) -> None:
    method = "pm_sandbox_refund_fails_once"
    run(environment.money.take_payment, payment(method))
    post(environment.ledger, decision())
    run(environment.money.send_refund, refund(environment, method=method))
    again = run(environment.money.send_refund, second_attempt(environment, method=method, at=LATER))
    assert again.status == "pending"
    assert len(environment.sandbox.refunds()) == 2


def test_a_refund_that_is_not_in_transit_is_not_sent(environment: Environment) -> None:
    """Nothing leaves the provider before its decision is posted."""
    run(environment.money.take_payment, payment())
    for decided in (None, decision()):
        if decided:
            post(environment.ledger, decided)
        with pytest.raises(
            ApplicationError, match="Nothing is sent before its decision"
        ) as failure:
            run(environment.money.send_refund, refund(environment, 25001))
        assert failure.value.details == ("NOT_IN_TRANSIT",)
        assert failure.value.non_retryable
    assert environment.sandbox.refunds() == []


def test_a_refund_above_the_charge_is_rejected_by_the_provider(environment: Environment) -> None:
    """Somebody else has refunded a part since it was decided."""
    run(environment.money.take_payment, payment())
    post(environment.ledger, decision())
    part = Money(amount=100, currency="USD")
    environment.sandbox.make_happen(SandboxEvent.REFUND_ELSEWHERE, payment().key, part, NOW)
    with pytest.raises(
        ApplicationError, match="The payment provider rejected the request: "
    ) as failure:
        run(environment.money.send_refund, refund(environment))
    assert failure.value.type == ErrorType.PROVIDER_REJECTED
    assert failure.value.non_retryable


def test_a_refund_of_another_amount_under_the_same_id_is_rejected(environment: Environment) -> None:
    run(environment.money.take_payment, payment())
    post(environment.ledger, decision(400, 24600))
    run(environment.money.send_refund, refund(environment, 400))
    with pytest.raises(
        ApplicationError, match=r"a refund of 4\.00 USD under the same key"
    ) as failure:
        run(environment.money.check_refund, refund(environment, 500))
    assert failure.value.type == ErrorType.PROVIDER_REJECTED


def test_concurrent_workers_charge_the_same_payment_once(folder: Path) -> None:
    def worker(_number: int) -> Any:
        with opened(folder) as environment:
            return run(environment.money.take_payment, payment())

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(worker, range(12)))
    with opened(folder) as environment:
        assert {answer.reference for answer in answers} == {
            environment.sandbox.charges()[0].reference
        }
        assert (
            len(environment.ledger.transfers(PURCHASE)) == len(environment.sandbox.charges()) == 1
        )


# --- Crashes -----------------------------------------------------------------------------------


# --- Errors and logs ---------------------------------------------------------------------------


class Failing:
    """A ledger or provider whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def fail(*_args: Any, **_named: Any) -> Any:
            raise self._error

        return fail


def error_of(activity: Callable[[Any], Any], request: Model) -> tuple[str, str | None, bool]:
    """Return message, type and non_retryable of the error that an activity fails with."""
    with pytest.raises(ApplicationError) as failure:
        run(activity, request)
    assert failure.value.__cause__ is None, "a cause would be kept in history"
    return failure.value.message, failure.value.type, failure.value.non_retryable


@pytest.mark.parametrize(
    ("error", "expected"),
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
def test_an_error_of_the_provider_does_not_contain_the_payment_method(
    environment: Environment, error: Exception, expected: tuple[str, str, bool]
) -> None:
    money = MoneyActivities(environment.ledger, cast(Any, Failing(error)))
    environment.sandbox.charge("purchase-p-1/pay", PRICE, "pm_sandbox_ok", NOW)
    assert error_of(money.take_payment, payment("pm_secret")) == expected
    assert error_of(money.void_payment, payment("pm_secret")) == expected
    assert error_of(money.send_refund, refund(environment, method="pm_secret")) == expected
    assert error_of(money.check_refund, refund(environment, method="pm_secret")) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
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
def test_an_error_of_the_ledger_keeps_its_message(
    environment: Environment, error: Exception, expected: tuple[str, str, bool]
) -> None:
    money = MoneyActivities(cast(Any, Failing(error)), environment.sandbox)
    assert error_of(money.take_payment, payment()) == expected
    assert error_of(money.void_payment, payment()) == expected
    assert error_of(money.post_decision, decision()) == expected
    assert error_of(money.post_settlement, settlement()) == expected


def test_a_ledger_that_is_not_set_up_is_retried(tmp_path: Path) -> None:
    with opened(tmp_path) as environment:
        with pytest.raises(ApplicationError, match="recourse setup") as failure:
            run(environment.money.take_payment, payment())
        assert failure.value.type == ErrorType.LEDGER_UNREACHABLE
        assert not failure.value.non_retryable
    engine = create_engine(f"sqlite:///{tmp_path}/ledger.db")
    migrate(engine)
    engine.dispose()
    with opened(tmp_path) as environment:
        assert run(environment.money.take_payment, payment()).status == "held"
        assert len(environment.sandbox.charges()) == 1


def test_each_operation_is_one_log_line_without_the_payment_method(
    environment: Environment,
) -> None:
    with capture_logs() as lines:
        run(environment.money.take_payment, payment())
        run(environment.money.post_decision, decision(10000, 15000))
        run(environment.money.send_refund, refund(environment, 10000))
        run(environment.money.check_refund, refund(environment, 10000, at=LATER))
        run(environment.money.post_settlement, settlement(10000))
    assert [(line["event"], line["amount"]) for line in lines] == [
        ("payment_held", 25000),
        ("decision_posted", 25000),
        ("refund_sent", 10000),
        ("settlement_posted", 10000),
    ]
    assert {(line["purchase_id"], line["currency"]) for line in lines} == {(PURCHASE, "USD")}
    assert all(line["key"].startswith("purchase-p-1/") for line in lines)
    assert "pm_sandbox" not in str(lines)
