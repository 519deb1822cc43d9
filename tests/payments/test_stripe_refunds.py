"""Refunds at Stripe: sent once, looked up until final, never above the charge."""

import pytest
import stripe

from activities.payments import ProviderRejected, RefundResult
from activities.payments.stripe import StripeProvider
from activities.payments.stripe_records import CANCELLED
from activities.requests import Money
from tests.payments.builders import KEY, NOW, PART, PRICE, REFUND, VISA, charged, usd
from tests.stripe.builders import refund as refund_by_hand
from tests.stripe.fake import FakeStripe


def test_a_refund_has_the_requested_amount_and_can_be_looked_up(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider)
    assert provider.find_refund(REFUND, charge, NOW) is None
    result = provider.refund(REFUND, charge, PART, NOW)
    assert result == RefundResult("sent", PART, fake.refunds[0]["id"])
    assert provider.find_refund(REFUND, charge, NOW) == result
    assert fake.refunded_amount(payment_intent=charge) == PART.amount
    assert provider.find_charge(KEY) == provider.charge(KEY, PRICE, VISA, NOW)


@pytest.mark.parametrize("forgotten", [False, True])
def test_the_same_refund_id_is_one_refund(
    fake: FakeStripe, provider: StripeProvider, forgotten: bool
) -> None:
    charge = charged(provider)
    first = provider.refund(REFUND, charge, PART, NOW)
    for _ in range(2):
        if forgotten:
            fake.forget_keys()
        assert provider.refund(REFUND, charge, PART, NOW) == first
    assert (len(fake.refunds), fake.refunded_amount()) == (1, PART.amount)


