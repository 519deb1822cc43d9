"""Webhooks about a payment: refunds made elsewhere, bank disputes, confirmations by the client."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from structlog.testing import capture_logs
from temporalio.api.enums.v1 import EventType

from activities.payments.stripe import StripeProvider
from demo.runner import Handle, start, until
from starter.webhooks import receiver
from tests.money.conftest import StripeWorld
from tests.purchases import purchase, purchase_of
from tests.stripe.forms import Object
from tests.stripe.serving import serving


@pytest.fixture
def url(stripe: StripeWorld) -> Iterator[str]:
    """The URL of the receiver."""
    assert isinstance(stripe.services.provider, StripeProvider)
    app = receiver(stripe.client, stripe.services.provider, stripe.stripe.webhook_secret)
    with serving(app) as base:
        yield f"{base}/webhooks/stripe"


async def held(stripe: StripeWorld) -> tuple[Handle, str]:
    """Return a purchase whose payment is held, and Stripe's id of the payment."""
    handle = await start(stripe.client, purchase("pm_card_visa"))
    await until(handle, lambda found: found.payment == "held")
    (intent,) = [each for each in stripe.stripe.intents if is_of(each, handle)]
    return handle, intent["id"]


def is_of(intent: Object, handle: Handle) -> bool:
    """Whether a payment is that of a purchase."""
    return bool(intent["transfer_group"] == f"shop/{handle.id}/hold")


async def post(stripe: StripeWorld, url: str, event: Object) -> tuple[int, str]:
    """Deliver an event; return the status and the result that the receiver answers."""
    delivery = stripe.stripe.delivery(event)
    answer = await asyncio.to_thread(
        requests.post, url, delivery.body, headers=delivery.headers, timeout=10
    )
    return answer.status_code, answer.json()["result"]


async def signals(handle: Handle, count: int) -> list[Any]:
    """Return the `check_payment` signals in a purchase's history as soon as there are `count`: the
    server keeps a signal back while a workflow task runs."""
    found: list[Any] = []
    while len(found) < count:
        found = [
            json.loads(attributes.input.payloads[0].data)
            async for event in handle.fetch_history_events()
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
            and (attributes := event.workflow_execution_signaled_event_attributes).signal_name
            == "check_payment"
        ]
    return found


def check(event: Object) -> Object:
    """Return the message that a webhook about a payment becomes."""
    return {"by": {"role": "payments", "id": "stripe"}, "message_id": event["id"]}


@pytest.mark.parametrize("thin", [False, True])
async def test_a_chargeback_reaches_the_purchase(stripe: StripeWorld, url: str, thin: bool) -> None:
    """With a snapshot event and with a thin one."""
    handle, payment = await held(stripe)
    before = len(stripe.stripe.events)
    dispute = stripe.stripe.dispute(payment)
    stripe.stripe.settle_dispute(dispute, "won")
    events = stripe.stripe.events[before:]
    assert len(events) == 4
    for event in events:
        sent = stripe.stripe.thin(event) if thin else event
        assert await post(stripe, url, sent) == (200, "signalled")
    assert await signals(handle, len(events)) == [check(event) for event in events]


async def test_a_refund_made_elsewhere_reaches_the_purchase(stripe: StripeWorld, url: str) -> None:
    handle, payment = await held(stripe)
    before = len(stripe.stripe.events)
    made = await asyncio.to_thread(
        requests.post,
        f"{stripe.stripe.url}/v1/refunds",
        {"payment_intent": payment, "amount": 100},
        auth=(stripe.stripe.api_key, ""),
        timeout=10,
    )
    assert made.status_code == 200
    events = stripe.stripe.events[before:]
    assert [event["type"] for event in events] == ["refund.created", "charge.refunded"]
    for event in events:
        assert await post(stripe, url, event) == (200, "signalled")
    assert await signals(handle, len(events)) == [check(event) for event in events]


async def test_news_about_a_closed_purchase_is_logged_with_its_ids(
    stripe: StripeWorld, url: str
) -> None:
    handle = await start(stripe.client, purchase("pm_card_chargeDeclined"))
    assert (await handle.result()).outcome == "payment_declined"
    event = next(
        each
        for each in stripe.stripe.events_of("payment_intent.payment_failed")
        if is_of(each["data"]["object"], handle)
    )
    with capture_logs() as logged:
        assert await post(stripe, url, event) == (200, "closed")
    assert {
        "event": "webhook_not_signalled",
        "log_level": "warning",
        "code": "CLOSED",
        "purchase_id": purchase_of(handle),
        "event_type": "payment_intent.payment_failed",
        "event_id": event["id"],
        "refund_id": "",
    } in logged


