"""Payment intents and charges: their states, rejections and lists."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import stripe

from tests.stripe.builders import PRICE, at_once, error_of, new_key, pay, payment
from tests.stripe.fake import FakeStripe

# --- On Stripe too -----------------------------------------------------------------------------


def test_a_payment_leaves_a_charge_with_its_group_and_metadata(api: stripe.StripeClient) -> None:
    group = new_key("group")
    intent = pay(api, transfer_group=group, metadata={"purchase": "p-1"}, expand=["latest_charge"])
    charge = intent.latest_charge

    assert isinstance(charge, stripe.Charge)
    assert (intent.status, intent.amount_received) == ("succeeded", PRICE)
    assert (charge.status, charge.amount, charge.currency) == ("succeeded", PRICE, "usd")
    assert (charge.transfer_group, charge.metadata["purchase"]) == (group, "p-1")
    assert (charge.amount_refunded, charge.refunded, charge.payment_intent) == (0, False, intent.id)
    for filters in ({"transfer_group": group}, {"payment_intent": intent.id}):
        listed = api.v1.charges.list(filters)  # type: ignore[arg-type]
        assert [each.id for each in listed.data] == [charge.id]
    assert api.v1.charges.retrieve(charge.id).id == charge.id


def test_a_declined_payment_leaves_a_failed_charge_and_needs_another_method(
    api: stripe.StripeClient,
) -> None:
    group = new_key("group")
    with pytest.raises(stripe.CardError) as declined:
        pay(api, method="pm_card_visa_chargeDeclined", transfer_group=group)
    assert declined.value.http_status == 402
    said = error_of(declined)
    assert (said["type"], said["code"]) == ("card_error", "card_declined")
    (charge,) = api.v1.charges.list({"transfer_group": group}).data
    assert (charge.id, charge.status, charge.paid) == (said["charge"], "failed", False)
    assert charge.failure_message

    intent = api.v1.payment_intents.retrieve(said["payment_intent"]["id"])
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert intent.last_payment_error is not None
    assert intent.latest_charge == charge.id
    paid = api.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"
    assert len(api.v1.charges.list({"transfer_group": group}).data) == 2


def test_a_payment_is_made_only_when_it_is_confirmed(api: stripe.StripeClient) -> None:
    intent = pay(api, confirm=False)
    assert (intent.status, intent.latest_charge) == ("requires_confirmation", None)
    assert api.v1.payment_intents.confirm(intent.id).status == "succeeded"


def test_a_payment_needs_a_payment_method(api: stripe.StripeClient) -> None:
    intent = api.v1.payment_intents.create(payment(method=None, confirm=False))
    assert intent.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        api.v1.payment_intents.confirm(intent.id)
    assert rejected.value.code == "payment_intent_unexpected_state"


def test_a_succeeded_intent_cannot_be_confirmed_or_cancelled(api: stripe.StripeClient) -> None:
    intent = pay(api)
    for call in (api.v1.payment_intents.confirm, api.v1.payment_intents.cancel):
        with pytest.raises(stripe.InvalidRequestError) as rejected:
            call(intent.id)
        assert rejected.value.http_status == 400
        assert rejected.value.code == "payment_intent_unexpected_state"
        assert error_of(rejected)["payment_intent"]["status"] == "succeeded"


def test_a_cancelled_intent_is_never_paid(api: stripe.StripeClient) -> None:
    intent = pay(api, confirm=False)
    canceled = api.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    for call in (api.v1.payment_intents.confirm, api.v1.payment_intents.cancel):
        with pytest.raises(stripe.InvalidRequestError) as rejected:
            call(intent.id)
        assert rejected.value.code == "payment_intent_unexpected_state"
        assert error_of(rejected)["payment_intent"]["status"] == "canceled"
    assert api.v1.charges.list({"payment_intent": intent.id}).data == []


def test_an_off_session_client_cannot_authenticate(api: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError) as declined:
        pay(api, method="pm_card_authenticationRequired", off_session=True)
    assert declined.value.code == "authentication_required"
    assert error_of(declined)["payment_intent"]["status"] == "requires_payment_method"


def test_a_client_authenticates_at_a_link_if_there_is_a_page_to_return_to(
    api: stripe.StripeClient,
) -> None:
    """Also if the payment accepts no methods that redirect."""
    page = "https://market.example/purchases/p-1"
    intent = pay(api, method="pm_card_authenticationRequired", return_url=page)
    assert intent.next_action is not None
    assert (intent.status, intent.next_action.type) == ("requires_action", "redirect_to_url")
    link = intent.next_action.redirect_to_url
    assert link is not None
    assert link.return_url == page
    assert (link.url or "").startswith("https://")
    assert api.v1.payment_intents.cancel(intent.id).status == "canceled"


def test_an_authorised_payment_is_paid_when_it_is_captured(api: stripe.StripeClient) -> None:
    intent = pay(api, capture_method="manual", transfer_group=new_key())
    assert (intent.status, intent.amount_received) == ("requires_capture", 0)
    (charge,) = api.v1.charges.list({"payment_intent": intent.id}).data
    assert (charge.status, charge.captured, charge.amount_captured) == ("succeeded", False, 0)
    captured = api.v1.payment_intents.capture(intent.id, {"amount_to_capture": 1000})
    assert (captured.status, captured.amount_received) == ("succeeded", 1000)
    charge = api.v1.charges.retrieve(charge.id)
    assert (charge.captured, charge.amount, charge.amount_captured) == (True, PRICE, 1000)


def test_an_authorised_payment_can_be_cancelled(api: stripe.StripeClient) -> None:
    intent = pay(api, capture_method="manual").id
    assert api.v1.payment_intents.cancel(intent).status == "canceled"
    (charge,) = api.v1.charges.list({"payment_intent": intent}).data
    assert (charge.status, charge.captured, charge.refunded) == ("succeeded", False, True)


def test_a_charge_gets_a_transfer_group_once(api: stripe.StripeClient) -> None:
    group, intent = new_key("group"), pay(api).id
    (charge,) = api.v1.charges.list({"payment_intent": intent}).data
    api.v1.charges.update(charge.id, {"transfer_group": group, "metadata": {"a": "1"}})
    assert [each.id for each in api.v1.charges.list({"transfer_group": group}).data] == [charge.id]
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.charges.update(charge.id, {"transfer_group": new_key("group")})
    found = api.v1.charges.update(charge.id, {"metadata": {"a": "", "b": "2"}})
    assert (found.transfer_group, found.metadata.to_dict()) == (group, {"b": "2"})


def test_metadata_of_a_paid_intent_can_be_changed(api: stripe.StripeClient) -> None:
    intent = pay(api, metadata={"a": "1"}).id
    changed = api.v1.payment_intents.update(intent, {"metadata": {"b": "2"}})
    assert changed.metadata.to_dict() == {"a": "1", "b": "2"}


@pytest.mark.parametrize("value", ["shop/p-1", "it's", r"back\slash", "日本"])
def test_intents_are_found_by_metadata(
    fake: FakeStripe, client: stripe.StripeClient, value: str
) -> None:
    """Stripe's search may be a minute behind, so this is stated of the fake only."""
    intent = pay(client, metadata={"key": value}).id
    pay(client, metadata={"key": "other"})
    quoted = value.replace("\\", r"\\").replace("'", r"\'")
    query = f"metadata['key']:'{quoted}'"
    found = client.v1.payment_intents.search({"query": query})
    assert [each.id for each in found.data] == [intent]
    fake.delay_search()
    assert client.v1.payment_intents.search({"query": query}).data == []


