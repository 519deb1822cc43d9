"""What the tests of Stripe's provider ask for, and how they go on asking."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar, get_args

from activities.payments import PaymentProvider, ProviderUnreachable
from activities.requests import Money
from tests.stripe.fake import FakeStripe, Fault

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
PRICE = Money(amount=250_00, currency="USD")
PART = Money(amount=100_00, currency="USD")
KEY = "purchase-p-1/hold"
REFUND = "purchase-p-1/refund"
VISA = "pm_card_visa"

PATIENCE, HASTE = 10.0, 0.2
"""Seconds for an answer."""

TROUBLE: list[Fault] = [fault for fault in get_args(Fault) if fault != "declined"]
"""All that leaves the outcome of a call unknown."""

Answer = TypeVar("Answer")


def usd(amount: int) -> Money:
    """Cents."""
    return Money(amount=amount, currency="USD")


def charged(provider: PaymentProvider, method: str = VISA, key: str = KEY) -> str:
    """The reference of a charge of the price."""
    result = provider.charge(key, PRICE, method, NOW)
    assert result.status == "succeeded"
    return result.reference


def until_answered(fake: FakeStripe, ask: Callable[[], Answer], most: int = 200) -> Answer:
    """The answer; whatever is still held at the provider goes on after each time in vain."""
    for _ in range(most):
        try:
            return ask()
        except ProviderUnreachable:
            fake.release()
    raise AssertionError("never answered")


def until_over(fake: FakeStripe, faults: int = 1) -> None:
    """So many requests met trouble, and none of them is still under way at the provider."""
    fake.release()
    while True:
        heard = fake.requests
        if sum(call.fault is not None for call in heard) >= faults:
            return
        fake.wait_for_requests(len(heard) + 1)
