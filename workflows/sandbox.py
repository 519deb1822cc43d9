"""The SDK's sandbox, without entering it for every payload that arrives.

The SDK asks the workflow instance three times for each payload which codec context it belongs to,
and the sandbox compiles and runs a little program for each answer. For ten thousand signals in one
task that takes several seconds, of the ten that the server waits for a task. But what is sent to a
workflow belongs to that workflow: this is known without asking.
"""

from dataclasses import dataclass
from typing import Any

from temporalio.converter import SerializationContext, WorkflowSerializationContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info


@dataclass(frozen=True)
class Sandbox(SandboxedWorkflowRunner):
    """Runs each workflow in the SDK's sandbox."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """A sandboxed instance that knows its own context."""
        return _Instance(super().create_instance(det), det.info)


class _Instance(WorkflowInstance):
    def __init__(self, sandboxed: WorkflowInstance, info: Info) -> None:
        self._sandboxed = sandboxed
        self._own = WorkflowSerializationContext(info.namespace, info.workflow_id)

    def activate(self, act: Any) -> Any:
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
