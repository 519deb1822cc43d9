"""Valid examples of the start input and of every message, and a check for invalid ones.

All of them are parsed from JSON, as in production.
"""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from workflows.messages import MESSAGES, PurchaseStart

START: dict[str, Any] = {
    "purchase_id": "p-1001",
    "title": "Logo design",
    "client": {
        "id": "ana",
        "name": "Ana",
        "email": "ana@example.com",
        "timezone": "Europe/Lisbon",
        "locale": "pt_PT",
    },
    "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com"},
    "price": {"amount": 25000, "currency": "USD"},
    "payment_method": "pm_sandbox_ok",
    "requirements_needed": True,
    "purchased_at": None,
    "policy": {"requirements_window": "PT48H"},
}
BY = {"role": "client", "id": "ana"}
FIELDS: dict[str, dict[str, Any]] = {
    "submit_requirements": {"requirements": {"colours": ["blue", None, 3]}},
    "cancel": {"reason": "plans change"},
    "decide_refund": {"decision": "decline", "claim": 10_000, "note": "half is done"},
    "withdraw_cancellation": {"note": "let us go on"},
    "accept_claim": {"note": "fair"},
    "accept_delivery": {"note": "thank you"},
    "give_refund": {"note": "sorry"},
    "open_dispute": {"reason": "nothing was done"},
    "propose_split": {"refund": 15_000, "note": "half and half"},
    "accept_split": {"refund": 15_000},
    "resolve_dispute": {"refund": 0, "note": "the work is good"},
    "deliver": {"note": "here it is"},
    "request_changes": {"note": "bluer"},
    "send_message": {"text": "how is it going?\nWell, I hope."},
    "settlement_update": {"refund_id": "re_1", "status": "settled", "reference": "tr_1"},
    "check_payment": {},
    "resolve_attention": {"action": "mark_settled", "reference": "statement 7"},
}


def start(**changed: Any) -> PurchaseStart:
    """The example start input with these fields changed."""
    return PurchaseStart.model_validate_json(json.dumps({**START, **changed}))


def message(name: str, **changed: Any) -> Any:
    """The example of a message with these fields changed."""
    given = {"by": BY, "message_id": "m-1", **FIELDS[name], **changed}
    return MESSAGES[name].model_validate_json(json.dumps(given))


def assert_rejected(field: str, make: Any, *args: Any, **changed: Any) -> None:
    """Check that validation fails and the error names this field. An empty field means the whole
    object."""
    with pytest.raises(ValidationError) as caught:
        make(*args, **changed)
    places = [".".join(map(str, error["loc"])) for error in caught.value.errors()]
    assert any(place.startswith(field) for place in places), places
