"""Stripe's records since an instant: what is read of older charges, and what is not."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import stripe

from activities.payments.stripe import StripeProvider
from tests.payments.builders import DEPLOYMENT, NOW, PATIENCE, REFUND, charged, usd
from tests.stripe.builders import refund as refund_by_hand
from tests.stripe.fake import FakeStripe

LAST_YEAR = datetime(2025, 3, 2, 9, tzinfo=UTC)
SINCE = NOW - timedelta(days=127)
OLD, NEW = "purchase-p-1/hold", "purchase-p-2/hold"


class Clock:
    """The time at Stripe."""

    def __init__(self) -> None:
        self.now = LAST_YEAR

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stripe_then(clock: Clock) -> Iterator[FakeStripe]:
    with FakeStripe(clock=clock) as fake:
        yield fake


@pytest.fixture
def provider(stripe_then: FakeStripe) -> Iterator[StripeProvider]:
    made = StripeProvider(
        stripe_then.api_key, DEPLOYMENT, api_base=stripe_then.url, timeout=PATIENCE
    )
    yield made
    made.close()


@pytest.fixture
def old(provider: StripeProvider, clock: Clock) -> str:
    """A charge of last year with a refund of then; today there is another charge."""
    charge = charged(provider, key=OLD)
    provider.refund(REFUND, charge, usd(100), NOW)
    clock.now = NOW
    charged(provider, key=NEW)
    return charge


def test_a_charge_of_last_year_is_not_read(
    stripe_then: FakeStripe, provider: StripeProvider, old: str
) -> None:
    before = len(stripe_then.requests)
    found = provider.statement(SINCE)
    assert [charge.key for charge in found.charges] == [NEW]
    assert found.refunds == ()
    paths = [call.path for call in stripe_then.requests[before:]]
    assert sorted(paths) == ["/v1/charges", "/v1/disputes", "/v1/refunds"]


def test_a_charge_that_the_caller_names_is_read_with_its_old_refunds(
    provider: StripeProvider, old: str
) -> None:
    found = provider.statement(SINCE, {old, "pi_unknown"})
    assert {charge.key for charge in found.charges} == {OLD, NEW}
    assert [refund.refund_id for refund in found.refunds] == [REFUND]


def test_a_new_refund_brings_its_old_charge_with_all_its_refunds(
    stripe_then: FakeStripe, provider: StripeProvider, old: str
) -> None:
    """So the amount that Stripe counts as refunded can be compared."""
    client = stripe.StripeClient(stripe_then.api_key, base_addresses={"api": stripe_then.url})
    refund_by_hand(client, old, 500)
    found = provider.statement(SINCE)
    charge = next(each for each in found.charges if each.key == OLD)
    assert charge.refunded == sum(each.amount.amount for each in found.refunds) == 600


def test_a_new_dispute_brings_its_old_charge(
    stripe_then: FakeStripe, provider: StripeProvider, old: str
) -> None:
    dispute = stripe_then.dispute(old)
    found = provider.statement(SINCE)
    charge = next(each for each in found.charges if each.key == OLD)
    assert [each.dispute_id for each in charge.disputes] == [dispute]
    assert [refund.refund_id for refund in found.refunds] == [REFUND]


def test_since_the_beginning_is_everything(provider: StripeProvider, old: str) -> None:
    both = provider.statement(LAST_YEAR)
    assert both == provider.statement()
    assert {charge.key for charge in both.charges} == {OLD, NEW}