def test_an_on_session_client_is_asked_to_authenticate(api: stripe.StripeClient) -> None:
    intent = pay(api, method="pm_card_authenticationRequired")
    assert (intent.status, intent.latest_charge) == ("requires_action", None)
    assert intent.next_action is not None
    assert api.v1.payment_intents.cancel(intent.id).status == "canceled"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": "12.50"}, "amount"),
        ({"amount": 100_000_000}, "amount"),
        ({"currency": "xxq"}, "currency"),
        ({"payment_method": "pm_unheard_of"}, "payment_method"),
        ({"metadata": {"k": "v" * 501}}, None),
        ({"confirm": False, "off_session": True}, None),
        ({"nonsense": "1"}, "nonsense"),
        ({"payment_method_types": ["card"]}, None),
    ],
)
def test_an_invalid_request_to_the_fake_is_rejected(
    api: stripe.StripeClient, wrong: dict[str, Any], param: str | None
) -> None:
    group = new_key("group")
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        pay(api, transfer_group=group, **wrong)
    assert rejected.value.http_status == 400
    assert error_of(rejected)["type"] == "invalid_request_error"
    if param is not None:
        assert rejected.value.param == param
    assert api.v1.charges.list({"transfer_group": group}).data == []


def test_an_unknown_id_is_an_error(api: stripe.StripeClient) -> None:
    for retrieve in (
        api.v1.payment_intents.retrieve,
        api.v1.charges.retrieve,
        api.v1.refunds.retrieve,
        api.v1.payment_methods.retrieve,
    ):
        with pytest.raises(stripe.InvalidRequestError) as rejected:
            retrieve("xx_unheard_of")
        assert (rejected.value.http_status, rejected.value.code) == (404, "resource_missing")


def test_a_magic_payment_method_has_no_customer(api: stripe.StripeClient) -> None:
    method = api.v1.payment_methods.retrieve("pm_card_visa")
    assert (method.object, method.type, method.customer) == ("payment_method", "card", None)


