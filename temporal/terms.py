"""The terms of a purchase: as the Web UI shows them, and as the server stored them."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta

from temporalio.common import RawValue

from activities.formatter import window_text
from activities.sanitize import isolated, isolated_markdown, markdown, plain_text
from workflows.card import instant
from workflows.messages import PurchaseStart

LONGEST_SUMMARY = 200
LONGEST_DETAILS = 20_000
"""Bytes of UTF-8: what the server takes for its Web UI."""


Written = Callable[[str, int], str]
"""Makes a text of at most that many characters safe to show."""


def summary(terms: PurchaseStart, written: Written = markdown) -> str:
    """Return the terms in one line, ids only, in Markdown. A long title is cut, not the price."""
    ids = (_fitting(party.id, 40, written) for party in (terms.client, terms.freelancer))
    rest = f" · {terms.price} · {' → '.join(ids)}"
    return _fitting(terms.title, LONGEST_SUMMARY - len(rest.encode()), written) + rest


def listed(terms: PurchaseStart) -> str:
    """Return the same line as plain text, for lists."""
    return summary(terms, plain_text)


def memo(terms: PurchaseStart) -> dict[str, str]:
    """Return what lists show of the terms."""
    return {"title": terms.title, "terms": listed(terms)}


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
    return window_text(value) if isinstance(value, timedelta) else str(value).replace("_", " ")


def stored(payloads: Sequence[object]) -> PurchaseStart:
    """Return the terms in a workflow's input; after continue-as-new they are in its carried state.

    Raises ValueError if the input is not a purchase's.
    """
    if len(payloads) != 1 or not isinstance(payloads[0], RawValue):
        raise ValueError("not one object")
    try:
        document = json.loads(payloads[0].payload.data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(document, dict) and document.get("continued") is True:
        accepted = document.get("start") or {}
        # Of payment method and reference, an accepted start has one and an empty text.
        given = {name: accepted.get(name) for name in PurchaseStart.model_fields}
        document = {name: value for name, value in given.items() if value not in (None, "")}
    return PurchaseStart.model_validate_json(json.dumps(document))


def _fitting(text: str, size: int, written: Written) -> str:
    """As much of a text as fits in `size` bytes of UTF-8 once it is safe to show."""
    limit = size
    while len((shown := written(isolated(text), limit)).encode()) > size:
        limit -= 1
    return shown


def _cut(text: str, limit: int) -> str:
    """Cut a text to `limit` bytes of UTF-8; a longer text ends with an ellipsis."""
    if len(text.encode()) <= limit:
        return text
    return text.encode()[: limit - 3].decode(errors="ignore") + "…"
