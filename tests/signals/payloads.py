"""Payloads that other systems send: a good one for every message, and every kind of bad one."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.common import RawValue

from demo.runner import Handle
from docs.samples import ANA, SAMPLES
from workflows.messages import MESSAGES

UNKNOWN = "refund_me"

GOOD = {**SAMPLES, UNKNOWN: {"by": ANA}}
"""A readable payload for every message, and for one unknown name."""


def raw(data: bytes, encoding: bytes | None = b"json/plain") -> RawValue:
    """A payload with these bytes, as it is on the wire."""
    return RawValue(Payload(metadata={"encoding": encoding} if encoding else {}, data=data))


def _json(good: dict[str, Any]) -> bytes:
    return json.dumps(good).encode()


def _with_id(good: dict[str, Any], written: bytes) -> RawValue:
    """A message with a `message_id`, written as given."""
    return raw(_json(good)[:-1] + b',"message_id":' + written + b"}")


BAD: dict[str, Callable[[dict[str, Any]], Sequence[Any]]] = {
    "none": lambda good: [],
    "two": lambda good: [good, good],
    "null": lambda good: [None],
    "text": lambda good: ["cancel"],
    "number": lambda good: [7],
    "list": lambda good: [[good]],
    "unknown field": lambda good: [{**good, "surprise": 1}],
    "endless field name": lambda good: [{**good, "x" * 1_000_000: 1}],
    "endless fields": lambda good: [{**good, **dict.fromkeys(map(str, range(80_000)), 1)}],
    "missing field": lambda good: [{key: good[key] for key in good if key != "by"}],
    "wrong type": lambda good: [{**good, "by": "client:ana"}],
    "number for text": lambda good: [{**good, "message_id": 7}],
    "text for number": lambda good: [{**good, "refund": "100", "claim": "100"}],
    "endless number": lambda good: [raw(_json({**good, "refund": 0})[:-1] + b"9" * 5_000 + b"}")],
    "broken JSON": lambda good: [raw(_json(good)[:-1])],
    "JSON in a string": lambda good: [json.dumps(good)],
    "deep": lambda good: [_with_id(good, b'{"a":' * 50_000 + b"1" + b"}" * 50_000)],
    "a megabyte": lambda good: [{**good, "message_id": "x" * 1_000_000}],
    "NUL": lambda good: [{**good, "message_id": "a\x00b"}],
    "lone surrogate": lambda good: [_with_id(good, b'"\\ud800"')],
    "surrogate as sender": lambda good: [raw(b'{"by":{"role":"client","id":"\\ud800"}}')],
    "not UTF-8": lambda good: [raw(b"\xff\xfe")],
    "no encoding": lambda good: [raw(_json(good), None)],
    "unknown encoding": lambda good: [raw(_json(good), b"binary/ours")],
    "encoding not UTF-8": lambda good: [raw(_json(good), b"\xff")],
    "binary/null": lambda good: [raw(b"", b"binary/null")],
    "binary/plain": lambda good: [_json(good)],
    "json/protobuf": lambda good: [raw(_json(good), b"json/protobuf")],
    "binary/protobuf": lambda good: [raw(_json(good), b"binary/protobuf")],
}
"""Per kind of mistake, the payloads that are sent instead of a good one."""


def code_of(name: str) -> str:
    """The code with which a bad payload under this name is rejected."""
    return "INVALID_MESSAGE" if name in MESSAGES else "UNKNOWN_MESSAGE"


async def first_run(handle: Handle) -> str:
    """The id of the purchase's first run."""
    return (await handle.describe()).raw_description.workflow_execution_info.first_run_id


async def whole_history(client: Client, handle: Handle) -> list[list[HistoryEvent]]:
    """The events of every run of a purchase, from the first run to the newest."""
    runs: list[list[HistoryEvent]] = []
    run = await first_run(handle)
    while run:
        history = await client.get_workflow_handle(handle.id, run_id=run).fetch_history()
        runs.append(list(history.events))
        last = runs[-1][-1].workflow_execution_continued_as_new_event_attributes
        run = last.new_execution_run_id
    return runs


def of_type(runs: list[list[HistoryEvent]], *types: EventType.ValueType) -> list[HistoryEvent]:
    """The events of these types, from all runs."""
    return [event for run in runs for event in run if event.event_type in types]


SERVER_CAUSES = (
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
)
"""Causes with which the server itself fails a task and starts it again: more messages arrived than
it buffers during a task, or one arrived during a task that closes the run. They are not errors."""


def failed_tasks(runs: list[list[HistoryEvent]]) -> list[HistoryEvent]:
    """The workflow tasks that the worker failed. Each would block the purchase."""
    return [
        event
        for event in of_type(runs, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
        if event.workflow_task_failed_event_attributes.cause not in SERVER_CAUSES
    ]
