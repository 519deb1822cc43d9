"""Carries out what the rules ask for: each effect by one activity, whose answer is a fact.

Money effects run one after another, in order; only the calendar does not wait for them. Keys are
made of the workflow id and the effect, never of a run id: a retry, a reset or a new run asks under
the same key, and money moves once.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType

from activities.formatter import spaced
from activities.requests import (
    BUSINESS_DEADLINE,
    CHECK_REFUND,
    POST_DECISION,
    POST_SETTLEMENT,
    SEND_REFUND,
    TAKE_PAYMENT,
    VOID_PAYMENT,
    ActivityType,
    BusinessDeadline,
    BusinessDeadlineRequest,
    DecisionPosting,
    ErrorType,
    Model,
    Money,
    PaymentAnswer,
    PaymentRequest,
    RefundAnswer,
    RefundRequest,
    SettlementPosting,
    WorkflowPostings,
)
from workflows import budget
from workflows.lifecycle import is_pending
from workflows.lifecycle.events import (
    CheckRefund,
    ComputeDeadline,
    DeadlineComputed,
    DecisionPosted,
    Effect,
    EffectBlocked,
    Fact,
    PaymentDeclined,
    PaymentHeld,
    PaymentVoided,
    PostDecision,
    PostSettlement,
    RefundReported,
    SendRefund,
    SettlementPosted,
    TakePayment,
    VoidPayment,
)
from workflows.lifecycle.state import Decision, Payment, State
from workflows.receiving.encrypted import Deciphered
from workflows.receiving.parsing import parse_answer
from workflows.workflow_state import AcceptedStart, WorkflowState

BLOCKED_AFTER = timedelta(minutes=5)
"""An effect that could not be carried out for this long is reported as blocked."""

RETRY_BLOCKED_EVERY = timedelta(minutes=15)
"""How often a blocked effect is retried by itself; `resolve_attention` retries at once."""

INVALID_START = (
    ErrorType.UNKNOWN_CALENDAR,
    ErrorType.WITHDRAWN_CURRENCY,
    ErrorType.PURCHASE_EXISTS,
)
"""Why a payment is never taken: the start input names what no new purchase can have, or a purchase
id that was used before."""

ATTEMPT_TIMEOUT = timedelta(seconds=30)
"""Bounds one attempt of an activity. Ledger and providers give up earlier by themselves."""

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)

RETRY_FOR_DAYS = replace(RETRY, maximum_interval=timedelta(hours=1))
"""For an effect that may wait for days, so that an unreachable provider costs little."""


class EffectRunner:
    """Runs the effects of a purchase. An effect runs until it yields a fact or is no longer
    pending; the next run continues the others, so none is dropped."""

    def __init__(self, state: WorkflowState, apply_fact: Callable[[Fact], None]) -> None:
        self._state = state
        self._apply_fact = apply_fact
        self._running = 0
        self._stopping = False
        self.invalid_input: str | None = None
        """Why the start input is invalid; found before any money moved."""

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

    async def stop(self) -> None:
        """Stop between two effects; what is left stays in the state for the next run."""
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
            fact = await self._attempt(effect)
            if fact is not None:
                self._apply_fact(fact)
            if isinstance(fact, EffectBlocked):
                await self._pause(effect)
        if not self._stopping:
            self._state.effects = [other for other in self._state.effects if other is not effect]
        self._running -= 1

    def _is_next(self, effect: Effect) -> bool:
        if isinstance(effect, ComputeDeadline):
            return True
        money = (other for other in self._state.effects if not isinstance(other, ComputeDeadline))
        return next(money) is effect

    def _is_listed(self, effect: Effect) -> bool:
        return any(other is effect for other in self._state.effects)

    def _should_run(self, effect: Effect) -> bool:
        if self._stopping or self.invalid_input is not None or not self._is_listed(effect):
            return False
        return is_pending(self._state.purchase, effect)

    def _is_blocked(self, kind: str) -> bool:
        return any(item.effect == kind for item in self._state.purchase.attention)

    async def _attempt(self, effect: Effect) -> Fact | None:
        """One activity with all its retries. None: it was no longer pending before its answer."""
        state, first_run = self._state, workflow.info().first_execution_run_id
        call = activity_call(effect, state.purchase, state.start, workflow.now(), first_run)
        activity = workflow.start_activity(
            call.type.name,
            call.request,
            result_type=Deciphered,
            schedule_to_close_timeout=call.give_up_after,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=call.retry,
            # Money may be moving: wait for the activity's end instead of leaving it.
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=call.summary[:200],
        )
        await workflow.wait_condition(lambda: activity.done() or not self._should_run(effect))
        if not activity.done():
            activity.cancel()
        try:
            payload = await activity
            return call.fact(parse_answer(call.type.answer, call.type.name, payload))
        except ValueError as error:
            return EffectBlocked(effect.kind, budget.cut(str(error), budget.LONGEST_PROBLEM))
        except ActivityError as error:
            if is_cancelled_exception(error) or not self._should_run(effect):
                return None
            problem = problem_of(error)
            if problem.type in INVALID_START and isinstance(effect, TakePayment | VoidPayment):
                self.invalid_input = problem.message
                return None
            return EffectBlocked(effect.kind, budget.cut(problem.message, budget.LONGEST_PROBLEM))

    async def _pause(self, effect: Effect) -> None:
        """Wait until an operator asks for a retry, or some time has passed."""
        try:
            await workflow.wait_condition(
                lambda: not self._should_run(effect) or not self._is_blocked(effect.kind),
                timeout=RETRY_BLOCKED_EVERY,
                timeout_summary=f"{effect.kind} is retried",
            )
        except TimeoutError:
            return


# --- which activity carries out an effect, and what its answer means


@dataclass(frozen=True)
class ActivityCall:
    """One activity, ready to be called. `summary` is what the Web UI shows. `give_up_after`: how
    long to retry before the effect is reported as blocked; None: until it is no longer pending."""

    type: ActivityType[Any, Any]
    request: Model
    summary: str
    fact: Callable[[Any], Fact]
    give_up_after: timedelta | None = field(default_factory=lambda: BLOCKED_AFTER)
    retry: RetryPolicy = field(default_factory=lambda: RETRY)


def activity_call(
    effect: Effect, state: State, start: AcceptedStart, now: datetime, first_run: str
) -> ActivityCall:
    """The activity that carries out `effect`. `first_run`: the id of the workflow's first run."""
    match effect:
        case TakePayment():
            # Retried until the payment window ends: then the rules void the payment.
            summary = f"Charge {_price(state)} and hold it in escrow"
            request = _payment_request(state, start, first_run)
            return ActivityCall(TAKE_PAYMENT, request, summary, _payment_fact, give_up_after=None)
        case VoidPayment():
            summary = f"Cancel the payment of {_price(state)}, or find it made"
            request = _payment_request(state, start, first_run)
            return ActivityCall(VOID_PAYMENT, request, summary, _payment_fact)
        case PostDecision():
            return _post_decision(state, start)
        case SendRefund(attempt):
            summary = f"Refund {_refund_amount(state)} to the client, {spaced(state.reason)}"
            refund = _refund_request(state, start, attempt, now)
            return ActivityCall(SEND_REFUND, refund, summary, _refund_fact(attempt))
        case CheckRefund(attempt):
            # Retried until the refund ends: the settlement window alerts staff.
            summary = f"Ask the provider every day until the {_refund_amount(state)} are settled"
            refund = _refund_request(state, start, attempt, now)
            fact = _refund_fact(attempt)
            return ActivityCall(CHECK_REFUND, refund, summary, fact, None, RETRY_FOR_DAYS)
        case PostSettlement(reference, at):
            return _post_settlement(reference, at, state, start)
        case ComputeDeadline():
            return _compute_deadline(effect, start)


