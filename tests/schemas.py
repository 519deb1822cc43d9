"""The published schemas, and how strictly tests read them. `tests/contract.py` needs no package for
schemas: its tests also run on other releases of the dependencies, where that package is missing."""

import json
from typing import Any

import jsonschema

from docs.generate import HERE


def schema_of(name: str) -> Any:
    """The published schema of that name."""
    return json.loads((HERE / "contract" / f"{name}.schema.json").read_text(encoding="utf-8"))


def strict(schema: Any) -> Any:
    """The same schema, which also rejects what it does not describe. The published ones of what a
    purchase writes let a later release add fields."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(inner) for name, inner in schema.items() if name != "examples"}
    return {**closed, "additionalProperties": False} if _is_model(schema) else closed


def _is_model(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" and "properties" in schema


def validator_of(schema: Any) -> jsonschema.Draft202012Validator:
    """Checks that a document is as a schema says, and has nothing that the schema does not name."""
    return jsonschema.Draft202012Validator(strict(schema))
