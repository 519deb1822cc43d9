"""Each transition has one event, which shows what the status shows, in every reachable state."""

import json
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import pytest

from activities.notices.events import cloud_event
from activities.requests import EventRecord
from starter.schema_examples import NOON, START
from tests.lifecycle.builders import Purchase, message
from tests.lifecycle.test_walk import walked
from tests.lifecycle.walk import AFTER_THE_END, Walk
from tests.schemas import schema_of, validator_of
from workflows import lifecycle, view
from workflows.acceptance import accept
from workflows.lifecycle.events import Accepted, DecisionPosted, PaymentHeld
from workflows.lifecycle.state import DeadlineName, State
from workflows.lifecycle.versions import VERSIONS
from workflows.messages import Message, Role
from workflows.purchase_events import event_record
from workflows.workflow_state import WorkflowState

SCHEMA = schema_of("event")
VALIDATOR = validator_of(SCHEMA)
SAME = (
    *("stage", "outcome", "reason", "waiting_for", "payment", "escrow", "refund", "frozen"),
    *("claim", "offer", "client", "freelancer", "price"),
)
"""What event and status have under one name."""


def begun(**changed: Any) -> WorkflowState:
    """A purchase that sends events."""
    terms = accept(json.dumps(START), "purchase-p-1001", NOON)
    return WorkflowState.begin(terms.model_copy(update={"events": True, **changed}), NOON, 1)


@cache
def empty() -> WorkflowState:
    """A purchase to look at states with."""
    return begun()


def status(state: State) -> dict[str, Any]:
    """What status and event have in common."""
    found = view.status(empty().model_copy(update={"purchase": state})).model_dump(mode="json")
    shown = {name: found[name] for name in SAME if name != "price"}
    shown["deadlines"] = [(each["name"], each["at"]) for each in found["deadlines"]]
    shown["attention"] = [(each["kind"], each["since"]) for each in found["attention"]]
    return shown


def common(event: EventRecord) -> dict[str, Any]:
    """The same of an event."""
    data: Any = event.data
    shown = {name: data[name] for name in SAME if name != "price"}
    shown["deadlines"] = [(each["name"], each["at"]) for each in data["deadlines"]]
    shown["attention"] = [(each["kind"], each["since"]) for each in data["attention"]]
    return shown


def transitions(found: Walk) -> Iterator[tuple[State, Accepted, Message | None]]:
    """Every edge of a walk at which an event was accepted."""
    for key, edges in found.edges.items():
        for edge in edges:
            if isinstance(edge.answer, Accepted):
                sent = edge.event if isinstance(edge.event, Message) else None
                yield found.nodes[key].state, edge.answer, sent


WALKS = (
    "no requirements needed, cancelling is free for a while",
    "a part is refunded elsewhere, and that refund fails",
    AFTER_THE_END,
)


@pytest.mark.parametrize("name", WALKS)
@pytest.mark.parametrize("version", VERSIONS)
def test_each_transition_has_one_event_that_equals_the_status(version: int, name: str) -> None:
    """Also those that notify nobody. A row without a line in the timeline has none only if it
    changes nothing that a consumer can see."""
    seen: set[str] = set()
    # Every third one: all of them would take half a minute.
    for before, answer, sent in islice(transitions(walked(version, name)), None, None, 3):
        event = event_record("p-1", "purchase-p-1", 7, before, answer, NOON, sent)
        if event is None:
            assert not answer.transition
            assert status(before) == status(answer.state)
            continue
        row = lifecycle.rules_of(answer.state).row(answer.row)
        data: Any = event.data
        assert common(event) == status(answer.state)
        assert (data["row"], data["transition"]) == (row.id, row.name)
        assert (
            data["stage_before"]
            == view.status(empty().model_copy(update={"purchase": before})).stage
        )
        assert data["actor"] == {"role": answer.actor, "id": sent.by.id if sent else None}
        assert data["references"]["settlement"] != "statement 7"  # what a person has typed
        if row.id not in seen:  # validating each of hundreds of thousands would take minutes
            seen.add(row.id)
            document = cloud_event(event, "p-1", "/recourse/test")
            VALIDATOR.validate(json.loads(document))
            assert '"Ana' not in document
            assert "asked" not in document
    assert len(seen) > 5


def test_numbers_have_no_gaps_and_ids_are_unique() -> None:
    """From the first moment on, in the order of the transitions."""
    state = begun()
    for event in (
        PaymentHeld("ch_1"),
        message("cancel", Role.CLIENT),
        message("decide_refund", Role.FREELANCER, decision="approve"),
        DecisionPosted(),
    ):
        answer = lifecycle.decide(state.purchase, event, NOON)
        assert isinstance(answer, Accepted)
        state.record(answer, NOON, event if isinstance(event, Message) else None)
    assert [each.data["sequence"] for each in state.events] == [1, 2, 3, 4, 5]
    assert [each.transition for each in state.events] == [
        "purchased",
        "payment_held",
        "client_cancelled",
        "refund_approved",
        "refund_posted",
    ]
    assert len({each.id for each in state.events}) == 5
    assert state.events[0].data["stage_before"] is None
    assert state.sequence == 5


def test_a_purchase_that_sends_none_keeps_none() -> None:
    """Nothing is numbered, and nothing waits."""
    state = begun(events=False)
    assert (state.stream, state.sequence, state.events) == ("", 0, [])
    assert view.status(state).stream is None


def test_a_purchase_that_begins_again_has_another_stream() -> None:
    """The lost runs have used the numbers of the first one."""
    start = begun().start
    again = WorkflowState.begin_again(start, NOON, 1, None)
    assert again.stream == f"purchase-p-1001/{int(NOON.timestamp())}"
    assert [each.data["sequence"] for each in again.events] == [1]
    assert again.events[0].id != begun().events[0].id


def test_an_event_names_the_row_of_each_deadline() -> None:
    """And who has to act."""
    purchase = Purchase().requested()
    answer = purchase.last
    event = event_record("p-1", "purchase-p-1", 1, purchase.state, answer, NOON, None)
    assert event
    deadlines: Any = event.data["deadlines"]
    (due,) = [each for each in deadlines if each["name"] == DeadlineName.REFUND_DECISION]
    assert (due["waiting_for"], due["row"]) == ("freelancer", "R-35")
