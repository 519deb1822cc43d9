"""The SDK's sandbox, faster where much arrives, and safe from a look at the wrong moment.

The SDK asks the workflow instance three times for each payload which codec context it belongs to,
and the sandbox compiles and runs a little program for each answer. For ten thousand signals in one
task that takes several seconds, of the ten that the server waits for a task. But what is sent to a
workflow belongs to that workflow: this is known without asking.

A query that waited for a worker brings the whole history with it, also what has happened since the
last task. The SDK hands that over before the task that is due for it: with the clock of the last
one, and apart from the updates of the due one. What the workflow does then is done at a wrong time
and in an order that no replay finds again, which stops it for ever. So this waits: the query is
answered with what the last task left, and the workflow is forgotten, to be read anew for its task.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, WorkflowSerializationContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info


@dataclass(frozen=True)
class Sandbox(SandboxedWorkflowRunner):
    """Runs each workflow in the SDK's sandbox.

    `forget` makes the worker drop the run of this id from its cache, after the task in hand.
    """

    forget: Callable[[str], None] = lambda _run_id: None

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """A sandboxed instance that knows its own context."""
        return _Instance(super().create_instance(det), det.info, self.forget)


class _Instance(WorkflowInstance):
    def __init__(
        self, sandboxed: WorkflowInstance, info: Info, forget: Callable[[str], None]
    ) -> None:
        self._sandboxed = sandboxed
        self._own = WorkflowSerializationContext(info.namespace, info.workflow_id)
        self._forget = forget
        self._last: _Progress | None = None
        self._ahead = False

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        asks = any(job.HasField("query_workflow") for job in act.jobs)
        if not asks and not any(job.HasField("remove_from_cache") for job in act.jobs):
            if self._ahead:
                raise RuntimeError("this run was to be forgotten; the task is tried again")
            progress = _Progress.of(act)
            if self._last and not act.is_replaying and progress.is_ahead_of(self._last):
                self._ahead = True
                nothing = WorkflowActivationCompletion(run_id=act.run_id)
                nothing.successful.SetInParent()
                return nothing
            self._last = progress
        elif asks and self._ahead:
            self._forget(act.run_id)
        return self._sandboxed.activate(act)

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        if command_info is None:
            return self._own
        return self._sandboxed.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._sandboxed.get_external_store_context(command_info)

    def get_info(self) -> Info:
        return self._sandboxed.get_info()

    def get_thread_id(self) -> int | None:
        return self._sandboxed.get_thread_id()


class _Progress(NamedTuple):
    """How far an activation has come. Only the beginning of a task moves `at` and `size`."""

    events: int
    at: int
    size: int

    @classmethod
    def of(cls, act: WorkflowActivation) -> Self:
        return cls(act.history_length, act.timestamp.ToNanoseconds(), act.history_size_bytes)

    def is_ahead_of(self, last: Self) -> bool:
        """Whether it brings events that no task has begun with."""
        return self.events > last.events and self[1:] == last[1:]
