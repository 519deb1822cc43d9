"""TypeScript types of the contract: `python -m tests.signals.typescript_types` writes them anew."""

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

from docs.generate import HERE
from starter.schema import schemas_by_name
from tests.node import installed, program, run

TYPES = HERE / "typescript" / "recourse.d.ts"
SOURCE = Path(__file__).parent / "typescript"
"""Checked in, so that an integrator can take it without Node's tools."""


def bundle() -> dict[str, Any]:
    """One JSON Schema of everything in the contract. A model has the same name in all schemas, so
    it must be the same model."""
    models: dict[str, Any] = {}
    contract = {}
    for name, schema in schemas_by_name().items():
        schema = copy.deepcopy(schema)
        inner = schema.pop("$defs", {})
        title = schema.get("title") or name.title()
        for key in ("$schema", "$id", "examples"):
            schema.pop(key, None)
        for model, found in {**inner, title: schema}.items():
            found = _readable(found)
            # A field that a type does not name is no error in what is received. Without this, each
            # type would allow every name, and the compiler would find no typing error.
            if "properties" in found:
                found["additionalProperties"] = False
            assert models.setdefault(model, found) == found, f"two models are called {model}"
        contract[name] = {"$ref": f"#/$defs/{title}"}
    return {
        "title": "Contract",
        "description": "Everything that a purchase receives, answers and sends, by its name.",
        "type": "object",
        "additionalProperties": False,
        "required": list(contract),
        "properties": contract,
        "$defs": models,
    }


def _readable(model: dict[str, Any]) -> dict[str, Any]:
    """What json-schema-to-typescript makes one type of: a title of a field, and a description
    beside a reference, would each become another type."""
    for name, field in model.get("properties", {}).items():
        field.pop("title", None)
        for part in (*field.get("anyOf", ()), field.get("items", {})):
            part.pop("title", None)
        if reference := field.pop("$ref", None):
            model["properties"][name] = {**field, "allOf": [{"$ref": reference}]}
    return model


def installed_types() -> Path:
    """A folder with the scripts in TypeScript and their packages."""
    return installed(SOURCE, "send.mjs", "types.mjs")


async def types(folder: Path) -> str:
    """The types, written by json-schema-to-typescript."""
    given = json.dumps(bundle())
    return await run(program("node"), "types.mjs", folder=folder, given=given)


async def _write() -> None:
    TYPES.parent.mkdir(exist_ok=True)
    TYPES.write_text(await types(installed_types()), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(_write())
