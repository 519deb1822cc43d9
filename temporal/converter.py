"""Converts payloads: pydantic for values with a type hint, raw payloads for values without.

Without a type hint the SDK would guess, and a wrong guess either drops a signal silently or blocks
the purchase. Our handlers declare no type, receive the raw payload, and parse it themselves.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nexusrpc import HandlerError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    CompositePayloadConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadConverter,
)
from temporalio.exceptions import ApplicationError

from workflows.receiving.encrypted import (
    RawAnswer,
    Undecipherable,
    is_encrypted,
    why_encrypted,
)

ENCODINGS = tuple(PydanticPayloadConverter().converters.values())
"""Shared: the SDK makes a converter for each task and each workflow, and what pydantic builds for a
type would be built again in every one."""


class RawUnlessTyped(CompositePayloadConverter):
    """Returns payloads without a type hint unchanged."""

    def __init__(self) -> None:
        super().__init__(*ENCODINGS)

    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """Convert by type; raw without one. Raises Undecipherable for what has a type and is still
        encrypted."""
        if not type_hints:
            return [RawValue(payload) for payload in payloads]
        for payload, hint in zip(payloads, type_hints, strict=False):
            if hint is not RawValue and is_encrypted(payload):
                raise Undecipherable(why_encrypted(payload))
        hints = [RawValue if hint is RawAnswer else hint for hint in type_hints]
        return super().from_payloads(payloads, hints)


def _without_trace(exception: BaseException) -> BaseException:
    """An error that we raise for a person says everything in its sentence; the Web UI would show
    the stack trace next to it. An unexpected error keeps its trace."""
    if isinstance(exception, ApplicationError | HandlerError | Undecipherable):
        return exception.with_traceback(None)
    return exception


class FailureConverter(DefaultFailureConverter):
    """Writes failures without the stack traces of errors that are raised for people."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """As above."""
        super().to_failure(_without_trace(exception), payload_converter, failure)


class EncryptedFailureConverter(DefaultFailureConverterWithEncodedAttributes):
    """Encrypts the message and stack trace of a failure, except if a key is missing: that
    message must stay readable. Like the other, it writes no traces of errors for people."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """As above."""
        if isinstance(exception, Undecipherable):
            FailureConverter().to_failure(exception, payload_converter, failure)
        else:
            super().to_failure(_without_trace(exception), payload_converter, failure)


DATA_CONVERTER = replace(
    pydantic_data_converter,
    payload_converter_class=RawUnlessTyped,
    failure_converter_class=FailureConverter,
)
"""For workers, replayers and every client of ours that has no keys."""
