"""Answers repeated messages: an id that was answered before gets the same answer again.

An id that comes back with another content is rejected: the first answer would say that something
happened which did not.
"""

import hashlib
import json
from typing import TypeVar

from pydantic import BaseModel

from workflows.budget import ACCEPTED_ANSWERS_KEPT, REJECTED_ANSWERS_KEPT
from workflows.lifecycle.events import Rejection
from workflows.lifecycle.state import Code
from workflows.messages import Message, Receipt

Value = TypeVar("Value")


class IdempotencyCache(BaseModel):
    """The first answers to messages with a `message_id`, so that nothing happens twice.

    An id counts per sender: one system's ids never answer for another's. Bounded: the oldest are
    dropped first. Rejections are kept apart, so that many of them displace no accepted message.
    Each answer is kept with the digest of its message.
    """

    accepted: dict[str, tuple[str, Receipt]] = {}
    rejected: dict[str, tuple[str, Code, str]] = {}

    def get(self, message: Message) -> Receipt | Rejection | None:
        """The first answer to this message, if it had one; a rejection if its id was used for
        another message."""
        if message.message_id is None:
            return None
        key = self._key(message)
        answer: Receipt | Rejection
        if accepted := self.accepted.get(key):
            digest, answer = accepted
        elif rejected := self.rejected.get(key):
            digest, code, text = rejected
            answer = Rejection(code, text)
        else:
            return None
        if digest == _digest(message):
            return answer
        return Rejection(
            Code.INVALID_MESSAGE,
            f"{message.name}: message_id was used for another message before, so this one is"
            " ignored. Send it with a new message_id.",
        )

    def is_repeated(self, message: Message) -> bool:
        """Whether this very message was answered before."""
        if message.message_id is None:
            return False
        known = self.accepted.get(self._key(message)) or self.rejected.get(self._key(message))
        return known is not None and known[0] == _digest(message)

    def put(self, message: Message, answer: Receipt | Rejection) -> None:
        """Keep an answer, if the message has an id."""
        if message.message_id is None:
            return
        if isinstance(answer, Receipt):
            _put(
                self.accepted, self._key(message), (_digest(message), answer), ACCEPTED_ANSWERS_KEPT
            )
        else:
            rejected = (_digest(message), answer.code, answer.text)
            _put(self.rejected, self._key(message), rejected, REJECTED_ANSWERS_KEPT)

    @staticmethod
    def _key(message: Message) -> str:
        """32 hexadecimal digits for sender and id, so that long ids need no more room.
        Unambiguous: no id contains white space."""
        key = f"{message.by.role} {message.by.id} {message.message_id}"
        return hashlib.sha256(key.encode()).hexdigest()[:32]


def _digest(message: Message) -> str:
    """16 hexadecimal digits of what a message says: its name and its own fields.

    A field at its default counts as left out, so that a later release may add optional fields.
    """
    own = message.model_dump(mode="json", exclude={"by", "message_id"}, exclude_defaults=True)
    written = json.dumps([message.name, own], sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def _put(cache: dict[str, Value], key: str, value: Value, at_most: int) -> None:
    cache[key] = value
    while len(cache) > at_most:
        del cache[next(iter(cache))]
