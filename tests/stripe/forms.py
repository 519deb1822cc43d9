"""Parameters of requests, and the errors for invalid ones."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import iso4217

Object = dict[str, Any]

CURRENCIES = {currency.code.lower() for currency in iso4217.Currency}
LARGEST = 99_999_999
MOST_METADATA = 50


class Rejection(Exception):
    """An error answer. If `kept`, it is stored under the idempotency key and replayed."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        kept: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kept = kept
        given = {name: value for name, value in more.items() if value is not None}
        self.body: Object = {"error": {"type": kind, "message": message, **given}}


def missing(what: str, name: str, param: str) -> Rejection:
    """Return the error for an unknown id."""
    return Rejection(
        404 if param == "id" else 400,
        f"No such {what}: '{name}'",
        code="resource_missing",
        param=param if param != "id" else what,
    )


def parse(encoded: str) -> Object:
    """Parse `a[b]=1&c[0]=2` to {"a": {"b": "1"}, "c": {"0": "2"}}."""
    found: Object = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        name, *inner = [re.sub(r"\]$", "", part) for part in key.split("[")]
        place = found
        for part in inner:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise Rejection(400, f"Invalid object: {key}", param=key)
            name = part or str(len(place))
        place[name] = value
    return found


def only(params: Object, known: Iterable[str]) -> None:
    """Reject parameters that this fake does not implement."""
    for name in params.keys() - {*known, "expand"}:
        raise Rejection(
            400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name
        )


def text(params: Object, name: str) -> str | None:
    """Return a text or None; an empty text is None."""
    value = params.get(name)
    if value is not None and not isinstance(value, str):
        raise Rejection(400, f"Invalid string: {value}", param=name)
    return value or None


def required(params: Object, name: str) -> str:
    """Return a required text."""
    value = text(params, name)
    if value is None:
        raise Rejection(
            400, f"Missing required param: {name}.", code="parameter_missing", param=name
        )
    return value


def flag(params: Object, name: str) -> bool:
    """Return a boolean; False by default."""
    value = text(params, name) or "false"
    if value not in ("true", "false"):
        raise Rejection(400, f"Invalid boolean: {value}", param=name)
    return value == "true"


def amount(params: Object) -> int:
    """Return an amount in the currency's smallest unit."""
    value = required(params, "amount")
    if not re.fullmatch(r"-?[0-9]+", value, re.ASCII):
        message, code = f"Invalid integer: {value}", "parameter_invalid_integer"
    elif int(value) < 1:
        message = "This value must be greater than or equal to 1."
        code = "parameter_invalid_integer"
    elif int(value) > LARGEST:
        message, code = "Amount must be no more than $999,999.99", "amount_too_large"
    else:
        return int(value)
    raise Rejection(400, message, code=code, param="amount")


def currency(params: Object) -> str:
    """Return a known currency, in lower case."""
    value = required(params, "currency").lower()
    if value not in CURRENCIES:
        raise Rejection(400, f"Invalid currency: {value}.", param="currency")
    return value


def one_of(params: Object, name: str, known: tuple[str, ...]) -> str | None:
    """Return one of the known values, or None."""
    value = text(params, name)
    if value is not None and value not in known:
        raise Rejection(400, f"Invalid {name}: must be one of {', '.join(known)}", param=name)
    return value


def metadata(params: Object) -> dict[str, str]:
    """Return the metadata, within Stripe's limits; an empty text removes its name."""
    given = params.get("metadata") or {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Rejection(400, "Invalid metadata: must be strings by name.", param="metadata")
    if len(given) > MOST_METADATA:
        raise Rejection(400, f"Metadata can have up to {MOST_METADATA} keys.", param="metadata")
    for name, value in given.items():
        if len(name) > 40:
            raise Rejection(400, "Metadata keys can have up to 40 characters.", param="metadata")
        if len(value) > 500:
            raise Rejection(400, "Metadata values can have up to 500 characters.", param="metadata")
    return {name: value for name, value in given.items() if value}


def changed(before: dict[str, str], params: Object) -> dict[str, str]:
    """Return the metadata after an update; an empty text removes its name."""
    given = params.get("metadata") or {}
    kept = {name: value for name, value in before.items() if name not in given}
    return kept | metadata(params)


def page(params: Object) -> tuple[int, str | None]:
    """Return the limit of a page and the id after which it starts."""
    limit = text(params, "limit") or "10"
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= 100:
        raise Rejection(400, f"Invalid limit: {limit}, from 1 to 100.", param="limit")
    return int(limit), text(params, "starting_after")


def created(params: Object) -> tuple[float, float]:
    """Return the first and the last second of the requested list."""
    given = params.get("created") or {}
    given = given if isinstance(given, dict) else {"gte": given, "lte": given}
    only(given, ("gt", "gte", "lt", "lte"))
    if not all(re.fullmatch(r"[0-9]+", str(value), re.ASCII) for value in given.values()):
        raise Rejection(400, "Invalid timestamp: must be whole seconds.", param="created")
    bound = {name: int(value) for name, value in given.items()}
    first = max(bound.get("gte", 0), bound.get("gt", -1) + 1)
    return first, min(bound.get("lte", float("inf")), bound.get("lt", float("inf")) - 1)
