"""Which activity carries out an effect, and what its answer means.

Keys are made of the workflow id and the effect, never of a run id.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from temporalio.common import Priority, RetryPolicy

from activities.formatter import spaced
from activities.requests import (
    BUSINESS_DEADLINE,
    CHECK_PAYMENT,
    CHECK_REFUND,
    POST_DECISION,
    POST_PROVIDER_MOVE,
    POST_SETTLEMENT,
    SEND_REFUND,
    TAKE_PAYMENT,
    VOID_PAYMENT,
    ActivityType,
    BusinessDeadline,
    BusinessDeadlineRequest,
    DecisionAnswer,
    DecisionPosting,
    Model,
    Money,
    PaymentAnswer,
    PaymentNews,
    PaymentQuery,
    PaymentRequest,
    ProviderMovePosting,
    RefundAnswer,
    RefundRequest,
    SettlementPosting,
    WorkflowPostings,
    dispute_name,
)
from workflows import budget, priorities
from workflows.lifecycle import BLOCKED_AFTER
from workflows.lifecycle.events import (
    BankDisputeReported,
    CheckPayment,
    CheckRefund,
    ComputeDeadline,
    DeadlineComputed,
    DecisionPosted,
    Effect,
    Fact,
    PaymentChecked,
    PaymentDeclined,
    PaymentHeld,
    PaymentNeedsClient,
    PaymentUnusable,
    PaymentVoided,
    PostDecision,
    PostProviderMove,
    PostSettlement,
    ProviderMovePosted,
    RefundedElsewhere,
    RefundElsewhereFailed,
    RefundReported,
    SendRefund,
    SettlementPosted,
    TakePayment,
    VoidPayment,
)
from workflows.lifecycle.state import Decision, Payment, ProviderMove, State
from workflows.workflow_state import AcceptedStart

CHECK_PAYMENT_FOR = timedelta(seconds=30)
"""How long a check of the payment is retried before it is reported as blocked: shorter than for
others, because effects that move money wait for it."""

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)

RETRY_FOR_DAYS = replace(RETRY, maximum_interval=timedelta(hours=1))
"""For an effect that may wait for days, so that an unreachable provider costs little."""

LONGEST_REASON = 200
"""Bytes of a reason that provider or bank gives; it becomes a part of a sentence."""


@dataclass(frozen=True)
class ActivityCall:
    """One activity, ready to be called. `summary` is what the Web UI shows. `give_up_after`: how
    long to retry before the effect is reported as blocked; None: until it is no longer pending."""

    type: ActivityType[Any, Any]
    request: Model
    summary: str
    facts: Callable[[Any], Sequence[Fact]]
    give_up_after: timedelta | None = field(default_factory=lambda: BLOCKED_AFTER)
    retry: RetryPolicy = field(default_factory=lambda: RETRY)

    @property
    def priority(self) -> Priority:
        """The priority of its task: money before payments, payments before checks."""
        match self.type.name:
            case TAKE_PAYMENT.name | VOID_PAYMENT.name:
                return priorities.PAYMENT
            case CHECK_PAYMENT.name | CHECK_REFUND.name:
                return priorities.CHECKS
        return priorities.MONEY


def activity_call(
    effect: Effect, state: State, start: AcceptedStart, now: datetime, first_run: str
) -> ActivityCall:
    """The activity that carries out `effect`. `first_run`: the id of the workflow's first run."""
    # The sandbox has the purchase's clock, which a server that skips time may have moved ahead.
    now = max(now, state.closed_at or now)
    match effect:
        case TakePayment():
            verb = "Find the payment of" if start.payment_reference else "Charge"
            summary = f"{verb} {_price(state)} and hold it in escrow"
            request = _payment_request(state, start, first_run)
            paid_elsewhere = bool(start.payment_reference)
            found = partial(_payment_facts, paid_elsewhere=paid_elsewhere)
            return ActivityCall(TAKE_PAYMENT, request, summary, found)
        case VoidPayment():
            summary = f"Cancel the payment of {_price(state)}, or find it made"
            request = _payment_request(state, start, first_run)
            return ActivityCall(VOID_PAYMENT, request, summary, _payment_facts)
        case PostDecision():
            return _post_decision(state, start, first_run)
        case SendRefund(attempt):
            summary = f"Refund {_refund_amount(state)} to the client, {spaced(state.reason)}"
            refund = _refund_request(state, start, attempt, now)
            return ActivityCall(SEND_REFUND, refund, summary, _refund_facts(attempt))
        case CheckRefund(attempt):
            # Retried until the refund ends: the settlement window alerts staff.
            summary = f"Ask the provider until the {_refund_amount(state)} are settled"
            refund = _refund_request(state, start, attempt, now)
            facts = _refund_facts(attempt)
            return ActivityCall(CHECK_REFUND, refund, summary, facts, None, RETRY_FOR_DAYS)
        case PostSettlement(reference, at):
            return _post_settlement(reference, at, state, start)
        case CheckPayment(number):
            return _check_payment(number, state, start, now)
        case PostProviderMove(number):
            return _post_provider_move(number, state, start)
        case ComputeDeadline():
            return _compute_deadline(effect, start)


