"""Queries workflow executions from the server; needs no worker.

The SDK's own list and describe raise ValueError for a status they do not know. `Paused` is one,
and an operator can set it in the Web UI. Like the SDK's, our requests are retried for ten seconds
while the server cannot be reached.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from temporalio.api.common.v1 import Payload
from temporalio.api.common.v1 import WorkflowExecution as Named
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryReverseRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client
from temporalio.common import TypedSearchAttributes
from temporalio.converter import decode_typed_search_attributes
from temporalio.service import RPCError, RPCStatusCode

OPEN = ("running", "paused")
ENDED = ("terminated", "failed", "timed_out", "canceled")
"""Statuses of a run that was ended from outside: a business outcome always completes it."""


@dataclass(frozen=True)
class Execution:
    """One run of a workflow. `status` is the server's status in lower case: `running`, `paused`,
    `completed`, `terminated`, …"""

    id: str
    type: str
    run_id: str
    status: str
    attributes: TypedSearchAttributes
    memo: Mapping[str, Payload]
    closed_at: datetime | None
    task_queue: str
    task_attempt: int = 0
    """How often its pending workflow task was tried; over 1, it fails. 0 if there is none, and in
    lists."""

    @property
    def is_open(self) -> bool:
        """Whether the run is open: running or paused."""
        return self.status in OPEN

    @property
    def is_ended(self) -> bool:
        """Whether the run was ended before its purchase was closed."""
        return self.status in ENDED


async def executions(client: Client, query: str) -> AsyncIterator[Execution]:
    """What a visibility query finds, the newest first. Raises RPCError."""
    token = b""
    while True:
        found, token = await page(client, query, token)
        for execution in found:
            yield execution
        if not token:
            return


async def page(
    client: Client, query: str, token: bytes = b"", size: int = 0, *, retry: bool = True
) -> tuple[list[Execution], bytes]:
    """One page of what a visibility query finds, and the token of the next one; empty after the
    last. `size`: at most; 0: the server's own size. `retry` is for tokens of our own: a server
    that does not understand one answers as if it had failed. Raises RPCError."""
    request = ListWorkflowExecutionsRequest(
        namespace=client.namespace, query=query, next_page_token=token, page_size=size
    )
    found = await client.workflow_service.list_workflow_executions(request, retry=retry)
    return [_execution(info) for info in found.executions], found.next_page_token


async def newest(client: Client, workflow_id: str, run_id: str | None = None) -> Execution | None:
    """The newest run of a workflow, or the one with this id; None if there is none. Raises
    RPCError."""
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace,
        execution=Named(workflow_id=workflow_id, run_id=run_id or ""),
    )
    try:
        found = await client.workflow_service.describe_workflow_execution(request, retry=True)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    attempt = found.pending_workflow_task.attempt
    return replace(_execution(found.workflow_execution_info), task_attempt=attempt)


async def task_failure(client: Client, workflow_id: str) -> str:
    """Why the newest run's workflow task failed last; empty if that is not its last event. Raises
    RPCError."""
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace, execution=Named(workflow_id=workflow_id), maximum_page_size=1
    )
    page = await client.workflow_service.get_workflow_execution_history_reverse(request, retry=True)
    for event in page.history.events:
        if event.HasField("workflow_task_failed_event_attributes"):
            failure = event.workflow_task_failed_event_attributes.failure
            return str(await client.data_converter.decode_failure(failure))
    return ""


async def last_event_at(client: Client, workflow_id: str) -> datetime | None:
    """The time of the last event in the newest run's history; None if there is no run. Where the
    server skips time, each workflow has a time of its own. Raises RPCError."""
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace, execution=Named(workflow_id=workflow_id), maximum_page_size=1
    )
    try:
        page = await client.workflow_service.get_workflow_execution_history_reverse(
            request, retry=True
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return page.history.events[0].event_time.ToDatetime(UTC)


async def memo(client: Client, execution: Execution, name: str) -> str:
    """A text of the memo that was set at the start; empty if there is none."""
    if name not in execution.memo:
        return ""
    try:
        (text,) = await client.data_converter.decode([execution.memo[name]], [str])
    except ValueError:
        return ""
    return str(text)


def _execution(info: WorkflowExecutionInfo) -> Execution:
    status = WorkflowExecutionStatus.Name(info.status)
    return Execution(
        info.execution.workflow_id,
        info.type.name,
        info.execution.run_id,
        status.removeprefix("WORKFLOW_EXECUTION_STATUS_").lower(),
        decode_typed_search_attributes(info.search_attributes),
        info.memo.fields,
        info.close_time.ToDatetime(UTC) if info.HasField("close_time") else None,
        info.task_queue,
    )


def can_be_asked(value: str | bool) -> bool:
    """False with quotes or backslashes: the server compares their escaped form, and `literal` does
    not escape a backslash."""
    return isinstance(value, bool) or not set(value) & set('"\\')


def literal(value: str | bool) -> str:
    """Quote a value for a visibility query; it cannot end its string literal."""
    if isinstance(value, bool):
        return str(value).lower()
    escaped = value.replace("'", "''")
    return f"'{escaped}'"
