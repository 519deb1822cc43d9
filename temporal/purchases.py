"""Starts and queries purchases, and sends them messages. Each failure has a code and a text; no
call waits longer than `ANSWER_WITHIN` for an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from shlex import quote
from typing import Any, TypeVar

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.keys import hint_for, workflow_id_of
from activities.requests import TASK_QUEUE, ErrorType, WorkflowPostings
from temporal import ended
from temporal.deployment import worker_missing
from temporal.errors import Failure, Rejected, Unreachable
from temporal.executions import Execution, executions, literal, newest, task_failure
from temporal.terms import details, stored
from workflows import summary
from workflows.messages import (
    Message,
    Permission,
    PurchaseResult,
    PurchaseStart,
    Receipt,
    Role,
    Status,
)
from workflows.workflow_state import WorkflowState

ANSWER_WITHIN = timedelta(seconds=10)
"""How long to wait for a worker to answer a query or an update."""

WORKFLOW_TYPE = "ProjectPurchase"
OURS = f"WorkflowType = '{WORKFLOW_TYPE}'"
RUNNING = f"{OURS} AND ExecutionStatus IN ('Running', 'Paused')"
TRIED_AGAIN_AFTER = timedelta(milliseconds=200)
NOT_NOW = RPCStatusCode.FAILED_PRECONDITION
"""No worker has polled for a while, or the purchase is continuing as a new run."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Purchase:
    """One purchase on the server; it may not exist.

    Its methods raise Failure: `NOT_FOUND`, `CLOSED`, `NO_WORKER`, or the code of a rejection; and
    RPCError when the server itself fails.
    """

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

    async def start(
        self,
        terms: PurchaseStart,
        reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.REJECT_DUPLICATE,
    ) -> bool:
        """Start it; False if it had been started with the same terms before.

        The id is used once, ever: raises Failure `PURCHASE_EXISTS` for other terms. An id whose
        start input was rejected was not used: it is started with the corrected one.
        """
        try:
            await self.begin(terms, terms, reuse)
        except WorkflowAlreadyStartedError:
            may_retry = reuse is WorkflowIDReusePolicy.REJECT_DUPLICATE
            if may_retry and await self.was_only_rejected():
                return await self.start(terms, WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY)
            known = await (await self.begun()).terms()
            if known == terms:
                return False
            other = ", ".join(name for name, value in known if value != getattr(terms, name))
            raise Rejected(
                "PURCHASE_EXISTS",
                f"Purchase {self.id} was started before, with another {other}. "
                "An id cannot be used again: choose a new one.",
            ) from None
        return True

    async def begin(
        self, document: object, terms: PurchaseStart, reuse: WorkflowIDReusePolicy, **memo: str
    ) -> str:
        """Start a run with this input, which the Web UI and lists show by its terms; return its id.

        `memo`: texts to add to the run's memo. Raises WorkflowAlreadyStartedError.
        """
        handle = await self.client.start_workflow(
            WORKFLOW_TYPE,
            document,
            id=self.workflow_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=reuse,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            memo=summary.memo(terms) | memo,
            static_summary=summary.summary(terms),
            static_details=details(terms),
            rpc_timeout=ANSWER_WITHIN,
        )
        return handle.result_run_id or ""

    async def terms(self) -> PurchaseStart:
        """Return the terms it was started with. Needs no worker."""
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
        """Why its start input was rejected, and what to do; None if it was not. Needs no worker."""
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

    async def status(self) -> Status:
        """Return the full status. One that was ended from outside waits for an operator."""
        purchase = await self.begun()
        found = await purchase._query("status", Status)
        run = None if found.outcome else await purchase._ended()
        return ended.shown(found, run) if run else found

    async def postings(self) -> WorkflowPostings:
        """Return the postings that it has recorded; also of a closed purchase."""
        return await self._query("postings", WorkflowPostings)

    async def saved_state(self) -> WorkflowState | None:
        """Return the whole state of the run; None if it has not begun."""
        if not await self._has_begun():
            return await self.carried_state()
        found = await self._query("saved_state", list[WorkflowState])
        return found[0] if found else None

    async def carried_state(self) -> WorkflowState | None:
        """Return the state that the run was continued as new with; None if it was started. Needs
        no worker."""
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
            return str(await found.memo_value(name, ""))

    async def actions(self, role: Role) -> list[Permission]:
        """Return what a role may do now, and until when."""
        purchase = await self.begun()
        found = await purchase._query("actions", list[Permission], role.value)
        if not await purchase._ended():
            return found
        status = await purchase.status()
        why = status.attention[0].text if status.attention else ""
        return found if status.outcome else [ended.refused(each, why) for each in found]

    async def open_view(self, role: Role) -> tuple[Status, list[Permission]] | None:
        """Return status and actions of an open purchase, queried at the same time; None if it is
        not open: `status` and `actions` then say what ended it."""
        found = await self.newest()
        if found is None or not found.is_open or found.type != WORKFLOW_TYPE:
            return None
        status = self._query("status", Status)
        actions = self._query("actions", list[Permission], role.value)
        return await asyncio.gather(status, actions)

    async def _ended(self) -> Execution | None:
        """Its newest run if it was ended from outside. Raises Failure if it never started."""
        found = await self.newest()
        if found is None or not found.is_ended:
            return None
        if why := await self.input_error():
            raise Rejected("INVALID_INPUT", why)
        return found

    async def send(self, message: Message) -> Receipt:
        """Send a message as an update and wait for its answer.

        Give it a `message_id`: it is sent again if the server could not deliver it, and
        still counts once.
        """
        try:
            advice = _may_arrive(message)
            async with self._found(open_only=True), self._awake(advice), self._answered(advice):
                while True:
                    try:
                        return await self._update(message)
                    except RPCError as error:
                        if not message.message_id or not await self._may_pass(error):
                            raise
                        await asyncio.sleep(TRIED_AGAIN_AFTER.total_seconds())
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError):
                raise Rejected(cause.type or "REJECTED", cause.message) from None
            raise Rejected("REJECTED", str(cause)) from None

    async def _may_pass(self, error: RPCError) -> bool:
        """Whether a retry may succeed: a run that continues as new aborts its updates."""
        aborted = error.status is RPCStatusCode.NOT_FOUND and await self.is_running()
        return aborted or error.status is NOT_NOW

    async def _update(self, message: Message) -> Receipt:
        answer: Receipt = await self.handle.execute_update(
            message.name, message, result_type=Receipt
        )
        return answer

    async def signal(self, message: Message) -> None:
        """Send a message as a signal; the status shows its result."""
        async with self._found(open_only=True):
            await self.handle.signal(message.name, message, rpc_timeout=ANSWER_WITHIN)

    async def is_running(self) -> bool:
        """Whether its workflow exists and is open. Needs no worker."""
        found = await self.newest()
        return found is not None and found.is_open

    async def _query(self, name: str, kind: type[Answer], *args: str) -> Answer:
        try:
            async with self._found(), self._awake(), self._answered():
                answer: Answer = await self.handle.query(name, args=args, result_type=kind)
                return answer
        except WorkflowQueryFailedError as error:
            await self._ended()
            raise Rejected("NO_ANSWER", f"Purchase {self.id} could not answer: {error}") from None

    async def newest(self) -> Execution | None:
        """Return its newest run, or the run that it is bound to; None if there is none. Needs no
        worker."""
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

    async def _did_begin(self, run: Execution) -> bool:
        """Whether a run is open, or was when it had a state. Without one it moved no money."""
        purchase = replace(self, run_id=run.run_id)
        if run.type != WORKFLOW_TYPE or (run.status == "failed" and await purchase.input_error()):
            return False
        if not run.is_ended or await purchase._has_begun():
            return True
        return bool((await purchase._started()).continued_execution_run_id)

    async def was_only_rejected(self) -> bool:
        """Whether its newest run is a rejected start, and no run before it began."""
        runs = await self.last_runs()
        return runs is not None and runs[0] == runs[1] and bool(await self.input_error())

    async def begun(self) -> "Purchase":
        """Return it, bound to the run that began if a later run under its id never did."""
        found = await self.last_runs()
        if found is None or found[0] == found[1]:
            return self
        return replace(self, run_id=found[1].run_id)

    @asynccontextmanager
    async def _awake(self, advice: str = "") -> AsyncIterator[None]:
        """Raises Failure `PAUSED` if an operator has paused it; the SDK has no status for that. If
        its workflow task fails, `NO_WORKER` says why."""
        try:
            yield
        except (ValueError, Failure) as error:
            unanswered = isinstance(error, ValueError) or error.code == "NO_WORKER"
            found = await self.newest() if unanswered else None
            if found and found.task_attempt > 1:
                await self._raise_task_failure(advice)
            if found and found.is_ended and not await self._has_begun():
                text = f"Purchase {self.id} has no answer. {ended.what_to_do(self.id, found)}"
                raise Rejected(ended.CODE, text) from None
            if found is None or found.status != "paused":
                raise
            raise Rejected(
                "PAUSED",
                f"Purchase {self.id} was paused by an operator. Messages wait until it is "
                "resumed: press Unpause in the Web UI.",
            ) from None

    async def _raise_task_failure(self, advice: str) -> None:
        """Another worker would not help: every one fails its task, such as for a missing key."""
        if why := await task_failure(self.client, self.workflow_id):
            text = f"Purchase {self.id} does not answer: its workflow task fails in the worker."
            raise Unreachable("NO_WORKER", f"{text} {why.rstrip('.')}{advice or '.'}") from None

    @asynccontextmanager
    async def _answered(self, advice: str = "") -> AsyncIterator[None]:
        """Raises Failure `NO_WORKER` when no worker answers in time."""
        seconds = ANSWER_WITHIN.total_seconds()
        why = f"No worker has answered within {seconds:g} s."
        try:
            async with asyncio.timeout(seconds):
                yield
                return
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            pass
        except RPCError as error:
            if error.status is NOT_NOW:
                why = f"No worker can answer now ({error.message})."
            elif error.status not in (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED):
                raise
        raise Unreachable("NO_WORKER", f"{why} {await worker_missing(self.client)}{advice}")

    @asynccontextmanager
    async def _found(self, *, open_only: bool = False) -> AsyncIterator[None]:
        """Raise Failure `NOT_FOUND` for an unknown purchase, `CLOSED` for a closed one."""
        try:
            yield
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if open_only and (run := await (await self.begun())._ended()):
                raise Rejected(
                    ended.CODE, f"Purchase {self.id} takes no messages. {await self._left(run)}"
                ) from None
            if open_only and await self.newest():
                raise Rejected(
                    "CLOSED", f"Purchase {self.id} is closed; nothing can be changed any more."
                ) from None
            raise Rejected(
                "NOT_FOUND",
                f"The server has no purchase {self.id}.{hint_for(self.id)} If its history was "
                f"deleted, this shows its money: recourse ledger {quote(self.id)}",
            ) from None

    async def _left(self, run: Execution) -> str:
        """What ended the run and what to do, with the money inside if a worker says how much."""
        money = None
        with suppress(Failure):
            money = (await self._query("status", Status)).escrow
        return ended.what_to_do(self.id, run, money)


def _may_arrive(message: Message) -> str:
    """Advice to repeat the message: the server may still deliver an unanswered update."""
    again = f"repeat the message with --message-id {message.message_id}"
    return f". Then {again}: if the first one still arrives, it counts once."
