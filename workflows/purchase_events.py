"""Events for other systems: what each transition has changed, as CloudEvents. Part of the contract.

An event has ids, codes, amounts and times, and no sentences, names or addresses: there is nothing
to translate, and nothing to forget.
"""

from datetime import datetime
from typing import Any, Literal

from activities.fields import Amount, UtcDatetime
from activities.requests import EventRecord, Model, Money
from workflows import lifecycle, shown
from workflows.lifecycle.events import Accepted
from workflows.lifecycle.state import State
from workflows.messages import Escrow, Frozen, Message, Offer, RefundAttempt


class EventActor(Model):
    """Who caused the transition."""

    role: str
    id: str | None


class EventDeadline(Model):
    """An open deadline."""

    name: str
    at: UtcDatetime
    waiting_for: str
    row: str


class EventAttention(Model):
    """Something that needs a person."""

    kind: str
    since: UtcDatetime


class EventDecision(Model):
    """Who gets the escrow."""

    refund: Amount
    release: Amount
    reason: str
    at: UtcDatetime


class EventReferences(Model):
    """The payment provider's names, to find the same at the provider."""

    payment: str | None
    refund: str | None
    settlement: str | None
    bank_dispute: str | None


class EventData(Model):
    """What one transition has changed, and how the purchase stands after it."""

    purchase_id: str
    stream: str
    sequence: int
    transition: str
    row: str
    rules_version: int
    actor: EventActor
    stage_before: str | None
    stage: str
    waiting_for: str
    client: str
    freelancer: str
    price: Money
    payment: str
    escrow: Escrow
    claim: Amount | None
    offer: Offer | None
    decision: EventDecision | None
    refund: RefundAttempt | None
    frozen: Frozen | None
    deadlines: tuple[EventDeadline, ...]
    attention: tuple[EventAttention, ...]
    outcome: str | None
    reason: str | None
    closed_at: UtcDatetime | None
    references: EventReferences


class PurchaseEvent(Model):
    """One event, a CloudEvent 1.0 in structured mode (`application/cloudevents+json`)."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: UtcDatetime
    datacontenttype: Literal["application/json"]
    dataschema: str
    data: EventData


def event_record(
    purchase_id: str,
    stream: str,
    sequence: int,
    before: State,
    answer: Accepted,
    at: datetime,
    message: Message | None,
) -> EventRecord | None:
    """The event with this number for a transition `at` this time. None if no row was applied, or
    one without a line in the timeline that has changed nothing which an event shows."""
    if not answer.row:
        return None
    state = answer.state
    after = _shown(state)
    if not answer.transition and after == _shown(before):
        return None
    row = lifecycle.rules_of(state).row(answer.row)
    begins = not row.stages
    data = EventData(
        purchase_id=purchase_id,
        stream=stream,
        sequence=sequence,
        transition=row.name,
        row=row.id,
        rules_version=state.terms.rules_version,
        actor=EventActor(role=answer.actor, id=message.by.id if message else None),
        stage_before=None if begins else shown.shown_stage(before).value,
        **after,
    )
    return EventRecord(
        id=f"{stream}/{sequence}-{row.name}",
        type=f"recourse.purchase.{row.name}.v1",
        transition=row.name,
        at=at,
        data=data.model_dump(mode="json"),
    )


def _shown(state: State) -> dict[str, Any]:
    """What an event shows of a state."""
    decision = state.decision
    return {
        "stage": shown.shown_stage(state).value,
        "waiting_for": lifecycle.waiting_for(state),
        "client": state.terms.client.id,
        "freelancer": state.terms.freelancer.id,
        "price": Money(amount=state.terms.amount, currency=state.terms.currency),
        "payment": state.payment.value,
        "escrow": shown.escrow(state),
        "claim": state.claim,
        "offer": shown.offer(state),
        "decision": decision
        and EventDecision(
            refund=decision.refund,
            release=decision.release,
            reason=decision.reason,
            at=decision.at,
        ),
        "refund": shown.refund_attempt(state),
        "frozen": shown.frozen(state),
        "deadlines": tuple(_deadlines(state)),
        "attention": tuple(
            EventAttention(kind=item.kind.value, since=item.since) for item in state.attention
        ),
        "outcome": state.outcome,
        "reason": state.reason,
        "closed_at": state.closed_at,
        "references": _references(state),
    }


def _deadlines(state: State) -> list[EventDeadline]:
    """The open deadlines, the next one first, each with the row that applies on expiry."""
    rules = lifecycle.rules_of(state)
    return [
        EventDeadline(
            name=name.value, at=at, waiting_for=rules.deadline(name).waiting_for, row=row.id
        )
        for name, at in sorted(state.deadlines.items(), key=lambda item: item[1])
        if (row := lifecycle.on_expiry(state, name))
    ]


def _references(state: State) -> EventReferences:
    settlement = state.settlement
    proof = settlement.reference if settlement and not settlement.proved_by_person else ""
    disputes = state.bank_disputes
    return EventReferences(
        payment=state.charge_reference or None,
        refund=(state.refund.references[-1] if state.refund else "") or None,
        settlement=proof or None,
        bank_dispute=disputes[-1].dispute_id if disputes else None,
    )
