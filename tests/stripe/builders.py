"""What the tests of the fake ask for, through the provider's own SDK."""

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
"""Seconds for an answer; the real Stripe's take a while."""


@contextmanager
def connected(
    api_key: str, url: str | None = None, timeout: float = PATIENCE
) -> Iterator[stripe.StripeClient]:
    """A client of Stripe, or of a fake at the URL, that never repeats a request by itself."""
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
    """A key or group that no test has used, today or on any other day."""
    return f"recourse-{name}-{uuid4()}"


def payment(
    amount: int = PRICE, method: str | None = "pm_card_visa", **more: Any
) -> PaymentIntentCreateParams:
    """A payment confirmed at once, unless `more` says otherwise."""
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
    """A payment of the price."""
    return api.v1.payment_intents.create(
        payment(method=method, **more), {"idempotency_key": key or new_key()}
    )


def refund(
    api: stripe.StripeClient, intent: str, amount: int | None = None, key: str | None = None
) -> stripe.Refund:
    """A refund of the amount, or of all that is left."""
    params: RefundCreateParams = {"payment_intent": intent}
    if amount is not None:
        params["amount"] = amount
    return api.v1.refunds.create(params, {"idempotency_key": key or new_key()})


def error_of(error: pytest.ExceptionInfo[stripe.StripeError]) -> dict[str, Any]:
    """What Stripe says of an error."""
    body: Any = error.value.json_body
    found: dict[str, Any] = body["error"]
    return found


def at_once(call: Callable[[], object], times: int) -> list[object]:
    """What so many calls at the same time return or raise."""

    def outcome(_: int) -> object:
        try:
            return call()
        except stripe.StripeError as error:
            return error

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(outcome, range(times)))
