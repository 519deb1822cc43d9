"""Valid examples of the start input and of every message, and a check for invalid ones.

All of them are parsed from JSON, as in production.
"""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from docs.samples import ANA, SAMPLES, START
from workflows.messages import MESSAGES, PurchaseStart

FIELDS: dict[str, dict[str, Any]] = {
    name: {field: value for field, value in sample.items() if field != "by"}
    for name, sample in SAMPLES.items()
}
"""The own fields of each message of docs/messages.md."""


def start(**changed: Any) -> PurchaseStart:
    """The example start input with these fields changed."""
    return PurchaseStart.model_validate_json(json.dumps({**START, **changed}))


def message(name: str, **changed: Any) -> Any:
    """The example of a message with these fields changed."""
    given = {"by": ANA, "message_id": "m-1", **FIELDS[name], **changed}
    return MESSAGES[name].model_validate_json(json.dumps(given))


def assert_rejected(field: str, make: Any, *args: Any, **changed: Any) -> None:
    """Check that validation fails and the error names this field. An empty field means the whole
    object."""
    with pytest.raises(ValidationError) as caught:
        make(*args, **changed)
    places = [".".join(map(str, error["loc"])) for error in caught.value.errors()]
    assert any(place.startswith(field) for place in places), places
