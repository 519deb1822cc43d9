"""Starts and queries purchases, and sends them messages. Each failure has a code and a text; no
call waits longer than `ANSWER_WITHIN` for an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from temporalio.client import (
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.requests import TASK_QUEUE, WorkflowPostings
from temporal import ended
from temporal.deployment import on_another_queue, worker_missing
from temporal.errors import Failure, Rejected, Unreachable
from temporal.executions import Execution, task_failure
from temporal.runs import WORKFLOW_TYPE, Runs
from temporal.terms import details
from workflows import lifecycle, summary
from workflows.lifecycle.events import Rejection
from workflows.lifecycle.versions import VERSIONS
from workflows.messages import (
    Message,
    Permission,
    PurchaseStart,
    Receipt,
    Role,
    Status,
)
from workflows.workflow_state import WorkflowState

ANSWER_WITHIN = timedelta(seconds=10)
"""How long to wait for a worker to answer a query or an update."""

TRIED_AGAIN_AFTER = timedelta(milliseconds=200)
NOT_NOW = RPCStatusCode.FAILED_PRECONDITION
"""No worker has polled for a while, or the purchase is continuing as a new run."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Purchase(Runs):
    """One purchase on the server; it may not exist.

    Its methods raise Failure: `NOT_FOUND`, `CLOSED`, `NO_WORKER`, or the code of a rejection; and
    RPCError when the server itself fails.
    """

    async def start(
        self,
        terms: PurchaseStart,
        reuse: WorkflowIDReusePolicy = WorkflowIDReusePolicy.REJECT_DUPLICATE,
    ) -> bool:
        """Start it; False if it had been started with the same terms before.

        The id is used once, ever: raises Failure `PURCHASE_EXISTS` for other terms. An id whose
        start input was rejected, or whose start ended before a worker took it, was not used: it is
        started again.
        """
        try:
            await self.begin(terms, terms, reuse)
        except WorkflowAlreadyStartedError:
            may_retry = reuse is WorkflowIDReusePolicy.REJECT_DUPLICATE
            if may_retry and await self.may_start_again():
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

    async def readable_state(self) -> WorkflowState | None:
        """Return the whole state of the run; None if it has not begun, or if this release cannot
        read it or knows no such rules."""
        try:
            found = await self.saved_state()
        except ValueError:
            return None
        known = found is not None and found.purchase.terms.rules_version in VERSIONS
        return found if known else None

    async def rejection_of(self, message: Message) -> Rejection | None:
        """Return why its rules would reject the message now; None if they would not, or if its
        state cannot be read. Nothing is sent."""
        state = await self.readable_state()
        if state is None:
            return None
        now = datetime.now(UTC)
        answer = state.answers.get(message) or lifecycle.decide(state.purchase, message, now)
        return answer if isinstance(answer, Rejection) else None

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
        """Return status and actions of an open purchase; None if it is not open: `status` and
        `actions` then say what ended it. One after the other, since the SDK can lose one of two
        queries at once (`LOST_TASK`)."""
        found = await self.newest()
        if found is None or not found.is_open or found.type != WORKFLOW_TYPE:
            return None
        status = await self._query("status", Status)
        return status, await self._query("actions", list[Permission], role.value)

    async def send(self, message: Message) -> Receipt:
        """Send a message as an update and wait for its answer.

        Give it a `message_id`: it is sent again if the server could not deliver it, and
        still counts once.
        """
        try:
            advice = _may_arrive(message)
            async with self._open(), self._awake(advice), self._answered(advice):
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
        async with self._open():
            await self.handle.signal(message.name, message, rpc_timeout=ANSWER_WITHIN)

    async def _query(self, name: str, kind: type[Answer], *args: str) -> Answer:
        try:
            async with self._found(), self._awake(), self._answered():
                answer: Answer = await self.handle.query(name, args=args, result_type=kind)
                return answer
        except WorkflowQueryFailedError as error:
            await self._ended()
            raise Rejected("NO_ANSWER", f"Purchase {self.id} could not answer: {error}") from None

    @asynccontextmanager
    async def _awake(self, advice: str = "") -> AsyncIterator[None]:
        """Raises Failure `PAUSED` if an operator has paused it; the SDK has no status for that. If
        its workflow task fails, or if it waits on another task queue, `NO_WORKER` says so."""
        try:
            yield
        except (ValueError, Failure) as error:
            unanswered = isinstance(error, ValueError) or error.code == "NO_WORKER"
            found = await self.newest() if unanswered else None
            if found and found.task_attempt > 1:
                await self._raise_task_failure(advice)
            if found and (unserved := on_another_queue(self.id, found)):
                raise Unreachable("NO_WORKER", " ".join(unserved)) from None
            if found and found.is_ended and not await self._has_begun():
                text = f"Purchase {self.id} has no answer. {await self._left(found)}"
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
    async def _open(self) -> AsyncIterator[None]:
        """Raise Failure `NOT_FOUND` for an unknown purchase; `CLOSED` or `ENDED` for one that takes
        no messages."""
        async with self._found():
            try:
                yield
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                if run := await (await self.begun())._ended():
                    raise Rejected(
                        ended.CODE, f"Purchase {self.id} takes no messages. {await self._left(run)}"
                    ) from None
                if await self.newest():
                    raise Rejected(
                        "CLOSED", f"Purchase {self.id} is closed; nothing can be changed any more."
                    ) from None
                raise

    async def _left(self, run: Execution) -> str:
        """What ended the run and what to do, with the money inside if a worker says how much."""
        if await self._never_began(run):
            return ended.start_again(self.id, run)
        money = None
        with suppress(Failure):
            money = (await self._query("status", Status)).escrow
        return ended.what_to_do(self.id, run, money)


def _may_arrive(message: Message) -> str:
    """Advice to repeat the message: the server may still deliver an unanswered update."""
    again = f"repeat the message with the id {message.message_id} (message_id, --message-id)"
    return f". Then {again}: if the first one still arrives, it counts once."
