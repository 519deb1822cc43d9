"""The statement and the webhooks of Stripe."""

import json
import re
import time
from pathlib import Path

import pytest
import stripe

from activities import currencies
from activities.payments import (
    BankDispute,
    ChargeRecord,
    ProviderRejected,
    RefundRecord,
    RefundResult,
    Statement,
)
from activities.payments.stripe import StripeProvider
from activities.payments.stripe_webhooks import EVENTS, InvalidSignature, PaymentEvent
from activities.requests import Money
from tests.payments.builders import KEY, NOW, PART, PRICE, REFUND, VISA, charged, usd
from tests.stripe.builders import new_key, pay
from tests.stripe.builders import refund as refund_by_hand
from tests.stripe.fake import Delivery, FakeStripe
from tests.stripe.forms import Object


def read(provider: StripeProvider, fake: FakeStripe, delivery: Delivery) -> PaymentEvent | None:
    """Return what the provider reads from a delivery."""
    return provider.read_webhook(delivery.body, delivery.signature, fake.webhook_secret)


def update_of(provider: StripeProvider, fake: FakeStripe, event: Object) -> PaymentEvent | None:
    """Return what the provider reads from an event delivered now."""
    return read(provider, fake, fake.delivery(event))


def signed(fake: FakeStripe, body: str) -> Delivery:
    """Return any body, signed as Stripe does."""
    sign = stripe.WebhookSignature.generate_signature_header
    return Delivery(body.encode(), sign(body, fake.webhook_secret))


# --- The statement -----------------------------------------------------------------------------


def test_an_unused_provider_has_an_empty_statement(
    provider: StripeProvider,
) -> None:
    assert provider.statement() == Statement((), ())


