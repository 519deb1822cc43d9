"""How the worker runs workflows: without the SDK's sandbox, safe from a look at the wrong moment,
and with a status card that is written when somebody looks.

Our modules would have to be passed through the sandbox, for speed; of all that it guards against it
would then still notice the opening of files and late imports, and cost as much CPU as the rules do.
What workflows may not use is forbidden where it can be seen, in `pyproject.toml`; that they are
deterministic is proved by replaying recorded purchases.

A query that waited for a worker brings the whole history with it, also what has happened since the
last task. The SDK hands that over before the task that is due for it: with the clock of the last
one, and apart from the updates of the due one. What the workflow does then is done at a wrong time
and in an order that no replay finds again, which stops it for ever. So this waits: the query is
answered with what the last task left, and the workflow is forgotten, to be read anew for its task.
If that task was begun by a worker that has died, what is handed over looks like the task itself;
that it was none shows only in the query that comes right after it. Then it is forgotten, too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

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


@dataclass(frozen=True)
class Runner(UnsandboxedWorkflowRunner):
    """Runs workflows as they are.

    `forget` makes the worker drop the run of this id from its cache, after the task in hand.
    """

    forget: Callable[[str], None] = lambda _run_id: None

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """An instance that waits for its task."""
        return _Instance(super().create_instance(det), self.forget)


RIGHT_AFTER = 5.0
"""Seconds within which a query may be what a look-alike of a task came with. If it was a task after
all, forgetting it costs one replay."""


class _Instance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance, forget: Callable[[str], None]) -> None:
        self._instance = instance
        self._forget = forget
        self._last: _Progress | None = None
        self._last_at: float | None = None
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
            self._last_at = None if act.is_replaying else time.monotonic()
        elif asks:
            self._ahead = self._ahead or self._is_look_alike(act)
            if self._ahead:
                self._forget(act.run_id)
        return self._instance.activate(act)

    def _is_look_alike(self, act: WorkflowActivation) -> bool:
        """Whether the last task may have been none, but what this query brought with it."""
        alone = any(job.query_workflow.query_id == "legacy_query" for job in act.jobs)
        if not alone or self._last is None or self._last_at is None:
            return False
        soon = time.monotonic() - self._last_at < RIGHT_AFTER
        return soon and act.history_length == self._last.events

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        """None: no converter or codec of ours asks what a payload belongs to, and the SDK would
        work it out three times for each."""
        return None

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._instance.get_external_store_context(command_info)

    def get_info(self) -> Info:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()


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


# --- the status card


@runtime_checkable
class HasCard(Protocol):
    """A workflow that describes itself to whoever opens it in the Web UI."""

    def card(self) -> str:
        """Markdown, at most 20 KB."""


class WritesCards(Interceptor):
    """Puts a workflow's card into what the Web UI asks for. `set_current_details` would have it
    written anew in every task, a sixth of what a task costs, though hardly any is looked at."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """As above."""
        return _WritesCard


class _WritesCard(WorkflowInboundInterceptor):
    async def handle_query(self, input: HandleQueryInput) -> Any:
        answer = await super().handle_query(input)
        if input.query == "__temporal_workflow_metadata":
            asked = workflow.instance()
            if isinstance(asked, HasCard):
                answer.current_details = asked.card()
        return answer
