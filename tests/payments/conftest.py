"""Stripe's provider, connected to the fake."""

from collections.abc import Iterator

import pytest

from activities.payments.stripe import StripeProvider
from tests.payments.builders import DEPLOYMENT, HASTE, PATIENCE
from tests.stripe.conftest import client, fake, served
from tests.stripe.fake import FakeStripe

__all__ = ["client", "fake", "served"]


@pytest.fixture
def provider(fake: FakeStripe) -> Iterator[StripeProvider]:
    """A provider with a long timeout."""
    provider = StripeProvider(fake.api_key, DEPLOYMENT, api_base=fake.url, timeout=PATIENCE)
    yield provider
    provider.close()


@pytest.fixture
def hasty(fake: FakeStripe) -> Iterator[StripeProvider]:
    """A provider with a short timeout."""
    provider = StripeProvider(fake.api_key, DEPLOYMENT, api_base=fake.url, timeout=HASTE)
    yield provider
    provider.close()
