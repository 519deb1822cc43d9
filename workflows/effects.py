"""Carries out what the rules ask for: each effect by one activity, whose answer is a fact.

Effects that move money run one after another, in order; computing a deadline, checking a refund and
checking the payment do not wait for them (`UNORDERED`). Keys are made of the workflow id and the
effect, never of a run id: a retry, a reset or a new run asks under the same key, and money moves
once.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType

from activities.requests import RECORD_NEWS, ErrorType, NewsRecord
from workflows import budget, lifecycle, priorities
from workflows.activity_calls import RETRY, activity_call
from workflows.lifecycle import is_pending, retry_interval
from workflows.lifecycle.events import (
    CONCURRENT,
    UNORDERED,
    CheckPayment,
    ComputeDeadline,
    Effect,
    EffectBlocked,
    Fact,
    PaymentNeedsClient,
    PostProviderMove,
    TakePayment,
    VoidPayment,
)
from workflows.receiving.encrypted import RawAnswer
from workflows.receiving.parsing import parse_answer
from workflows.workflow_state import WorkflowState

INVALID_START = (
    ErrorType.INVALID_INPUT,
    ErrorType.UNKNOWN_CALENDAR,
    ErrorType.WITHDRAWN_CURRENCY,
    ErrorType.PURCHASE_EXISTS,
)
"""Why a payment is never taken: the start input names what no new purchase can have, or a purchase
id that was used before."""

NOTHING_NEW = (
    "The payment provider reports something that changes nothing here. Compare the payment with "
    "the provider's records."
)
"""An effect whose answer changes nothing would be carried out again at once, without end."""

ATTEMPT_TIMEOUT = timedelta(seconds=30)
"""Bounds one attempt of an activity. Ledger and providers give up earlier by themselves."""


class EffectRunner:
    """Runs the effects of a purchase. An effect runs until it yields a fact or is no longer
    pending; the next run continues the others, so none is dropped."""

    def __init__(self, state: WorkflowState, apply_fact: Callable[[Fact], None]) -> None:
        self._state = state
        self._apply_fact = apply_fact
        self._running = 0
        self._stopping = False
        self._attempting = False
        self.invalid_input: str | None = None
        """Why the start input is invalid; found before any money moved."""
        self.id_is_used = False
        """Whether it is invalid because another purchase has its id."""

    def add(self, effect: Effect) -> None:
        """Run an effect after those before it. The same effect asked for again starts anew."""
        self._state.add_effect(effect)
        self._start(effect)

    def resume(self) -> None:
        """Start the effects that the state has from before."""
        for effect in list(self._state.effects):
            self._start(effect)

    @property
    def deadlines_known(self) -> bool:
        """Whether no deadline is being computed. A blocked calendar counts as none."""
        state = self._state
        computing = (e for e in state.effects if isinstance(e, ComputeDeadline))
        blocked = self._is_blocked(ComputeDeadline.kind)
        return blocked or not any(is_pending(state.purchase, effect) for effect in computing)

    async def post_moves(self) -> None:
        """Wait until the ledger has everything that moved at the provider: a loss may still be
        unposted when the purchase closes."""
        await workflow.wait_condition(
            lambda: (
                not any(
                    isinstance(effect, PostProviderMove) and self._should_run(effect)
                    for effect in self._state.effects
                )
            )
        )

    async def record_news(self) -> None:
        """Let the ledger know which news about the payment are handled, or the daily audit would
        open an aftercare case for them. Failed by hand, they are handled once more."""
        news = tuple(lifecycle.handled_news(self._state.purchase))
        if not news:
            return
        with suppress(ActivityError):
            await workflow.execute_activity(
                RECORD_NEWS.name,
                NewsRecord(purchase_id=self._state.start.purchase_id, news=news),
                result_type=RawAnswer,
                start_to_close_timeout=ATTEMPT_TIMEOUT,
                retry_policy=RETRY,
                summary="Record which news about the payment are handled",
                priority=priorities.CHECKS,
            )

    async def stop(self) -> None:
        """Start nothing more, end the waiting for a retry, and let running activities end. What is
        not done stays in the state for the next run."""
        self._stopping = True
        await workflow.wait_condition(lambda: not self._running)

    def _start(self, effect: Effect) -> None:
        self._running += 1
        asyncio.create_task(self._run(effect))

    async def _run(self, effect: Effect) -> None:
        await workflow.wait_condition(
            lambda: self._stopping or not self._is_listed(effect) or self._is_next(effect)
        )
        while self._should_run(effect):
            before = self._state.purchase
            facts = await self._attempt_alone(effect)
            if facts and isinstance(effect, CheckPayment) and not self._should_run(effect):
                break  # a newer check was asked for: this answer may be out of date
            for fact in facts:
                self._apply_fact(fact)
            if self._state.purchase == before and self._should_run(effect):
                facts = [EffectBlocked(effect.kind, NOTHING_NEW)]
                self._apply_fact(facts[0])
            if any(isinstance(fact, EffectBlocked | PaymentNeedsClient) for fact in facts):
                await self._pause(effect)
        if not self._stopping:
            self._state.effects = [other for other in self._state.effects if other is not effect]
        self._running -= 1

    def _is_next(self, effect: Effect) -> bool:
        if isinstance(effect, UNORDERED):
            return True
        money = (other for other in self._state.effects if not isinstance(other, UNORDERED))
        return next(money) is effect

    def _is_listed(self, effect: Effect) -> bool:
        return any(other is effect for other in self._state.effects)

    def _should_run(self, effect: Effect) -> bool:
        if self._stopping or self.invalid_input is not None or not self._is_listed(effect):
            return False
        return is_pending(self._state.purchase, effect)

    def _is_blocked(self, kind: str) -> bool:
        return any(item.effect == kind for item in self._state.purchase.attention)

    async def _attempt_alone(self, effect: Effect) -> Sequence[Fact]:
        """An attempt while no other one is made, except those in CONCURRENT."""
        if isinstance(effect, CONCURRENT):
            return await self._attempt(effect)
        while self._should_run(effect) and self._attempting:
            await workflow.wait_condition(
                lambda: not (self._should_run(effect) and self._attempting)
            )
        if not self._should_run(effect):
            return []
        self._attempting = True
        try:
            return await self._attempt(effect)
        finally:
            self._attempting = False

    async def _attempt(self, effect: Effect) -> Sequence[Fact]:
        """One activity with all its retries. Nothing, if it was no longer pending before its
        answer."""
        state, first_run = self._state, workflow.info().first_execution_run_id
        call = activity_call(effect, state.purchase, state.start, workflow.now(), first_run)
        activity = workflow.start_activity(
            call.type.name,
            call.request,
            result_type=RawAnswer,
            schedule_to_close_timeout=call.give_up_after,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=call.retry,
            # Money may be moving: wait for the activity's end instead of leaving it.
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=call.summary[:200],
            priority=call.priority,
        )
        await workflow.wait_condition(lambda: activity.done() or not self._should_run(effect))
        if not activity.done():
            activity.cancel()
        try:
            payload = await activity
            return call.facts(parse_answer(call.type.answer, call.type.name, payload))
        except ValueError as error:
            return [EffectBlocked(effect.kind, budget.cut(str(error), budget.LONGEST_PROBLEM))]
        except ActivityError as error:
            if is_cancelled_exception(error) or not self._should_run(effect):
                return []
            problem = problem_of(error)
            if problem.type in INVALID_START and isinstance(effect, TakePayment | VoidPayment):
                self.invalid_input = problem.message
                self.id_is_used = problem.type == ErrorType.PURCHASE_EXISTS
                return []
            return [EffectBlocked(effect.kind, budget.cut(problem.message, budget.LONGEST_PROBLEM))]

    async def _pause(self, effect: Effect) -> None:
        """Wait for somebody to ask for a retry or a check of the payment, or for time to pass."""
        was_blocked = self._is_blocked(effect.kind)
        checks = self._state.purchase.payment_checks
        paying = isinstance(effect, TakePayment)
        try:
            await workflow.wait_condition(
                lambda: (
                    not self._should_run(effect)
                    or (was_blocked and not self._is_blocked(effect.kind))
                    or (paying and self._state.purchase.payment_checks > checks)
                ),
                timeout=retry_interval(effect.kind),
                timeout_summary=f"{effect.kind} is retried",
            )
        except TimeoutError:
            return


def problem_of(error: ActivityError) -> ApplicationError:
    """Why an activity failed: its sentence for a person, and the type of its error."""
    cause: BaseException | None = error.cause
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = getattr(cause, "cause", None)
    if cause is not None:
        return cause
    return ApplicationError(f"{error.activity_type} did not answer in time.", type="TIMEOUT")
