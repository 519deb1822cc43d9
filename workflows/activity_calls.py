"""How each effect is carried out: which activity, asked what, under which key, for how long,
and which fact its answer is.

Keys are made of the workflow id and the step, never of a run id: whatever is retried, reset or
started again asks under the same key, and money moves once (`RULES.md`, Money).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from activities.amounts import format_amount
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
    Model,
    Money,
    PaymentAnswer,
    PaymentRequest,
    RefundAnswer,
    RefundRequest,
    SettlementPosting,
)
from workflows.lifecycle.state import (
    CheckRefund,
    ComputeDeadline,
    DeadlineComputed,
    DecisionPosted,
    Fact,
    PaymentDeclined,
    PaymentHeld,
    PaymentVoided,
    PostDecision,
    PostSettlement,
    RefundAnswered,
    SendRefund,
    SettlementPosted,
    State,
    Step,
    TakePayment,
    VoidPayment,
)
from workflows.messages import PurchaseStart

BLOCKED_AFTER = timedelta(minutes=5)
"""A step that cannot be carried out for so long needs a person, and is said to."""

RETRY_BLOCKED_EVERY = timedelta(minutes=15)
"""A blocked step tries again by itself so often, and whenever a person says so."""

ATTEMPT_TIMEOUT = timedelta(seconds=30)
"""How long one attempt may take; the ledger and the providers give up sooner by themselves."""

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)

RETRY_FOR_DAYS = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(hours=1),
)
"""For what may wait for days, so that a provider that is away costs little."""


@dataclass(frozen=True)
class Call:
    """One activity, ready to be called: `summary` is what the Web UI shows of it."""

    type: ActivityType[Any, Any]
    request: Model
    summary: str
    fact: Callable[[Any], Fact]
    give_up_after: timedelta | None
    """How long to try before a person is told; None: until it is overtaken."""
    retry: RetryPolicy = field(default_factory=lambda: RETRY)


def call(step: Step, state: State, start: PurchaseStart, now: datetime) -> Call:
    """The activity that carries out `step`."""
    match step:
        case TakePayment():
            # The payment window is its give_up_after: the purchase calls the payment off after it.
            summary = f"Charge {start.price} and hold it in escrow"
            return Call(
                TAKE_PAYMENT, _payment(state, start), summary, _payment_fact, give_up_after=None
            )
        case VoidPayment():
            summary = f"Call off the payment of {start.price}, or find it made"
            return Call(VOID_PAYMENT, _payment(state, start), summary, _payment_fact, BLOCKED_AFTER)
        case PostDecision():
            return _post_decision(step, state, start)
        case SendRefund(attempt):
            summary = f"Refund {_refund_amount(state)} to the client, {_words(state.reason)}"
            request = _refund(state, start, attempt, now)
            return Call(SEND_REFUND, request, summary, _refund_fact(attempt), BLOCKED_AFTER)
        case CheckRefund(attempt):
            # The settlement window is its give_up_after: our staff is told when that is over.
            summary = f"Ask the provider every day until the {_refund_amount(state)} have arrived"
            request = _refund(state, start, attempt, now)
            return Call(CHECK_REFUND, request, summary, _refund_fact(attempt), None, RETRY_FOR_DAYS)
        case PostSettlement(reference, at):
            posting = SettlementPosting(
                key=f"{state.terms.key}/settled",
                purchase_id=start.purchase_id,
                amount=state.refund.amount if state.refund else 0,
                currency=start.price.currency,
                reference=reference,
                at=at,
            )
            summary = f"Post that the refund of {_refund_amount(state)} has arrived"
            return Call(
                POST_SETTLEMENT, posting, summary, lambda _: SettlementPosted(), BLOCKED_AFTER
            )
        case ComputeDeadline(deadline, begins, days):
            question = BusinessDeadlineRequest(
                start=begins,
                days=days,
                country=start.policy.calendar,
                timezone=start.policy.calendar_timezone,
            )
            summary = f"Find the end of {days} business days for: {deadline}"

            def found(answer: BusinessDeadline) -> Fact:
                return DeadlineComputed(deadline, answer.at)

            return Call(BUSINESS_DEADLINE, question, summary, found, BLOCKED_AFTER)


def _payment(state: State, start: PurchaseStart) -> PaymentRequest:
    return PaymentRequest(
        key=f"{state.terms.key}/hold",
        purchase_id=start.purchase_id,
        price=start.price,
        payment_method=start.payment_method,
        # The same at every asking: the ledger takes a key with other contents for another meaning.
        at=state.terms.purchased_at,
        calendar=start.policy.calendar,
        timezone=start.policy.calendar_timezone,
    )


def _payment_fact(answer: PaymentAnswer) -> Fact:
    match answer.status:
        case "held":
            return PaymentHeld(answer.reference)
        case "declined":
            return PaymentDeclined()
        case "voided":
            return PaymentVoided()


def _post_decision(step: PostDecision, state: State, start: PurchaseStart) -> Call:
    decision = state.decision
    assert decision is not None
    kind = "split" if step.refund and step.release else "refund" if step.refund else "release"
    posting = DecisionPosting(
        key=f"{state.terms.key}/{kind}",
        purchase_id=start.purchase_id,
        refund=step.refund,
        release=step.release,
        currency=start.price.currency,
        at=decision.at,
    )
    services = [
        f"{format_amount(amount, start.price.currency)} {where}"
        for amount, where in (
            (step.refund, "out of escrow for the client"),
            (step.release, "out of escrow to the freelancer"),
        )
        if amount
    ]
    summary = f"Post {' and '.join(services)}, {_words(decision.reason)}"
    return Call(POST_DECISION, posting, summary, lambda _: DecisionPosted(), BLOCKED_AFTER)


def _refund(state: State, start: PurchaseStart, attempt: int, now: datetime) -> RefundRequest:
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
    return lambda answer: RefundAnswered(attempt, answer.status, answer.reference, answer.text)


def _words(reason: str | None) -> str:
    return (reason or "").replace("_", " ")


def _refund_amount(state: State) -> str:
    amount = state.refund.amount if state.refund else 0
    return format_amount(amount, state.terms.currency)


def why(error: ActivityError) -> ApplicationError:
    """What a failed activity says to a person, and the type of its error."""
    cause: BaseException | None = error.cause
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = getattr(cause, "cause", None)
    if cause is not None:
        return cause
    return ApplicationError(f"{error.activity_type} did not answer in time.", type="TIMEOUT")
