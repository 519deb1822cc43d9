"""Calls to Stripe: their idempotency keys, and what their errors mean."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import stripe

from activities.payments import ProviderRejected, ProviderUnreachable

KEYS_TRIED = 5
"""Bounds the keys tried after replayed errors: after five, the fault is not in the key."""

_Made = TypeVar("_Made")


def idempotently(
    key: str, send: Callable[[str], _Made], look_up: Callable[[], _Made | None] | None = None
) -> _Made:
    """Call `send` with `key`, or with the next key after a replayed error.

    The next key is tried only if `look_up` then finds nothing. Without a `look_up`, only a replayed
    5xx is retried; a replayed rejection is final.
    """
    number = 1
    while True:
        try:
            return send(_as_header(key if number == 1 else f"{key}#{number}"))
        except stripe.StripeError as error:
            retryable = look_up or (error.http_status or 0) >= 500
            if not (retryable and _is_replayed(error)) or number == KEYS_TRIED:
                raise
        if look_up and (found := look_up()) is not None:
            return found
        number += 1


def _as_header(key: str) -> str:
    """Return the key as a header value: printable ASCII, at most 255 characters, else its hash."""
    if re.fullmatch(r"[!-~]{1,255}", key):
        return key
    return hashlib.sha256(key.encode()).hexdigest()


def _is_replayed(error: stripe.StripeError) -> bool:
    return _says_replayed(error.headers)


def was_replayed(made: Any) -> bool:
    """Whether Stripe answered with what it had stored under the key."""
    response = made.last_response
    return response is not None and _says_replayed(response.headers)


def _says_replayed(given: Mapping[str, str] | None) -> bool:
    headers = {name.lower(): value for name, value in (given or {}).items()}
    return headers.get("idempotent-replayed") == "true"


def or_none(retrieve: Callable[[], _Made]) -> _Made | None:
    """Return what is retrieved; None if Stripe does not know it."""
    try:
        return retrieve()
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing":
            return None
        raise


@contextmanager
def provider_errors() -> Iterator[None]:
    """Turn the SDK's errors into those of PaymentProvider.

    Only an error about this request itself is a rejection; after any other the outcome is unknown.
    """
    try:
        yield
    except stripe.IdempotencyError:
        raise ProviderRejected("This idempotency key belongs to another request.") from None
    except (stripe.InvalidRequestError, stripe.CardError) as error:
        raise ProviderRejected(reason_of(error)) from None
    except (stripe.AuthenticationError, stripe.PermissionError):
        raise ProviderUnreachable("Stripe rejects the API key: set STRIPE_API_KEY.") from None
    except stripe.RateLimitError:
        raise ProviderUnreachable("Stripe limits the rate of requests.") from None
    except stripe.APIConnectionError:
        raise ProviderUnreachable("Stripe did not answer.") from None
    except stripe.StripeError as error:
        raise ProviderUnreachable(
            f"Stripe answered with {error.http_status or 'an unreadable response'}."
        ) from None


def reason_of(error: stripe.StripeError) -> str:
    return error.user_message or "Stripe gave no reason."
