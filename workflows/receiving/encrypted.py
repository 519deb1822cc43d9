"""Payloads that arrive encrypted because this worker lacks their key."""

from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

SETTING = "RECOURSE_ENCRYPTION_KEYS"
ENCODING = b"binary/encrypted"


class Undecipherable(RuntimeError):
    """This worker lacks a key. The failed task is retried until a worker has the key."""


class RawAnswer(RawValue):
    """Type hint for an activity's answer that the workflow parses itself: a raw payload. If it is
    still encrypted, the task fails until a worker has the key."""


def is_encrypted(payload: Payload) -> bool:
    """Whether it is (still) encrypted."""
    return payload.metadata.get("encoding") == ENCODING


def why_encrypted(payload: Payload) -> str:
    """A sentence about a payload that could not be decrypted."""
    key = payload.metadata.get("encryption-key-id", b"").decode("ascii", "replace")[:64]
    return (
        f"This payload is encrypted with the key {key!r}, and cannot be decrypted here: "
        f"put that key into {SETTING}."
    )


def check_deciphered(given: Sequence[object]) -> None:
    """Raises Undecipherable if one of these raw payloads is still encrypted."""
    for value in given:
        if isinstance(value, RawValue) and is_encrypted(value.payload):
            raise Undecipherable(why_encrypted(value.payload))