def _payment_request(state: State, start: AcceptedStart, first_run: str) -> PaymentRequest:
    terms = start.model_dump(mode="json", include={"policy", "requirements_needed"})
    return PaymentRequest(
        key=f"{state.terms.key}/hold",
        purchase_id=start.purchase_id,
        price=start.price,
        payment_method=start.payment_method,
        payment_reference=start.payment_reference,
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


def _payment_facts(answer: PaymentAnswer, *, paid_elsewhere: bool = False) -> Sequence[Fact]:
    match answer.status:
        case "held":
            return [PaymentHeld(answer.reference)]
        case "declined":
            why = budget.cut(answer.text, LONGEST_REASON)
            return [PaymentUnusable(why) if paid_elsewhere else PaymentDeclined(why)]
        case "needs_client":
            return [PaymentNeedsClient(answer.confirm_url)]
        case "voided":
            return [PaymentVoided()]


def _decision_posting(
    decision: Decision, state: State, start: AcceptedStart, first_run: str
) -> DecisionPosting:
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
        known=_known(state),
        first_run=first_run,
    )


def _known(state: State) -> tuple[str, ...]:
    """What the purchase knows of its payment, as `PaymentNews.names` writes it."""
    disputes = (dispute_name(d.dispute_id, d.newest) for d in state.bank_disputes)
    refunds = (made.reference for made in state.refunds_elsewhere if not made.failed)
    return (*disputes, *refunds)


def _post_decision(state: State, start: AcceptedStart, first_run: str) -> ActivityCall:
    decision = state.decision
    assert decision is not None
    posting = _decision_posting(decision, state, start, first_run)
    directions = ((decision.refund, "for the client"), (decision.release, "to the freelancer"))
    parts = [
        f"{state.terms.format_amount(amount)} out of escrow {where}"
        for amount, where in directions
        if amount
    ]
    summary = f"Post {' and '.join(parts)}, {spaced(decision.reason)}"

    def facts(answer: DecisionAnswer) -> Sequence[Fact]:
        return _news_facts(state)(answer.news) if answer.news else [DecisionPosted()]

    return ActivityCall(POST_DECISION, posting, summary, facts)


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
        known_status=state.refund.status.value,
        known_text=state.refund.why,
    )


def _refund_facts(attempt: int) -> Callable[[RefundAnswer], Sequence[Fact]]:
    def facts(answer: RefundAnswer) -> Sequence[Fact]:
        text = budget.cut(answer.text, LONGEST_REASON)
        return [RefundReported(attempt, answer.status, answer.reference, text, answer.cancelled)]

    return facts


# --- what the provider has about the payment


def _check_payment(number: int, state: State, start: AcceptedStart, now: datetime) -> ActivityCall:
    query = PaymentQuery(
        purchase_id=start.purchase_id, charge_reference=state.charge_reference, at=now
    )
    summary = f"Ask the provider about the payment of {_price(state)}"

    def facts(news: PaymentNews) -> Sequence[Fact]:
        return [*_news_facts(state)(news), PaymentChecked(number)]

    return ActivityCall(CHECK_PAYMENT, query, summary, facts, CHECK_PAYMENT_FOR)