def _payment_request(state: State, start: AcceptedStart, first_run: str) -> PaymentRequest:
    terms = start.model_dump(mode="json", include={"policy", "requirements_needed"})
    return PaymentRequest(
        key=f"{state.terms.key}/hold",
        purchase_id=start.purchase_id,
        price=start.price,
        payment_method=start.payment_method,
        # Always the same: a key with other contents would be another request to the ledger.
        at=state.terms.purchased_at,
        calendar=start.policy.calendar,
        timezone=start.policy.calendar_timezone,
        client=start.client.id,
        freelancer=start.freelancer.id,
        terms=json.dumps(terms | {"rules_version": state.terms.rules_version}),
        document=start.model_dump_json(),
        first_run=first_run,
    )


def _payment_fact(answer: PaymentAnswer) -> Fact:
    match answer.status:
        case "held":
            return PaymentHeld(answer.reference)
        case "declined":
            return PaymentDeclined()
        case "voided":
            return PaymentVoided()


def _decision_posting(decision: Decision, state: State, start: AcceptedStart) -> DecisionPosting:
    refund, release = decision.refund, decision.release
    kind = "split" if refund and release else "refund" if refund else "release"
    return DecisionPosting(
        key=f"{state.terms.key}/{kind}",
        purchase_id=start.purchase_id,
        refund=refund,
        release=release,
        currency=start.price.currency,
        at=decision.at,
        charge_reference=state.charge_reference,
    )


