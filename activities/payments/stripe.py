"""Stripe, through its own SDK. Each charge and refund is made once, also when connections fail.

A charge: a PaymentIntent is created, which takes no money, and then confirmed. An intent pays at
most once, so the confirmation needs no idempotency key: a second one is rejected, and the intent
has the status. To void a payment, the intent is cancelled. Stripe may forget a key after 24 hours
and then creates a second intent, so the charges are looked up before an intent is confirmed.

A refund: it is created under its idempotency key, after a look-up among the refunds of its charge
found nothing. Stripe stores errors under a key and replays them. The next key is tried only if an
error was replayed and a look-up shows that the refund does not exist.

Recourse's references are the intent's `transfer_group`, by which charges are listed (Stripe's
search is delayed, its lists are not), and the refund's metadata. Like idempotency keys they begin
with the deployment's name, because other deployments may use the same account.

After a timeout, 5xx, 409 or 429 the outcome is unknown, not failed. The SDK does not retry:
Temporal does, and shows it.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Literal

import requests
import stripe
from requests.adapters import HTTPAdapter
from stripe.params import PaymentIntentCreateParams

from activities.amounts import decimals
from activities.keys import own_key, provider_key
from activities.payments import (
    ChargeRecord,
    ChargeResult,
    ProviderRejected,
    ProviderUnreachable,
    RefundRecord,
    RefundResult,
    Statement,
    UnreadableRecord,
)
from activities.payments.stripe_calls import idempotently, provider_errors, reason_of
from activities.requests import Money

stripe.enable_telemetry = False  # it writes to the home directory
logging.getLogger("stripe").setLevel(logging.WARNING)  # it logs payment methods at INFO

TIMEOUT_SECONDS = 5.0
"""Bounds one call: a look-up and the four calls of a charge fit into one activity attempt."""

CONNECTIONS = 20
"""Bounds the pooled connections: one for each activity thread."""

DECLINED = "The payment was declined."
VOIDED = "The payment was cancelled."
NO_METHOD = "Stripe does not know this payment method."

CHARGE_KEY, REFUND_KEY = "recourse_charge", "recourse_refund"
"""Names in Stripe's metadata: the key of a charge, the id of a refund."""

_CODES = {
    0: "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF",
    3: "BHD JOD KWD OMR TND",
}
_DECIMALS = {code: digits for digits, codes in _CODES.items() for code in codes.split()}
"""Stripe's decimals where they are not two. ISK and UGX have none but are sent with two."""

_STRIPE_ID = re.compile(r"\w{1,255}", re.ASCII)

_REFUND_STATUS: dict[str | None, Literal["pending", "settled", "failed"]] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "settled",
    "failed": "failed",
    "canceled": "failed",
}


class InvalidSignature(Exception):
    """The webhook has no valid signature by Stripe, or an old one."""


@dataclass(frozen=True)
class RefundUpdate:
    """The status of a refund, fetched from Stripe after a webhook named it."""

    event_id: str
    refund_id: str
    refund: RefundResult


