"""Two deployments on one provider account: each finds, counts and refunds only its own payments."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from activities.payments import PaymentProvider, ProviderRejected, ProviderUnreachable
from activities.payments.sandbox import SandboxProvider
from activities.payments.stripe import StripeProvider
from tests.payments.builders import KEY, NOW, PRICE, REFUND
from tests.stripe.fake import FakeStripe

METHODS = {"sandbox": "pm_sandbox_ok", "stripe": "pm_card_visa"}


@pytest.fixture(params=METHODS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which provider both deployments use."""
    return str(request.param)


@pytest.fixture
def pair(
    kind: str, fake: FakeStripe, tmp_path: Path
) -> Iterator[tuple[PaymentProvider, PaymentProvider]]:
    """Production and staging on one account."""

    def provider(deployment: str) -> PaymentProvider:
        if kind == "sandbox":
            return SandboxProvider(tmp_path / "sandbox.db", deployment)
        return StripeProvider(fake.api_key, deployment, api_base=fake.url)

    with closing(provider("production")) as production, closing(provider("staging")) as staging:
        yield production, staging


def test_the_same_purchase_is_charged_and_refunded_apart(
    pair: tuple[PaymentProvider, PaymentProvider], kind: str
) -> None:
    """Both have a purchase p-1: one charge and one refund each, under the same keys."""
    production, staging = pair
    first = production.charge(KEY, PRICE, METHODS[kind], NOW)
    assert staging.find_charge(KEY) is None
    second = staging.charge(KEY, PRICE, METHODS[kind], NOW)
    assert first.reference != second.reference

    sent = production.refund(REFUND, first.reference, PRICE, NOW)
    assert staging.find_refund(REFUND, second.reference, NOW) is None
    assert staging.find_refund(REFUND, first.reference, NOW) is None
    assert [each.key for each in staging.statement().charges] == [KEY]
    assert staging.statement().refunds == ()
    (record,) = production.statement().refunds
    assert (record.refund_id, record.reference) == (REFUND, sent.reference)

    assert staging.refund(REFUND, second.reference, PRICE, NOW).reference != sent.reference
    for provider, reference in ((production, first.reference), (staging, second.reference)):
        (charge,) = provider.statement().charges
        assert (charge.key, charge.reference) == (KEY, reference)


def test_the_payment_of_another_deployment_is_never_refunded(
    pair: tuple[PaymentProvider, PaymentProvider], kind: str
) -> None:
    """A copy of Temporal's database has its reference."""
    production, staging = pair
    paid = production.charge(KEY, PRICE, METHODS[kind], NOW)
    with pytest.raises(ProviderRejected, match="another deployment"):
        staging.refund(REFUND, paid.reference, PRICE, NOW)
    assert production.statement().refunds == ()


def test_the_payment_of_another_deployment_is_not_voided(
    pair: tuple[PaymentProvider, PaymentProvider], kind: str
) -> None:
    production, staging = pair
    assert staging.void(KEY, PRICE, METHODS[kind], NOW) is None
    assert production.charge(KEY, PRICE, METHODS[kind], NOW).status == "succeeded"


def test_an_account_has_a_name_that_distinguishes_real_money_from_test_money(
    fake: FakeStripe,
) -> None:
    with closing(StripeProvider(fake.api_key, "shop", api_base=fake.url)) as provider:
        assert provider.account() == f"{fake.account_id} (test mode)"


def test_an_account_that_cannot_be_read_is_unreachable(fake: FakeStripe) -> None:
    wrong = StripeProvider("sk_test_wrong", "shop", api_base=fake.url)
    with closing(wrong) as provider, pytest.raises(ProviderUnreachable, match="STRIPE_API_KEY"):
        provider.account()
