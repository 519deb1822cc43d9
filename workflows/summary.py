"""The terms of a purchase in one line: for the Web UI and for lists."""

from collections.abc import Callable

from activities.sanitize import isolated, markdown, plain_text
from workflows.messages import PurchaseStart
from workflows.workflow_state import AcceptedStart

LONGEST_SUMMARY = 200
"""Bytes of UTF-8: what the server takes for its Web UI."""

Start = PurchaseStart | AcceptedStart

Written = Callable[[str, int], str]
"""Makes a text of at most that many characters safe to show."""


def summary(terms: Start, written: Written = markdown) -> str:
    """Return the terms in one line, ids only, in Markdown. A long title is cut, not the price."""
    ids = (_fitting(party.id, 40, written) for party in (terms.client, terms.freelancer))
    rest = f" · {terms.price} · {' → '.join(ids)}"
    return _fitting(terms.title, LONGEST_SUMMARY - len(rest.encode()), written) + rest


def listed(terms: Start) -> str:
    """Return the same line as plain text, for lists."""
    return summary(terms, plain_text)


def memo(terms: Start) -> dict[str, str]:
    """Return what lists show of the terms."""
    return {
        "title": terms.title,
        "terms": listed(terms),
        "price": str(terms.price),
        "client": terms.client.name,
        "freelancer": terms.freelancer.name,
    }


def _fitting(text: str, size: int, written: Written) -> str:
    """As much of a text as fits in `size` bytes of UTF-8 once it is safe to show."""
    limit = size
    while len((shown := written(isolated(text), limit)).encode()) > size:
        limit -= 1
    return shown
