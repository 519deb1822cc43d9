"""Carrying out what the rules ask for: money step by step, in order; the calendar beside it."""

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType

from activities.requests import ErrorType
from workflows.activity_calls import ATTEMPT_TIMEOUT, RETRY_BLOCKED_EVERY, call, why
from workflows.lifecycle import is_pending
from workflows.lifecycle.state import ComputeDeadline, EffectBlocked, Fact, Step, TakePayment
from workflows.workflow_state import WorkflowState


class EffectRunner:
    """The steps of a purchase on their way. A step that was begun ends in a fact, is overtaken by
    a later decision of the rules, or is carried on by the next run: it is never dropped."""

    def __init__(self, memory: WorkflowState, happen: Callable[[Fact], None]) -> None:
        self._memory = memory
        self._happen = happen
        self._running = 0
        self._left = list(memory.steps)
        self._resting = False
        self.impossible: str | None = None
        """Why the purchase cannot even begin: found before any money moved."""

    def add(self, step: Step) -> None:
        """One more thing to do, after those before it; the same asked for again is begun anew."""
        self._memory.ask(step)
        self._begin(step)

    def resume(self) -> None:
        """Take up what an earlier run, or the beginning, left to be done. What messages ask for
        before this is called has begun by itself."""
        for step in self._left:
            self._begin(step)

    @property
    def dates_known(self) -> bool:
        """Whether no deadline is being looked up; one that cannot be found keeps nobody waiting."""
        state = self._memory.state
        asked = (step for step in self._memory.steps if _beside(step))
        return self._is_blocked(ComputeDeadline.kind) or not any(
            is_pending(state, step) for step in asked
        )

    async def rest(self) -> None:
        """Come to rest between two steps; what is left stays in memory for the next run."""
        self._resting = True
        await workflow.wait_condition(lambda: not self._running)

    def _begin(self, step: Step) -> None:
        self._running += 1
        asyncio.create_task(self._carry_out(step))

    async def _carry_out(self, step: Step) -> None:
        await workflow.wait_condition(
            lambda: self._resting or not self._is_listed(step) or self._is_its_turn(step)
        )
        while self._is_wanted(step):
            fact = await self._attempt(step)
            if fact is not None:
                self._happen(fact)
            if isinstance(fact, EffectBlocked):
                await self._pause(step)
        if not self._resting:
            steps = self._memory.steps
            self._memory.steps = [other for other in steps if other is not step]
        self._running -= 1

    def _is_its_turn(self, step: Step) -> bool:
        if _beside(step):
            return True
        return next(other for other in self._memory.steps if not _beside(other)) is step

    def _is_listed(self, step: Step) -> bool:
        return any(other is step for other in self._memory.steps)

    def _is_wanted(self, step: Step) -> bool:
        if self._resting or self.impossible is not None or not self._is_listed(step):
            return False
        return is_pending(self._memory.state, step)

    def _is_blocked(self, kind: str) -> bool:
        return any(item.step == kind for item in self._memory.state.attention)

    async def _attempt(self, step: Step) -> Fact | None:
        """One activity, with all its retries. None: it was overtaken before it had an answer."""
        memory = self._memory
        todo = call(step, memory.state, memory.start, workflow.now())
        activity = workflow.start_activity(
            todo.type.name,
            todo.request,
            result_type=todo.type.answer,
            schedule_to_close_timeout=todo.give_up_after,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=todo.retry,
            # Money may be moving: what is under way is waited for, never walked away from.
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=todo.summary[:200],
        )
        await workflow.wait_condition(lambda: activity.done() or not self._is_wanted(step))
        if not activity.done():
            activity.cancel()
        try:
            return todo.fact(await activity)
        except ActivityError as error:
            if is_cancelled_exception(error) or not self._is_wanted(step):
                return None
            reason = why(error)
            if reason.type == ErrorType.UNKNOWN_CALENDAR and isinstance(step, TakePayment):
                self.impossible = reason.message
                return None
            return EffectBlocked(step.kind, reason.message)

    async def _pause(self, step: Step) -> None:
        """Until a person says to try again, or some time has passed."""
        try:
            await workflow.wait_condition(
                lambda: not self._is_wanted(step) or not self._is_blocked(step.kind),
                timeout=RETRY_BLOCKED_EVERY,
                timeout_summary=f"{step.kind} is tried again",
            )
        except TimeoutError:
            return


def _beside(step: Step) -> bool:
    return isinstance(step, ComputeDeadline)
