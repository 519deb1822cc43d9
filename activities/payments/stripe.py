"""Stripe, through its own SDK: money moves once, whatever the line does.

How a charge is made once: a PaymentIntent is created (which takes nothing) and then confirmed. An
intent pays at most once in its life, so the call that takes money needs no idempotency key: asked
again, it is refused, and the intent itself says how it stands. Calling off cancels the intent.
Because Stripe may forget a key after 24 hours, and then makes a second intent, the charges are
looked up before one is confirmed.

How a refund is sent once: under its idempotency key, and only after a look-up among the refunds
of its charge found nothing. An error that Stripe stored comes back under its key, however well
things stand by then: only if it came back and the refund is proven absent is the next key tried.

Our references are the intent's `transfer_group`, by which charges can be listed (Stripe's search
lags behind, its lists do not), and the refund's metadata. Time-outs, 5xx, 409 and 429 are unknown,
not failed. The SDK repeats nothing by itself: Temporal does, and shows it.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Literal, TypeVar

import requests
import stripe
from requests.adapters import HTTPAdapter
from stripe.params import PaymentIntentCreateParams

from activities.amounts import decimals
from activities.payments import (
    ChargeRecord,
    ChargeResult,
    ProviderRejected,
    ProviderUnreachable,
    RefundRecord,
    RefundResult,
    Statement,
)
from activities.requests import Money

stripe.enable_telemetry = False  # it writes a file into the home directory, or fails without one
logging.getLogger("stripe").setLevel(logging.WARNING)  # each URL at INFO, payment methods too

TIMEOUT_SECONDS = 5.0
"""Of one call: a look-up and the four of a charge fit into one attempt of its activity."""

KEYS_TRIED = 5
"""So many stored errors in a row are the provider's trouble, not a key's."""

CONNECTIONS = 20
"""Kept open for the next call: one for each thread of activities."""

DECLINED = "The payment was declined."
VOIDED = "The payment was called off."
NO_METHOD = "Stripe has no such payment method."

CHARGE_KEY, REFUND_KEY = "recourse_charge", "recourse_refund"
"""Metadata: our key of a charge, our id of a refund."""

_EXPONENTS = {
    **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3),
    **dict.fromkeys(
        (
            *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA"),
            *("PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"),
        ),
        0,
    ),
}
"""Stripe's own decimals where they are not two; ISK and UGX, which have none, are sent with two."""

_REFUND_STATUS: dict[str | None, Literal["pending", "settled", "failed"]] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "settled",
    "failed": "failed",
    "canceled": "failed",
}

_Made = TypeVar("_Made")


class Forged(Exception):
    """A webhook that Stripe did not sign, or not just now."""


@dataclass(frozen=True)
class RefundNews:
    """Stripe told of a refund of ours; how it stands was fetched, not believed."""

    event_id: str
    refund_id: str
    refund: RefundResult


