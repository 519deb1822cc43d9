"""Arguments and options that commands share, and their parsers."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from activities.amounts import InvalidAmount, UnknownCurrency, parse_amount
from activities.fields import Identifier
from activities.keys import purchase_of_workflow
from activities.requests import Model
from temporal.errors import InvalidInput
from workflows.messages import Role, Sender
from workflows.receiving.parsing import explain

Given = dict[str, Any]
"""Options or fields by name."""

Document = TypeVar("Document", bound=Model)

LARGEST_FILE = 1_000_000
"""Bytes. More than the server takes in one message; a larger file is not read."""

PurchaseId = Annotated[
    str, typer.Argument(metavar="PURCHASE", help="The purchase's id, or its workflow id.")
]
SHOWN = 50
"""How many rows a list for people has by default."""
Limit = Annotated[int, typer.Option(metavar="N", min=1, help="Show at most N rows.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
As = Annotated[
    str, typer.Option("--as", metavar="ROLE:ID", help="The sender, for example client:ana.")
]

_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)


def option_of(name: str) -> str:
    """The option that sets a parameter or field of this name."""
    return f"--{name.replace('_', '-')}"


def read_id(text: str, what: str) -> str:
    """Parse an id of the contract. Raises Failure."""
    try:
        return _IDENTIFIER.validate_python(text)
    except ValidationError as error:
        raise InvalidInput(explain(error, {"": what})) from None


def read_purchase(text: str, what: str = "PURCHASE") -> str:
    """Parse a purchase's id, or its workflow id, as the Web UI shows it. Raises Failure."""
    return read_id(purchase_of_workflow(text), what)


def read_sender(text: str, option: str = "--as") -> Sender:
    """`client:ana`. Raises Failure."""
    role, colon, sender = text.partition(":")
    if not colon or role not in set(Role):
        roles = ", ".join(Role)
        raise InvalidInput(f"{option}: write ROLE:ID, for example client:ana; roles are {roles}.")
    return Sender(role=Role(role), id=read_id(sender, option))


def read_amount(text: str, currency: str, option: str) -> int:
    """`250.00`, `USD` → `25000`: digits and at most one point, nothing rounded. Raises Failure."""
    try:
        return parse_amount(text, currency)
    except UnknownCurrency as error:
        raise InvalidInput(f"--currency: {error}.") from None
    except InvalidAmount as error:
        raise InvalidInput(f"{option}: {error}.") from None


def read_file(name: str) -> bytes:
    """Read a file, or standard input if `name` is `-`. Raises Failure."""
    try:
        if name == "-":
            content = sys.stdin.buffer.read(LARGEST_FILE + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"--file: {name} cannot be read: {reason}.") from None
    if len(content) > LARGEST_FILE:
        raise InvalidInput(f"--file: {name} is larger than {LARGEST_FILE} bytes.")
    return content


def read_object(text: str | bytes, option: str) -> dict[str, object]:
    """A JSON object. Raises Failure."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise InvalidInput(f"{option}: the JSON is nested too deeply.") from None
    except ValueError as error:
        raise InvalidInput(f"{option}: is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{option}: must be a JSON object, such as {{…}}.")
    return value


def read_model(
    kind: type[Document], given: Given, names: Mapping[str, str] | None = None
) -> Document:
    """A message or the terms of a purchase; `names` as in `explain`. Raises Failure."""
    try:
        return kind.model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise InvalidInput(explain(error, names)) from None


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not a number of JSON")
