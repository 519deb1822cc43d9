"""Payments that the client's bank wants the client to confirm (3-D Secure)."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from activities.payments import ChargeResult
from activities.payments.stripe import StripeProvider
from tests.payments.builders import DEPLOYMENT, KEY, NOW, PATIENCE, PRICE
from tests.stripe.fake import FakeStripe

BANK = "pm_card_authenticationRequired"
PAGE = "https://market.example"


@pytest.fixture
def provider(fake: FakeStripe) -> Iterator[StripeProvider]:
    """A provider whose clients return to a page of the marketplace."""
    provider = StripeProvider(
        fake.api_key, DEPLOYMENT, api_base=fake.url, base_url=PAGE, timeout=PATIENCE
    )
    yield provider
    provider.close()


def test_a_payment_that_the_client_must_confirm_waits_with_a_link(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    waiting = provider.charge(KEY, PRICE, BANK, NOW)
    (intent,) = fake.intents
    link = intent["next_action"]["redirect_to_url"]
    assert waiting == ChargeResult(
        "needs_client",
        None,
        intent["id"],
        "The client's bank asks the client to confirm the payment.",
        link["url"],
    )
    assert link["return_url"] == f"{PAGE}/purchases/p-1"
    assert provider.charge(KEY, PRICE, BANK, NOW) == waiting
    assert (len(fake.intents), fake.charges) == (1, [])
    assert provider.find_charge(KEY) is None


def test_asking_again_does_not_replace_the_link_that_the_client_has(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    for _ in range(3):
        provider.charge(KEY, PRICE, BANK, datetime.now(UTC))
    confirmed = [call for call in fake.requests if call.path.endswith("/confirm")]
    assert len(confirmed) == 1


def test_a_confirmed_payment_is_paid(fake: FakeStripe, provider: StripeProvider) -> None:
    waiting = provider.charge(KEY, PRICE, BANK, NOW)
    fake.settle_intent(waiting.reference, paid=True)
    paid = ChargeResult("succeeded", PRICE, waiting.reference)
    assert provider.charge(KEY, PRICE, BANK, NOW) == paid
    assert provider.find_charge(KEY) == paid
    assert provider.void(KEY, PRICE, BANK, NOW) == paid


def test_a_failed_confirmation_is_final(fake: FakeStripe, provider: StripeProvider) -> None:
    """The intent is cancelled, so that its link takes no other card later."""
    waiting = provider.charge(KEY, PRICE, BANK, NOW)
    fake.settle_intent(waiting.reference, paid=False)
    declined = provider.charge(KEY, PRICE, BANK, NOW)
    assert (declined.status, declined.charged) == ("declined", None)
    assert declined.text == "The provided PaymentMethod has failed authentication."
    assert fake.intents[0]["status"] == "canceled"
    assert provider.charge(KEY, PRICE, BANK, NOW).status == "declined"


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_payment_that_waits_for_the_client_can_be_voided(
    fake: FakeStripe, provider: StripeProvider, forgotten: bool
) -> None:
    """Also when Stripe has forgotten the key: the link must not take money any more."""
    provider.charge(KEY, PRICE, BANK, NOW)
    if forgotten:
        fake.forget_keys()
    assert provider.void(KEY, PRICE, BANK, NOW) is None
    assert {intent["status"] for intent in fake.intents} == {"canceled"}
    assert provider.charge(KEY, PRICE, BANK, NOW).status == "declined"
    assert fake.charges == []


def test_a_client_never_gets_two_payments_to_confirm(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    """A day later, when Stripe has forgotten the key."""
    waiting = provider.charge(KEY, PRICE, BANK, NOW)
    fake.forget_keys()
    assert provider.charge(KEY, PRICE, BANK, NOW) == waiting
    assert len(fake.intents) == 1


def test_without_a_page_to_return_to_stripe_gives_no_link(fake: FakeStripe) -> None:
    """The marketplace's own page can still confirm the intent."""
    provider = StripeProvider(fake.api_key, DEPLOYMENT, api_base=fake.url)
    waiting = provider.charge(KEY, PRICE, BANK, NOW)
    provider.close()
    assert (waiting.status, waiting.confirm_url) == ("needs_client", "")
    assert "RECOURSE_BASE_URL" in waiting.text
    assert waiting.reference == fake.intents[0]["id"]