class StripeProvider:
    """The PaymentProvider of production; its methods are documented there.

    Amounts that Stripe cannot express (1.005 KWD) are refused before anything is asked.
    """

    def __init__(
        self, api_key: str, *, api_base: str | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        # One for all threads: the SDK would open one for each, and close none but the closer's.
        self._session = requests.Session()
        self._session.mount(api_base or "https://", HTTPAdapter(pool_maxsize=CONNECTIONS))
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._stripe = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base} if api_base else {},
            max_network_retries=0,
            http_client=stripe.RequestsClient(timeout=timeout, session=self._session),
        )

    def close(self) -> None:
        self._session.close()

    def charge(self, key: str, amount: Money, payment_method: str, at: datetime) -> ChargeResult:
        with _unknown_unless_told():
            try:
                intent = self._intent(key, amount, payment_method)
            except stripe.InvalidRequestError as error:  # no such payment method, used up, …
                made = self._made(key, amount) or ChargeResult("declined", text=_message(error))
            else:
                made = self._made(key, amount) or self._confirm(intent)
        shown = "the payment method"  # Stripe likes to quote it
        return replace(made, text=made.text.replace(payment_method or shown, shown))

    def find_charge(self, key: str) -> ChargeResult | None:
        with _unknown_unless_told():
            charges = self._stripe.v1.charges.list({"transfer_group": key, "limit": 100}).data
        for charge in charges:
            if charge.status == "succeeded":
                paid = from_stripe(charge.amount, charge.currency)
                return ChargeResult("succeeded", paid, _intent_of(charge))
            if charge.status == "pending":
                raise ProviderUnreachable("Stripe is still processing the payment.")
        if not charges:
            return None
        last = charges[0]
        return ChargeResult("declined", None, _intent_of(last), last.failure_message or DECLINED)

    def void(
        self, key: str, amount: Money, payment_method: str, at: datetime
    ) -> ChargeResult | None:
        found = self.find_charge(key)
        if found is None:
            with _unknown_unless_told():
                try:
                    intent = self._intent(key, amount, payment_method)
                except (stripe.InvalidRequestError, ProviderRejected):
                    return None  # it could never have been charged
                found = self._cancel(intent, VOIDED)
        return found if found.status == "succeeded" else None

    def refund(
        self, refund_id: str, charge_reference: str, amount: Money, at: datetime
    ) -> RefundResult:
        minor = to_stripe(amount)

        def ask(key: str) -> stripe.Refund:
            return self._stripe.v1.refunds.create(
                {
                    "payment_intent": charge_reference,
                    "amount": minor,
                    "reason": "requested_by_customer",
                    "metadata": {REFUND_KEY: refund_id},
                },
                {"idempotency_key": key},
            )

        look_up = partial(self._find_refund, refund_id, charge_reference)
        with _unknown_unless_told():
            result = _refund_result(look_up() or _once(refund_id, ask, look_up))
        if result.amount != amount:
            raise ProviderRejected("This refund id was used for another refund.")
        return result

    def find_refund(
        self, refund_id: str, charge_reference: str, at: datetime
    ) -> RefundResult | None:
        with _unknown_unless_told():
            found = self._find_refund(refund_id, charge_reference)
        return _refund_result(found) if found else None

    def statement(self) -> Statement:
        with _unknown_unless_told():
            charges = [
                ChargeRecord(key, from_stripe(charge.amount, charge.currency), _intent_of(charge))
                for charge in self._stripe.v1.charges.list({"limit": 100}).auto_paging_iter()
                if charge.status == "succeeded" and (key := _ours(charge, CHARGE_KEY))
            ]
            refunds = [
                _refund_record(refund)
                for refund in self._stripe.v1.refunds.list({"limit": 100}).auto_paging_iter()
                if _ours(refund, REFUND_KEY)
            ]
        return Statement(tuple(charges), tuple(refunds))

    def read_webhook(self, body: bytes, signature: str, secret: str) -> RefundNews | None:
        """What a webhook says of a refund of ours; None if it is about something else.

        The signature covers the raw `body` and its time. The status is fetched afresh: webhooks
        repeat and reorder. Raises Forged, ProviderUnreachable, and ProviderRejected if Stripe has
        no such refund.
        """
        try:
            event = self._stripe.construct_event(body, signature, secret)
            about = event.data.object
        except stripe.SignatureVerificationError:
            raise Forged("The signature is not Stripe's, or it is too old.") from None
        except (ValueError, TypeError, AttributeError):  # the SDK takes much for granted
            raise Forged("This is not an event with a signature.") from None
        if not (isinstance(about, stripe.Refund) and _ours(about, REFUND_KEY)):
            return None
        with _unknown_unless_told():
            refund = self._stripe.v1.refunds.retrieve(about.id)
        return RefundNews(event.id, _ours(refund, REFUND_KEY), _refund_result(refund))

    # --- charges

    def _intent(self, key: str, amount: Money, payment_method: str) -> stripe.PaymentIntent:
        """The intent that `key` names, made now if it is not there. It takes no money."""
        minor = to_stripe(amount)
        if not re.fullmatch(r"\w+", payment_method, re.ASCII):  # it becomes part of a URL
            raise stripe.InvalidRequestError(NO_METHOD, "payment_method")  # type: ignore[no-untyped-call]
        method = self._stripe.v1.payment_methods.retrieve(payment_method)
        customer = method.customer
        owner = customer if isinstance(customer, str) or customer is None else customer.id

        asked: PaymentIntentCreateParams = {
            "amount": minor,
            "currency": amount.currency.lower(),
            "payment_method": payment_method,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "transfer_group": key,
            "metadata": {CHARGE_KEY: key},
        }
        if owner:
            asked["customer"] = owner

        def ask(name: str) -> stripe.PaymentIntent:
            return self._stripe.v1.payment_intents.create(asked, {"idempotency_key": name})

        return _once(key, ask)

    def _made(self, key: str, amount: Money) -> ChargeResult | None:
        """The charge that was made with this key, if it was one of this amount."""
        made = self.find_charge(key)
        if made and made.charged not in (None, amount):
            raise ProviderRejected("This key was used for another charge.")
        return made

    def _confirm(self, intent: stripe.PaymentIntent) -> ChargeResult:
        try:
            intent = self._stripe.v1.payment_intents.confirm(intent.id, {"off_session": True})
        except stripe.CardError as error:
            return ChargeResult("declined", reference=intent.id, text=_message(error))
        except stripe.InvalidRequestError:  # it has been confirmed or cancelled before
            intent = self._stripe.v1.payment_intents.retrieve(intent.id)
        return self._charge_result(intent)

    def _cancel(self, intent: stripe.PaymentIntent, why: str) -> ChargeResult:
        """Nothing is taken by this intent any more, unless it was before."""
        try:
            self._stripe.v1.payment_intents.cancel(intent.id)
        except stripe.InvalidRequestError:  # too late, or done before
            return self._charge_result(self._stripe.v1.payment_intents.retrieve(intent.id))
        return ChargeResult("declined", None, intent.id, why)

    def _charge_result(self, intent: stripe.PaymentIntent) -> ChargeResult:
        match intent.status:
            case "succeeded":
                paid = from_stripe(intent.amount_received, intent.currency)
                return ChargeResult("succeeded", paid, intent.id)
            case "canceled":
                return ChargeResult("declined", None, intent.id, VOIDED)
            case "requires_payment_method":
                why = intent.last_payment_error and intent.last_payment_error.message
                return ChargeResult("declined", None, intent.id, why or DECLINED)
            case "requires_action":
                return self._cancel(intent, "The client's bank wants the client to confirm it.")
        raise ProviderUnreachable(f"Stripe has not made the payment yet ({intent.status}).")

    # --- refunds

    def _find_refund(self, refund_id: str, charge_reference: str) -> stripe.Refund | None:
        listed = self._stripe.v1.refunds.list({"payment_intent": charge_reference, "limit": 100})
        for refund in listed.auto_paging_iter():
            if _ours(refund, REFUND_KEY) == refund_id:
                return refund
        return None