async def test_a_signed_event_about_something_else_is_not_ours(
    stripe: StripeWorld, url: str
) -> None:
    """Such as Stripe's test of the endpoint; it is never called forged."""
    _, payment = await held(stripe)
    stripe.stripe.dispute(payment)
    thin = stripe.stripe.thin(stripe.stripe.events[-1])
    ping = thin | {"type": "v2.core.event_destination.ping", "related_object": None}
    assert await post(stripe, url, ping) == (200, "not_ours")
    created = stripe.stripe.events[-1] | {"type": "customer.created"}
    assert await post(stripe, url, created) == (200, "not_ours")


# --- What the purchase makes of it -------------------------------------------------------------


async def deliver_since(stripe: StripeWorld, url: str, before: int) -> None:
    """Deliver all events since the first `before`."""
    for event in stripe.stripe.events[before:]:
        assert (await post(stripe, url, event))[0] == 200


async def test_a_chargeback_freezes_the_purchase_until_it_is_won(
    stripe: StripeWorld, url: str
) -> None:
    handle, payment = await held(stripe)
    before = len(stripe.stripe.events)
    dispute = stripe.stripe.dispute(payment)
    await deliver_since(stripe, url, before)
    found = await until(handle, lambda found: found.frozen is not None)
    assert found.frozen is not None
    assert (found.frozen.reference, found.frozen.amount) == (dispute, 25000)
    before = len(stripe.stripe.events)
    stripe.stripe.settle_dispute(dispute, "won")
    await deliver_since(stripe, url, before)
    await until(handle, lambda found: found.frozen is None and found.escrow.held == 25000)
    assert await stripe.differences(handle) == []


async def test_a_refund_of_all_in_the_dashboard_closes_the_purchase(
    stripe: StripeWorld, url: str
) -> None:
    handle, payment = await held(stripe)
    before = len(stripe.stripe.events)
    await asyncio.to_thread(
        requests.post,
        f"{stripe.stripe.url}/v1/refunds",
        {"payment_intent": payment},
        auth=(stripe.stripe.api_key, ""),
        timeout=10,
    )
    await deliver_since(stripe, url, before)
    result = await handle.result()
    assert (result.outcome, result.reason) == ("refunded", "refunded_elsewhere")
    assert stripe.stripe.refunded_amount(payment_intent=payment) == 25000
    assert await stripe.differences(handle) == []


@pytest.mark.parametrize("paid", [True, False])
async def test_a_payment_goes_on_when_the_client_has_confirmed_it(
    stripe: StripeWorld, url: str, paid: bool
) -> None:
    handle = await start(stripe.client, purchase("pm_card_authenticationRequired"))
    await until(
        handle,
        lambda _: any(
            is_of(each, handle) and each["status"] == "requires_action"
            for each in stripe.stripe.intents
        ),
    )
    (intent,) = [each for each in stripe.stripe.intents if is_of(each, handle)]
    before = len(stripe.stripe.events)
    stripe.stripe.settle_intent(intent["id"], paid=paid)
    await deliver_since(stripe, url, before)
    if paid:
        await until(handle, lambda found: found.payment == "held")
    else:
        assert (await handle.result()).outcome == "payment_declined"


async def test_a_payment_of_the_marketplace_s_own_checkout_is_held_and_its_webhooks_are_ours(
    stripe: StripeWorld, url: str
) -> None:
    made = await asyncio.to_thread(
        requests.post,
        f"{stripe.stripe.url}/v1/payment_intents",
        {
            "amount": 25000,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "payment_method_types[]": "card",
            "confirm": "true",
        },
        auth=(stripe.stripe.api_key, ""),
        timeout=10,
    )
    payment = made.json()["id"]
    given = {"payment_method": None, "payment_reference": payment}
    handle = await start(stripe.client, purchase("pm_card_visa").model_copy(update=given))
    await until(handle, lambda found: found.payment == "held")
    assert len([each for each in stripe.stripe.charges if each["payment_intent"] == payment]) == 1
    before = len(stripe.stripe.events)
    stripe.stripe.dispute(payment)
    await deliver_since(stripe, url, before)
    await until(handle, lambda found: found.frozen is not None)
    assert await stripe.differences(handle) == []
