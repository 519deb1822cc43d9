"""The objects of an account: how they are listed, expanded and reported in events."""

import copy
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from tests.stripe import forms
from tests.stripe.forms import Object, Rejection, missing
from tests.stripe.keys import Keys

EXPANDABLE = {"latest_charge", "payment_intent", "charge"}


@dataclass(frozen=True)
class Card:
    """The outcome of a payment with a magic payment method, and the first status of its refunds."""

    outcome: str = "succeed"  # or decline, authenticate, process
    decline_code: str = ""
    refund: str | None = None
    dispute: str | None = None
    """The status of a dispute that follows the payment."""


DECLINED = Card("decline", "generic_decline")
FUNDS = Card("decline", "insufficient_funds")
CARDS = {
    "pm_card_visa": Card(),
    "pm_card_mastercard": Card(),
    "pm_card_chargeDeclined": DECLINED,
    "pm_card_visa_chargeDeclined": DECLINED,
    "pm_card_chargeDeclinedInsufficientFunds": FUNDS,
    "pm_card_visa_chargeDeclinedInsufficientFunds": FUNDS,
    "pm_card_authenticationRequired": Card("authenticate"),
    "pm_card_pendingRefund": Card(refund="pending"),
    "pm_card_refundFail": Card(refund="succeeded"),  # and fails later
    "pm_card_createDispute": Card(dispute="needs_response"),
    "pm_card_createDisputeInquiry": Card(dispute="warning_needs_response"),
    "pm_usBankAccount_processing": Card("process"),
    "tok_visa": Card(),
    "tok_chargeDeclined": DECLINED,
}
"""By the names that Stripe's documentation of testing gives them."""


def new_id(prefix: str) -> str:
    """Return a unique id."""
    return f"{prefix}_{secrets.token_hex(12)}"


class Objects:
    """One account's objects by id, the oldest first."""

    def __init__(self, clock: Callable[[], float], api_version: str) -> None:
        self.id = new_id("acct")
        self.keys = Keys()
        self.methods: dict[str, Object] = {}
        self.cards: dict[str, Card] = {}
        self.used: set[str] = set()
        self.intents: dict[str, Object] = {}
        self.charges: dict[str, Object] = {}
        self.refunds: dict[str, Object] = {}
        self.disputes: dict[str, Object] = {}
        self.events: list[Object] = []
        self._clock = clock
        self._api_version = api_version

    def now(self) -> int:
        """Return the time in whole seconds, as Stripe does."""
        return int(self._clock())

    def new(self, prefix: str, kind: str, **more: object) -> Object:
        """Create an object with the fields that all have."""
        made = {"id": new_id(prefix), "object": kind, "created": self.now(), "livemode": False}
        return made | more

    def emit(self, kind: str, about: Object, **previous: object) -> None:
        """Record an event with a copy of the object."""
        data: Object = {"object": copy.deepcopy(about)}
        if previous:
            data["previous_attributes"] = previous
        event = self.new("evt", "event", type=kind, data=data, api_version=self._api_version)
        event |= {"pending_webhooks": 1, "request": {"id": None, "idempotency_key": None}}
        self.events.append(event)

    def account(self) -> Object:
        """Return the account itself."""
        return {"id": self.id, "object": "account"}

    # --- Payment methods -----------------------------------------------------------------------

    def add_method(self, magic: str, customer: str | None = None) -> Object:
        """Create a payment method that behaves like the magic one."""
        card = {"brand": "visa", "last4": "4242"}
        method = self.new("pm", "payment_method", type="card", customer=customer, card=card)
        self.methods[method["id"]] = method
        self.cards[method["id"]] = CARDS[magic]
        return method

    def method(self, name: str, param: str) -> Object:
        """Return the payment method; a magic name creates a new one each time, as at Stripe."""
        if name in CARDS and name.startswith("pm_"):
            return self.add_method(name)
        if name not in self.methods:
            raise missing("PaymentMethod", name, param)
        return self.methods[name]

    # --- Answers ---------------------------------------------------------------------------------

    def shown(self, found: Object, paths: list[str]) -> Object:
        """Return a copy with the requested ids expanded."""
        found = copy.deepcopy(found)
        for path in paths:
            name, _, rest = path.partition(".")
            if name not in EXPANDABLE or name not in found:
                message = f"This property cannot be expanded ({path})."
                raise Rejection(400, message, code="property_cannot_be_expanded", param="expand")
            within = self.intents if name == "payment_intent" else self.charges
            inner = found[name]
            if inner is not None:
                inner = within[inner] if isinstance(inner, str) else inner
                found[name] = self.shown(inner, [rest] if rest else [])
        return found

    def listed(self, within: dict[str, Object], url: str, params: Object, *match: str) -> Object:
        """Return a page of the matching objects, the newest first."""
        forms.only(params, ("created", "limit", "starting_after", *match))
        limit, after = forms.page(params)
        first, last = forms.created(params)
        wanted = {name: forms.text(params, name) for name in match if name in params}
        if after is not None and after not in within:
            raise missing(url.rpartition("/")[2].rstrip("s"), after, "starting_after")
        found = [
            each
            for each in reversed(within.values())
            if first <= each["created"] <= last
            and all(each[name] == value for name, value in wanted.items())
        ]
        if after is not None:
            older = list(within).index(after)
            found = [each for each in found if list(within).index(each["id"]) < older]
        paths = [path.removeprefix("data.") for path in expand(params)]
        page = [self.shown(each, paths) for each in found[:limit]]
        return {"object": "list", "url": url, "has_more": len(found) > limit, "data": page}


def expand(params: Object) -> list[str]:
    """Return the fields that a request asks to expand."""
    given = params.get("expand") or {}
    return list(given.values()) if isinstance(given, dict) else [given]
