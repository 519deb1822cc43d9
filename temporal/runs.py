"""What the server knows about the runs of a purchase. Nothing here needs a worker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any, Self

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.keys import hint_for, workflow_id_of
from activities.requests import ErrorType
from temporal.errors import Rejected
from temporal.executions import Execution, executions, literal, newest
from temporal.terms import stored
from workflows.messages import PurchaseResult, PurchaseStart
from workflows.workflow_state import WorkflowState

WORKFLOW_TYPE = "ProjectPurchase"
OURS = f"WorkflowType = '{WORKFLOW_TYPE}'"
RUNNING = f"{OURS} AND ExecutionStatus IN ('Running', 'Paused')"


@dataclass(frozen=True)
class Runs:
    """The runs of one purchase; there may be none. Methods raise RPCError when the server fails."""

    client: Client
    id: str
    run_id: str | None = None
    """A run of its workflow; None: the newest."""

    @property
    def workflow_id(self) -> str:
        """The id of its workflow."""
        return workflow_id_of(self.id)

    @property
    def handle(self) -> WorkflowHandle[Any, PurchaseResult]:
        """Its workflow's run."""
        return self.client.get_workflow_handle(
            self.workflow_id, run_id=self.run_id, result_type=PurchaseResult
        )

    async def newest(self) -> Execution | None:
        """Return its newest run, or the run that it is bound to; None if there is none."""
        return await newest(self.client, self.workflow_id, self.run_id)

    async def last_runs(self) -> tuple[Execution, Execution] | None:
        """Return the newest run under its workflow id, and the newest of its own that began. They
        are the same if nobody has tried to start it again, or to take its workflow id."""
        last = await self.newest()
        if last is None:
            return None
        if not await self._did_begin(last):
            id_ = literal(self.workflow_id)
            query = f"{OURS} AND WorkflowId = {id_} AND ExecutionStatus != 'Failed'"
            async for run in executions(self.client, query):
                if run.run_id != last.run_id and await self._did_begin(run):
                    return last, run
        return last, last

    async def _never_began(self, run: Execution) -> bool:
        """Whether a run of a purchase, not of its aftercare case, ended before it had a state."""
        ours = run.type == WORKFLOW_TYPE
        return ours and run.is_ended and not await self._did_begin(run)

    async def _did_begin(self, run: Execution) -> bool:
        """Whether a run is open, or was when it had a state. Without one it moved no money."""
        purchase = replace(self, run_id=run.run_id)
        if run.type != WORKFLOW_TYPE or (run.status == "failed" and await purchase.input_error()):
            return False
        if not run.is_ended or await purchase._has_begun():
            return True
        return bool((await purchase._started()).continued_execution_run_id)

    async def may_start_again(self) -> bool:
        """Whether its id was not used: each start under it was rejected, or ended from outside
        before a worker took it."""
        runs = await self.last_runs()
        if runs is None or runs[0] != runs[1]:
            return False
        return await self._never_began(runs[0])

    async def begun(self) -> Self:
        """Return it, bound to the run that began if a later run under its id never did."""
        found = await self.last_runs()
        if found is None or found[0] == found[1]:
            return self
        return replace(self, run_id=found[1].run_id)

    async def is_running(self) -> bool:
        """Whether its workflow exists and is open."""
        found = await self.newest()
        return found is not None and found.is_open

    async def terms(self) -> PurchaseStart:
        """Return the terms it was started with."""
        given = (await self._started()).input.payloads
        payloads = await self.client.data_converter.decode(given)
        try:
            return stored(payloads)
        except ValueError:
            why = await self.input_error() or f"Purchase {self.id} has an invalid start input."
            raise Rejected("INVALID_INPUT", why) from None

    async def _started(self) -> WorkflowExecutionStartedEventAttributes:
        """Return what the server recorded when the run was started."""
        async with self._found():
            first = await anext(self.handle.fetch_history_events(page_size=1))
        return first.workflow_execution_started_event_attributes

    async def input_error(self) -> str | None:
        """Why its start input was rejected, and what to do; None if it was not."""
        found = await self.newest()
        if found is None or found.status != "failed":
            return None
        try:
            await self.client.get_workflow_handle(self.workflow_id, run_id=found.run_id).result()
        except WorkflowFailureError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type == ErrorType.INVALID_INPUT:
                return cause.message
        return None

    async def carried_state(self) -> WorkflowState | None:
        """Return the state that the run was continued as new with; None if it was started."""
        begun = await self._started()
        if not begun.continued_execution_run_id or begun.cron_schedule or begun.attempt > 1:
            return None
        payloads = begun.input.payloads
        (state,) = await self.client.data_converter.decode(payloads, [WorkflowState])
        return state  # type: ignore[no-any-return]

    async def _has_begun(self) -> bool:
        """Whether a worker has completed a task of the run; before, no query has an answer."""
        done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        async with self._found():
            async for event in self.handle.fetch_history_events():
                if event.event_type == done:
                    return True
        return False

    async def memo(self, name: str) -> str:
        """Return a text of the run's memo; empty if it has none."""
        async with self._found():
            found = await self.handle.describe()
            return await found.memo_value(name, "", type_hint=str)

    async def _ended(self) -> Execution | None:
        """Its newest run if it was ended from outside. Raises Failure if it never started."""
        found = await self.newest()
        if found is None or not found.is_ended:
            return None
        if why := await self.input_error():
            raise Rejected("INVALID_INPUT", why)
        return found

    @asynccontextmanager
    async def _found(self) -> AsyncIterator[None]:
        """Raise Failure `NOT_FOUND` for an unknown purchase."""
        try:
            yield
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            raise Rejected(
                "NOT_FOUND",
                f"The server has no purchase {self.id}.{hint_for(self.id)} If its history was "
                f"deleted, this shows its money: recourse ledger {quote(self.id)}",
            ) from None
