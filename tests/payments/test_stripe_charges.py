"""Charges at Stripe: made once, or finally declined or voided."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import pytest
import stripe

from activities.payments import ChargeResult, ProviderRejected, ProviderUnreachable
from activities.payments.stripe import StripeProvider
from activities.requests import Money
from tests.payments.builders import KEY, NOW, PRICE, VISA, charged, named, until_answered, usd
from tests.stripe.builders import pay
from tests.stripe.fake import FakeStripe

DECLINED = "pm_card_chargeDeclined"


def test_a_charge_takes_the_price_and_can_be_looked_up(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    assert provider.find_charge(KEY) is None
    result = provider.charge(KEY, PRICE, VISA, NOW)
    assert result == ChargeResult("succeeded", PRICE, result.reference)
    assert provider.find_charge(KEY) == result
    (charge,) = fake.charges
    assert (charge["amount"], charge["currency"]) == (PRICE.amount, "usd")
    assert (charge["payment_intent"], charge["transfer_group"]) == (result.reference, named(KEY))


def test_the_same_key_and_request_is_one_charge_with_one_answer(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    method = fake.payment_method()
    first = provider.charge(KEY, PRICE, method, NOW)
    assert [provider.charge(KEY, PRICE, method, NOW) for _ in range(3)] == [first] * 3
    assert len(fake.charges) == 1


def test_another_key_is_another_charge(fake: FakeStripe, provider: StripeProvider) -> None:
    assert charged(provider, key="purchase-p-1/hold") != charged(provider, key="purchase-p-2/hold")
    assert fake.charged_amount() == 2 * PRICE.amount


def test_a_customer_can_reuse_an_attached_payment_method(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    method = fake.payment_method(customer="cus_1")
    for key in ("purchase-p-1/hold", "purchase-p-2/hold"):
        assert provider.charge(key, PRICE, method, NOW).status == "succeeded"
    assert {charge["customer"] for charge in fake.charges} == {"cus_1"}


@pytest.mark.parametrize(
    ("amount", "method"),
    [
        (usd(24999), VISA),
        (Money(amount=25000, currency="EUR"), VISA),
        (PRICE, "pm_card_mastercard"),
    ],
)
@pytest.mark.parametrize("first", [VISA, DECLINED])
def test_the_same_key_for_another_request_is_rejected(
    fake: FakeStripe, provider: StripeProvider, first: str, amount: Money, method: str
) -> None:
    at = datetime.now(UTC)
    result = provider.charge(KEY, PRICE, first, at)
    with pytest.raises(ProviderRejected, match="belongs to another request"):
        provider.charge(KEY, amount, method, at)
    assert provider.find_charge(KEY) == result
    assert len(fake.charges) == 1


@pytest.mark.parametrize("at", [NOW, datetime.now(UTC)])
def test_another_amount_is_rejected_even_if_stripe_forgot_the_key(
    fake: FakeStripe, provider: StripeProvider, at: datetime
) -> None:
    charged(provider)
    fake.forget_keys()
    with pytest.raises(ProviderRejected, match="belongs to another"):
        provider.charge(KEY, usd(1), VISA, at)
    assert len(fake.charges) == 1


# --- Declined ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (DECLINED, "Your card was declined."),
        ("pm_card_chargeDeclinedInsufficientFunds", "Your card has insufficient funds."),
    ],
)
def test_a_declined_charge_is_final(
    fake: FakeStripe, provider: StripeProvider, method: str, why: str
) -> None:
    result = provider.charge(KEY, PRICE, method, NOW)
    assert result == ChargeResult("declined", None, result.reference, why)
    assert provider.find_charge(KEY) == result
    assert provider.charge(KEY, PRICE, method, NOW) == result
    fake.forget_keys()
    assert provider.charge(KEY, PRICE, method, NOW) == result
    assert provider.void(KEY, PRICE, method, NOW) is None
    assert [charge["status"] for charge in fake.charges] == ["failed"]


def test_a_declined_charge_is_not_sent_to_the_bank_again(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    fake.fault("declined", path="/v1/payment_intents/")
    for _ in range(2):
        assert provider.charge(KEY, PRICE, VISA, NOW).status == "declined"
        fake.forget_keys()
    assert fake.charged_amount() == 0


@pytest.mark.parametrize(
    "method",
    [
        "pm_1MqLiJLkdIwHu7ixUEgbFdYF",
        "4242 4242 4242 4242",
        "4242424242424242",
        "../charges",
        "..",
        ".",
        "pm_card_visa/detach",
        "pm_card_visa?expand[]=customer",
        "pm_カード",
    ],
)
def test_an_unknown_payment_method_is_declined_without_being_quoted(
    fake: FakeStripe, provider: StripeProvider, method: str
) -> None:
    result = provider.charge(KEY, PRICE, method, NOW)
    assert (result.status, result.charged) == ("declined", None)
    assert result.text.startswith(
        ("No such PaymentMethod", "Stripe does not know this payment method")
    )
    assert len(method) < 3 or method not in result.text
    assert provider.void(KEY, PRICE, method, NOW) is None
    assert fake.intents == []


def test_a_payment_method_that_is_used_up_is_declined_without_being_quoted(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    method = fake.payment_method()
    charged(provider, method)
    result = provider.charge("purchase-p-2/hold", PRICE, method, NOW)
    assert (result.status, result.text[:32]) == ("declined", "The provided PaymentMethod was p")
    assert method not in result.text
    assert provider.void("purchase-p-2/hold", PRICE, method, NOW) is None
    assert fake.charged_amount() == PRICE.amount


def test_a_payment_method_used_up_by_this_charge_is_not_declined(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    method = fake.payment_method()
    made = provider.charge(KEY, PRICE, method, NOW)
    fake.forget_keys()
    assert provider.charge(KEY, PRICE, method, NOW) == made
    assert provider.void(KEY, PRICE, method, NOW) == made


# --- Pending -----------------------------------------------------------------------------------


@pytest.mark.parametrize("paid", [True, False])
def test_a_payment_that_takes_days_is_unknown_until_it_ends(
    fake: FakeStripe, provider: StripeProvider, paid: bool
) -> None:
    bank = "pm_usBankAccount_processing"
    for _ in range(2):
        with pytest.raises(ProviderUnreachable, match="processing"):
            provider.charge(KEY, PRICE, bank, NOW)
        with pytest.raises(ProviderUnreachable, match="processing"):
            provider.find_charge(KEY)
        with pytest.raises(ProviderUnreachable, match="processing"):
            provider.void(KEY, PRICE, bank, NOW)
    fake.settle_intent(fake.intents[0]["id"], paid=paid)
    result = provider.charge(KEY, PRICE, bank, NOW)
    assert result.status == ("succeeded" if paid else "declined")
    assert provider.find_charge(KEY) == result
    assert provider.void(KEY, PRICE, bank, NOW) == (result if paid else None)


# --- Void --------------------------------------------------------------------------------------


def test_a_charge_voided_before_it_arrives_is_never_made(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    for _ in range(2):
        assert provider.void(KEY, PRICE, VISA, NOW) is None
    late = provider.charge(KEY, PRICE, VISA, NOW)
    assert (late.status, late.text) == ("declined", "The payment was cancelled.")
    assert provider.find_charge(KEY) is None
    assert fake.charges == []


def test_a_charge_that_was_made_cannot_be_voided(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    result = provider.charge(KEY, PRICE, VISA, NOW)
    assert provider.void(KEY, PRICE, VISA, NOW) == result
    fake.forget_keys()
    assert provider.void(KEY, PRICE, VISA, NOW) == result
    assert fake.charged_amount() == PRICE.amount


def test_a_charge_that_was_begun_but_not_made_is_voided(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    fake.fault("cut", path="/v1/payment_intents/")
    with pytest.raises(ProviderUnreachable):
        provider.charge(KEY, PRICE, VISA, NOW)
    assert provider.void(KEY, PRICE, VISA, NOW) is None
    assert provider.charge(KEY, PRICE, VISA, NOW).status == "declined"
    assert [intent["status"] for intent in fake.intents] == ["canceled"]


def test_a_charge_that_stripe_cannot_express_can_be_voided(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    odd = Money(amount=1234, currency="KWD")
    with pytest.raises(ProviderRejected, match="too many decimals"):
        provider.charge(KEY, odd, VISA, NOW)
    assert provider.void(KEY, odd, VISA, NOW) is None
    assert fake.intents == []


def test_a_charge_racing_its_void_is_either_made_and_found_or_never_made(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    request = (PRICE, VISA, NOW)
    with ThreadPoolExecutor(4) as pool:
        for n in range(12):
            key = f"race-{n}"
            charge = partial(provider.charge, key, *request)
            void = partial(provider.void, key, *request)
            charging = [pool.submit(until_answered, fake, charge) for _ in range(2)]
            voiding = [pool.submit(until_answered, fake, void) for _ in range(2)]
            made = {each.result().status == "succeeded" for each in charging}
            found = {each.result() is not None for each in voiding}
            assert made == found
            assert len(made) == 1
            assert fake.charged_amount(transfer_group=named(key)) == (
                PRICE.amount if made == {True} else 0
            )


@pytest.mark.parametrize("changed", [(usd(1), VISA), (PRICE, "pm_card_mastercard")])
@pytest.mark.parametrize("searchable", [True, False])
def test_a_charge_whose_key_has_another_request_can_be_voided(
    fake: FakeStripe, provider: StripeProvider, changed: tuple[Money, str], searchable: bool
) -> None:
    """Such as one of another version of Recourse; also while Stripe's search is behind."""
    fake.fault("cut", path="/v1/payment_intents/")
    with pytest.raises(ProviderUnreachable):
        provider.charge(KEY, PRICE, VISA, NOW)
    if not searchable:
        fake.delay_search()
    assert provider.void(KEY, *changed, NOW) is None
    assert [intent["status"] for intent in fake.intents] == ["canceled"]
    assert provider.charge(KEY, PRICE, VISA, NOW).text == "The payment was cancelled."


