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

The workaround evicts such a run with the query. Core holds back the next task until the run is
evicted, so that the task begins from the history. The answer to such a query may include messages
that no task has processed yet, at the time of the last task. A run is evicted only if it may be
ahead, because of a second fault: if core holds back two or more tasks and queries of a run, it
applies the first after the eviction and loses the others, until the server repeats the task 10
seconds later. Whether a run may be ahead follows from its activations, not from elapsed time:

- The history grew, but the time of the last task did not change: the events have no task. If it
  grew without an activation, the query may have brought the start of a task, without its update.
- The first activation that is executed, not replayed, may belong to a task that another worker
  began before it died. That is excluded if it starts the run or brings an update: a query does
  neither.
- Later activations, each with the time of its own task, belong to tasks of this worker. So do those
  after an eviction, if the replay shows that the activation before it was a completed task. One
  case is not recognised: another worker begins a task of such a run and dies, while this worker
  does not poll for 5 seconds and a query waits.

`tests/temporal/test_query_fault.py` reproduces the first fault with the SDK alone and fails once
the SDK fixes it. Then delete `_Instance`'s eviction, `Runner.evict` and that test.
`tests/temporal/test_queries_with_updates.py` shows that queries of cached runs lose no task.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
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
    executed: dict[str, Timestamp] = field(default_factory=dict)
    """By run id, the time of the first executed task of runs that were evicted since."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return an instance that is evicted with a legacy query if it may be ahead of its task."""
        return _Instance(
            super().create_instance(det), self, self.executed.pop(det.info.run_id, None)
        )


class _Instance(WorkflowInstance):
    def __init__(
        self, instance: WorkflowInstance, runner: Runner, executed: Timestamp | None = None
    ) -> None:
        self._instance = instance
        self._runner = runner
        self._executed = executed
        """The time of the first task that this worker executed, perhaps before an eviction."""
        self._is_ours = False
        """Whether this worker has completed a task, or its first is the current one."""
        self._last = WorkflowActivation()
        """The last activation without a query."""
        self._may_be_ahead = False

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        queries = [
            job.query_workflow.query_id for job in act.jobs if job.HasField("query_workflow")
        ]
        if not queries:
            self._note_progress(act)
        elif LEGACY_QUERY not in queries:
            self._may_be_ahead = False  # such a query comes with the task of the last events
        elif self._may_be_ahead or act.history_length > self._last.history_length:
            if self._executed:
                self._runner.executed[act.run_id] = self._executed
            self._runner.evict(act.run_id)  # before the answer: core then holds back the next task
        return self._instance.activate(act)

    def _note_progress(self, act: WorkflowActivation) -> None:
        """Note whether a query may have brought these events (see the module's docstring)."""
        if act.timestamp == self._last.timestamp:
            self._may_be_ahead |= act.history_length > self._last.history_length
        elif act.is_replaying:
            self._may_be_ahead = False
            self._is_ours |= act.timestamp == self._executed
        else:
            self._may_be_ahead = not (self._is_ours or _only_with_a_task(act))
            self._is_ours = True
            self._executed = self._executed or act.timestamp
        self._last = act

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


def _only_with_a_task(act: WorkflowActivation) -> bool:
    return any(job.HasField("do_update") or job.HasField("initialize_workflow") for job in act.jobs)


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
