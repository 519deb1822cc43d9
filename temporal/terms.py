"""The terms of a purchase: as the Web UI shows them, and as the server stored them."""

import json
from collections.abc import Sequence
from datetime import timedelta

from temporalio.common import RawValue

from activities.formatter import window_text
from activities.sanitize import markdown
from workflows.card import instant
from workflows.messages import PurchaseStart

LONGEST_SUMMARY = 200
LONGEST_DETAILS = 20_000
"""Bytes of UTF-8: what the server takes for its Web UI."""


def summary(terms: PurchaseStart) -> str:
    """Return the terms in one line, ids only."""
    line = f"{terms.title} · {terms.price} · {terms.client.id} → {terms.freelancer.id}"
    return _cut(line, LONGEST_SUMMARY)


def memo(terms: PurchaseStart) -> dict[str, str]:
    """Return what lists show of the terms."""
    return {"title": terms.title, "terms": summary(terms)}


def details(terms: PurchaseStart) -> str:
    """Return the terms in Markdown, ids only. They never change."""
    bought = instant(terms.purchased_at) if terms.purchased_at else "when the workflow started"
    needed = "needed" if terms.requirements_needed else "not needed"
    policy = terms.policy.model_dump(exclude={"reminders"})
    rows = [f"- {name.replace('_', ' ')}: {_said(value)}" for name, value in policy.items()]
    text = [
        f"**{markdown(terms.title)}** for {terms.price}, bought by {markdown(terms.client.id)} "
        f"from {markdown(terms.freelancer.id)}; purchased {bought}; requirements {needed}.",
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
        document = {name: accepted[name] for name in PurchaseStart.model_fields if name in accepted}
    return PurchaseStart.model_validate_json(json.dumps(document))


def _cut(text: str, limit: int) -> str:
    """Cut a text to `limit` bytes of UTF-8; a longer text ends with an ellipsis."""
    if len(text.encode()) <= limit:
        return text
    return text.encode()[: limit - 3].decode(errors="ignore") + "…"