def test_voiding_with_another_request_finds_the_charge_that_was_made(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    made = provider.charge(KEY, PRICE, VISA, NOW)
    assert provider.void(KEY, usd(1), "pm_card_mastercard", NOW) == made


# --- Captured ----------------------------------------------------------------------------------


def test_only_what_was_captured_is_paid(fake: FakeStripe, provider: StripeProvider) -> None:
    """Somebody captured a part: the charge is not held in full."""
    charge = charged(provider)
    fake.capture_part(charge, 200_00)
    assert provider.find_charge(KEY) == ChargeResult("succeeded", usd(200_00), charge)
    with pytest.raises(ProviderRejected, match=r"200\.00 USD was captured, not 250\.00 USD"):
        provider.charge(KEY, PRICE, VISA, NOW)
    assert provider.void(KEY, PRICE, VISA, NOW) == ChargeResult("succeeded", usd(200_00), charge)


def test_an_authorised_payment_is_not_paid_until_it_is_captured(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    intent = pay(client, transfer_group=named(KEY), capture_method="manual").id
    with pytest.raises(ProviderUnreachable, match="authorised the payment but not captured it"):
        provider.find_charge(KEY)
    client.v1.payment_intents.capture(intent)
    found = provider.find_charge(KEY)
    assert found == ChargeResult("succeeded", usd(25_00), intent)


def test_an_authorised_payment_can_be_voided(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    pay(client, transfer_group=named(KEY), capture_method="manual")
    assert provider.void(KEY, PRICE, VISA, NOW) is None
    assert [intent["status"] for intent in fake.intents] == ["canceled"]
    found = provider.find_charge(KEY)
    assert found is not None
    assert (found.status, found.charged) == ("declined", None)


# --- Keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["purchase-日本-é/hold", "purchase-a b/hold", " p", "p\t1", "é" * 300, "p" * 300]
)
def test_any_purchase_id_can_be_a_key(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient, key: str
) -> None:
    made = provider.charge(key, PRICE, VISA, NOW)
    assert provider.charge(key, PRICE, VISA, NOW) == made
    assert provider.find_charge(key) == made
    refund = provider.refund(f"{key}/r", made.reference, PRICE, NOW)
    assert provider.refund(f"{key}/r", made.reference, PRICE, NOW) == refund
    assert [charge.key for charge in provider.statement().charges] == [key]
    assert [refund.refund_id for refund in provider.statement().refunds] == [f"{key}/r"]
    assert (len(fake.intents), len(fake.refunds)) == (1, 1)


def test_long_purchase_ids_that_differ_at_the_end_are_different_keys(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    keys = [end.rjust(300, "p") for end in ("1", "2", "é", "è")]
    assert len({charged(provider, key=key) for key in keys}) == len(keys)
    assert fake.charged_amount() == PRICE.amount * len(keys)
