"""The terms of a purchase: as the Web UI shows them, and as the server stored them."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from temporalio.common import RawValue

from activities.amounts import (
    InvalidAmount,
    UnknownCurrency,
    check_for_new_purchases,
    check_movable,
)
from activities.calendar import UnknownCalendar, check_calendar
from activities.formatter import window_text
from activities.locales import find_locale, find_zone
from activities.sanitize import isolated_markdown
from temporal.errors import InvalidInput
from workflows.acceptance import purchase_time
from workflows.card import instant
from workflows.messages import PurchaseStart
from workflows.receiving.encrypted import check_deciphered

LONGEST_DETAILS = 20_000
"""Bytes of UTF-8: what the server takes for its Web UI."""


def details(terms: PurchaseStart) -> str:
    """Return the terms in Markdown, ids only. They never change."""
    bought = instant(terms.purchased_at) if terms.purchased_at else "when the workflow started"
    needed = "needed" if terms.requirements_needed else "not needed"
    policy = terms.policy.model_dump(exclude={"reminders"})
    rows = [f"- {name.replace('_', ' ')}: {_said(value)}" for name, value in policy.items()]
    given = (terms.title, terms.client.id, terms.freelancer.id)
    title, client, freelancer = map(isolated_markdown, given)
    text = [
        f"**{title}** for {terms.price}, bought by {client} "
        f"from {freelancer}; purchased {bought}; requirements {needed}.",
        "",
        *rows,
    ]
    return _cut("\n".join(text), LONGEST_DETAILS)


def _said(value: object) -> str:
    if isinstance(value, timedelta):
        return window_text(value) if value else "none"
    return str(value).replace("_", " ")


def stored(payloads: Sequence[object]) -> PurchaseStart:
    """Return the terms in a workflow's input; after continue-as-new they are in its carried state.

    Raises ValueError if the input is not a purchase's, Undecipherable if its key is missing here.
    """
    check_deciphered(payloads)
    if len(payloads) != 1 or not isinstance(payloads[0], RawValue):
        raise ValueError("not one object")
    try:
        document = json.loads(payloads[0].payload.data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(document, dict) and document.get("continued") is True:
        accepted = document.get("start") or {}
        document = {name: accepted[name] for name in PurchaseStart.model_fields if name in accepted}
    if isinstance(document, dict):
        # The payment that was not given: an accepted start has an empty text for it.
        paying = ("payment_method", "payment_reference")
        document = {k: v for k, v in document.items() if k not in paying or v != ""}
    return PurchaseStart.model_validate_json(json.dumps(document))


class InvalidTerms(InvalidInput):
    """The terms cannot be right. `field` is the one that is wrong, such as `client.timezone`; empty
    if the sentence names it."""

    def __init__(self, field: str, problem: object) -> None:
        self.field, self.problem = field, str(problem)
        super().__init__(f"{field}: {problem}" if field else self.problem)

    def named(self, names: Mapping[str, str]) -> InvalidInput:
        """The same with the sender's name for the field."""
        return InvalidTerms(names.get(self.field, self.field), self.problem)


def check(terms: PurchaseStart) -> None:
    """Check currency, zones, locales, the calendar and the purchase date. Raises InvalidTerms."""
    for role, party in (("client", terms.client), ("freelancer", terms.freelancer)):
        if find_zone(party.timezone) is None:
            problem = f"{party.timezone!r} is not known; give an IANA name, such as Europe/Lisbon."
            raise InvalidTerms(f"{role}.timezone", problem)
        if find_locale(party.locale) is None:
            problem = f"{party.locale!r} is not known; write for example pt_PT."
            raise InvalidTerms(f"{role}.locale", problem)
    try:
        check_for_new_purchases(terms.price.currency)
        check_movable(terms.price.amount, terms.price.currency)
        check_calendar(terms.policy.calendar, terms.policy.calendar_timezone)
        purchase_time(terms.purchased_at, datetime.now(UTC))
    except UnknownCurrency as error:
        raise InvalidTerms("price.currency", f"{error}.") from None
    except InvalidAmount as error:
        raise InvalidTerms("price.amount", error) from None
    except UnknownCalendar as error:
        raise InvalidTerms("policy", error) from None
    except ValueError as error:
        raise InvalidTerms("", error) from None


def _cut(text: str, limit: int) -> str:
    """Cut a text to `limit` bytes of UTF-8; a longer text ends with an ellipsis."""
    if len(text.encode()) <= limit:
        return text
    return text.encode()[: limit - 3].decode(errors="ignore") + "…"
