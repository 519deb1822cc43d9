"""The money activities on a real ledger and a real sandbox, and their requests."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.database import create_engine
from activities.keys import LOCAL
from activities.ledger import Ledger
from activities.money import MoneyActivities
from activities.payments.sandbox import SandboxProvider
from activities.requests import (
    DecisionPosting,
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
class Environment:
    """One worker's connections to the ledger and the sandbox on disk."""

    ledger: Ledger
    sandbox: SandboxProvider
    money: MoneyActivities

    @property
    def records(self) -> tuple[object, ...]:
        """Return everything that ledger and provider have on record."""
        return (
            self.ledger.balances(PURCHASE),
            self.ledger.transfers(PURCHASE),
            self.sandbox.charges(),
            self.sandbox.refunds(),
        )

    @property
    def balances(self) -> tuple[int, int, int, int] | None:
        """Return the amounts held, in transit, refunded and released."""
        money = self.ledger.balances(PURCHASE)
        if money is None:
            return None
        return money.held, money.in_transit, money.refunded, money.released


@contextmanager
def opened(folder: Path, wrap: Callable[[Any], Any] = lambda real: real) -> Iterator[Environment]:
    """Open ledger and sandbox in `folder`; the activities get them through `wrap`."""
    engine = create_engine(f"sqlite:///{folder}/ledger.db")
    sandbox = SandboxProvider(folder / "sandbox.db")
    ledger = Ledger(engine)
    try:
        yield Environment(ledger, sandbox, MoneyActivities(wrap(ledger), wrap(sandbox)))
    finally:
        engine.dispose()
        sandbox.close()


def run(activity: Callable[[Any], Any], request: Model) -> Any:
    return ActivityEnvironment().run(activity, request)


def retried(activity: Callable[[Any], Any], request: Model, attempts: int = 5) -> Any:
    """Run an activity as Temporal does, with retries of retryable errors."""
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
        client="ana",
        freelancer="bo",
        terms="{}",
        document="{}",
        first_run="run-1",
    )


CHARGE = "ch_" + hashlib.sha256(f"{LOCAL}/purchase-p-1/pay".encode()).hexdigest()[:24]
"""The sandbox's name for the charge of `payment`."""


def decision(refund: int = 25000, release: int = 0) -> DecisionPosting:
    return DecisionPosting(
        key="purchase-p-1/decide",
        purchase_id=PURCHASE,
        refund=refund,
        release=release,
        currency="USD",
        at=NOW,
        charge_reference=CHARGE,
    )


def refund(
    environment: Environment, amount: int = 25000, method: str = "pm_sandbox_ok", at: datetime = NOW
) -> RefundRequest:
    return refund_of(environment.sandbox.charges()[0].reference, amount, method, at)


def refund_of(
    charge: str, amount: int = 25000, method: str = "pm_sandbox_ok", at: datetime = NOW
) -> RefundRequest:
    return RefundRequest(
        refund_id="purchase-p-1/refund-1",
        purchase_id=PURCHASE,
        charge_reference=charge,
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
