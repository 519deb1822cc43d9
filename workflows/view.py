"""What is read of a purchase: the `status` query, the result, the search attributes."""

from datetime import datetime
from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributeUpdate, TypedSearchAttributes

from workflows import lifecycle
from workflows.lifecycle.state import State
from workflows.messages import (
    AttentionItem,
    Escrow,
    Offer,
    PurchaseResult,
    RefundAttempt,
    Status,
)
from workflows.workflow_state import WorkflowState

STAGE = SearchAttributeKey.for_keyword("PurchaseStage")
OUTCOME = SearchAttributeKey.for_keyword("PurchaseOutcome")
CLIENT = SearchAttributeKey.for_keyword("PurchaseClient")
FREELANCER = SearchAttributeKey.for_keyword("PurchaseFreelancer")
DEADLINE = SearchAttributeKey.for_datetime("PurchaseDeadline")
NEEDS_ATTENTION = SearchAttributeKey.for_bool("PurchaseNeedsAttention")

SEARCH_ATTRIBUTES: tuple[SearchAttributeKey[Any], ...] = (
    STAGE,
    OUTCOME,
    CLIENT,
    FREELANCER,
    DEADLINE,
    NEEDS_ATTENTION,
)
"""The registry of search attributes: ids only, no personal data. Registration reads it, too."""

Searchable = dict[SearchAttributeKey[Any], str | bool | datetime]
"""The search attributes of a purchase, without those that have no value."""


def searchable(state: State) -> Searchable:
    """The search attributes as they should be now."""
    deadline = lifecycle.next_deadline(state)
    found: Searchable = {
        STAGE: state.stage.value,
        CLIENT: state.terms.client.id,
        FREELANCER: state.terms.freelancer.id,
        NEEDS_ATTENTION: bool(state.attention),
    }
    if state.outcome:
        found[OUTCOME] = state.outcome
    if deadline:
        found[DEADLINE] = deadline.at
    return found


def known(attributes: TypedSearchAttributes) -> Searchable:
    """What the server already knows of ours: from an earlier run, or from whoever started it."""
    return {pair.key: pair.value for pair in attributes if pair.key in SEARCH_ATTRIBUTES}


def updates(before: Searchable, after: Searchable) -> list[SearchAttributeUpdate[Any]]:
    """What has to be told to the server so that it knows `after`."""
    changed = [key.value_set(value) for key, value in after.items() if before.get(key) != value]
    return changed + [key.value_unset() for key in before if key not in after]


def status(memory: WorkflowState) -> Status:
    """Everything about the purchase."""
    state, start = memory.state, memory.start
    refund, offer = state.refund, state.offer
    late = next((entry.late_by for entry in reversed(memory.timeline) if entry.late_by), None)
    return Status(
        purchase_id=start.purchase_id,
        title=start.title,
        client=start.client.id,
        freelancer=start.freelancer.id,
        price=start.price,
        stage=state.stage.value,
        outcome=state.outcome,
        reason=state.reason,
        waiting_for=lifecycle.waiting_for(state),
        payment=state.payment.value,
        escrow=Escrow(
            held=state.held,
            in_transit=state.in_transit,
            refunded=state.refunded,
            released=state.released,
            currency=start.price.currency,
        ),
        refund=RefundAttempt(
            refund_id=state.refund_id(refund.attempt),
            amount=refund.amount,
            status=refund.status.value,
            reference=refund.references[-1],
        )
        if refund
        else None,
        deadlines=lifecycle.deadlines(state),
        offer=Offer(
            by=offer.by,
            refund=offer.refund,
            release=start.price.amount - offer.refund,
            at=offer.at,
        )
        if offer
        else None,
        claim=state.claim,
        requirements=memory.requirements,
        attention=tuple(
            AttentionItem(kind=item.kind.value, text=item.text, since=item.since)
            for item in state.attention
        ),
        timeline=tuple(memory.timeline),
        rejected=tuple(memory.rejected),
        rejected_count=memory.rejected_count,
        undelivered=tuple(memory.undelivered),
        late_by=late,
    )


def result(memory: WorkflowState) -> PurchaseResult:
    """What the workflow returns when the purchase is closed."""
    state = memory.state
    assert state.outcome is not None
    assert state.reason is not None
    assert state.closed_at is not None
    return PurchaseResult(
        purchase_id=memory.start.purchase_id,
        outcome=state.outcome,
        reason=state.reason,
        refunded=state.refunded,
        released=state.released,
        currency=state.terms.currency,
        closed_at=state.closed_at,
    )
