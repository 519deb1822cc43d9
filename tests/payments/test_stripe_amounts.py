"""Conversion to Stripe's minor units: exact, or rejected; nothing is rounded."""

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.amounts import MAX_AMOUNT, parse_amount, step_of
from activities.payments import ProviderRejected
from activities.payments.stripe import StripeProvider
from activities.payments.stripe_records import from_stripe, to_stripe
from activities.requests import Money
from tests.payments.builders import KEY, NOW, REFUND, VISA
from tests.stripe.fake import FakeStripe

CURRENCIES = sorted(each.code for each in iso4217.Currency if each.exponent is not None)


def money(written: str) -> Money:
    """Parse `1.23 KWD`."""
    amount, currency = written.split()
    return Money(amount=parse_amount(amount, currency), currency=currency)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("250.00 USD", 25000),
        ("0.01 USD", 1),
        ("250 JPY", 250),
        ("1.230 KWD", 1230),
        ("250 ISK", 25000),  # no decimals in ISO 4217, sent with two
        ("250 UGX", 25000),
        ("1.00 MGA", 1),  # fifths, which Stripe does not support
        ("12.00 MGA", 12),
        ("250 KRW", 250),
    ],
)
def test_an_amount_is_sent_in_stripes_own_units(written: str, sent: int) -> None:
    amount = money(written)
    assert to_stripe(amount) == sent
    assert from_stripe(sent, amount.currency.lower()) == amount


@pytest.mark.parametrize("written", ["1.234 KWD", "0.001 BHD", "1.50 MGA", "0.01 MGA"])
def test_an_amount_that_stripe_cannot_express_is_rejected(written: str) -> None:
    with pytest.raises(
        ProviderRejected, match=f"cannot express {written}: it has too many decimals"
    ):
        to_stripe(money(written))


@pytest.mark.parametrize("currency", CURRENCIES)
def test_purchases_are_made_of_what_stripe_can_move(currency: str) -> None:
    """The step that a purchase records is the smallest amount that can be sent."""
    step = step_of(currency)
    assert to_stripe(Money(amount=step, currency=currency)) > 0
    for less in (step // 10, step // 2):
        if less:
            with pytest.raises(ProviderRejected):
                to_stripe(Money(amount=less, currency=currency))


@given(st.sampled_from(CURRENCIES), st.integers(1, MAX_AMOUNT // 1000), st.booleans())
def test_an_amount_of_any_currency_converts_back_to_itself(
    currency: str, amount: int, round_one: bool
) -> None:
    step = step_of(currency)
    asked = Money(amount=amount * step if round_one else amount, currency=currency)
    if asked.amount % step:
        with pytest.raises(ProviderRejected):
            to_stripe(asked)
    else:
        assert from_stripe(to_stripe(asked), currency.lower()) == asked


@pytest.mark.parametrize(
    ("price", "part"),
    [("25000 JPY", "10001 JPY"), ("12.340 KWD", "0.010 KWD"), ("300 ISK", "1 ISK")],
)
def test_a_charge_and_a_refund_have_the_requested_amount_in_any_currency(
    fake: FakeStripe, provider: StripeProvider, price: str, part: str
) -> None:
    asked, back = money(price), money(part)
    charge = provider.charge(KEY, asked, VISA, NOW)
    refund = provider.refund(REFUND, charge.reference, back, NOW)
    assert (charge.charged, refund.amount) == (asked, back)
    assert (fake.charged_amount(), fake.refunded_amount()) == (to_stripe(asked), to_stripe(back))
    statement = provider.statement()
    assert [record.amount for record in statement.charges] == [asked]
    assert [record.amount for record in statement.refunds] == [back]
