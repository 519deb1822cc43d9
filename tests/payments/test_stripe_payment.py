"""What Stripe has about one payment: captured, refunds, disputes; and payments made elsewhere."""

import pytest
import stripe

from activities.payments import (
    BankDispute,
    ChargeRecord,
    PaymentReport,
    ProviderRejected,
    RefundRecord,
)
from activities.payments.stripe import StripeProvider
from tests.payments.builders import KEY, NOW, PART, PRICE, REFUND, VISA, charged, named, usd
from tests.stripe.builders import PRICE as ELSEWHERE
from tests.stripe.builders import pay
from tests.stripe.builders import refund as refund_by_hand
from tests.stripe.fake import FakeStripe

OTHER = "purchase-p-2/hold"


def report(provider: StripeProvider, reference: str) -> PaymentReport:
    """Return the report about a payment that Stripe knows."""
    found = provider.payment(reference, NOW)
    assert found is not None
    return found


def test_a_payment_has_all_its_refunds_also_those_made_by_others(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    charge = charged(provider)
    ours = provider.refund(REFUND, charge, PART, NOW).reference
    theirs = refund_by_hand(client, charge, 500).id
    refund_by_hand(client, charged(provider, key=OTHER), 500)
    assert report(provider, charge) == PaymentReport(
        charge,
        PRICE,
        KEY,
        (
            RefundRecord("", usd(500), theirs, "sent", charge),
            RefundRecord(REFUND, PART, ours, "sent", charge),
        ),
    )


def test_a_payment_is_found_by_its_intent_and_by_its_charge(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    intent = charged(provider)
    assert report(provider, fake.charges[0]["id"]) == report(provider, intent)


@pytest.mark.parametrize(
    "reference", ["pi_unknown", "ch_unknown", "", "..", "in_1", "pi_1/x", "pm_1"]
)
def test_an_unknown_payment_is_not_found(provider: StripeProvider, reference: str) -> None:
    assert provider.payment(reference, NOW) is None
    assert provider.claim(KEY, reference, NOW) is None


def test_an_unpaid_payment_has_captured_nothing(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    begun = pay(client, confirm=False).id
    authorised = pay(client, capture_method="manual").id
    declined = provider.charge(KEY, PRICE, "pm_card_chargeDeclined", NOW).reference
    for reference in (begun, authorised, declined):
        assert report(provider, reference).captured is None
    client.v1.payment_intents.capture(authorised, {"amount_to_capture": 100})
    assert report(provider, authorised).captured == usd(100)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["warning_needs_response"], "inquiry"),
        (["warning_needs_response", "warning_under_review"], "inquiry"),
        (["warning_needs_response", "warning_closed"], "won"),
        (["warning_needs_response", "needs_response"], "opened"),
        (["needs_response"], "opened"),
        (["needs_response", "under_review"], "opened"),
        (["needs_response", "won"], "won"),
        (["needs_response", "lost"], "lost"),
        (["needs_response", "prevented"], "lost"),
        (["warning_needs_response", "prevented"], "won"),
        (["needs_response", "a_status_that_stripe_adds"], "opened"),
    ],
)
def test_a_payment_has_the_disputes_of_the_client_s_bank(
    fake: FakeStripe, provider: StripeProvider, statuses: list[str], expected: str
) -> None:
    """Nothing is paid while a dispute is open, or has a status that Recourse does not know."""
    charge = charged(provider)
    dispute = fake.dispute(charge, PART.amount, status=statuses[0], reason="product_not_received")
    for status in statuses[1:]:
        fake.settle_dispute(dispute, status)
    (found,) = report(provider, charge).disputes
    assert (found.dispute_id, found.status) == (dispute, expected)
    assert (found.amount, found.reason) == (PART, "product_not_received")


def test_the_statement_has_the_disputes_of_each_charge(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    first, second = charged(provider), charged(provider, key=OTHER)
    dispute = fake.dispute(second)
    fake.dispute(pay(client).id)
    opened = BankDispute(dispute, "opened", PRICE, "fraudulent")
    assert provider.statement().charges == (
        ChargeRecord(OTHER, PRICE, second, 0, disputed=True, disputes=(opened,)),
        ChargeRecord(KEY, PRICE, first, 0),
    )


# --- Payments made elsewhere -------------------------------------------------------------------


def test_a_payment_made_elsewhere_is_one_of_recourse_once_it_is_claimed(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    paid = pay(client).id
    assert report(provider, paid).key == ""
    with pytest.raises(ProviderRejected, match="another deployment or program"):
        provider.refund(REFUND, paid, usd(100), NOW)
    claimed = PaymentReport(paid, usd(ELSEWHERE), KEY)
    for _ in range(2):
        assert provider.claim(KEY, paid, NOW) == claimed
    assert provider.payment(paid, NOW) == claimed
    found = provider.find_charge(KEY)
    assert found is not None
    assert (found.status, found.charged, found.reference) == ("succeeded", usd(ELSEWHERE), paid)
    refund = provider.refund(REFUND, paid, usd(100), NOW)
    statement = provider.statement()
    assert statement.charges == (ChargeRecord(KEY, usd(ELSEWHERE), paid, 100),)
    assert [each.reference for each in statement.refunds] == [refund.reference]


def test_a_charge_without_an_intent_can_be_claimed_and_refunded(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    """As marketplaces with Stripe's old Charges API make them."""
    old = client.v1.charges.create({"amount": 2500, "currency": "usd", "source": "tok_visa"}).id
    claimed = provider.claim(KEY, old, NOW)
    assert claimed == PaymentReport(old, usd(2500), KEY)
    assert provider.refund(REFUND, old, usd(100), NOW).status == "sent"
    assert [refund.refund_id for refund in report(provider, old).refunds] == [REFUND]
    assert [charge.reference for charge in provider.statement().charges] == [old]


def test_a_payment_belongs_to_one_purchase(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    paid = pay(client).id
    provider.claim(KEY, paid, NOW)
    with pytest.raises(ProviderRejected, match=f"already belongs to {named(KEY)}"):
        provider.claim(OTHER, paid, NOW)
    with pytest.raises(ProviderRejected, match=f"already belongs to {named(OTHER)}"):
        provider.claim(KEY, charged(provider, key=OTHER), NOW)
    assert report(provider, paid).key == KEY


def test_an_edited_mark_does_not_free_a_payment(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    """Stripe never changes a transfer group."""
    paid = pay(client).id
    provider.claim(KEY, paid, NOW)
    charge = fake.charges[0]["id"]
    client.v1.charges.update(charge, {"metadata": {"recourse_charge": ""}})
    assert report(provider, paid).key == KEY
    with pytest.raises(ProviderRejected, match="transfer group"):
        provider.claim(OTHER, paid, NOW)


def test_a_payment_in_a_group_of_its_own_cannot_be_claimed(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    paid = pay(client, transfer_group="order-1").id
    with pytest.raises(ProviderRejected, match="transfer group 'order-1'"):
        provider.claim(KEY, paid, NOW)
    assert report(provider, paid).key == ""


def test_an_unpaid_payment_cannot_be_claimed(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    begun = pay(client, confirm=False).id
    with pytest.raises(ProviderRejected, match=f"Nothing was paid with {begun}"):
        provider.claim(KEY, begun, NOW)


def test_a_claimed_payment_takes_no_second_one(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    paid = pay(client).id
    provider.claim(KEY, paid, NOW)
    with pytest.raises(ProviderRejected, match="belongs to another"):
        provider.charge(KEY, PRICE, VISA, NOW)
    assert fake.charged_amount() == ELSEWHERE
