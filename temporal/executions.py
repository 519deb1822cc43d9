"""Queries workflow executions from the server; needs no worker.

The SDK's own list and describe raise ValueError for a status they do not know. `Paused` is one,
and an operator can set it in the Web UI. Like the SDK's, our requests are retried for ten seconds
while the server cannot be reached.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.common.v1 import Payload
from temporalio.api.common.v1 import WorkflowExecution as Named
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
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
    run_id: str
    status: str
    attributes: TypedSearchAttributes
    memo: Mapping[str, Payload]
    closed_at: datetime | None

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
    request = ListWorkflowExecutionsRequest(namespace=client.namespace, query=query)
    while True:
        page = await client.workflow_service.list_workflow_executions(request, retry=True)
        for info in page.executions:
            yield _execution(info)
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token


async def newest(client: Client, workflow_id: str) -> Execution | None:
    """The newest run of a workflow; None if there is none. Raises RPCError."""
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=Named(workflow_id=workflow_id)
    )
    try:
        found = await client.workflow_service.describe_workflow_execution(request, retry=True)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return _execution(found.workflow_execution_info)


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
        info.execution.run_id,
        status.removeprefix("WORKFLOW_EXECUTION_STATUS_").lower(),
        decode_typed_search_attributes(info.search_attributes),
        info.memo.fields,
        info.close_time.ToDatetime(UTC) if info.HasField("close_time") else None,
    )
