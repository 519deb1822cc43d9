"""Charges at Stripe: made once, confirmed by the client if the bank asks, or voided."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import stripe
from stripe.params import PaymentIntentConfirmParams, PaymentIntentCreateParams

from activities.keys import purchase_of
from activities.payments import ChargeResult, ProviderRejected, ProviderUnreachable
from activities.payments.stripe_account import StripeAccount
from activities.payments.stripe_calls import idempotently, provider_errors, reason_of, was_replayed
from activities.payments.stripe_records import (
    CHARGE_KEY,
    captured_of,
    from_stripe,
    id_of,
    is_paid,
    payment_of,
    to_stripe,
)
from activities.requests import Money

KEYS_LAST = timedelta(hours=20)
"""How long an idempotency key is trusted. Stripe keeps each for at least 24 hours."""

SEARCH_LAGS = timedelta(hours=1)
"""How far Stripe's search may be behind its lists, by Stripe's documentation."""

DECLINED = "The payment was declined."
VOIDED = "The payment was cancelled."
NO_METHOD = "Stripe does not know this payment method."
NOT_CAPTURED = "Stripe has authorised the payment but not captured it: nothing is paid yet."
CONFIRM = "The client's bank asks the client to confirm the payment."
NO_LINK = (
    "Stripe gives a link only if RECOURSE_BASE_URL is set. Without it, the marketplace's own page"
    " confirms the payment intent with Stripe.js."
)


class StripeCharges(StripeAccount):
    """The part of the PaymentProvider that takes money."""

    def charge(self, key: str, amount: Money, payment_method: str, at: datetime) -> ChargeResult:
        with provider_errors():
            try:
                intent = self._older_intent(key, amount, at) or self._intent(
                    key, amount, payment_method
                )
            except stripe.InvalidRequestError as error:  # no such payment method, used up, …
                made = self._made(key, amount) or ChargeResult("declined", text=reason_of(error))
            else:
                made = self._made(key, amount) or self._confirm(key, intent)
        redacted = "the payment method"  # Stripe quotes it in its messages
        return replace(made, text=made.text.replace(payment_method or redacted, redacted))

    def find_charge(self, key: str) -> ChargeResult | None:
        with provider_errors():
            charges = self._charges(key)
        for charge in charges:
            if is_paid(charge):
                return ChargeResult("succeeded", captured_of(charge), payment_of(charge))
            if charge.status == "succeeded" and not charge.refunded:  # else the hold was released
                raise ProviderUnreachable(NOT_CAPTURED)
            if charge.status == "pending":
                raise ProviderUnreachable("Stripe is still processing the payment.")
        if not charges:
            return None
        last = charges[0]
        return ChargeResult("declined", None, payment_of(last), last.failure_message or DECLINED)

    def void(
        self, key: str, amount: Money, payment_method: str, at: datetime
    ) -> ChargeResult | None:
        with provider_errors():
            charges = self._charges(key)
            for charge in filter(is_paid, charges):
                return ChargeResult("succeeded", captured_of(charge), payment_of(charge))
            intents = {id_of(charge.payment_intent) for charge in charges} - {""}
            if not intents:
                intents = self._created(key, amount, payment_method)
            intents |= {intent.id for intent in self._searched(key)}
            ended = [self._cancel(intent, VOIDED) for intent in sorted(intents)]
        return next((each for each in ended if each.status == "succeeded"), None)

    def _charges(self, key: str) -> list[stripe.Charge]:
        """Return the attempts to take money with this key, the newest first."""
        group = self._named(key)
        return self._stripe.v1.charges.list({"transfer_group": group, "limit": 100}).data

    def _intent(self, key: str, amount: Money, payment_method: str) -> stripe.PaymentIntent:
        """Return the intent of `key` as it is now; create it if it does not exist. This takes no
        money."""
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

        intent = idempotently(self._named(key), create)
        if was_replayed(intent):  # as it was created
            return self._stripe.v1.payment_intents.retrieve(intent.id)
        return intent

    def _older_intent(self, key: str, amount: Money, at: datetime) -> stripe.PaymentIntent | None:
        """Return the intent of a charge that was requested so long ago that Stripe may have
        forgotten its key. The client may still confirm it, so no second one is created."""
        if datetime.now(UTC) - at < KEYS_LAST:
            return None
        found = next(iter(self._searched(key)), None)
        if found and from_stripe(found.amount, found.currency) != amount:
            raise ProviderRejected("This key belongs to another request.")
        return found

    def _created(self, key: str, amount: Money, payment_method: str) -> set[str]:
        """Create the intent of `key`, or find it; none if Stripe would reject the charge too."""
        try:
            return {self._intent(key, amount, payment_method).id}
        except stripe.IdempotencyError:  # it was created by another request: of another version, …
            since = int(time.time() - SEARCH_LAGS.total_seconds())
            recent = self._stripe.v1.payment_intents.list({"created": {"gte": since}, "limit": 100})
            mine = [each for each in recent.auto_paging_iter() if self._names.key_of(each) == key]
            return {intent.id for intent in mine}
        except (stripe.InvalidRequestError, ProviderRejected):
            return set()

    def _searched(self, key: str) -> list[stripe.PaymentIntent]:
        """Return the intents of `key`, the newest first. One created just now may be missing."""
        value = self._named(key).replace("\\", r"\\").replace("'", r"\'")
        try:
            found = self._stripe.v1.payment_intents.search(
                {"query": f"metadata['{CHARGE_KEY}']:'{value}'", "limit": 100}
            )
        except stripe.InvalidRequestError:  # accounts in India have no search
            return []
        return [intent for intent in found.data if self._names.key_of(intent) == key]

    def _made(self, key: str, amount: Money) -> ChargeResult | None:
        """Return the charge made with this key. Raises ProviderRejected if its amount differs."""
        made = self.find_charge(key)
        if made and made.charged not in (None, amount):
            raise ProviderRejected(
                f"This key belongs to another charge: {made.charged} was captured, not {amount}."
            )
        return made

    def _confirm(self, key: str, intent: stripe.PaymentIntent) -> ChargeResult:
        """Take the money, unless that was tried before: a second confirmation would replace the
        link that the client has."""
        if intent.status != "requires_confirmation":
            return self._charge_result(intent)
        params: PaymentIntentConfirmParams = {}
        if self._base_url:
            page = quote(purchase_of(key), safe="")
            params["return_url"] = f"{self._base_url.rstrip('/')}/purchases/{page}"
        try:
            intent = self._stripe.v1.payment_intents.confirm(intent.id, params)
        except stripe.CardError as error:
            return ChargeResult("declined", reference=intent.id, text=reason_of(error))
        except stripe.InvalidRequestError:  # it was confirmed or cancelled before
            intent = self._stripe.v1.payment_intents.retrieve(intent.id)
        return self._charge_result(intent)

    def _cancel(self, intent: str, why: str) -> ChargeResult:
        """Cancel the intent, so that it never pays; return its charge if it has paid already."""
        try:
            self._stripe.v1.payment_intents.cancel(intent)
        except stripe.InvalidRequestError:  # it has paid, or was cancelled before
            return self._charge_result(self._stripe.v1.payment_intents.retrieve(intent))
        return ChargeResult("declined", None, intent, why)

    def _charge_result(self, intent: stripe.PaymentIntent) -> ChargeResult:
        match intent.status:
            case "succeeded":
                paid = from_stripe(intent.amount_received, intent.currency)
                return ChargeResult("succeeded", paid, intent.id)
            case "canceled":
                return ChargeResult("declined", None, intent.id, VOIDED)
            case "requires_payment_method":
                why = intent.last_payment_error and intent.last_payment_error.message
                # The client could try another card with the link that the client has.
                return self._cancel(intent.id, why or DECLINED)
            case "requires_action":
                action: Any = intent.next_action
                redirect = getattr(action, "redirect_to_url", None)
                url = (redirect and redirect.url) or ""
                text = CONFIRM if url else f"{CONFIRM} {NO_LINK}"
                return ChargeResult("needs_client", None, intent.id, text, url)
            case "requires_capture":
                raise ProviderUnreachable(NOT_CAPTURED)
        raise ProviderUnreachable(f"Stripe is still processing the payment ({intent.status}).")
