"""Answers repeated messages: an id that was answered before gets the same answer again."""

from hashlib import sha256
from typing import TypeVar

from pydantic import BaseModel

from workflows.lifecycle.events import Rejection
from workflows.lifecycle.state import Code
from workflows.messages import Message, Receipt

ACCEPTED_KEPT = 1_000
REJECTED_KEPT = 200
"""How many answers to messages with a `message_id` are kept, the newest of each kind."""

Value = TypeVar("Value")


class IdempotencyCache(BaseModel):
    """The first answers to messages with a `message_id`, so that nothing happens twice.

    An id counts per sender: one system's ids never answer for another's. Bounded: the oldest are
    dropped first. Rejections are kept apart, so that many of them displace no accepted message.
    Each answer is kept with a digest of its message, because an id names one message only.
    """

    accepted: dict[str, tuple[str, Receipt]] = {}
    rejected: dict[str, tuple[str, Code, str]] = {}

    def get(self, message: Message) -> Receipt | Rejection | None:
        """The first answer to this message, if it had one. A rejection if its id is that of another
        message, which keeps its answer."""
        key, digest = self._key(message), _digest(message)
        if accepted := self.accepted.get(key):
            first, receipt = accepted
            return receipt if digest == first else _taken(message)
        if rejected := self.rejected.get(key):
            first, code, text = rejected
            return Rejection(code, text) if digest == first else _taken(message)
        return None

    def is_repeated(self, message: Message) -> bool:
        """Whether this very message was answered before."""
        kept = self.accepted.get(self._key(message)) or self.rejected.get(self._key(message))
        return kept is not None and kept[0] == _digest(message)

    def put(self, message: Message, answer: Receipt | Rejection) -> None:
        """Keep an answer, if the message has an id."""
        if message.message_id is None:
            return
        key, digest = self._key(message), _digest(message)
        if isinstance(answer, Receipt):
            _put(self.accepted, key, (digest, answer), ACCEPTED_KEPT)
        else:
            _put(self.rejected, key, (digest, answer.code, answer.text), REJECTED_KEPT)

    @staticmethod
    def _key(message: Message) -> str:
        """Unambiguous: no id contains white space."""
        return f"{message.by.role} {message.by.id} {message.message_id}"


def _digest(message: Message) -> str:
    """Of the message's name and content."""
    given = message.model_dump_json(exclude={"by", "message_id"}, exclude_defaults=True)
    return sha256(f"{message.name} {given}".encode()).hexdigest()[:16]


def _taken(message: Message) -> Rejection:
    return Rejection(
        Code.INVALID_MESSAGE,
        f"message_id {message.message_id} was used before, for another message or other content. "
        "Send this one with a new message_id.",
    )


def _put(cache: dict[str, Value], key: str, value: Value, at_most: int) -> None:
    cache[key] = value
    while len(cache) > at_most:
        del cache[next(iter(cache))]
