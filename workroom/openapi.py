"""The OpenAPI document of the HTTP API, generated from the models of the contract."""

from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from workflows.descriptions import describe, extensible
from workflows.messages import MESSAGES, Permission, PurchaseStart, Receipt, Status

BY = "by"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Always about:blank: `code` says what it is."},
        "title": {"type": "string", "description": "The HTTP status in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "code": {"type": "string", "description": "For programs; it does not change."},
        "detail": {"type": "string", "description": "For people: what is wrong, and what to do."},
        "errors": {
            "type": "array",
            "description": "With 422: what is wrong, field by field.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "The field as a JSON pointer; empty: the whole body.",
                    },
                    "detail": {"type": "string", "description": "What is wrong with it."},
                },
            },
        },
    },
}
ANSWERS = {
    "401": "No token, or one that is not valid",
    "403": "Not yours",
    "404": "There is no such purchase",
    "409": "The rules, or the state of the purchase, reject it",
    "413": "The body is too large",
    "422": "Invalid; `errors` names the fields",
    "429": "Too many requests of one sender; try again after `Retry-After`",
    "503": "No worker or server answers; try again later",
}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 64},
    "description": "Instead of `message_id`: the same key again gets the first answer again.",
}
ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "The purchase's id, percent-encoded.",
}


@cache
def document(query: type[BaseModel], page: type[BaseModel], started: type[BaseModel]) -> Any:
    """The document. `query`, `page` and `started` are the API's own models."""
    read = _schemas("validation", PurchaseStart, *MESSAGES.values())
    written = extensible(_schemas("serialization", page, started, Permission, Receipt, Status))
    schemas = read["$defs"] | written["$defs"]
    for kind in MESSAGES.values():
        own = schemas[kind.__name__]
        del own["properties"][BY]
        own["required"] = [name for name in own.get("required", ()) if name != BY]
    schemas["Problem"] = PROBLEM
    one = "/api/purchases/{id}"
    paths = {
        "/api/purchases": {
            "get": _operation("list_purchases", "List purchases.", _ref(page))
            | {"parameters": _query(query)},
            "post": _operation("start_purchase", "Start a purchase.", _ref(started))
            | _body(PurchaseStart),
        },
        one: {"parameters": [ID], "get": _operation("status", "The status.", _ref(Status))},
        f"{one}/actions": {
            "parameters": [ID],
            "get": _operation(
                "actions",
                "What the token's role may do now.",
                {"type": "array", "items": _ref(Permission)},
            ),
        },
    }
    for name, kind in MESSAGES.items():
        paths[f"{one}/{name}"] = {
            "parameters": [ID, KEY],
            "post": _operation(name, kind.__doc__ or name, _ref(Receipt)) | _body(kind),
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Recourse", "version": version("recourse")},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _schemas(mode: JsonSchemaMode, *kinds: type[BaseModel]) -> dict[str, Any]:
    _, found = models_json_schema(
        [(kind, mode) for kind in kinds], ref_template="#/components/schemas/{model}"
    )
    return describe(found)


def _operation(name: str, summary: str, answer: dict[str, Any]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "Done", "content": {"application/json": {"schema": answer}}},
            **{code: {"description": text, "content": problem} for code, text in ANSWERS.items()},
        },
    }


def _ref(kind: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(kind)}}
    return {"requestBody": {"required": True, "content": content}}


def _query(kind: type[BaseModel]) -> list[dict[str, Any]]:
    schema = describe(kind.model_json_schema())
    defs = schema.get("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, dict) and "$ref" in value:
            return defs[value["$ref"].removeprefix("#/$defs/")]
        if isinstance(value, dict):
            return {name: inlined(inner) for name, inner in value.items()}
        return [inlined(inner) for inner in value] if isinstance(value, list) else value

    return [
        {
            "name": name,
            "in": "query",
            "description": field.pop("description", ""),
            "schema": inlined(field),
        }
        for name, field in schema["properties"].items()
    ]
