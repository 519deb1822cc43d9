"""Messages that wait, in a saved state: an ended run may have received what it did not handle."""

from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from workflows.receiving.parsing import json_of
from workflows.receiving.queue import Received
from workflows.workflow_state import WaitingMessage, WorkflowState

WAITING_KEPT = 1_000_000
"""Characters of waiting messages in a saved state, far below the server's limit of 2 MB. The first
are kept; a sender whose message gets no receipt repeats it."""


def with_waiting(state: WorkflowState, received: Sequence[Received]) -> WorkflowState:
    """A copy of the state with the messages that wait."""
    kept: list[WaitingMessage] = []
    left = WAITING_KEPT
    for name, payloads, at in received:
        try:
            payload = json_of(payloads).decode()
        except ValueError:
            continue  # it would be rejected
        left -= len(payload)
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