def test_a_statement_has_the_succeeded_charges_of_recourse_and_all_their_refunds(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    first = charged(provider, "pm_card_pendingRefund", "purchase-p-1/hold")
    second = charged(provider, key="purchase-p-2/hold")
    provider.charge("purchase-p-3/hold", PRICE, "pm_card_chargeDeclined", NOW)
    provider.void("purchase-p-4/hold", PRICE, VISA, NOW)
    sent = [
        provider.refund(f"r-{n}", reference, usd(n), NOW).reference
        for n, reference in enumerate((first, first, first, second), start=1)
    ]
    fake.fail_refund(sent[0])
    fake.cancel_refund(sent[1])
    by_hand = refund_by_hand(client, first, 500)
    foreign = pay(client, new_key(), transfer_group="stage/purchase-p-5/hold")
    refund_by_hand(client, foreign.id, 500)

    statement = provider.statement()
    assert set(statement.charges) == {
        ChargeRecord("purchase-p-1/hold", PRICE, first, refunded=503),
        ChargeRecord("purchase-p-2/hold", PRICE, second, refunded=4),
    }
    assert set(statement.refunds) == {
        RefundRecord(
            "r-1", usd(1), sent[0], "failed", first, "Stripe says: expired_or_canceled_card."
        ),
        RefundRecord(
            "r-2",
            usd(2),
            sent[1],
            "failed",
            first,
            "Somebody cancelled the refund at Stripe.",
            cancelled=True,
        ),
        RefundRecord("r-3", usd(3), sent[2], "pending", first, "Stripe is processing the refund."),
        RefundRecord("r-4", usd(4), sent[3], "sent", second),
        RefundRecord(
            "", usd(500), by_hand.id, "pending", first, "Stripe is processing the refund."
        ),
    }
    assert (len(statement.charges), len(statement.refunds)) == (2, 5)


def test_a_statement_has_what_was_captured_refunded_and_disputed(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    """Somebody captured a part of the payment and removed our name from the refund."""
    charge = charged(provider)
    refund = provider.refund(REFUND, charge, PART, NOW).reference
    fake.remove_metadata(refund)
    fake.capture_part(charge, 200_00)
    dispute = fake.dispute(charge)
    statement = provider.statement()
    opened = BankDispute(dispute, "opened", PRICE, "fraudulent")
    assert statement.charges == (
        ChargeRecord(KEY, usd(200_00), charge, 100_00, disputed=True, disputes=(opened,)),
    )
    assert statement.refunds == (RefundRecord("", PART, refund, "sent", charge),)


def test_a_charge_in_an_unknown_currency_does_not_end_the_statement(
    fake: FakeStripe,
    provider: StripeProvider,
    client: stripe.StripeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = charged(provider)
    yen = Money(amount=2500, currency="JPY")
    other = provider.charge("purchase-p-2/hold", yen, VISA, NOW).reference
    refund_by_hand(client, other, 100)
    monkeypatch.delitem(currencies.DECIMALS, "JPY")
    statement = provider.statement()
    assert [each.reference for each in statement.charges] == [ours]
    assert {each.key for each in statement.unreadable} == {"purchase-p-2/hold"}
    assert [each.reference[:2] for each in statement.unreadable] == ["ch", "re"]
    assert all("JPY" in each.why for each in statement.unreadable)


def test_a_statement_spans_many_pages(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    ours = charged(provider)
    for _ in range(101):
        pay(client)
    later = charged(provider, key="purchase-p-2/hold")
    assert {charge.reference for charge in provider.statement().charges} == {ours, later}


# --- Webhooks ----------------------------------------------------------------------------------


def about_refund(event: Object, refund: RefundResult) -> PaymentEvent:
    """Return what a webhook about our refund says."""
    return PaymentEvent(event["id"], event["type"], "p-1", REFUND, refund)


def test_a_webhook_about_a_known_refund_returns_its_status(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider, "pm_card_pendingRefund")
    made = provider.refund(REFUND, charge, PART, NOW)
    (created,) = fake.events_of("refund.created")
    assert update_of(provider, fake, created) == about_refund(created, made)
    fake.succeed_refund(made.reference)
    (updated,) = fake.events_of("refund.updated")
    sent = RefundResult("sent", PART, made.reference)
    assert update_of(provider, fake, updated) == about_refund(updated, sent)


def test_a_webhook_returns_the_fetched_status(fake: FakeStripe, provider: StripeProvider) -> None:
    """Late, reordered and repeated events return the current status."""
    charge = charged(provider, "pm_card_pendingRefund")
    refund = provider.refund(REFUND, charge, PART, NOW).reference
    fake.succeed_refund(refund)
    fake.fail_refund(refund, "declined")
    failed = RefundResult("failed", PART, refund, "Stripe says: declined.")
    events = [event for event in fake.events if event["type"].startswith("refund.")]
    assert len(events) == 4
    for event in [*reversed(events), *events]:
        assert update_of(provider, fake, event) == about_refund(event, failed)


def everything_happens(fake: FakeStripe, client: stripe.StripeClient, charge: str) -> list[Object]:
    """Let others refund and dispute a payment; return the events about this."""
    before = len(fake.events)
    fake.fail_refund(refund_by_hand(client, charge, 500).id)
    inquiry = fake.dispute(charge, status="warning_needs_response")
    for status in ("needs_response", "won"):
        fake.settle_dispute(inquiry, status)
    return fake.events[before:]


def test_a_webhook_about_our_payment_names_its_purchase(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    """Refunds made elsewhere, chargebacks, payments confirmed or declined. None is lost."""
    provider.charge("purchase-p-2/hold", PRICE, "pm_card_chargeDeclined", NOW)
    waiting = provider.charge("purchase-p-3/hold", PRICE, "pm_card_authenticationRequired", NOW)
    fake.settle_intent(waiting.reference, paid=True)
    begun = [event for event in fake.events if event["type"].startswith("payment_intent.")]
    found = [update_of(provider, fake, event) for event in begun]
    assert [(each and each.type, each and each.purchase_id) for each in found] == [
        ("payment_intent.payment_failed", "p-2"),
        ("payment_intent.requires_action", "p-3"),
        ("payment_intent.succeeded", "p-3"),
    ]
    events = everything_happens(fake, client, charged(provider))
    for event in events:
        expected = PaymentEvent(event["id"], event["type"], "p-1")
        assert update_of(provider, fake, event) == expected
    assert {event["type"] for event in events} == {
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    } & set(EVENTS)


def test_a_webhook_is_about_our_payment_also_if_its_metadata_was_removed(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    charge = charged(provider)
    client.v1.charges.update(fake.charges[0]["id"], {"metadata": {"recourse_charge": ""}})
    for event in everything_happens(fake, client, charge):
        found = update_of(provider, fake, event)
        assert found is not None
        assert found.purchase_id == "p-1"


def test_a_webhook_about_the_payment_of_others_is_ignored(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    charge = pay(client).id
    events = [*fake.events, *everything_happens(fake, client, charge)]
    for event in events:
        assert update_of(provider, fake, event) is None
        assert update_of(provider, fake, fake.thin(event)) is None


def test_a_webhook_of_a_type_that_does_not_matter_is_ignored_without_a_call(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charged(provider)
    calls = len(fake.requests)
    (event,) = fake.events_of("charge.succeeded")
    assert update_of(provider, fake, event) is None
    assert len(fake.requests) == calls


def test_a_thin_event_says_the_same_as_its_snapshot(
    fake: FakeStripe, provider: StripeProvider, client: stripe.StripeClient
) -> None:
    """It only names the object. Both have the same id, so that they count once."""
    charge = charged(provider)
    provider.refund(REFUND, charge, PART, NOW)
    everything_happens(fake, client, charge)
    for event in fake.events:
        assert update_of(provider, fake, fake.thin(event)) == update_of(provider, fake, event)


def test_the_docs_list_the_events_to_enable() -> None:
    page = Path("docs/money.md").read_text(encoding="utf-8")
    listed = re.findall(r"`((?:payment_intent|refund|charge)\.[a-z_.]+)`", page)
    assert set(listed) == set(EVENTS)


def test_a_thin_event_about_no_payment_is_ignored(
    fake: FakeStripe, provider: StripeProvider, event: Object
) -> None:
    ping = fake.thin(event) | {"type": "v2.core.event_destination.ping", "related_object": None}
    assert update_of(provider, fake, ping) is None


def test_a_webhook_about_a_refund_unknown_to_stripe_is_rejected(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    provider.refund(REFUND, charged(provider), PART, NOW)
    (event,) = fake.events_of("refund.created")
    event["data"]["object"]["id"] = "re_elsewhere"
    with pytest.raises(ProviderRejected, match="No such refund"):
        update_of(provider, fake, event)


@pytest.fixture
def event(fake: FakeStripe, provider: StripeProvider) -> Object:
    """An event about a refund of Recourse."""
    provider.refund(REFUND, charged(provider, key=KEY), PART, NOW)
    (event,) = fake.events_of("refund.created")
    return event


def test_only_a_recent_webhook_is_accepted(
    fake: FakeStripe, provider: StripeProvider, event: Object
) -> None:
    assert read(provider, fake, fake.delivery(event, at=time.time() - 240)) is not None
    with pytest.raises(InvalidSignature, match="too old"):
        read(provider, fake, fake.delivery(event, at=time.time() - 360))


def test_a_webhook_signed_with_another_secret_is_rejected(
    fake: FakeStripe, provider: StripeProvider, event: Object
) -> None:
    with pytest.raises(InvalidSignature, match="not by Stripe"):
        read(provider, fake, fake.delivery(event, secret="whsec_other"))


def test_a_modified_webhook_is_rejected(
    fake: FakeStripe, provider: StripeProvider, event: Object
) -> None:
    genuine = fake.delivery(event)
    changed = genuine.body.replace(b"succeeded", b"failed")
    assert changed != genuine.body
    with pytest.raises(InvalidSignature):
        read(provider, fake, Delivery(changed, genuine.signature))
    later = genuine.signature.replace("t=", "t=1")
    with pytest.raises(InvalidSignature):
        read(provider, fake, Delivery(genuine.body, later))


@pytest.mark.parametrize(
    "signature",
    ["", "v1", "t=1", "t=1,v1=", "t=1,v0=00", "t=x,v1=00", "t=1,v1=é", "t=" + "9" * 5000 + ",v1=0"],
)
def test_a_webhook_without_a_valid_signature_is_rejected(
    fake: FakeStripe, provider: StripeProvider, event: Object, signature: str
) -> None:
    body = json.dumps(event).encode()
    with pytest.raises(InvalidSignature):
        read(provider, fake, Delivery(body, signature))


@pytest.mark.parametrize(
    "body", ["", "nonsense", "[]", "1", "null", "{}", '{"data": 1}', '{"object": "event"}', "{"]
)
def test_a_signed_webhook_that_is_not_an_event_is_rejected(
    fake: FakeStripe, provider: StripeProvider, body: str
) -> None:
    with pytest.raises(InvalidSignature):
        read(provider, fake, signed(fake, body))


WRONG: dict[tuple[str, ...], tuple[object, ...]] = {
    ("id",): (7, "", None, [], "\ud800", "x" * 999, "../x"),
    ("type",): (1, None, []),
    ("data",): ([], {}, "x", 1, None),
    ("data", "object", "id"): (7, "", None, {}, "\ud800", "../x"),
    ("data", "object", "metadata"): ("recourse_charge", 3, []),
    ("data", "object", "transfer_group"): (3, {}, []),
}
"""By the path in an event: values of the wrong type."""


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in WRONG.items() for value in values]
)
def test_a_signed_event_of_another_shape_is_rejected(
    fake: FakeStripe, provider: StripeProvider, path: tuple[str, ...], value: object
) -> None:
    charged(provider)
    (event,) = fake.events_of("payment_intent.succeeded")
    assert read(provider, fake, signed(fake, json.dumps(event))) is not None
    *above, last = path
    place = event
    for name in above:
        place = place[name]
    place[last] = value
    with pytest.raises(InvalidSignature, match="signed, but is not an event"):
        read(provider, fake, signed(fake, json.dumps(event)))


def test_a_webhook_that_is_not_text_is_rejected(fake: FakeStripe, provider: StripeProvider) -> None:
    with pytest.raises(InvalidSignature):
        read(provider, fake, Delivery(b"\xff\xfe", f"t={int(time.time())},v1=00"))
