"""Fixtures: the fake, and the backends that must behave the same."""

import os
from collections.abc import Iterator

import pytest
import stripe

from tests.stripe.builders import connected
from tests.stripe.fake import FakeStripe

REAL_KEY = os.environ.get("STRIPE_TEST_API_KEY", "")
"""With this, what is stated of the fake is asked of Stripe's own test mode too."""

BACKENDS = ["fake", "stripe"] if REAL_KEY else ["fake"]


@pytest.fixture(scope="session")
def served() -> Iterator[FakeStripe]:
    """One server for all tests."""
    with FakeStripe() as fake:
        yield fake


@pytest.fixture
def fake(served: FakeStripe) -> FakeStripe:
    """A fake without state."""
    served.reset()
    return served


@pytest.fixture
def client(fake: FakeStripe) -> Iterator[stripe.StripeClient]:
    """A client of the fake."""
    with connected(fake.api_key, fake.url) as client:
        yield client


@pytest.fixture(params=BACKENDS)
def api(request: pytest.FixtureRequest) -> Iterator[stripe.StripeClient]:
    """A client of the fake, and one of Stripe's test mode if there is a key for it."""
    if request.param == "stripe":
        if not REAL_KEY.startswith(("sk_test_", "rk_test_")):
            pytest.fail("STRIPE_TEST_API_KEY is not a key of the test mode.")
        with connected(REAL_KEY) as client:
            yield client
    else:
        fake: FakeStripe = request.getfixturevalue("fake")
        with connected(fake.api_key, fake.url) as client:
            yield client