def _news_facts(state: State) -> Callable[[PaymentNews], Sequence[Fact]]:
    """Each dispute, each refund that others made, and each of ours."""
    attempts = range(1, state.refund.attempt + 1) if state.refund else ()
    ours = {state.refund_id(attempt): attempt for attempt in attempts}

    def facts(news: PaymentNews) -> Iterator[Fact]:
        # Refunds first: a bank can also withdraw what was refunded before.
        for refund in news.refunds:
            text = budget.cut(refund.text, LONGEST_REASON)
            if not refund.refund_id and refund.status == "failed":
                yield RefundElsewhereFailed(refund.reference, text)
            elif not refund.refund_id:
                yield RefundedElsewhere(refund.reference, refund.amount)
            elif attempt := ours.get(refund.refund_id):
                yield RefundReported(
                    attempt, refund.status, refund.reference, text, refund.cancelled
                )
        for dispute in news.disputes:
            reason = budget.cut(dispute.reason, LONGEST_REASON)
            yield BankDisputeReported(dispute.dispute_id, dispute.status, dispute.amount, reason)

    return lambda news: list(facts(news))


def _move_posting(move: ProviderMove, state: State, start: AcceptedStart) -> ProviderMovePosting:
    return ProviderMovePosting(
        key=f"{state.terms.key}/{move.kind}/{_key_part(f'{move.account}/{move.reference}')}",
        purchase_id=start.purchase_id,
        kind=move.kind,
        account=move.account,
        amount=move.amount,
        currency=start.price.currency,
        reference=move.reference,
        at=move.at,
    )


def _key_part(reference: str) -> str:
    """The provider's name in a key; its hash, if it has other characters than names have."""
    if re.fullmatch(r"[A-Za-z0-9_./-]{1,100}", reference, re.ASCII):
        return reference
    return hashlib.sha256(reference.encode()).hexdigest()


def _post_provider_move(number: int, state: State, start: AcceptedStart) -> ActivityCall:
    move = state.moves[number]
    amount = state.terms.format_amount(move.amount)
    summary = f"Post {amount}, {spaced(move.kind)}"
    posting = _move_posting(move, state, start)
    return ActivityCall(
        POST_PROVIDER_MOVE, posting, summary, lambda _: [ProviderMovePosted(number)]
    )


def _settlement_posting(
    reference: str, at: datetime, state: State, start: AcceptedStart
) -> SettlementPosting:
    number = f"-{state.settlements + 1}" if state.settlements else ""
    return SettlementPosting(
        key=f"{state.terms.key}/settled{number}",
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
    return ActivityCall(POST_SETTLEMENT, posting, summary, lambda _: [SettlementPosted()])


def postings(state: State, start: AcceptedStart, first_run: str) -> WorkflowPostings:
    """The postings of a purchase, for `recourse restore`: what the effects request, and which of
    it the ledger has confirmed."""
    held, decision, settled = state.payment is Payment.HELD, state.decision, state.settlement
    return WorkflowPostings(
        hold=None if state.payment is Payment.NONE else _payment_request(state, start, first_run),
        held=held,
        decision=_decision_posting(decision, state, start, first_run)
        if held and decision
        else None,
        decision_posted=state.decision_posted,
        settlement=_settlement_posting(settled.reference, settled.at, state, start)
        if settled
        else None,
        settlement_posted=state.refund is not None and state.refund.posted,
        moves=tuple(_move_posting(move, state, start) for move in state.moves),
        disputes=tuple(dispute.dispute_id for dispute in state.bank_disputes),
        elsewhere=tuple(made.reference for made in state.refunds_elsewhere),
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

    def facts(answer: BusinessDeadline) -> Sequence[Fact]:
        return [DeadlineComputed(effect.deadline, effect.start, answer.at)]

    return ActivityCall(BUSINESS_DEADLINE, question, summary, facts)


def _refund_amount(state: State) -> str:
    amount = state.refund.amount if state.refund else 0
    return state.terms.format_amount(amount)


def _price(state: State) -> str:
    return state.terms.format_amount(state.terms.amount)
