"""A client of the tests that makes a call again which a busy machine let time out.

The caller of a purchase does the same, with the same `message_id`. An update waits for long by
itself and is not repeated.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio.client import (
    DescribeWorkflowInput,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    WorkflowExecutionDescription,
    WorkflowHandle,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

TIMED_OUT = (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)
ATTEMPTS = 4

Input = TypeVar("Input")
Answer = TypeVar("Answer")


class Patience(Interceptor):
    """Makes queries, descriptions, signals, and starts of what may already run, again."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap all calls of the client."""
        return _Patient(next)


class _Patient(OutboundInterceptor):
    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        return await _again(self.next.query_workflow, input)

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:
        return await _again(self.next.describe_workflow, input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        await _again(self.next.signal_workflow, input)

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        if input.id_conflict_policy is not WorkflowIDConflictPolicy.USE_EXISTING:
            return await self.next.start_workflow(input)
        return await _again(self.next.start_workflow, input)


async def _again(call: Callable[[Input], Awaitable[Answer]], input: Input) -> Answer:
    for _ in range(ATTEMPTS - 1):
        try:
            return await call(input)
        except RPCError as error:
            if error.status not in TIMED_OUT:
                raise
    return await call(input)
