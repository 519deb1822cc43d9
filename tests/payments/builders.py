"""Requests to StripeProvider, and how the tests retry them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar, get_args

from activities.payments import PaymentProvider, ProviderUnreachable
from activities.requests import Money
from tests.stripe.fake import FakeStripe, Fault

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
PRICE = Money(amount=250_00, currency="USD")
PART = Money(amount=100_00, currency="USD")
DEPLOYMENT = "shop"
KEY = "purchase-p-1/hold"
REFUND = "purchase-p-1/refund"
VISA = "pm_card_visa"

PATIENCE, HASTE = 10.0, 0.2
"""Timeouts of a call, in seconds."""

FAULTS: list[Fault] = [fault for fault in get_args(Fault) if fault != "declined"]
"""The faults that leave the outcome of a call unknown."""

Answer = TypeVar("Answer")


def named(key: str) -> str:
    """Return what a key is called at Stripe."""
    return f"{DEPLOYMENT}/{key}"


def usd(amount: int) -> Money:
    """Return cents as Money."""
    return Money(amount=amount, currency="USD")


def charged(provider: PaymentProvider, method: str = VISA, key: str = KEY) -> str:
    """Charge the price; return the reference."""
    result = provider.charge(key, PRICE, method, NOW)
    assert result.status == "succeeded"
    return result.reference


def until_answered(fake: FakeStripe, ask: Callable[[], Answer], most: int = 200) -> Answer:
    """Retry until answered; release the requests that the fake holds after each failure."""
    for _ in range(most):
        try:
            return ask()
        except ProviderUnreachable:
            fake.release()
    raise AssertionError("no answer")


def until_over(fake: FakeStripe, faults: int = 1) -> None:
    """Wait until at least `faults` requests met a fault, and none is still being performed."""
    fake.release()
    while True:
        requests = fake.requests
        if sum(call.fault is not None for call in requests) >= faults:
            return
        fake.wait_for_requests(len(requests) + 1)
