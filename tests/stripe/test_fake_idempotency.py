"""Idempotency keys as Stripe documents them: one key, one effect, one answer."""

import pytest
import stripe

from tests.stripe.builders import PRICE, at_once, connected, error_of, new_key, pay, payment, refund
from tests.stripe.fake import FakeStripe


def header(found: stripe.PaymentIntent | stripe.Refund, name: str) -> str | None:
    """Return a header of the answer with the object."""
    assert found.last_response is not None
    return found.last_response.headers.get(name)


# --- On Stripe too -----------------------------------------------------------------------------


def test_a_payment_repeated_under_its_key_is_one_payment(api: stripe.StripeClient) -> None:
    key, group = new_key(), new_key("group")
    first = pay(api, key, transfer_group=group)
    again = pay(api, key, transfer_group=group)

    assert again.id == first.id
    assert header(again, "Idempotent-Replayed") == "true"
    assert header(again, "Original-Request") == header(first, "Request-Id")
    assert len(api.v1.charges.list({"transfer_group": group}).data) == 1


def test_a_refund_repeated_under_its_key_is_one_refund(api: stripe.StripeClient) -> None:
    intent, key = pay(api).id, new_key()
    first = refund(api, intent, 100, key)
    again = refund(api, intent, 100, key)

    assert again.id == first.id
    assert header(again, "Idempotent-Replayed") == "true"
    assert len(api.v1.refunds.list({"payment_intent": intent}).data) == 1


def test_a_key_used_with_other_parameters_is_rejected(api: stripe.StripeClient) -> None:
    key = new_key()
    intent = pay(api, key)
    with pytest.raises(stripe.IdempotencyError) as rejected:
        pay(api, key, amount=PRICE + 1)
    assert error_of(rejected)["type"] == "idempotency_error"
    assert pay(api, key).id == intent.id


def test_a_key_used_at_another_path_is_rejected(api: stripe.StripeClient) -> None:
    key = new_key()
    intent = pay(api, key)
    with pytest.raises(stripe.IdempotencyError):
        refund(api, intent.id, key=key)
    assert api.v1.refunds.list({"payment_intent": intent.id}).data == []


def test_requests_without_a_key_are_two_payments(api: stripe.StripeClient) -> None:
    assert pay(api).id != pay(api).id


def test_a_declined_payment_stays_declined_under_its_key(api: stripe.StripeClient) -> None:
    key, group = new_key(), new_key("group")
    said = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as declined:
            pay(api, key, "pm_card_visa_chargeDeclined", transfer_group=group)
        said.append(error_of(declined)["payment_intent"]["id"])

    assert said[0] == said[1]
    (charge,) = api.v1.charges.list({"transfer_group": group}).data
    assert charge.status == "failed"


def test_a_request_rejected_before_execution_is_not_stored(api: stripe.StripeClient) -> None:
    key = new_key()
    with pytest.raises(stripe.InvalidRequestError):
        pay(api, key, amount="nothing")
    assert pay(api, key).status == "succeeded"


def test_concurrent_requests_with_one_key_are_performed_once(api: stripe.StripeClient) -> None:
    key, group = new_key(), new_key("group")
    found = at_once(lambda: pay(api, key, transfer_group=group), 4)

    made = {each.id for each in found if isinstance(each, stripe.PaymentIntent)}
    others = [each for each in found if isinstance(each, stripe.StripeError)]
    assert len(made) == 1
    assert {error.http_status for error in others} <= {409}
    assert len(api.v1.charges.list({"transfer_group": group}).data) == 1


# --- With the fake's switches ------------------------------------------------------------------


def test_a_key_held_by_a_running_request_is_a_conflict(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    """After that request ends, its answer is replayed."""

    def while_running() -> object:
        fake.wait_for_held()
        with pytest.raises(stripe.APIError) as conflict:
            pay(client, "k")
        fake.release()
        return conflict.value

    fake.fault("late")
    calls = [lambda: pay(client, "k"), while_running]
    first, conflict = at_once(lambda: calls.pop(0)(), 2)

    assert isinstance(first, stripe.PaymentIntent)
    assert isinstance(conflict, stripe.APIError)
    assert (conflict.http_status, conflict.code) == (409, None)
    assert conflict.error is not None
    assert conflict.error.code == "idempotency_key_in_use"
    assert pay(client, "k").id == first.id
    assert fake.charged_amount() == PRICE


def test_many_concurrent_retries_are_one_charge_per_key(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    def many() -> None:
        for n in range(25):
            pay(client, f"k-{n % 5}", transfer_group=f"p-{n % 5}")

    assert at_once(many, 8) == [None] * 8
    assert len(fake.requests) == 200
    assert len(fake.charges) == 5
    assert fake.charged_amount(transfer_group="p-0") == PRICE


def test_a_forgotten_key_pays_again(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """So a retry a day later must look the payment up first."""
    first = pay(client, "k", transfer_group="p-1")
    fake.forget_keys()
    assert pay(client, "k", transfer_group="p-1").id != first.id
    assert fake.charged_amount(transfer_group="p-1") == 2 * PRICE


def test_a_stored_500_comes_back_for_as_long_as_the_key_is_known(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.fault("stored_500")
    for _ in range(3):
        with pytest.raises(stripe.APIError) as broken:
            pay(client, "k")
        assert broken.value.http_status == 500
    assert fake.charges == []
    fake.forget_keys()
    assert pay(client, "k").status == "succeeded"


def test_behind_a_stored_500_the_payment_may_have_been_made(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.fault("performed_500")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            pay(client, "k", transfer_group="p-1")
    (charge,) = client.v1.charges.list({"transfer_group": "p-1"}).data
    assert charge.status == "succeeded"


def test_a_replayed_answer_has_the_original_state(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.new_refunds("pending")
    first = refund(client, pay(client).id, key="r")
    fake.succeed_refund(first.id)
    assert refund(client, str(first.payment_intent), key="r").status == "pending"
    assert client.v1.refunds.retrieve(first.id).status == "succeeded"


def test_a_rejected_refund_is_stored_and_a_conflict_or_rate_limit_is_not(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    intent = pay(client).id
    fake.fault("conflict", path="/v1/refunds")
    fake.fault("rate_limited", path="/v1/refunds")
    for status in (409, 429, 400, 400):
        with pytest.raises(stripe.StripeError) as rejected:
            refund(client, intent, PRICE + 1, "r")
        assert rejected.value.http_status == status
    asked = [call for call in fake.requests if call.path == "/v1/refunds"]
    assert [call.replayed for call in asked] == [False, False, False, True]


def test_keys_and_payments_belong_to_one_account(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    mine = pay(client, "k")
    other = client.v1.payment_intents.create(
        payment(), {"idempotency_key": "k", "stripe_account": "acct_other"}
    )
    assert other.id != mine.id
    assert [intent["id"] for intent in fake.intents] == [mine.id]


def test_a_key_that_is_too_long_is_rejected(client: stripe.StripeClient, fake: FakeStripe) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        pay(client, "k" * 256)
    assert fake.intents == []


def test_two_fakes_are_independent(fake: FakeStripe) -> None:
    with FakeStripe() as other, connected(other.api_key, other.url) as client:
        pay(client, "k")
        assert (len(other.charges), len(fake.charges)) == (1, 0)
