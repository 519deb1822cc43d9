"""Answers repeated messages: an id that was answered before gets the same answer again."""

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
    """

    accepted: dict[str, Receipt] = {}
    rejected: dict[str, tuple[Code, str]] = {}

    def get(self, message: Message) -> Receipt | Rejection | None:
        """The first answer to this message, if it had one."""
        key = self._key(message)
        if receipt := self.accepted.get(key):
            return receipt
        if rejection := self.rejected.get(key):
            return Rejection(*rejection)
        return None

    def put(self, message: Message, answer: Receipt | Rejection) -> None:
        """Keep an answer, if the message has an id."""
        if message.message_id is None:
            return
        if isinstance(answer, Receipt):
            _put(self.accepted, self._key(message), answer, ACCEPTED_KEPT)
        else:
            _put(self.rejected, self._key(message), (answer.code, answer.text), REJECTED_KEPT)

    @staticmethod
    def _key(message: Message) -> str:
        """Unambiguous: no id contains white space."""
        return f"{message.by.role} {message.by.id} {message.message_id}"


def _put(cache: dict[str, Value], key: str, value: Value, at_most: int) -> None:
    cache[key] = value
    while len(cache) > at_most:
        del cache[next(iter(cache))]
