"""Purchases at the borders of what is valid, recorded as other systems send them: raw JSON, with a
part of a policy or none. A release that validates more strictly must still replay them."""

from dataclasses import dataclass
from typing import Any

LONG_ID = "é漢ж" * 21 + "ß"
"""64 characters, as many as an id may have."""
LONG_LINE = "Ünïcödé · " * 20
"""200 characters."""

CLIENT = {"role": "client", "id": "ana"}
FREELANCER = {"role": "freelancer", "id": LONG_ID}
PERSON = {"name": "Ana", "email": "ana@example.com"}

Signal = tuple[str, Any]


@dataclass(frozen=True)
class Borderline:
    """A start input without its id, and the signals to the purchase. It stays open."""

    name: str
    start: dict[str, Any]
    signals: tuple[Signal, ...]


BORDERLINE: tuple[Borderline, ...] = (
    Borderline(
        "borderline_no_policy",
        {
            "title": LONG_LINE,
            "client": {**PERSON, "id": "ana", "timezone": "America/Argentina/Ushuaia"},
            "freelancer": {**PERSON, "id": LONG_ID, "name": LONG_LINE, "locale": "zh_Hant_TW"},
            "price": {"amount": 1, "currency": "JPY"},
            "payment_method": "pm_sandbox_ok",
        },
        (
            ("submit_requirements", {"by": CLIENT, "requirements": {"": [None, 1e300, "😀"]}}),
            ("submit_requirements", {"by": CLIENT, "requirements": "é" * 16_000}),
            ("send_message", {"by": FREELANCER, "text": "\x01" * 4_000, "message_id": LONG_ID}),
            ("send_message", {"by": FREELANCER, "text": "another", "message_id": LONG_ID}),
            ("send_message", {"by": FREELANCER, "text": "x" * 4_001}),
            ("cancel", {"by": {**CLIENT, "id": " ana"}}),
            ("cancel", {"by": {**CLIENT, "id": LONG_ID + "x"}}),
            ("cancel", {"by": CLIENT, "because": "unknown field"}),
            ("cancel", [{"by": CLIENT}]),
            ("n" * 200, {"by": CLIENT}),
            ("cancel", {"by": CLIENT, "reason": "\u00a0." + LONG_LINE}),
            ("decide_refund", {"by": FREELANCER, "decision": "decline", "claim": 1}),
        ),
    ),
    Borderline(
        "borderline_partial_policy",
        {
            "title": "x",
            "client": {
                **PERSON,
                "id": "ana",
                "email": "a" * 64 + "@" + 3 * ("b" * 58 + ".") + "example.org",
            },
            "freelancer": {**PERSON, "id": LONG_ID},
            "price": {"amount": (2**53 - 1) // 10 * 10, "currency": "KWD"},
            "payment_method": "pm_sandbox_ok",
            "requirements_needed": False,
            "purchased_at": "2026-01-01T00:00:00.000001+14:00",
            "policy": {
                "claim_window": 1,
                "free_cancel_window": "P3650D",
                "dispute_window": "PT0.5S",
                "calendar_timezone": "Pacific/Kiritimati",
                "reminders": {"claim": [], "review": ["PT1S", "P3650D"]},
            },
        },
        (("deliver", {"by": FREELANCER, "note": "x" * 4_000}), ("cancel", {"by": CLIENT})),
    ),
)
