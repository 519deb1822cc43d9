"""A purchase keeps the rules it was bought under; here without a server."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from tests.lifecycle.given import ESCROW, NOON, Purchase, becomes, rejected, said, settles
from workflows.lifecycle import actions, begin, deadlines, decide, handlers, newest, versions
from workflows.lifecycle.deadlines import DEADLINES, DeadlineRule
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.handlers import Action
from workflows.lifecycle.state import (
    Code,
    ComputeDeadline,
    DeadlineExpired,
    DeadlineName,
    Decision,
    Stage,
    State,
)
from workflows.lifecycle.transitions import RULES, Rule
from workflows.lifecycle.versions import FIRST, VERSIONS, Tables, UnknownVersion
from workflows.messages import Role

STATES = TypeAdapter(State)


def a_second_version() -> Tables:
    """The first, but freelancers cannot cancel, and reviews call a person instead of paying."""
    first = VERSIONS[FIRST]
    return Tables(
        tuple(row for row in first.rules if row.transition != "freelancer_cancelled"),
        tuple(
            replace(row, warns="something else") if row.deadline is DeadlineName.REVIEW else row
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
    rejected(
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


def with_row(row: Rule | DeadlineRule, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first version in which this row comes before all others."""
    first = VERSIONS[FIRST]
    changed = (
        Tables((row, *first.rules), first.deadlines)
        if isinstance(row, Rule)
        else Tables(first.rules, (row, *first.deadlines))
    )
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: changed})


@pytest.mark.parametrize(
    ("decides", "refund"),
    [
        (handlers.refund_all, ESCROW),
        (handlers.release_all, 0),
        (handlers.pay_claim, 15_000),
        (handlers.split_as_sent, 12_000),
    ],
)
def test_a_new_row_may_decide_in_each_of_the_known_ways(
    decides: Callable[[str], Action], refund: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refund all, release all, pay the claim, split as sent: for a reason of its own."""
    row = next(row for row in RULES if row.message == "resolve_dispute")
    with_row(replace(row, then=decides("because")), monkeypatch)
    purchase = Purchase().disputed()
    purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=12_000)
    settles(purchase, "because", refund=refund, release=ESCROW - refund)


def test_paying_a_claim_that_nobody_made_refunds_all() -> None:
    """Silence about nothing gives nothing away."""
    draft = Draft(Purchase().working().state, DeadlineExpired(DeadlineName.CLAIM), NOON)
    handlers.pay_claim("because")(draft)
    assert draft.state.decision == Decision("because", ESCROW, 0, NOON)


def test_a_split_as_sent_stays_within_the_escrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing to all of it; beyond, it is refused."""
    row = next(row for row in RULES if row.message == "resolve_dispute")
    with_row(replace(row, then=handlers.split_as_sent("because")), monkeypatch)
    for refund in (0, ESCROW):
        purchase = Purchase().disputed()
        purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=refund)
        settles(purchase, "because", refund=refund, release=ESCROW - refund)
    answer = Purchase().disputed().staff(Role.MEDIATOR, "resolve_dispute", refund=ESCROW + 1)
    rejected(answer, Code.INVALID_AMOUNT, "250.01 USD is not between 0.00 USD and the escrow")


def test_a_new_row_may_lead_to_another_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here: a dispute can be opened as soon as the refund is asked for."""
    row = next(row for row in RULES if row.message == "open_dispute")
    early = replace(row, stages=(Stage.REFUND_REQUESTED,), then=handlers.go_to(Stage.DISPUTED))
    with_row(early, monkeypatch)
    purchase = Purchase().requested()
    purchase.client("open_dispute", reason="no answer")
    becomes(purchase, Stage.DISPUTED)
    assert set(purchase.state.deadlines) == {DeadlineName.DISPUTE}


def test_a_new_row_may_name_whoever_acted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A party by its name, staff by their role, silence as the system."""
    row = next(row for row in RULES if row.message == "resolve_dispute")
    with_row(replace(row, says="{by} decided: {refund} to {client}."), monkeypatch)
    purchase = Purchase().disputed()
    purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=15_000)
    assert purchase.last.text == "mediator decided: 150.00 USD to Ana."
    lapse = next(row for row in DEADLINES if row.deadline is DeadlineName.REVIEW)
    with_row(replace(lapse, says="{by} released {escrow} to {freelancer}."), monkeypatch)
    purchase = Purchase().delivered()
    purchase.deadline(DeadlineName.REVIEW)
    assert purchase.last.text == "the system released 250.00 USD to Bo."


def test_a_deadline_that_a_version_does_not_know_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A version may drop a row of the deadlines: the clock ends, and that is all."""
    first = VERSIONS[FIRST]
    rows = tuple(row for row in first.deadlines if row.deadline is not DeadlineName.REVIEW)
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: Tables(first.rules, rows)})
    purchase = Purchase().delivered()
    before = purchase.state
    purchase.deadline(DeadlineName.REVIEW)
    assert purchase.last.effects == ()
    assert purchase.state == replace(before, deadlines={})


def test_a_window_in_business_days_that_starts_anew_waits_for_the_calendar() -> None:
    """Whatever was known of its end before does not hold any more."""
    purchase = Purchase().contested()
    draft = Draft(purchase.state, DeadlineExpired(DeadlineName.CLAIM), purchase.now)
    draft.start(DeadlineName.CLAIM)
    assert DeadlineName.CLAIM not in draft.state.deadlines
    assert draft.effects == [ComputeDeadline(DeadlineName.CLAIM, purchase.now, 5)]


def test_a_version_nobody_knows_is_refused_in_words() -> None:
    """It is not guessed at: everything that needs the rules says which version is missing."""
    purchase = Purchase().delivered()
    state = under(7, purchase)
    words = "bought under version 7 of the rules; this worker knows 1"
    with pytest.raises(UnknownVersion, match=words):
        decide(state, said("accept_delivery", Role.CLIENT), purchase.now)
    with pytest.raises(UnknownVersion, match=words):
        decide(state, DeadlineExpired(DeadlineName.REVIEW), purchase.now)
    with pytest.raises(UnknownVersion, match=words):
        deadlines(state)


def test_a_version_nobody_knows_is_refused_with_those_that_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them."""
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: VERSIONS[FIRST], 2: a_second_version()})
    with pytest.raises(UnknownVersion, match=r"this worker knows 1, 2\."):
        deadlines(under(7, Purchase().delivered()))


def test_a_purchase_without_a_version_has_the_first() -> None:
    """What was carried on or recorded before there were versions."""
    state = Purchase().state
    written = STATES.dump_python(state, mode="json")
    del written["terms"]["rules_version"]
    assert STATES.validate_python(written) == state
    assert begin(state.terms, state.terms.purchased_at).state.stage is Stage.AWAITING_REQUIREMENTS
    assert state.terms.rules_version == FIRST
