"""Stripe's webhooks: their signature, and what they are about.

A snapshot event contains the object; a thin event only names it. Both say which payment to look at,
and neither is believed about its state: webhooks arrive twice, late and out of order.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

import stripe

from activities.payments import RefundResult

EVENTS = (
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.requires_action",
    "payment_intent.canceled",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)
"""The events that matter to a purchase. Thin events have the same types, after `v1.`."""


class InvalidSignature(Exception):
    """The webhook has no valid signature by Stripe, or an old one."""


@dataclass(frozen=True)
class PaymentEvent:
    """Something happened at Stripe to the payment of a purchase.

    `refund_id` and `refund`: the refund of ours that it is about, with its present status; "" and
    None if it is about something else.
    """

    event_id: str
    type: str
    purchase_id: str
    refund_id: str = ""
    refund: RefundResult | None = None


@dataclass(frozen=True)
class Subject:
    """What a webhook is about: an object by its kind and id. `snapshot`: the object as it was, or
    None for a thin event."""

    event_id: str
    type: str
    kind: str
    id: str
    snapshot: dict[str, Any] | None = None


def verified(body: bytes, signature: str, secret: str) -> Subject | None:
    """Check the signature over the raw `body` and its time; return the subject, or None for a type
    of event that does not matter.

    Raises InvalidSignature, also for what is signed but not an event.
    """
    try:
        stripe.WebhookSignature.verify_header(
            body, signature, secret, stripe.Webhook.DEFAULT_TOLERANCE
        )
        return _subject(json.loads(body))
    except stripe.SignatureVerificationError:
        raise InvalidSignature("The signature is not by Stripe, or it is too old.") from None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise InvalidSignature("The webhook is signed, but is not an event.") from None


def _subject(event: Any) -> Subject | None:
    kind = event["type"].removeprefix("v1.")
    if kind not in EVENTS:
        return None
    if event["object"] == "v2.core.event":
        about = event["related_object"]
        # The snapshot event of the same change, so that both together count once.
        number = event.get("snapshot_event") or event["id"]
        return Subject(_id(number), kind, about["type"], _id(about["id"]))
    about = event["data"]["object"]
    return Subject(_id(event["id"]), kind, about["object"], _id(about["id"]), _checked(about))


def _id(given: str) -> str:
    """Return an id at Stripe; it becomes part of a URL and of a message. Raises ValueError."""
    if not re.fullmatch(r"\w{1,255}", given, re.ASCII):
        raise ValueError(given)
    return given


def _checked(made: dict[str, Any]) -> dict[str, Any]:
    """Return an object whose names have the right types. Raises TypeError."""
    group, metadata = made.get("transfer_group"), made.get("metadata")
    if not isinstance(group, str | None) or not isinstance(metadata, dict | None):
        raise TypeError("transfer_group or metadata")
    return made
