"""One deployment's connection to an account at Stripe: shared by charges, refunds and look-ups."""

import logging
import re
from functools import partial
from http.cookiejar import DefaultCookiePolicy

import requests
import stripe
from requests.adapters import HTTPAdapter
from stripe.params import PaymentIntentRetrieveParams

from activities.payments import ProviderRejected, ProviderUnreachable
from activities.payments.stripe_calls import or_none, provider_errors
from activities.payments.stripe_records import Names

stripe.enable_telemetry = False  # it writes to the home directory
logging.getLogger("stripe").setLevel(logging.WARNING)  # it logs payment methods at INFO

TIMEOUT_SECONDS = 4.0
"""Bounds one call: the seven calls that a charge can need fit into one activity attempt."""

CONNECTIONS = 20
"""Bounds the pooled connections: one for each activity thread."""

Payment = tuple[stripe.PaymentIntent | stripe.Charge, stripe.Charge | None]
"""A payment, and its last charge if there is one."""


class StripeAccount:
    """The client, and the names of one deployment."""

    def __init__(
        self,
        api_key: str,
        deployment: str,
        *,
        api_base: str | None = None,
        base_url: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """`base_url`: the page to which a client returns after confirming a payment."""
        self._names = Names(deployment)
        self._named = self._names.of
        self._base_url = base_url
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

    def account(self) -> str:
        with provider_errors():
            try:
                account = self._stripe.v1.accounts.retrieve_current()
            except stripe.PermissionError:
                raise ProviderUnreachable(
                    "the API key may not read its account: give it this permission at Stripe."
                ) from None
        return f"{account.id} ({self._mode} mode)"

    def _payment(self, reference: str) -> Payment | None:
        """Return the payment with this id; None if Stripe does not know it."""
        calls = self._stripe.v1
        if not re.fullmatch(r"(pi|ch|py)_\w+", reference, re.ASCII):  # it becomes part of a URL
            return None
        if not reference.startswith("pi_"):
            charge = or_none(partial(calls.charges.retrieve, reference))
            return (charge, charge) if charge else None
        params: PaymentIntentRetrieveParams = {"expand": ["latest_charge"]}
        intent = or_none(partial(calls.payment_intents.retrieve, reference, params))
        if intent is None:
            return None
        last = intent.latest_charge
        return intent, last if isinstance(last, stripe.Charge) else None

    def _check_own(self, reference: str) -> None:
        """Raise ProviderRejected for the payment of another deployment or program."""
        found = self._payment(reference)
        if found is None:
            raise ProviderRejected(f"Stripe knows no payment {reference}.")
        if not self._names.key_of(found[0]):
            raise ProviderRejected("This payment was made by another deployment or program.")
