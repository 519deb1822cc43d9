"""One fault at any request to Stripe: the outcome is unknown, and retries move the money once."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from activities.payments import ProviderUnreachable
from activities.payments.stripe import StripeProvider
from tests.payments.builders import (
    FAULTS,
    KEY,
    NOW,
    PART,
    PRICE,
    REFUND,
    VISA,
    charged,
    named,
    until_answered,
    until_over,
)
from tests.stripe.fake import FakeStripe, Fault

METHOD = ("GET", "/v1/payment_methods/")
CREATE = ("POST", "/v1/payment_intents")
INTENT = ("GET", "/v1/payment_intents/")
CONFIRM = CANCEL = ("POST", "/v1/payment_intents/")
CHARGES = ("GET", "/v1/charges")
REFUNDS, SEND = ("GET", "/v1/refunds"), ("POST", "/v1/refunds")

Where = tuple[str, str]
Answer = TypeVar("Answer")

met = pytest.mark.parametrize("fault", FAULTS)


def despite(
    fault: Fault,
    where: Where,
    fake: FakeStripe,
    hasty: Callable[[], object],
    patient: Callable[[], Answer],
) -> Answer:
    """Return the answer of the retry, after the first call met the fault and was unknown."""
    fake.fault(fault, method=where[0], path=where[1])
    with pytest.raises(ProviderUnreachable):
        hasty()
    answer = until_answered(fake, patient)
    until_over(fake)
    return answer


@met
@pytest.mark.parametrize("where", [METHOD, CREATE, CHARGES, CONFIRM])
def test_a_charge_is_made_once_despite_each_fault(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, where: Where, fault: Fault
) -> None:
    result = despite(
        fault,
        where,
        fake,
        lambda: hasty.charge(KEY, PRICE, VISA, NOW),
        lambda: provider.charge(KEY, PRICE, VISA, NOW),
    )
    assert (result.status, result.charged) == ("succeeded", PRICE)
    assert provider.find_charge(KEY) == result
    assert (len(fake.charges), fake.charged_amount(transfer_group=named(KEY))) == (1, PRICE.amount)


@met
@pytest.mark.parametrize("where", [METHOD, CREATE, CHARGES, CONFIRM])
def test_a_declined_charge_takes_nothing_despite_each_fault(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, where: Where, fault: Fault
) -> None:
    declining = "pm_card_chargeDeclined"
    result = despite(
        fault,
        where,
        fake,
        lambda: hasty.charge(KEY, PRICE, declining, NOW),
        lambda: provider.charge(KEY, PRICE, declining, NOW),
    )
    assert (result.status, result.text) == ("declined", "Your card was declined.")
    assert (len(fake.charges), fake.charged_amount()) == (1, 0)


@met
def test_an_unknown_payment_method_is_declined_only_after_stripe_says_so(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, fault: Fault
) -> None:
    result = despite(
        fault,
        CHARGES,
        fake,
        lambda: hasty.charge(KEY, PRICE, "pm_unheard_of", NOW),
        lambda: provider.charge(KEY, PRICE, "pm_unheard_of", NOW),
    )
    assert result.status == "declined"


@met
def test_a_charge_is_looked_up_until_stripe_answers(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, fault: Fault
) -> None:
    made = provider.charge(KEY, PRICE, VISA, NOW)
    found = despite(
        fault, CHARGES, fake, lambda: hasty.find_charge(KEY), lambda: provider.find_charge(KEY)
    )
    assert found == made


@met
@pytest.mark.parametrize("where", [CHARGES, METHOD, CREATE, CANCEL])
def test_a_charge_is_voided_despite_each_fault(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, where: Where, fault: Fault
) -> None:
    found = despite(
        fault,
        where,
        fake,
        lambda: hasty.void(KEY, PRICE, VISA, NOW),
        lambda: provider.void(KEY, PRICE, VISA, NOW),
    )
    assert found is None
    assert provider.charge(KEY, PRICE, VISA, NOW).status == "declined"
    assert fake.charges == []


@met
@pytest.mark.parametrize("call", ["charge", "void"])
def test_a_voided_charge_is_looked_up_until_stripe_answers(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, call: str, fault: Fault
) -> None:
    assert provider.void(KEY, PRICE, VISA, NOW) is None
    result = despite(
        fault,
        INTENT,
        fake,
        lambda: getattr(hasty, call)(KEY, PRICE, VISA, NOW),
        lambda: getattr(provider, call)(KEY, PRICE, VISA, NOW),
    )
    assert result is None or result.text == "The payment was cancelled."
    assert fake.charges == []


@met
@pytest.mark.parametrize("where", [CREATE, CHARGES, CONFIRM])
def test_a_charge_that_met_a_fault_is_voided_or_found(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, where: Where, fault: Fault
) -> None:
    found = despite(
        fault,
        where,
        fake,
        lambda: hasty.charge(KEY, PRICE, VISA, NOW),
        lambda: provider.void(KEY, PRICE, VISA, NOW),
    )
    after = provider.charge(KEY, PRICE, VISA, NOW)
    assert found == (after if fake.charged_amount() else None)
    assert after.status == ("succeeded" if fake.charged_amount() else "declined")


@met
@pytest.mark.parametrize("where", [REFUNDS, SEND])
def test_a_refund_is_sent_once_despite_each_fault(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, where: Where, fault: Fault
) -> None:
    charge = charged(provider)
    result = despite(
        fault,
        where,
        fake,
        lambda: hasty.refund(REFUND, charge, PART, NOW),
        lambda: provider.refund(REFUND, charge, PART, NOW),
    )
    assert (result.status, result.amount) == ("sent", PART)
    assert provider.find_refund(REFUND, charge, NOW) == result
    assert (len(fake.refunds), fake.refunded_amount()) == (1, PART.amount)


@met
def test_a_refund_is_looked_up_until_stripe_answers(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, fault: Fault
) -> None:
    charge = charged(provider)
    made = provider.refund(REFUND, charge, PART, NOW)
    found = despite(
        fault,
        REFUNDS,
        fake,
        lambda: hasty.find_refund(REFUND, charge, NOW),
        lambda: provider.find_refund(REFUND, charge, NOW),
    )
    assert found == made


@met
@pytest.mark.parametrize("where", [CHARGES, REFUNDS])
def test_a_statement_is_complete_or_fails(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, where: Where, fault: Fault
) -> None:
    provider.refund(REFUND, charged(provider), PART, NOW)
    whole = provider.statement()
    assert despite(fault, where, fake, hasty.statement, provider.statement) == whole


@met
def test_a_webhook_fails_until_the_refund_is_fetched(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider, fault: Fault
) -> None:
    made = provider.refund(REFUND, charged(provider), PART, NOW)
    delivery = fake.delivery(fake.events_of("refund.created")[0])
    arguments = delivery.body, delivery.signature, fake.webhook_secret
    news = despite(
        fault,
        REFUNDS,
        fake,
        lambda: hasty.read_webhook(*arguments),
        lambda: provider.read_webhook(*arguments),
    )
    assert news is not None
    assert (news.refund_id, news.refund) == (REFUND, made)
