"""Messages that wait, in a saved state: an ended run may have received what it did not handle."""

from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from workflows.budget import LARGEST_STATE, size
from workflows.receiving.parsing import LARGEST_MESSAGE, json_of
from workflows.receiving.queue import Received
from workflows.workflow_state import WaitingMessage, WorkflowState

AROUND = 100
"""Bytes of JSON around a message in a saved state."""


def with_waiting(state: WorkflowState, received: Sequence[Received]) -> WorkflowState:
    """A copy of the state with the messages that wait, the first ones that fit in its budget.

    The others are dropped, and so are those that could not be parsed. Their senders have no answer.
    """
    kept: list[WaitingMessage] = []
    left = LARGEST_STATE - len(state.model_dump_json().encode())
    for name, payloads, at in received:
        try:
            payload = json_of(payloads).decode()
        except ValueError:
            continue
        if len(payload) > LARGEST_MESSAGE:
            continue
        left -= size(name) + size(payload) + AROUND
        if left < 0:
            break
        kept.append(WaitingMessage(name=name, payload=payload, at=at))
    return state.model_copy(update={"waiting": kept})


def take_waiting(state: WorkflowState) -> list[Received]:
    """The messages that wait, in order; the state no longer has them."""
    waiting, state.waiting = state.waiting, []
    return [(each.name, [RawValue(_payload(each.payload))], each.at) for each in waiting]


def _payload(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())
