"""Gives a workflow class a signal and an update handler for every message of the contract.

The handlers take any number of payloads and declare no types, so that the SDK has nothing to
convert and nothing to fail on: with `RawUnlessTyped` they get raw payloads. Names that are not in
the contract go to the dynamic handlers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

from temporalio import workflow
from temporalio.common import RawValue

from workflows.messages import MESSAGES, Message, Receipt


class Receiver(ABC):
    """What the handlers call, and the dynamic handlers for unknown names."""

    @abstractmethod
    def receive_signal(self, name: str, payloads: Sequence[object]) -> None:
        """Handle a signal. Never raises."""

    @abstractmethod
    def check_update(self, name: str, payloads: Sequence[object]) -> None:
        """Raise the rejection of an update that would be rejected."""

    @abstractmethod
    async def receive_update(self, name: str, payloads: Sequence[object]) -> Receipt:
        """Handle an update after everything that arrived before it; returns its receipt."""

    @workflow.signal(dynamic=True)
    def signal_unknown(self, name: str, payloads: Sequence[RawValue]) -> None:
        """A signal whose name is not in the contract."""
        self.receive_signal(name, payloads)

    @workflow.update(dynamic=True)
    async def update_unknown(self, name: str, payloads: Sequence[RawValue]) -> Receipt:
        """An update whose name is not in the contract."""
        return await self.receive_update(name, payloads)

    @update_unknown.validator
    def check_unknown(self, name: str, payloads: Sequence[RawValue]) -> None:
        """Rejects it."""
        self.check_update(name, payloads)


Class = TypeVar("Class", bound=type[Receiver])


def receives_every_message(cls: Class) -> Class:
    """Class decorator; goes below `@workflow.defn`."""
    for name, kind in MESSAGES.items():
        setattr(cls, f"signal_{name}", _signal(name, kind))
        setattr(cls, f"update_{name}", _update(name, kind))
    return cls


def describe(kind: type[Message]) -> str:
    """What the Web UI's form says about a message: what it does and what to send."""
    required = {"by": '{"role": "…", "id": "…"}'}
    optional = []
    for field, info in kind.model_fields.items():
        if field in required or field == "message_id":
            continue
        if info.is_required():
            required[field] = _given(info.annotation)
        else:
            optional.append(field)
    wanted = ", ".join(f'"{field}": {value}' for field, value in required.items())
    also = f"; optional: {', '.join([*optional, 'message_id'])}"
    return f"{' '.join((kind.__doc__ or '').split())} Send one JSON object: {{{wanted}}}{also}."


def _given(annotation: Any) -> str:
    """What a field takes: a choice, a number, or anything."""
    if get_origin(annotation) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(annotation))
    return "minor units" if annotation is int else "…"


def _signal(name: str, kind: type[Message]) -> Any:
    def handler(self: Receiver, *payloads: RawValue) -> None:
        self.receive_signal(name, payloads)

    return workflow.signal(name=name, description=describe(kind))(handler)


def _update(name: str, kind: type[Message]) -> Any:
    async def handler(self: Receiver, *payloads: RawValue) -> Receipt:
        return await self.receive_update(name, payloads)

    def check(self: Receiver, *payloads: RawValue) -> None:
        self.check_update(name, payloads)

    update = workflow.update(name=name, description=describe(kind))(handler)
    update.validator(check)
    return update
