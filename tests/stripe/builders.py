"""Requests to the fake, through Stripe's SDK."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import stripe
from stripe.params import PaymentIntentCreateParams, RefundCreateParams

PRICE = 25_00
PATIENCE = 20.0
"""The timeout of a call in seconds; the real Stripe is slow."""


@contextmanager
def connected(
    api_key: str, url: str | None = None, timeout: float = PATIENCE
) -> Iterator[stripe.StripeClient]:
    """A client of Stripe, or of a fake at the URL, without retries."""
    http = stripe.RequestsClient(timeout=timeout)
    try:
        yield stripe.StripeClient(
            api_key,
            base_addresses={"api": url} if url else {},
            max_network_retries=0,
            http_client=http,
        )
    finally:
        http.close()  # type: ignore[no-untyped-call]


def new_key(name: str = "key") -> str:
    """Return a unique key or group."""
    return f"recourse-{name}-{uuid4()}"


def payment(
    amount: int = PRICE, method: str | None = "pm_card_visa", **more: Any
) -> PaymentIntentCreateParams:
    """Return the parameters of a payment that is confirmed at once, changed by `more`."""
    asked: Any = {
        "amount": amount,
        "currency": "usd",
        "confirm": True,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    }
    if method is not None:
        asked["payment_method"] = method
    asked |= more
    params: PaymentIntentCreateParams = asked
    return params


def pay(
    api: stripe.StripeClient, key: str | None = None, method: str = "pm_card_visa", **more: Any
) -> stripe.PaymentIntent:
    """Make a payment of the price."""
    return api.v1.payment_intents.create(
        payment(method=method, **more), {"idempotency_key": key or new_key()}
    )


def refund(
    api: stripe.StripeClient, intent: str, amount: int | None = None, key: str | None = None
) -> stripe.Refund:
    """Refund the amount, or the remainder."""
    params: RefundCreateParams = {"payment_intent": intent}
    if amount is not None:
        params["amount"] = amount
    return api.v1.refunds.create(params, {"idempotency_key": key or new_key()})


def error_of(error: pytest.ExceptionInfo[stripe.StripeError]) -> dict[str, Any]:
    """Return the error object of the answer."""
    body: Any = error.value.json_body
    found: dict[str, Any] = body["error"]
    return found


def at_once(call: Callable[[], object], times: int) -> list[object]:
    """Return what `times` concurrent calls return or raise."""

    def outcome(_: int) -> object:
        try:
            return call()
        except stripe.StripeError as error:
            return error

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(outcome, range(times)))
