"""A purchase keeps the rules it was bought under (without a server)."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from tests.lifecycle.builders import ESCROW, NOON, Purchase, becomes, rejected, said, settles
from workflows.lifecycle import begin, deadlines, decide, handlers, newest, permissions, versions
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.events import ComputeDeadline, DeadlineExpired
from workflows.lifecycle.handlers import Handler
from workflows.lifecycle.state import Code, DeadlineName, Decision, Stage, State
from workflows.lifecycle.transition import Transition
from workflows.lifecycle.versions import FIRST, VERSIONS, Rules, UnknownVersion
from workflows.messages import Role

STATES = TypeAdapter(State)


def a_second_version() -> Rules:
    """The first, but freelancers cannot cancel, and reviews call a person instead of paying."""
    first = VERSIONS[FIRST]
    rows = (row for row in first.transitions if row.name != "freelancer_cancelled")
    return Rules(
        tuple(
            replace(row, text=replace(row.text, expiry="something else"))
            if row.id == "R-17"
            else row
            for row in rows
        ),
        first.deadlines,
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
    """`actions`, and what a deadline will do."""
    purchase = Purchase().delivered()
    first, other = (under(version, purchase) for version in (FIRST, second))
    assert deadlines(first)[0].then == (
        "the delivery counts as accepted and all of the money goes to the freelancer"
    )
    assert deadlines(other)[0].then == "something else"
    reviewed = Purchase().reviewed()
    allowed = {
        version: {
            action.message
            for action in permissions(under(version, reviewed), Role.FREELANCER, reviewed.now)
            if action.allowed
        }
        for version in (FIRST, second)
    }
    assert allowed[FIRST] - allowed[second] == {"cancel"}


def row(row_id: str) -> Transition:
    """A row of the first version."""
    return next(row for row in VERSIONS[FIRST].transitions if row.id == row_id)


def with_row(changed: Transition, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first version with this row in the place of the one of its id."""
    first = VERSIONS[FIRST]
    rows = tuple(changed if old.id == changed.id else old for old in first.transitions)
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: Rules(rows, first.deadlines)})


@pytest.mark.parametrize(
    ("handler", "refund"),
    [
        (handlers.refund_all("because"), ESCROW),
        (handlers.release_all("because"), 0),
        (handlers.pay_claim("because"), 15_000),
    ],
)
def test_a_new_row_may_decide_in_each_of_the_known_ways(
    handler: Handler, refund: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refund all, release all, pay the claim: for a reason of its own."""
    with_row(replace(row("R-41"), handler=handler), monkeypatch)
    purchase = Purchase().disputed()
    purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=12_000)
    settles(purchase, "because", refund=refund, release=ESCROW - refund)


def test_paying_a_claim_that_nobody_made_refunds_all() -> None:
    """R-38: without a claim, nothing is given away."""
    draft = Draft(Purchase().working().state, DeadlineExpired(DeadlineName.CLAIM), NOON)
    handlers.pay_claim("because")(draft)
    assert draft.state.decision == Decision("because", ESCROW, 0, NOON)


def test_a_mediators_split_stays_within_the_escrow() -> None:
    """R-41: from nothing to all of it; beyond, it is rejected."""
    for refund in (0, ESCROW):
        purchase = Purchase().disputed()
        purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=refund)
        settles(purchase, "dispute_resolved", refund=refund, release=ESCROW - refund)
    answer = Purchase().disputed().staff(Role.MEDIATOR, "resolve_dispute", refund=ESCROW + 1)
    rejected(answer, Code.INVALID_AMOUNT, "250.01 USD is not between 0.00 USD and the escrow")


def test_a_new_row_may_lead_to_another_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """R-23 with other stages: a dispute can be opened as soon as the refund is requested."""
    with_row(replace(row("R-23"), stages=(Stage.REFUND_REQUESTED,)), monkeypatch)
    purchase = Purchase().requested()
    purchase.client("open_dispute", reason="no answer")
    becomes(purchase, Stage.DISPUTED)
    assert set(purchase.state.deadlines) == {DeadlineName.DISPUTE}


def test_the_stage_is_where_the_row_leads_whatever_its_handler_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`to` is executed by the engine: the same handler with another `to` ends elsewhere."""
    with_row(replace(row("R-14"), to=Stage.IN_PROGRESS), monkeypatch)
    purchase = Purchase().working()
    purchase.freelancer("deliver")
    assert purchase.state.stage is Stage.IN_PROGRESS


def test_the_words_of_a_new_row_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeline and the notice use the text of the purchase's version."""
    own = replace(row("R-41").text, summary="{Actor} decided: {refund} to {client}.")
    with_row(replace(row("R-41"), text=own), monkeypatch)
    purchase = Purchase().disputed()
    purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=15_000)
    assert purchase.last.text == "The mediator decided: 150.00 USD to Ana."
    assert purchase.notices[0].text == own


def test_a_deadline_without_a_row_for_its_end_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The deadline ends, and that is all."""
    first = VERSIONS[FIRST]
    rules = tuple(
        replace(rule, expiry=()) if rule.name is DeadlineName.REVIEW else rule
        for rule in first.deadlines
    )
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: Rules(first.transitions, rules)})
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


def test_a_message_that_the_purchases_version_lacks_is_rejected_and_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A message that a later version added: older purchases reject it, and `actions` says why."""
    first = VERSIONS[FIRST]
    without = Rules(
        tuple(row for row in first.transitions if row.cause.message != "give_refund"),
        first.deadlines,
    )
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: without, 2: first})
    purchase = Purchase().working()
    purchase.state = under(FIRST, purchase)
    answer = purchase.freelancer("give_refund")
    rejected(answer, Code.NOT_ALLOWED_NOW, "give_refund is not part of the rules that this")
    shown = {p.message: p for p in permissions(purchase.state, Role.FREELANCER, purchase.now)}
    assert not shown["give_refund"].allowed
    assert shown["give_refund"].why_not == getattr(answer, "text", "")
