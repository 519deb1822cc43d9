"""`schema`: the public contract as JSON Schema."""

from typing import Annotated, Any, Literal

import typer
from pydantic import TypeAdapter

from activities.notices.events import SCHEMA
from starter import show
from starter.exits import command
from starter.options import Json
from starter.schema_examples import examples
from temporal.errors import InvalidInput
from workflows.descriptions import describe, extensible
from workflows.messages import MESSAGES, Permission, PurchaseResult, PurchaseStart, Receipt, Status
from workflows.purchase_events import PurchaseEvent

DIALECT = "https://json-schema.org/draft/2020-12/schema"

READ: dict[str, Any] = {"start": PurchaseStart, **MESSAGES}
"""Inputs of a purchase by name."""

WRITTEN: dict[str, Any] = {
    "receipt": Receipt,
    "status": Status,
    "actions": list[Permission],
    "result": PurchaseResult,
    "event": PurchaseEvent,
}
"""Answers of a purchase by name, and what it sends. Their schemas allow more fields than they
name."""

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="A message, start, receipt, status, actions, result or event."
    ),
]


@command
async def schema(name: Name = None, as_json: Json = False) -> None:
    """Print the JSON Schema of a message or an answer; of all of them without a name."""
    schemas = schemas_by_name()
    if name is None:
        return show.answer(schemas, "", as_json=True)
    if name.replace("-", "_") not in schemas:
        raise InvalidInput(f"NAME: {name!r} is unknown; known are {', '.join(schemas)}.")
    return show.answer(schemas[name.replace("-", "_")], "", as_json=True)


def schemas_by_name() -> dict[str, dict[str, Any]]:
    """Every schema of the contract by its name."""
    read = {name: _of(kind, "validation") for name, kind in READ.items()}
    written = {name: extensible(_of(kind, "serialization")) for name, kind in WRITTEN.items()}
    for name, example in examples().items():
        written[name]["examples"] = [example]
    written["event"]["$id"] = SCHEMA.partition("#")[0]
    return read | written


def _of(kind: Any, mode: Literal["validation", "serialization"]) -> dict[str, Any]:
    return {"$schema": DIALECT, **describe(TypeAdapter(kind).json_schema(mode=mode))}
