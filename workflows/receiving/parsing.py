"""What arrives from outside: read by our own hand, answered once, never able to stop a purchase."""

import json
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from temporalio.common import RawValue

from workflows.lifecycle.state import Code, Rejection
from workflows.messages import LARGEST_REQUIREMENTS, MESSAGES, Message, Receipt, Sender

Model = TypeVar("Model", bound=BaseModel)

REMEMBERED_ACCEPTED = 1_000
REMEMBERED_REFUSED = 200
"""So many answers to messages with a `message_id` are remembered, the newest of each kind."""

LARGEST_MESSAGE = 2 * LARGEST_REQUIREMENTS
"""Bytes. What is larger is no message whatever it says, and nobody's time is lost over it."""

LONGEST_NAME = 64
"""Names that others made up are repeated up to so many characters: a refusal stays a sentence."""


class InvalidMessage(Exception):
    """What came is not a message. Carries the refusal, and the sender where one can be made out."""

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
    try:
        return kind.model_validate_json(json_of(payloads))
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


def effort(payloads: Sequence[object]) -> int:
    """How many bytes there are to be read."""
    size = _size(payloads)
    return size if size <= LARGEST_MESSAGE else 0


def _size(payloads: Sequence[object]) -> int:
    return sum(len(value.payload.data) for value in payloads if isinstance(value, RawValue))


def _sender(payloads: Sequence[object]) -> Sender | None:
    """Whoever says to have sent it, if that much can be read."""
    if _size(payloads) > LARGEST_MESSAGE:
        return None
    try:
        return Sender.model_validate(json.loads(json_of(payloads))["by"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


class IdempotencyCache(BaseModel):
    """The first answers to messages that carry a `message_id`, so that nothing happens twice.

    An id counts per sender: one system's ids never answer for another's. Bounded, the oldest
    forgotten first; refused ones apart, so that a flood of them displaces no accepted one.
    """

    accepted: dict[str, Receipt] = {}
    rejected: dict[str, tuple[Code, str]] = {}

    def first(self, message: Message) -> Receipt | Rejection | None:
        """What this message was answered before."""
        key = self._key(message)
        if receipt := self.accepted.get(key):
            return receipt
        if rejection := self.rejected.get(key):
            return Rejection(*rejection)
        return None

    def remember(self, message: Message, answer: Receipt | Rejection) -> None:
        """Keep an answer, if the message can be recognised again."""
        if message.message_id is None:
            return
        if isinstance(answer, Receipt):
            _put(self.accepted, self._key(message), answer, REMEMBERED_ACCEPTED)
        else:
            rejected = (answer.code, answer.text)
            _put(self.rejected, self._key(message), rejected, REMEMBERED_REFUSED)

    @staticmethod
    def _key(message: Message) -> str:
        """No id contains white space, so that no two ids can be read as two others."""
        return f"{message.by.role} {message.by.id} {message.message_id}"


Value = TypeVar("Value")


def _put(memory: dict[str, Value], key: str, value: Value, at_most: int) -> None:
    memory[key] = value
    while len(memory) > at_most:
        del memory[next(iter(memory))]
