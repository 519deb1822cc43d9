"""What others read of a purchase: the `status` query, the result, the search attributes."""

from datetime import datetime
from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributeUpdate, TypedSearchAttributes

from activities.fields import UtcDatetime
from activities.requests import Model
from workflows import lifecycle, shown
from workflows.lifecycle.events import RecipientRole
from workflows.lifecycle.state import DeadlineName, Payment, State
from workflows.messages import AttentionItem, PurchaseResult, Role, Sender, Status
from workflows.workflow_state import AcceptedStart, WorkflowState

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


def search_attributes(state: State, now: datetime) -> Searchable:
    """The search attributes as they should be now."""
    found: Searchable = {
        STAGE: shown.shown_stage(state).value,
        CLIENT: state.terms.client.id,
        FREELANCER: state.terms.freelancer.id,
        NEEDS_ATTENTION: bool(state.attention),
    }
    if state.outcome:
        found[OUTCOME] = state.outcome
    if deadlines := _listed_deadlines(state, now):
        found[DEADLINE] = min(deadlines.values())
    return found


def _listed_deadlines(state: State, now: datetime) -> dict[DeadlineName, datetime]:
    deadlines = dict(state.deadlines)
    if lifecycle.payment_attempt_ends(state, now):
        del deadlines[DeadlineName.PAYMENT]
    return deadlines


LISTED = "listed"
"""The field of the memo with what `listed` returns."""


class ListedNow(Model):
    """What lists show of a purchase that its search attributes do not say. `deadline`: the one to
    show, if it is not the earliest; `row`: the id of the row that applies when it ends, if lists
    do not know it from the stage (`usual_rows`); `offer`: who has proposed the split that stands.
    """

    deadline: UtcDatetime | None = None
    row: str | None = None
    frozen: bool = False
    offer: Role | None = None


def listed(state: State, now: datetime) -> ListedNow:
    """What lists show now beside the search attributes."""
    deadlines = _listed_deadlines(state, now)
    names = sorted(deadlines, key=lambda name: deadlines[name])
    name = lifecycle.main_deadline(state.stage, names)
    row = lifecycle.on_expiry(state, name) if name else None
    usual = lifecycle.usual_rows(shown.shown_stage(state))
    return ListedNow(
        deadline=deadlines[name] if name and deadlines[name] > min(deadlines.values()) else None,
        row=row.id if row and row.id not in usual else None,
        frozen=state.frozen is not None,
        offer=state.offer.by if state.offer else None,
    )


def known(attributes: TypedSearchAttributes) -> Searchable:
    """Those of ours that the server has from an earlier run or from the start."""
    return {pair.key: pair.value for pair in attributes if pair.key in SEARCH_ATTRIBUTES}


def updates(before: Searchable, after: Searchable) -> list[SearchAttributeUpdate[Any]]:
    """What to upsert so that the server has `after`."""
    changed = [key.value_set(value) for key, value in after.items() if before.get(key) != value]
    return changed + [key.value_unset() for key in before if key not in after]


def status(state: WorkflowState) -> Status:
    """Everything about the purchase."""
    purchase, start = state.purchase, state.start
    late = next((entry.late_by for entry in reversed(state.timeline) if entry.late_by), None)
    return Status(
        purchase_id=start.purchase_id,
        title=start.title,
        client=start.client.id,
        freelancer=start.freelancer.id,
        price=start.price,
        purchased_at=purchase.terms.purchased_at,
        stage=shown.shown_stage(purchase).value,
        outcome=purchase.outcome,
        reason=purchase.reason,
        waiting_for=lifecycle.waiting_for(purchase),
        payment=purchase.payment.value,
        confirm_url=purchase.confirm_url or None if purchase.payment is Payment.PENDING else None,
        escrow=shown.escrow(purchase),
        refund=shown.refund_attempt(purchase),
        frozen=shown.frozen(purchase),
        deadlines=lifecycle.deadlines(purchase),
        offer=shown.offer(purchase),
        claim=purchase.claim,
        requirements=state.requirements,
        attention=tuple(
            AttentionItem(kind=item.kind.value, text=item.text, since=item.since)
            for item in purchase.attention
        ),
        timeline=tuple(state.timeline),
        rejected=tuple(state.rejected),
        rejected_count=state.rejected_count,
        undelivered=tuple(state.undelivered),
        late_by=late,
        stream=state.stream or None,
        sequence=state.sequence,
    )


def result(state: WorkflowState) -> PurchaseResult:
    """What the workflow returns when the purchase is closed."""
    purchase = state.purchase
    assert purchase.outcome is not None
    assert purchase.reason is not None
    assert purchase.closed_at is not None
    return PurchaseResult(
        purchase_id=state.start.purchase_id,
        outcome=purchase.outcome,
        reason=purchase.reason,
        refunded=purchase.refunded,
        released=purchase.released,
        currency=purchase.terms.currency,
        closed_at=purchase.closed_at,
    )


def party_of(start: AcceptedStart, sender: Sender | None) -> RecipientRole | None:
    """The party that a sender is, if it is one."""
    match sender:
        case Sender(role=Role.CLIENT, id=start.client.id):
            return "client"
        case Sender(role=Role.FREELANCER, id=start.freelancer.id):
            return "freelancer"
    return None