class StripeProvider:
    """The PaymentProvider of production, for one deployment.

    Amounts that Stripe cannot express (1.005 KWD) are rejected before any call.
    """

    def __init__(
        self,
        api_key: str,
        deployment: str,
        *,
        api_base: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._named = partial(provider_key, deployment)
        self._own_key = partial(own_key, deployment)
        self._mode = "live" if "_live_" in api_key else "test"
        # One session for all threads: the SDK opens one per thread, and closes only one of them.
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
        with provider_errors():
            try:
                intent = self._intent(key, amount, payment_method)
            except stripe.InvalidRequestError as error:  # no such payment method, used up, …
                made = self._made(key, amount) or ChargeResult("declined", text=reason_of(error))
            else:
                made = self._made(key, amount) or self._confirm(intent)
        redacted = "the payment method"  # Stripe quotes it in its messages
        return replace(made, text=made.text.replace(payment_method or redacted, redacted))

    def find_charge(self, key: str) -> ChargeResult | None:
        with provider_errors():
            charges = self._stripe.v1.charges.list(
                {"transfer_group": self._named(key), "limit": 100}
            ).data
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
            with provider_errors():
                try:
                    intent = self._intent(key, amount, payment_method)
                except (stripe.InvalidRequestError, ProviderRejected):
                    return None  # Stripe would reject the charge too
                found = self._cancel(intent, VOIDED)
        return found if found.status == "succeeded" else None

    def refund(
        self, refund_id: str, charge_reference: str, amount: Money, at: datetime
    ) -> RefundResult:
        minor, name = to_stripe(amount), self._named(refund_id)

        def create(key: str) -> stripe.Refund:
            return self._stripe.v1.refunds.create(
                {
                    "payment_intent": charge_reference,
                    "amount": minor,
                    "reason": "requested_by_customer",
                    "metadata": {REFUND_KEY: name},
                },
                {"idempotency_key": key},
            )

        look_up = partial(self._find_refund, refund_id, charge_reference)
        with provider_errors():
            refund = look_up()
            if refund is None:
                self._check_own(charge_reference)
                refund = idempotently(name, create, look_up)
        result = self._refund_result(refund)
        if result.amount != amount:
            raise ProviderRejected("This refund id belongs to another refund.")
        return result

    def find_refund(
        self, refund_id: str, charge_reference: str, at: datetime
    ) -> RefundResult | None:
        with provider_errors():
            found = self._find_refund(refund_id, charge_reference)
        return self._refund_result(found) if found else None

    def account(self) -> str:
        with provider_errors():
            try:
                account = self._stripe.v1.accounts.retrieve_current()
            except stripe.PermissionError:
                raise ProviderUnreachable(
                    "the API key may not read its account: give it this permission at Stripe."
                ) from None
        return f"{account.id} ({self._mode} mode)"

    def refunds_of(self, charge_reference: str, at: datetime) -> tuple[RefundResult, ...]:
        with provider_errors():
            return tuple(self._refund_result(refund) for refund in self._refunds(charge_reference))

    def statement(self) -> Statement:
        charges: list[ChargeRecord] = []
        refunds: list[RefundRecord] = []
        unreadable: list[UnreadableRecord] = []
        keys: dict[str, str] = {}
        with provider_errors():
            for charge in self._stripe.v1.charges.list({"limit": 100}).auto_paging_iter():
                if charge.status == "succeeded" and (key := self._own(charge, CHARGE_KEY)):
                    keys[_intent_of(charge)] = key
                    with _collected(unreadable, key, charge.id):
                        charges.append(_charge_record(key, charge))
            for refund in self._stripe.v1.refunds.list({"limit": 100}).auto_paging_iter():
                if key := keys.get(_intent_of(refund)) or self._own(refund, REFUND_KEY):
                    with _collected(unreadable, key, refund.id):
                        refunds.append(self._refund_record(refund))
        return Statement(tuple(charges), tuple(refunds), tuple(unreadable))

    def read_webhook(self, body: bytes, signature: str, secret: str) -> RefundUpdate | None:
        """Return the refund that a webhook is about; None if it is about something else.

        The signature covers the raw `body` and its time. The status is fetched, because webhooks
        may arrive twice or out of order. Raises InvalidSignature, also for what is not an event,
        ProviderUnreachable, and ProviderRejected if Stripe does not know the refund.
        """
        try:
            event = self._stripe.construct_event(body, signature, secret)
            subject = event.data.object
            about_ours = isinstance(subject, stripe.Refund) and self._own(subject, REFUND_KEY)
            for name in (event.id, subject.id if about_ours else event.id):
                if not _STRIPE_ID.fullmatch(name):
                    raise ValueError(name)
        except stripe.SignatureVerificationError:
            raise InvalidSignature("The signature is not by Stripe, or it is too old.") from None
        except (ValueError, TypeError, AttributeError, RecursionError):  # from SDK and JSON parser
            raise InvalidSignature("The webhook is signed, but is not an event.") from None
        if not about_ours:
            return None
        with provider_errors():
            refund = self._stripe.v1.refunds.retrieve(subject.id)
        return RefundUpdate(event.id, self._own(refund, REFUND_KEY), self._refund_result(refund))

    def _own(self, made: stripe.Charge | stripe.PaymentIntent | stripe.Refund, name: str) -> str:
        """Return the key in the metadata; "" for objects of other deployments and programs."""
        metadata: Any = made.metadata
        written = str(metadata[name]) if metadata and name in metadata else ""
        return self._own_key(written)

    # --- charges

    def _intent(self, key: str, amount: Money, payment_method: str) -> stripe.PaymentIntent:
        """Return the intent of `key`; create it if it does not exist. This takes no money."""
        minor = to_stripe(amount)
        if not re.fullmatch(r"\w+", payment_method, re.ASCII):  # it becomes part of a URL
            raise stripe.InvalidRequestError(NO_METHOD, "payment_method")  # type: ignore[no-untyped-call]
        method = self._stripe.v1.payment_methods.retrieve(payment_method)
        customer = method.customer
        owner = customer if isinstance(customer, str) or customer is None else customer.id

        params: PaymentIntentCreateParams = {
            "amount": minor,
            "currency": amount.currency.lower(),
            "payment_method": payment_method,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "transfer_group": self._named(key),
            "metadata": {CHARGE_KEY: self._named(key)},
        }
        if owner:
            params["customer"] = owner

        def create(name: str) -> stripe.PaymentIntent:
            return self._stripe.v1.payment_intents.create(params, {"idempotency_key": name})

        return idempotently(self._named(key), create)

    def _made(self, key: str, amount: Money) -> ChargeResult | None:
        """Return the charge made with this key. Raises ProviderRejected if its amount differs."""
        made = self.find_charge(key)
        if made and made.charged not in (None, amount):
            raise ProviderRejected("This key belongs to another charge.")
        return made

    def _confirm(self, intent: stripe.PaymentIntent) -> ChargeResult:
        try:
            intent = self._stripe.v1.payment_intents.confirm(intent.id, {"off_session": True})
        except stripe.CardError as error:
            return ChargeResult("declined", reference=intent.id, text=reason_of(error))
        except stripe.InvalidRequestError:  # it was confirmed or cancelled before
            intent = self._stripe.v1.payment_intents.retrieve(intent.id)
        return self._charge_result(intent)

    def _cancel(self, intent: stripe.PaymentIntent, why: str) -> ChargeResult:
        """Cancel the intent, so that it never pays; return its charge if it has paid already."""
        try:
            self._stripe.v1.payment_intents.cancel(intent.id)
        except stripe.InvalidRequestError:  # it has paid, or was cancelled before
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
                return self._cancel(
                    intent, "The client's bank asks the client to confirm the payment."
                )
        raise ProviderUnreachable(f"Stripe is still processing the payment ({intent.status}).")

    # --- refunds

    def _find_refund(self, refund_id: str, charge_reference: str) -> stripe.Refund | None:
        refunds = self._refunds(charge_reference)
        return next((each for each in refunds if self._own(each, REFUND_KEY) == refund_id), None)

    def _refunds(self, charge_reference: str) -> Iterator[stripe.Refund]:
        listed = self._stripe.v1.refunds.list({"payment_intent": charge_reference, "limit": 100})
        return listed.auto_paging_iter()

    def _check_own(self, charge_reference: str) -> None:
        """Raise ProviderRejected for the payment of another deployment or program."""
        intent = self._stripe.v1.payment_intents.retrieve(charge_reference)
        if not self._own(intent, CHARGE_KEY):
            raise ProviderRejected("This payment was made by another deployment or program.")

    def _refund_result(self, refund: stripe.Refund) -> RefundResult:
        record = self._refund_record(refund)
        why = getattr(refund, "failure_reason", None) or refund.status  # set only if it failed
        text = f"Stripe says: {why}." if record.status == "failed" else ""
        return RefundResult(record.status, record.amount, record.reference, text)

    def _refund_record(self, refund: stripe.Refund) -> RefundRecord:
        amount = from_stripe(refund.amount, refund.currency)
        status = _REFUND_STATUS.get(refund.status, "pending")
        own = self._own(refund, REFUND_KEY)
        return RefundRecord(own, amount, refund.id, status, _intent_of(refund))


def _charge_record(key: str, charge: stripe.Charge) -> ChargeRecord:
    captured = from_stripe(charge.amount_captured, charge.currency)
    refunded = from_stripe(charge.amount_refunded, charge.currency)
    return ChargeRecord(key, captured, _intent_of(charge), refunded.amount, charge.disputed)


@contextmanager
def _collected(unreadable: list[UnreadableRecord], key: str, reference: str) -> Iterator[None]:
    """Add a record that cannot be converted to `unreadable`."""
    try:
        yield
    except ValueError as error:
        unreadable.append(UnreadableRecord(key, reference, str(error)))


def to_stripe(amount: Money) -> int:
    """Convert to Stripe's minor units. Raises ProviderRejected if that is impossible."""
    sent = _DECIMALS.get(amount.currency, 2)
    minor = Decimal(amount.amount).scaleb(sent - decimals(amount.currency))
    # Stripe requires the third of three decimals to be 0.
    if minor % (10 if sent == 3 else 1):
        raise ProviderRejected(f"Stripe cannot express {amount}: it has too many decimals.")
    return int(minor)


def from_stripe(minor: int, currency: str) -> Money:
    """Convert from Stripe's minor units to those of ISO 4217."""
    code = currency.upper()
    shift = decimals(code) - _DECIMALS.get(code, 2)
    return Money(amount=int(Decimal(minor).scaleb(shift)), currency=code)


def _intent_of(made: stripe.Charge | stripe.Refund) -> str:
    intent = made.payment_intent
    return intent.id if isinstance(intent, stripe.PaymentIntent) else intent or made.id
