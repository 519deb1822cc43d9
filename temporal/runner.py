"""Runs workflows without the SDK's sandbox, guarded against queries that run ahead of their task.

Why no sandbox: it would have to let all our modules through to be fast enough, and would then check
little, at as much CPU as the rules take. A lint finds what a workflow must not use, and the tests
replay recorded purchases, also with the sandbox (docs/architecture.md).

The fault that `_Instance` works around is one of sdk-core 1.35. A query that waited for a worker
(core calls it legacy) comes with the history up to now. If the run is not cached, core first
activates the workflow with the events that are newer than the last completed workflow task, as if
their task had begun: at the time of the last task, and without the updates of the next. It drops
the commands that result, answers the query, and keeps the run in its cache. The next task continues
from there and records commands that no replay repeats: every later replay fails.

The workaround evicts the run with each legacy query. Core holds back the next task until the run is
evicted, so that the task begins from the history. It costs the next task a replay. The answer to
such a query may include messages that no task has processed yet, at the time of the last task.

`tests/temporal/test_query_fault.py` reproduces the fault with the SDK alone and fails once the SDK
fixes it. Then delete `_Instance`'s eviction, `Runner.evict` and that test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext
from temporalio.worker import (
    HandleQueryInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowInterceptorClassInput,
)
from temporalio.workflow import Info

from workflows.purchase import ProjectPurchase

LEGACY_QUERY = "legacy_query"
"""The id that sdk-core gives to a query that comes alone, not as part of a workflow task."""


@dataclass(frozen=True)
class Runner(UnsandboxedWorkflowRunner):
    """Runs workflows without a sandbox.

    `evict` takes a run id and makes the worker evict that run after the current activation.
    """

    evict: Callable[[str], None] = lambda _run_id: None

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return an instance that is evicted with each legacy query."""
        return _Instance(super().create_instance(det), self.evict)


class _Instance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance, evict: Callable[[str], None]) -> None:
        self._instance = instance
        self._evict = evict

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if any(job.query_workflow.query_id == LEGACY_QUERY for job in act.jobs):
            self._evict(act.run_id)  # before the answer: core then holds back the next task
        return self._instance.activate(act)

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        """Return None: our converter and codec do not use the context, and the SDK would compute it
        three times for each payload."""
        return None

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._instance.get_external_store_context(command_info)

    def get_info(self) -> Info:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()


# --- the status card


class WritesCards(Interceptor):
    """Adds a purchase's status card to the metadata that the Web UI queries.

    `workflow.set_current_details` would render the card in each workflow task, a sixth of the
    task's CPU, although hardly any card is read.
    """

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """Return the interceptor of the metadata query."""
        return _WritesCard


class _WritesCard(WorkflowInboundInterceptor):
    async def handle_query(self, input: HandleQueryInput) -> Any:
        answer = await super().handle_query(input)
        if input.query == "__temporal_workflow_metadata":
            instance = workflow.instance()
            if isinstance(instance, ProjectPurchase):
                answer.current_details = instance.card()
        return answer