def test_the_same_refund_id_for_another_refund_is_rejected(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge, other = charged(provider), charged(provider, key="purchase-p-2/hold")
    provider.refund(REFUND, charge, PART, NOW)
    for reference, amount in ((charge, usd(1)), (other, PART)):
        with pytest.raises(ProviderRejected, match="belongs to another re"):
            provider.refund(REFUND, reference, amount, NOW)
    fake.forget_keys()
    with pytest.raises(ProviderRejected, match="belongs to another refund"):
        provider.refund(REFUND, charge, usd(1), NOW)
    assert fake.refunded_amount() == PART.amount


def test_partial_refunds_may_not_exceed_the_charge(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider)
    provider.refund("r-1", charge, usd(10000), NOW)
    provider.refund("r-2", charge, usd(14999), NOW)
    with pytest.raises(ProviderRejected, match="greater than unrefunded amount"):
        provider.refund("r-3", charge, usd(2), NOW)
    assert provider.find_refund("r-3", charge, NOW) is None
    provider.refund("r-4", charge, usd(1), NOW)
    with pytest.raises(ProviderRejected, match="already been refunded"):
        provider.refund("r-5", charge, usd(1), NOW)
    assert fake.refunded_amount() == PRICE.amount


def test_an_unknown_charge_cannot_be_refunded(fake: FakeStripe, provider: StripeProvider) -> None:
    declined = provider.charge("declined", PRICE, "pm_card_chargeDeclined", NOW).reference
    provider.void("void", PRICE, VISA, NOW)
    void = provider.charge("void", PRICE, VISA, NOW).reference
    for reference in (declined, void, "pi_unheard_of"):
        with pytest.raises(ProviderRejected, match=r"successful charge|knows no payment"):
            provider.refund(f"{reference}/r", reference, PRICE, NOW)
        assert provider.find_refund(f"{reference}/r", reference, NOW) is None
    assert fake.refunds == []


def test_a_refund_that_stripe_cannot_express_is_rejected_before_any_call(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider)
    heard = len(fake.requests)
    with pytest.raises(ProviderRejected, match=r"1\.234 KWD"):
        provider.refund(REFUND, charge, Money(amount=1234, currency="KWD"), NOW)
    assert len(fake.requests) == heard


# --- Later status ------------------------------------------------------------------------------


def test_a_refund_can_be_looked_up_until_it_fails(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider, "pm_card_pendingRefund")
    seen = [provider.refund(REFUND, charge, PRICE, NOW)]
    refund = seen[0].reference
    for happens in (fake.require_action, fake.succeed_refund, fake.fail_refund):
        happens(refund)
        seen.append(provider.refund(REFUND, charge, PRICE, NOW))
        assert provider.find_refund(REFUND, charge, NOW) == seen[-1]
    assert [result.status for result in seen] == ["pending", "pending", "sent", "failed"]
    assert [result.text for result in seen] == [
        "Stripe is processing the refund.",
        "The client must act: Stripe has asked the client by mail where to send the money.",
        "",
        "Stripe says: expired_or_canceled_card.",
    ]
    assert {result.reference for result in seen} == {refund}
    assert len(fake.refunds) == 1


def test_a_refund_that_was_canceled_has_failed(fake: FakeStripe, provider: StripeProvider) -> None:
    charge = charged(provider, "pm_card_pendingRefund")
    refund = provider.refund(REFUND, charge, PRICE, NOW).reference
    fake.cancel_refund(refund)
    why = "Somebody cancelled the refund at Stripe."
    failed = RefundResult("failed", PRICE, refund, why, cancelled=True)
    assert provider.find_refund(REFUND, charge, NOW) == failed
    assert provider.refund(REFUND, charge, PRICE, NOW) == failed


def test_after_a_failed_refund_another_id_can_be_refunded(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider, "pm_card_pendingRefund")
    fake.fail_refund(provider.refund("r-1", charge, PRICE, NOW).reference)
    second = provider.refund("r-2", charge, PRICE, NOW)
    fake.succeed_refund(second.reference)
    found = [provider.find_refund(name, charge, NOW) for name in ("r-1", "r-2")]
    assert [result and result.status for result in found] == ["failed", "sent"]
    assert fake.refunded_amount() == PRICE.amount


def test_a_rejected_refund_is_sent_under_the_same_id_once_possible(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    """Stripe replays a stored rejection after its reason has gone."""
    charge = charged(provider, "pm_card_pendingRefund")
    first = provider.refund("r-1", charge, PRICE, NOW).reference
    for _ in range(2):
        with pytest.raises(ProviderRejected, match="already been refunded"):
            provider.refund("r-2", charge, PART, NOW)
    fake.fail_refund(first)
    second = provider.refund("r-2", charge, PART, NOW)
    assert second.status == "pending"
    assert provider.refund("r-2", charge, PART, NOW) == second
    assert fake.refunded_amount() == PART.amount


def test_a_refund_that_is_always_rejected_stays_rejected(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider)
    provider.refund("r-1", charge, PRICE, NOW)
    for _ in range(8):
        with pytest.raises(ProviderRejected, match="already been refunded"):
            provider.refund("r-2", charge, PART, NOW)
    assert len(fake.refunds) == 1


def test_a_refund_is_found_among_hundreds_of_its_charge(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    charge = charged(provider)
    made = provider.refund(REFUND, charge, PART, NOW)
    for _ in range(100):
        refund_by_hand(client, charge, 1)
    assert provider.find_refund(REFUND, charge, NOW) == made
    fake.forget_keys()
    assert provider.refund(REFUND, charge, PART, NOW) == made
    assert fake.refunded_amount() == PART.amount + 100
    assert len(report.refunds if (report := provider.payment(charge, NOW)) else ()) == 101
    listed = provider.statement().refunds
    assert [refund.refund_id for refund in listed if refund.refund_id] == [REFUND]
    assert {refund.charge_reference for refund in listed} == {charge}


# --- What Stripe says about a refund ------------------------------------------------------------


def test_a_sent_refund_has_the_bank_s_reference_once_there_is_one(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    """With an ARN, the client's bank finds the refund. One made by others keeps Stripe's id."""
    charge, arn = charged(provider), "74836215041528940152637"
    fake.reference_refund(provider.refund(REFUND, charge, PART, NOW).reference, arn)
    assert provider.find_refund(REFUND, charge, NOW) == RefundResult("sent", PART, arn)
    theirs = refund_by_hand(client, charge, 1).id
    fake.reference_refund(theirs, "74836215041528940152638")
    report = provider.payment(charge, NOW)
    assert report is not None
    assert report.refunds[0].reference == theirs
    assert report.refunds[1].bank_reference == arn


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("insufficient_funds", "The balance at Stripe is too low for this refund: add funds"),
        ("charge_pending", "Stripe sends the refund when the payment itself has cleared"),
        ("processing", "Stripe is processing the refund"),
    ],
)
def test_a_pending_refund_says_why(
    fake: FakeStripe, provider: StripeProvider, reason: str, text: str
) -> None:
    fake.new_refunds("pending", reason)
    pending = provider.refund(REFUND, charged(provider), PART, NOW)
    assert pending.status == "pending"
    assert pending.text.startswith(text)


def test_a_refund_that_somebody_stopped_at_stripe_says_so(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    """It must not be sent again without a person: it may have been stopped because of fraud."""
    charge = charged(provider)
    fake.fail_refund(provider.refund(REFUND, charge, PART, NOW).reference, "merchant_request")
    failed = provider.find_refund(REFUND, charge, NOW)
    assert failed is not None
    assert (failed.status, failed.text) == ("failed", f"{CANCELLED}.")


def test_a_refund_that_the_bank_returned_has_failed(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider)
    refund = provider.refund(REFUND, charge, PART, NOW).reference
    fake.fail_refund(refund, "lost_or_stolen_card")
    returned = RefundResult("failed", PART, refund, "Stripe says: lost_or_stolen_card.")
    assert provider.find_refund(REFUND, charge, NOW) == returned


# --- Refunds without our name ------------------------------------------------------------------


@pytest.mark.parametrize("written", [{}, {"recourse_refund": "somebody's note"}])
def test_a_refund_whose_metadata_was_edited_is_not_sent_again(
    fake: FakeStripe, provider: StripeProvider, written: dict[str, str]
) -> None:
    charge = charged(provider)
    refund = provider.refund(REFUND, charge, PART, NOW).reference
    fake.write_metadata(refund, **written)
    fake.forget_keys()
    for _ in range(2):
        with pytest.raises(ProviderRejected, match=f"Stripe has a refund {refund} of 100.00 USD"):
            provider.refund(REFUND, charge, PART, NOW)
    assert fake.refunded_amount() == PART.amount


def test_a_person_decides_whether_a_refund_of_the_same_amount_is_another(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    charge = charged(provider)
    by_hand = refund_by_hand(client, charge, PART.amount).id
    with pytest.raises(ProviderRejected, match="recourse_refund=elsewhere at Stripe and retry"):
        provider.refund(REFUND, charge, PART, NOW)
    fake.write_metadata(by_hand, recourse_refund="elsewhere")
    assert provider.refund(REFUND, charge, PART, NOW).status == "sent"
    assert fake.refunded_amount() == 2 * PART.amount


@pytest.mark.parametrize("failed", [False, True])
def test_a_refund_by_hand_that_failed_or_has_another_amount_stops_no_refund(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient, failed: bool
) -> None:
    charge = charged(provider)
    by_hand = refund_by_hand(client, charge, PART.amount if failed else 1).id
    if failed:
        fake.fail_refund(by_hand)
    assert provider.refund(REFUND, charge, PART, NOW).status == "sent"


def test_a_disputed_payment_is_not_refunded(fake: FakeStripe, provider: StripeProvider) -> None:
    charge = charged(provider)
    fake.dispute(charge)
    with pytest.raises(ProviderRejected, match="charged back"):
        provider.refund(REFUND, charge, PART, NOW)
    assert fake.refunds == []
