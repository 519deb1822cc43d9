"""Refunds: limits, states and later failures."""

import pytest
import stripe

from tests.stripe.builders import PRICE, error_of, pay, refund
from tests.stripe.fake import FakeStripe


def charge_of(api: stripe.StripeClient, intent: str) -> stripe.Charge:
    """Return the intent's only charge."""
    (charge,) = api.v1.charges.list({"payment_intent": intent}).data
    return charge


# --- On Stripe too -----------------------------------------------------------------------------


def test_partial_refunds_add_up_to_the_charge(api: stripe.StripeClient) -> None:
    intent = pay(api).id
    first = refund(api, intent, 10_00)
    assert (first.amount, first.status, first.payment_intent) == (10_00, "succeeded", intent)
    charge = charge_of(api, intent)
    assert (charge.amount_refunded, charge.refunded) == (10_00, False)
    assert first.charge == charge.id
    last = refund(api, intent)
    assert last.amount == PRICE - 10_00
    charge = charge_of(api, intent)
    assert (charge.amount_refunded, charge.refunded) == (PRICE, True)


def test_a_refund_above_the_remainder_is_rejected(api: stripe.StripeClient) -> None:
    intent = pay(api).id
    refund(api, intent, 10_00)
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        refund(api, intent, 15_01)
    assert rejected.value.http_status == 400
    assert error_of(rejected)["type"] == "invalid_request_error"
    assert "($15.01) is greater than unrefunded amount on charge ($15.00)" in str(rejected.value)
    assert charge_of(api, intent).amount_refunded == 10_00


def test_a_refunded_charge_cannot_be_refunded_again(api: stripe.StripeClient) -> None:
    intent = pay(api).id
    refund(api, intent)
    for amount in (None, 1):
        with pytest.raises(stripe.InvalidRequestError) as rejected:
            refund(api, intent, amount)
        assert rejected.value.code == "charge_already_refunded"
    assert len(api.v1.refunds.list({"payment_intent": intent}).data) == 1


def test_a_refund_keeps_its_metadata_and_reason(api: stripe.StripeClient) -> None:
    charge = charge_of(api, pay(api).id)
    made = api.v1.refunds.create(
        {
            "charge": charge.id,
            "amount": 100,
            "metadata": {"refund": "r-1"},
            "reason": "requested_by_customer",
        }
    )
    found = api.v1.refunds.retrieve(made.id, {"expand": ["charge", "payment_intent"]})
    assert found.metadata is not None
    assert (found.metadata["refund"], found.reason) == ("r-1", "requested_by_customer")
    assert isinstance(found.charge, stripe.Charge)
    assert isinstance(found.payment_intent, stripe.PaymentIntent)
    assert (found.charge.amount_refunded, found.payment_intent.amount) == (100, PRICE)


def test_refunds_are_listed_newest_first(api: stripe.StripeClient) -> None:
    intent = pay(api).id
    made = [refund(api, intent, 100).id for _ in range(3)]
    page = api.v1.refunds.list({"payment_intent": intent, "limit": 1})
    assert page.has_more
    assert [each.id for each in page.auto_paging_iter()] == made[::-1]
    first = api.v1.refunds.retrieve(made[0])
    since = api.v1.refunds.list({"created": {"gte": first.created}, "limit": 100})
    assert set(made) <= {each.id for each in since.auto_paging_iter()}


def test_an_unpaid_intent_cannot_be_refunded(api: stripe.StripeClient) -> None:
    intent = pay(api, confirm=False).id
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        refund(api, intent)
    assert rejected.value.http_status == 400
    with pytest.raises(stripe.CardError) as declined:
        pay(api, method="pm_card_visa_chargeDeclined")
    with pytest.raises(stripe.InvalidRequestError):
        refund(api, error_of(declined)["payment_intent"]["id"])


@pytest.mark.parametrize(
    ("magic", "status"), [("pm_card_pendingRefund", "pending"), ("pm_card_refundFail", "succeeded")]
)
def test_the_first_status_of_a_refund_depends_on_the_card(
    api: stripe.StripeClient, magic: str, status: str
) -> None:
    assert refund(api, pay(api, method=magic).id).status == status


@pytest.mark.parametrize("amount", [0, -1])
def test_a_refund_of_zero_is_rejected(api: stripe.StripeClient, amount: int) -> None:
    intent = pay(api).id
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        refund(api, intent, amount)
    assert rejected.value.param == "amount"


def test_a_succeeded_refund_cannot_be_cancelled(api: stripe.StripeClient) -> None:
    made = refund(api, pay(api).id)
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.refunds.cancel(made.id)


# --- With the fake's switches ------------------------------------------------------------------


def test_a_pending_refund_counts_against_the_charge(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.new_refunds("pending")
    intent = pay(client).id
    made = refund(client, intent)
    assert made.status == "pending"
    with pytest.raises(stripe.InvalidRequestError):
        refund(client, intent, 1)
    fake.succeed_refund(made.id)
    assert client.v1.refunds.retrieve(made.id).status == "succeeded"
    assert fake.refunded_amount(payment_intent=intent) == PRICE


def test_a_failed_refund_no_longer_counts_against_the_charge(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    """Also one that had succeeded."""
    intent = pay(client).id
    made = refund(client, intent)
    fake.fail_refund(made.id, "lost_or_stolen_card")

    failed = client.v1.refunds.retrieve(made.id)
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    charge = charge_of(client, intent)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    assert fake.refunded_amount() == 0
    assert refund(client, intent).status == "succeeded"
    assert fake.refunded_amount() == PRICE


def test_a_refund_that_waits_for_the_client_can_be_cancelled(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.new_refunds("pending")
    made = refund(client, pay(client).id)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.cancel(made.id)
    fake.require_action(made.id)
    assert client.v1.refunds.retrieve(made.id).status == "requires_action"
    assert client.v1.refunds.cancel(made.id).status == "canceled"
    assert fake.refunded_amount() == 0


def test_a_pending_refund_can_be_cancelled_in_the_dashboard(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.new_refunds("pending")
    intent = pay(client).id
    fake.cancel_refund(refund(client, intent).id)
    assert refund(client, intent).amount == PRICE


def test_a_final_refund_does_not_change(fake: FakeStripe, client: stripe.StripeClient) -> None:
    made = refund(client, pay(client).id)
    with pytest.raises(ValueError, match="succeeded does not become succeeded"):
        fake.succeed_refund(made.id)
    fake.fail_refund(made.id)
    with pytest.raises(ValueError, match="failed does not become succeeded"):
        fake.succeed_refund(made.id)


def test_a_refund_gets_the_reference_of_the_card_network_later(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    made = refund(client, pay(client).id)
    assert made.destination_details is not None
    assert made.destination_details.card is not None
    assert made.destination_details.card.reference_status == "pending"
    fake.reference_refund(made.id, "74836215041528940152637")
    details = client.v1.refunds.retrieve(made.id).destination_details
    assert details is not None
    assert details.card is not None
    assert details.card.reference == "74836215041528940152637"


def test_a_pending_refund_has_a_reason(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.new_refunds("pending", "insufficient_funds")
    made = refund(client, pay(client).id)
    assert made.pending_reason == "insufficient_funds"
    fake.succeed_refund(made.id)
    assert client.v1.refunds.retrieve(made.id).pending_reason is None


def test_a_refund_that_needs_the_customer_asks_by_mail(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.new_refunds("pending")
    made = refund(client, pay(client).id)
    fake.require_action(made.id)
    action = client.v1.refunds.retrieve(made.id).next_action
    assert action is not None
    assert action.type == "display_details"
