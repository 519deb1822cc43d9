"""Parses raw payloads into messages or rejections. All input is untrusted."""

import json
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from temporalio.common import RawValue

from workflows.lifecycle.events import Rejection
from workflows.lifecycle.state import Code
from workflows.messages import LARGEST_REQUIREMENTS, MESSAGES, Message, Sender

Model = TypeVar("Model", bound=BaseModel)

LARGEST_MESSAGE = 2 * LARGEST_REQUIREMENTS
"""Bytes. Messages over 128 KiB are rejected unparsed."""

LONGEST_NAME = 64
"""Characters of a sender's own name for something that a rejection repeats."""


class InvalidMessage(Exception):
    """The payloads are not a message. Carries the rejection, and the sender if it can be read."""

    def __init__(self, code: Code, text: str, sender: Sender | None = None) -> None:
        super().__init__(text)
        self.rejection = Rejection(code, text)
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


def read(kind: type[Model], document: bytes | str) -> Model:
    """A JSON document as `kind`. Raises ValueError with a sentence."""
    try:
        return kind.model_validate_json(document)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply.") from None


def explain(error: ValidationError) -> str:
    """What is wrong, field by field, without repeating what was sent."""
    problems = [
        f"{'.'.join(map(str, item['loc']))[:LONGEST_NAME] or 'the object'}: "
        f"{item['msg'].removeprefix('Value error, ')}"
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return f"{'; '.join(problems[:3])}{more}."


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
