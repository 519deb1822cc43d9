"""Real answers of a purchase, as examples in the schemas: Ana cancels, both agree on a split."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import to_jsonable_python

from activities.notices.events import cloud_event, source_of
from workflows import lifecycle, view
from workflows.acceptance import accept
from workflows.lifecycle.events import (
    Accepted,
    DecisionPosted,
    Event,
    PaymentHeld,
    RefundReported,
    SettlementPosted,
)
from workflows.messages import MESSAGES, Receipt, Role
from workflows.workflow_state import WorkflowState

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
START = {
    "purchase_id": "p-1001",
    "title": "Logo design",
    "client": {"id": "ana", "name": "Ana", "email": "ana@example.com"},
    "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com"},
    "price": {"amount": 25000, "currency": "USD"},
    "payment_method": "pm_sandbox_ok",
}
ANA, BO = {"role": "client", "id": "ana"}, {"role": "freelancer", "id": "bo"}


def examples() -> dict[str, Any]:
    """An example of each answer, by the name of its schema."""
    terms = accept(json.dumps(START), "purchase-p-1001", NOON)
    state = WorkflowState.begin(terms.model_copy(update={"events": True}), NOON, 1)
    _happen(state, 1, PaymentHeld("ch_1"))
    _happen(state, 2, MESSAGES["cancel"].model_validate({"by": ANA, "reason": "Plans changed."}))
    text = _happen(
        state,
        3,
        MESSAGES["propose_split"].model_validate({"by": BO, "refund": 15000, "note": "Half?"}),
    )
    open_status = view.status(state)
    event = json.loads(cloud_event(state.events[-1], "p-1001", source_of("production")))
    deadline = lifecycle.next_deadline(state.purchase)
    receipt = Receipt(stage=open_status.stage, text=text, next_deadline=deadline and deadline.at)
    actions = lifecycle.permissions(state.purchase, Role.FREELANCER, NOON + timedelta(hours=3))
    _happen(state, 4, MESSAGES["accept_split"].model_validate({"by": ANA, "refund": 15000}))
    for hours, fact in (
        (4, DecisionPosted()),
        (5, RefundReported(1, "settled", "re_1")),
        (5, SettlementPosted()),
    ):
        _happen(state, hours, fact)
    found = {
        "receipt": receipt,
        "status": open_status,
        "actions": list(actions),
        "result": view.result(state),
        "event": event,
    }
    return {name: to_jsonable_python(example) for name, example in found.items()}


def _happen(state: WorkflowState, hours: int, event: Event) -> str:
    """Apply an event that happens this many hours after the purchase; return its text."""
    now = NOON + timedelta(hours=hours)
    answer = lifecycle.decide(state.purchase, event, now)
    assert isinstance(answer, Accepted), answer
    message = event if hasattr(event, "by") else None
    state.record(answer, now, message)  # type: ignore[arg-type]
    return answer.text