def to_stripe(amount: Money) -> int:
    """The amount in Stripe's units. Raises ProviderRejected for one that Stripe cannot express."""
    exponent = _EXPONENTS.get(amount.currency, 2)
    shift = exponent - decimals(amount.currency)
    minor, rest = divmod(amount.amount * _ten(shift), _ten(-shift))
    # Of three decimals, Stripe's banks know two.
    if rest or (exponent == 3 and minor % 10):
        raise ProviderRejected(f"Stripe cannot move {amount}: it has too many decimals.")
    return minor


def from_stripe(minor: int, currency: str) -> Money:
    """Stripe's amount in minor units of ISO 4217."""
    code = currency.upper()
    shift = decimals(code) - _EXPONENTS.get(code, 2)
    return Money(amount=minor * _ten(shift) // _ten(-shift), currency=code)


def _ten(power: int) -> int:
    return int("1" + "0" * power)


def _once(
    key: str, ask: Callable[[str], _Made], look_up: Callable[[], _Made | None] | None = None
) -> _Made:
    """Ask under `key`; under the next one only where a stored error came back and `look_up`, asked
    after it, finds nothing. Without a `look_up` a stored refusal stands: only a 5xx is asked anew.
    """
    number = 1
    while True:
        try:
            return ask(_as_header(key if number == 1 else f"{key}#{number}"))
        except stripe.StripeError as error:
            asked_anew = look_up or (error.http_status or 0) >= 500
            if not (asked_anew and _is_replayed(error)) or number == KEYS_TRIED:
                raise
        if look_up and (found := look_up()) is not None:
            return found
        number += 1


def _as_header(key: str) -> str:
    """An idempotency key travels in a header: printable ASCII, at most 255 characters."""
    if re.fullmatch(r"[!-~]{1,255}", key):
        return key
    return hashlib.sha256(key.encode()).hexdigest()


def _is_replayed(error: stripe.StripeError) -> bool:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    return headers.get("idempotent-replayed") == "true"


def _intent_of(charge: stripe.Charge) -> str:
    intent = charge.payment_intent
    return intent.id if isinstance(intent, stripe.PaymentIntent) else intent or charge.id


def _refund_result(refund: stripe.Refund) -> RefundResult:
    record = _refund_record(refund)
    why = getattr(refund, "failure_reason", None) or refund.status  # present only once it failed
    text = f"Stripe says: {why}." if record.status == "failed" else ""
    return RefundResult(record.status, record.amount, record.reference, text)


def _refund_record(refund: stripe.Refund) -> RefundRecord:
    amount = from_stripe(refund.amount, refund.currency)
    status = _REFUND_STATUS.get(refund.status, "pending")
    return RefundRecord(_ours(refund, REFUND_KEY), amount, refund.id, status)


def _ours(made: stripe.Charge | stripe.Refund, name: str) -> str:
    """What we wrote into the metadata; nothing for what is not ours."""
    metadata: Any = made.metadata
    return str(metadata[name]) if metadata and name in metadata else ""


@contextmanager
def _unknown_unless_told() -> Iterator[None]:
    """Turn the SDK's errors into the protocol's: only what Stripe said of this very request is a
    refusal; everything else leaves its outcome unknown."""
    try:
        yield
    except stripe.IdempotencyError:
        raise ProviderRejected("This idempotency key was used for another request.") from None
    except (stripe.InvalidRequestError, stripe.CardError) as error:
        raise ProviderRejected(_message(error)) from None
    except (stripe.AuthenticationError, stripe.PermissionError):
        raise ProviderUnreachable("Stripe does not take our API key: set STRIPE_API_KEY.") from None
    except stripe.RateLimitError:
        raise ProviderUnreachable("Stripe asks us to slow down.") from None
    except stripe.APIConnectionError:
        raise ProviderUnreachable("Stripe did not answer.") from None
    except stripe.StripeError as error:
        raise ProviderUnreachable(f"Stripe answered {error.http_status or 'nonsense'}.") from None


def _message(error: stripe.StripeError) -> str:
    return error.user_message or "Stripe refused without a reason."