def _post_decision(state: State, start: AcceptedStart) -> ActivityCall:
    decision = state.decision
    assert decision is not None
    posting = _decision_posting(decision, state, start)
    directions = ((decision.refund, "for the client"), (decision.release, "to the freelancer"))
    parts = [
        f"{state.terms.format_amount(amount)} out of escrow {where}"
        for amount, where in directions
        if amount
    ]
    summary = f"Post {' and '.join(parts)}, {spaced(decision.reason)}"
    return ActivityCall(POST_DECISION, posting, summary, lambda _: DecisionPosted())


def _refund_request(
    state: State, start: AcceptedStart, attempt: int, now: datetime
) -> RefundRequest:
    assert state.refund is not None
    return RefundRequest(
        refund_id=state.refund_id(attempt),
        earlier=tuple(state.refund_id(number) for number in range(1, attempt)),
        purchase_id=start.purchase_id,
        charge_reference=state.charge_reference,
        amount=Money(amount=state.refund.amount, currency=start.price.currency),
        payment_method=start.payment_method,
        at=now,
    )


def _refund_fact(attempt: int) -> Callable[[RefundAnswer], Fact]:
    def fact(answer: RefundAnswer) -> Fact:
        text = budget.cut(answer.text, budget.LONGEST_SENTENCE)
        return RefundReported(attempt, answer.status, answer.reference, text)

    return fact


def _settlement_posting(
    reference: str, at: datetime, state: State, start: AcceptedStart
) -> SettlementPosting:
    return SettlementPosting(
        key=f"{state.terms.key}/settled",
        purchase_id=start.purchase_id,
        amount=state.refund.amount if state.refund else 0,
        currency=start.price.currency,
        reference=reference,
        at=at,
    )


def _post_settlement(
    reference: str, at: datetime, state: State, start: AcceptedStart
) -> ActivityCall:
    posting = _settlement_posting(reference, at, state, start)
    summary = f"Post that the refund of {_refund_amount(state)} is settled"
    return ActivityCall(POST_SETTLEMENT, posting, summary, lambda _: SettlementPosted())


def postings(state: State, start: AcceptedStart, first_run: str) -> WorkflowPostings:
    """The postings of a purchase, for `recourse restore`: what the effects request, and which of
    it the ledger has confirmed."""
    held, decision, settled = state.payment is Payment.HELD, state.decision, state.settlement
    return WorkflowPostings(
        hold=None if state.payment is Payment.NONE else _payment_request(state, start, first_run),
        held=held,
        decision=_decision_posting(decision, state, start) if held and decision else None,
        decision_posted=state.decision_posted,
        settlement=_settlement_posting(settled.reference, settled.at, state, start)
        if settled
        else None,
        settlement_posted=state.refund is not None and state.refund.posted,
        proved_by_person=settled is not None and settled.proved_by_person,
    )


def _compute_deadline(effect: ComputeDeadline, start: AcceptedStart) -> ActivityCall:
    question = BusinessDeadlineRequest(
        start=effect.start,
        days=effect.days,
        country=start.policy.calendar,
        timezone=start.policy.calendar_timezone,
    )
    summary = f"Compute the end of {effect.days} business days for: {effect.deadline}"

    def fact(answer: BusinessDeadline) -> Fact:
        return DeadlineComputed(effect.deadline, answer.at)

    return ActivityCall(BUSINESS_DEADLINE, question, summary, fact)


def _refund_amount(state: State) -> str:
    amount = state.refund.amount if state.refund else 0
    return state.terms.format_amount(amount)


def _price(state: State) -> str:
    return state.terms.format_amount(state.terms.amount)


def problem_of(error: ActivityError) -> ApplicationError:
    """Why an activity failed: its sentence for a person, and the type of its error."""
    cause: BaseException | None = error.cause
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = getattr(cause, "cause", None)
    if cause is not None:
        return cause
    return ApplicationError(f"{error.activity_type} did not answer in time.", type="TIMEOUT")
