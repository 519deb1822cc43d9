"""Events and their signed deliveries."""

import time
from collections.abc import Iterator

import pytest
import stripe
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.stripe.builders import pay, refund
from tests.stripe.fake import Delivery, FakeStripe
from tests.stripe.serving import serving


def read(delivery: Delivery, secret: str) -> stripe.Event:
    """Return the event as the SDK reads it."""
    found = stripe.Webhook.construct_event(delivery.body, delivery.signature, secret)
    assert isinstance(found, stripe.Event)
    return found


@pytest.fixture
def received() -> list[str]:
    """The events that a receiver has accepted, by id."""
    return []


@pytest.fixture
def receiver(fake: FakeStripe, received: list[str]) -> Iterator[str]:
    """The URL of a receiver that accepts deliveries signed with the fake's secret."""

    async def receive_event(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body, signature = await request.body(), request.headers["Stripe-Signature"]
        try:
            received.append(read(Delivery(body, signature), fake.webhook_secret).id)
            status = 200
        except stripe.SignatureVerificationError:
            status = 400
        await Response(status_code=status)(scope, receive, send)

    with serving(receive_event) as url:
        yield f"{url}/webhooks"


def test_a_payment_and_its_refund_emit_events_in_order(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.new_refunds("pending")
    made = refund(client, pay(client).id, 100)
    fake.succeed_refund(made.id)
    fake.fail_refund(made.id)

    assert [event["type"] for event in fake.events] == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "refund.created",
        "charge.refunded",
        "refund.updated",
        "refund.updated",
        "refund.failed",
    ]
    events = fake.events_of("refund.created", "refund.updated", "refund.failed")
    statuses = [event["data"]["object"]["status"] for event in events]
    assert statuses == ["pending", "succeeded", "failed", "failed"]
    assert {event["data"]["object"]["id"] for event in events} == {made.id}
    (refunded,) = fake.events_of("charge.refunded")
    assert refunded["data"]["object"]["amount_refunded"] == 100


def test_a_declined_payment_emits_an_event(fake: FakeStripe, client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError):
        pay(client, method="pm_card_chargeDeclined")
    types = [event["type"] for event in fake.events]
    assert types == ["charge.failed", "payment_intent.payment_failed"]


def test_a_replayed_request_emits_one_event(fake: FakeStripe, client: stripe.StripeClient) -> None:
    for _ in range(2):
        pay(client, "k")
    assert len(fake.events_of("payment_intent.succeeded")) == 1


def test_a_delivery_is_accepted_with_its_secret_only(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    pay(client, description="Größe 😀")
    (event,) = fake.events_of("payment_intent.succeeded")
    delivery = fake.delivery(event)

    found = read(delivery, fake.webhook_secret)
    assert (found.id, found.type, found.livemode) == (event["id"], event["type"], False)
    assert found.data.object["description"] == "Größe 😀"
    with pytest.raises(stripe.SignatureVerificationError):
        read(delivery, "whsec_other")
    with pytest.raises(stripe.SignatureVerificationError):
        read(fake.delivery(event, secret="whsec_other"), fake.webhook_secret)
    forged = Delivery(delivery.body.replace(b"2500", b"9900"), delivery.signature)
    with pytest.raises(stripe.SignatureVerificationError):
        read(forged, fake.webhook_secret)


def test_a_thin_event_only_names_the_object(fake: FakeStripe, client: stripe.StripeClient) -> None:
    made = refund(client, pay(client).id)
    (event,) = fake.events_of("refund.created")
    delivery = fake.delivery(fake.thin(event))
    with pytest.raises(stripe.SignatureVerificationError):
        client.parse_event_notification(delivery.body, delivery.signature, "whsec_other")
    found = client.parse_event_notification(delivery.body, delivery.signature, fake.webhook_secret)
    assert (found.object, found.type) == ("v2.core.event", "v1.refund.created")
    assert fake.thin(event)["related_object"]["id"] == made.id


def test_an_old_delivery_is_rejected(fake: FakeStripe, client: stripe.StripeClient) -> None:
    pay(client)
    event = fake.events[0]
    assert read(fake.delivery(event, at=time.time() - 200), fake.webhook_secret).id == event["id"]
    with pytest.raises(stripe.SignatureVerificationError, match="Timestamp"):
        read(fake.delivery(event, at=time.time() - 400), fake.webhook_secret)


def test_events_are_delivered_in_any_order_and_any_number_of_times(
    fake: FakeStripe, client: stripe.StripeClient, receiver: str, received: list[str]
) -> None:
    refund(client, pay(client).id)
    first, *_, last = fake.events
    statuses = [fake.deliver(event, receiver) for event in (last, first, last, first, first)]
    assert statuses == [200] * 5
    assert received == [event["id"] for event in (last, first, last, first, first)]
    assert fake.deliver(first, receiver, at=0) == 400


def test_a_delivery_to_a_closed_port_is_an_error(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    pay(client)
    with serving(fake.serve) as url:
        closed = url
    with pytest.raises(ConnectionError):
        fake.deliver(fake.events[0], closed)
