"""Parses raw payloads into messages or rejections. All input is untrusted."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from temporalio.common import RawValue

from activities.fields import LONGEST_ID
from activities.requests import Undelivered
from workflows.budget import LARGEST_ANSWER, LONGEST_PROBLEM, cut
from workflows.lifecycle.events import Rejection
from workflows.lifecycle.state import Code
from workflows.messages import LARGEST_REQUIREMENTS, LOCALE, MESSAGES, ZONE, Message, Sender

Model = TypeVar("Model", bound=BaseModel)

LARGEST_MESSAGE = 2 * LARGEST_REQUIREMENTS
"""Bytes. Messages over 128 KiB are rejected unparsed."""

LONGEST_NAME = 64
"""Characters of a sender's own name for something that a rejection repeats."""


class InvalidMessage(Exception):
    """The payloads are not a message. Carries the rejection, and the sender if it can be read."""

    def __init__(self, code: Code, text: str, sender: Sender | None = None) -> None:
        super().__init__(text)
        self.rejection = Rejection(code, cut(text, LONGEST_PROBLEM))
        self.sender = sender


def parse_message(name: str, payloads: Sequence[object]) -> Message:
    """The message in `payloads`. Raises InvalidMessage for anything that is not exactly one."""
    kind = MESSAGES.get(name)
    if kind is None:
        raise InvalidMessage(
            Code.UNKNOWN_MESSAGE,
            f"There is no message {name[:LONGEST_NAME]!r}. Known are: {', '.join(MESSAGES)}.",
            _sender(payloads),
        )
    try:
        if _size(payloads) > LARGEST_MESSAGE:
            raise ValueError(f"send at most {LARGEST_MESSAGE} bytes.")
        return parse(kind, payloads)
    except ValueError as error:
        raise InvalidMessage(Code.INVALID_MESSAGE, f"{name}: {error}", _sender(payloads)) from None


def parse(kind: type[Model], payloads: Sequence[object]) -> Model:
    """The one JSON object in `payloads`, as `kind`. Raises ValueError with a sentence."""
    return read(kind, json_of(payloads))


def parse_answer(
    kind: type[Model], activity: str, payload: object, most: int = LARGEST_ANSWER
) -> Model:
    """The answer of an activity, which an operator can complete by hand, with anything; of at most
    `most` bytes. Raises ValueError with a sentence."""
    try:
        if _size([payload]) > most:
            raise ValueError(f"send at most {most} bytes.")
        return parse(kind, [payload])
    except ValueError as error:
        raise ValueError(
            f"The activity {activity} was completed with what is not its answer: {error} It is "
            "asked again; leave its completion to the worker."
        ) from None


def undelivered_in(payloads: Sequence[object]) -> Undelivered | None:
    """What the signal NOTICE_CAME_BACK reports; None if it cannot be read."""
    if _size(payloads) > LARGEST_MESSAGE:
        return None
    with suppress(ValueError):
        lost = parse(Undelivered, payloads)
        if max(len(lost.transition), len(lost.role)) <= LONGEST_ID:
            return lost
    return None


def read(kind: type[Model], document: bytes | str) -> Model:
    """A JSON document as `kind`. Raises ValueError with a sentence."""
    try:
        return kind.model_validate_json(document)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply.") from None


PREDICATES = {
    "missing": "is missing",
    "extra_forbidden": "is unknown; check its spelling, or leave it out",
    "int_type": "must be a whole number of minor units, such as cents",
    "int_from_float": "must be a whole number of minor units, such as cents",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_unicode": "must be a text of Unicode characters",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "model_type": "must be a JSON object",
    "tuple_type": "must be a list",
    "json_invalid": "is not JSON: {error}",
}
"""What is wrong with a field, by pydantic's type of the error; `{…}` is in its context."""

FORMS = {
    "^[A-Z]{2}$": "must be two capital letters, such as US",
    "^[A-Z]{3}$": "must be three capital letters, such as USD",
    ZONE: "must be a time zone, such as Europe/Lisbon",
    LOCALE: "must be a locale, such as pt_PT",
}
INSTANT = "must be an instant with its offset, such as 2026-03-02T12:00:00Z"


def explain(error: ValidationError, names: Mapping[str, str] | None = None) -> str:
    """What is wrong, field by field, without repeating what was sent.

    `names`: what the sender calls a field of the contract, such as an option of the command line.
    """
    found = error.errors(include_url=False, include_input=False)
    problems = [f"{_name(item, names or {})}{_predicate(item)}".lstrip() for item in found[:3]]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{'; '.join(problems)}{more}."


def problems(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    """Where each problem is, and what is wrong there, without repeating what was sent."""
    found = error.errors(include_url=False, include_input=False)
    return [(item["loc"], _predicate(item).lstrip(" :")) for item in found]


def _name(item: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The sender's name for the field, or for the object that has it."""
    parts = list(map(str, item["loc"]))
    for length in range(len(parts), -1, -1):
        known = names.get(".".join(parts[:length]))
        if known:
            rest = ".".join(parts[length:])
            return f"{known}: {rest}"[:LONGEST_NAME] if rest else known
    if item["type"] == "value_error" and not parts:
        return ""  # a sentence about several fields
    return ".".join(parts)[:LONGEST_NAME] or "the payload"


def _predicate(item: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "string_pattern_mismatch" and context["pattern"] in FORMS:
        return f" {FORMS[context['pattern']]}"
    if kind.startswith(("datetime", "timezone")):
        return f" {INSTANT}"
    if kind in PREDICATES:
        return f" {PREDICATES[kind].format(**context)}"
    text = item["msg"].removeprefix("Value error, ")
    return f" {text}" if text.startswith(("must ", "is ")) or not item["loc"] else f": {text}"


def json_of(payloads: Sequence[object]) -> bytes:
    """The JSON of the one payload. Raises ValueError with a sentence."""
    if len(payloads) != 1:
        raise ValueError(f"send exactly one JSON object, not {len(payloads)} payloads.")
    value = payloads[0]
    if not isinstance(value, RawValue):
        raise ValueError("send one JSON object.")
    encoding = value.payload.metadata.get("encoding", b"").decode("utf-8", "replace")
    if encoding != "json/plain":
        raise ValueError(f"send JSON with the encoding json/plain, not {encoding[:40] or 'none'}.")
    return value.payload.data


def size_to_parse(payloads: Sequence[object]) -> int:
    """How many bytes parsing has to read."""
    size = _size(payloads)
    return size if size <= LARGEST_MESSAGE else 0


def _size(payloads: Sequence[object]) -> int:
    return sum(len(value.payload.data) for value in payloads if isinstance(value, RawValue))


def _sender(payloads: Sequence[object]) -> Sender | None:
    """The sender that an invalid message names, if that much can be read."""
    if _size(payloads) > LARGEST_MESSAGE:
        return None
    try:
        return Sender.model_validate(json.loads(json_of(payloads))["by"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