def test_lists_are_newest_first_and_paged(api: stripe.StripeClient) -> None:
    group = new_key("group")
    made = [pay(api, transfer_group=group).id for _ in range(5)]
    page = api.v1.charges.list({"transfer_group": group, "limit": 2})

    assert (len(page.data), page.has_more) == (2, True)
    newest_first = [charge.payment_intent for charge in page.auto_paging_iter()]
    assert newest_first == made[::-1]
    last = api.v1.charges.list({"transfer_group": group, "limit": 5})
    assert last.has_more is False


def test_lists_begin_after_the_given_id(api: stripe.StripeClient) -> None:
    first = pay(api)
    second = pay(api)
    since = api.v1.payment_intents.list({"created": {"gte": first.created}, "limit": 100})
    assert {first.id, second.id} <= {intent.id for intent in since.auto_paging_iter()}
    until = api.v1.payment_intents.list({"created": {"lt": first.created}, "limit": 3})
    assert all(intent.created < first.created for intent in until.data)


# --- With the fake's switches ------------------------------------------------------------------


def test_an_attached_method_needs_its_customer(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    method = fake.payment_method(customer="cus_1")
    assert client.v1.payment_methods.retrieve(method).customer == "cus_1"
    with pytest.raises(stripe.InvalidRequestError, match="belongs to the Customer cus_1"):
        pay(client, method=method)
    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        pay(client, method=method, customer="cus_2")
    for _ in range(2):
        assert pay(client, method=method, customer="cus_1").customer == "cus_1"
    assert fake.charged_amount() == 2 * PRICE


def test_an_unattached_method_is_used_once(fake: FakeStripe, client: stripe.StripeClient) -> None:
    method = fake.payment_method()
    assert pay(client, method=method).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        pay(client, method=method)
    assert fake.charged_amount() == PRICE


def test_a_redirect_needs_a_return_url(client: stripe.StripeClient) -> None:
    """At Stripe only if the account accepts a method with a redirect."""
    for accepted in (None, {"enabled": True}):
        with pytest.raises(stripe.InvalidRequestError, match="must provide a `return_url`"):
            pay(client, automatic_payment_methods=accepted)
    for way in ({"payment_method_types": ["card"]}, {"return_url": "https://example.org/"}):
        more: dict[str, Any] = {"automatic_payment_methods": None, **way}
        assert pay(client, **more).status == "succeeded"


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize("magic", ["pm_usBankAccount_processing", "pm_card_authenticationRequired"])
def test_a_processing_payment_ends_paid_or_not(
    fake: FakeStripe, client: stripe.StripeClient, magic: str, paid: bool
) -> None:
    intent = pay(client, method=magic)
    assert intent.status in ("processing", "requires_action")
    assert fake.charged_amount() == 0
    fake.settle_intent(intent.id, paid=paid)
    after = client.v1.payment_intents.retrieve(intent.id)
    assert after.status == ("succeeded" if paid else "requires_payment_method")
    failed = [] if magic == "pm_card_authenticationRequired" else ["failed"]
    assert [charge["status"] for charge in fake.charges] == (["succeeded"] if paid else failed)
    assert fake.charged_amount() == (PRICE if paid else 0)


def test_a_processing_payment_cannot_be_confirmed_or_cancelled(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    intent = pay(client, method="pm_usBankAccount_processing")
    for call in (client.v1.payment_intents.confirm, client.v1.payment_intents.cancel):
        with pytest.raises(stripe.InvalidRequestError) as rejected:
            call(intent.id)
        assert error_of(rejected)["payment_intent"]["status"] == "processing"
    (charge,) = fake.charges
    assert charge["status"] == "pending"


def call_next(calls: Iterator[Callable[[], object]]) -> object:
    """Return the result of the next of these calls."""
    return next(calls)()


def test_confirming_and_cancelling_at_once_has_one_winner(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    for _ in range(10):
        intent = pay(client, confirm=False)
        intents = client.v1.payment_intents
        calls = iter((partial(intents.confirm, intent.id), partial(intents.cancel, intent.id)))
        found = at_once(partial(call_next, calls), 2)
        statuses = {
            each.status if isinstance(each, stripe.PaymentIntent) else "rejected" for each in found
        }
        assert statuses in ({"succeeded", "rejected"}, {"canceled", "rejected"})
        charges = client.v1.charges.list({"payment_intent": intent.id}).data
        assert bool(charges) == ("succeeded" in statuses)


def test_an_old_charge_takes_a_token(fake: FakeStripe, client: stripe.StripeClient) -> None:
    charge = client.v1.charges.create({"amount": 100, "currency": "USD", "source": "tok_visa"})
    assert (charge.status, charge.currency, charge.payment_intent) == ("succeeded", "usd", None)
    with pytest.raises(stripe.CardError):
        client.v1.charges.create({"amount": 100, "currency": "usd", "source": "tok_chargeDeclined"})
    assert (len(fake.charges), fake.charged_amount()) == (2, 100)
