"""A purchase keeps the rules it was bought under; here without a server."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from tests.lifecycle.given import Purchase, refused, said
from workflows.lifecycle import actions, begin, deadlines, decide, newest, versions
from workflows.lifecycle.state import Clock, Code, DeadlineReached, Stage, State
from workflows.lifecycle.versions import FIRST, VERSIONS, Tables, UnknownVersion
from workflows.messages import Role

STATES = TypeAdapter(State)


def a_second_version() -> Tables:
    """The first, but freelancers cannot cancel, and reviews call a person instead of paying."""
    first = VERSIONS[FIRST]
    return Tables(
        tuple(row for row in first.rules if row.transition != "freelancer_cancelled"),
        tuple(
            replace(row, warns="something else") if row.clock is Clock.REVIEW else row
            for row in first.deadlines
        ),
    )


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> int:
    """A second version beside the first."""
    monkeypatch.setattr(versions, "VERSIONS", {**VERSIONS, 2: a_second_version()})
    return newest()


def under(version: int, purchase: Purchase) -> State:
    """That purchase, had it been bought under that version."""
    return replace(purchase.state, terms=replace(purchase.state.terms, rules_version=version))


def test_both_versions_decide_side_by_side(second: int) -> None:
    """The same message at the same moment: accepted under one, refused under the other."""
    assert second == 2
    cancel = said("cancel", Role.FREELANCER)
    purchase = Purchase().reviewed()
    answer = decide(under(FIRST, purchase), cancel, purchase.now)
    assert getattr(answer, "transition", None) == "freelancer_cancelled"
    refused(
        decide(under(second, purchase), cancel, purchase.now),
        Code.WRONG_ROLE,
        "cancel is for the client",
    )


def test_what_a_page_shows_is_of_the_same_version(second: int) -> None:
    """`actions` and the words of a deadline, too."""
    purchase = Purchase().delivered()
    first, other = (under(version, purchase) for version in (FIRST, second))
    assert deadlines(first)[0].then == "the escrow is released to the freelancer"
    assert deadlines(other)[0].then == "something else"
    reviewed = Purchase().reviewed()
    allowed = {
        version: {
            action.message
            for action in actions(under(version, reviewed), Role.FREELANCER, reviewed.now)
            if action.allowed
        }
        for version in (FIRST, second)
    }
    assert allowed[FIRST] - allowed[second] == {"cancel"}


def test_a_version_nobody_knows_is_refused_in_words() -> None:
    """It is not guessed at: everything that needs the rules says which version is missing."""
    purchase = Purchase().delivered()
    state = under(7, purchase)
    words = "bought under version 7 of the rules; this worker knows 1"
    with pytest.raises(UnknownVersion, match=words):
        decide(state, said("accept_delivery", Role.CLIENT), purchase.now)
    with pytest.raises(UnknownVersion, match=words):
        decide(state, DeadlineReached(Clock.REVIEW), purchase.now)
    with pytest.raises(UnknownVersion, match=words):
        deadlines(state)


def test_a_purchase_without_a_version_has_the_first() -> None:
    """What was carried on or recorded before there were versions."""
    state = Purchase().state
    written = STATES.dump_python(state, mode="json")
    del written["terms"]["rules_version"]
    assert STATES.validate_python(written) == state
    assert begin(state.terms, state.terms.purchased_at).state.stage is Stage.AWAITING_REQUIREMENTS
    assert state.terms.rules_version == FIRST
