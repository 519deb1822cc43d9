"""A purchase keeps the version of the rules that it was bought under."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from tests.lifecycle.builders import ESCROW, NOON, Purchase, becomes, message, rejected, settles
from workflows.lifecycle import (
    begin,
    deadlines,
    decide,
    handlers,
    newest,
    newest_rules,
    permissions,
    samples,
    versions,
)
from workflows.lifecycle.deadlines import DEADLINES
from workflows.lifecycle.events import ComputeDeadline, DeadlineExpired
from workflows.lifecycle.handlers import Handler
from workflows.lifecycle.state import Code, DeadlineName, Decision, Stage, State
from workflows.lifecycle.transition import Form, Transition
from workflows.lifecycle.transitions import TRANSITIONS
from workflows.lifecycle.versions import FIRST, RULES_1, VERSIONS, Rules, UnknownVersion, draft_of
from workflows.messages import Role

STATES = TypeAdapter(State)
NEWEST = newest_rules()


def a_second_version() -> Rules:
    """The newest version without R-30 and with another expiry text in R-17."""
    rows = (row for row in NEWEST.transitions if row.name != "freelancer_cancelled")
    return Rules(
        tuple(
            replace(row, text=replace(row.text, expiry="something else"))
            if row.id == "R-17"
            else row
            for row in rows
        ),
        NEWEST.deadlines,
    )


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> int:
    """The registry with a second version after the first."""
    monkeypatch.setattr(versions, "VERSIONS", {**VERSIONS, 2: a_second_version()})
    return newest()


def under(version: int, purchase: Purchase) -> State:
    """The state of that purchase, had it been bought under that version."""
    return replace(purchase.state, terms=replace(purchase.state.terms, rules_version=version))


def test_a_new_version_is_the_one_before_with_its_changes() -> None:
    """A row or a deadline with a known id or name replaces the old one; a new row takes its place
    in the order of ids."""
    first, changed = RULES_1, replace(RULES_1.row("R-17"), source="O")
    added = replace(RULES_1.row("R-20"), id="R-25", name="another")
    longer = replace(RULES_1.deadlines[0], window="dispute_window")

    rules = first.with_rows(added, changed, deadlines=[longer])

    ids = [row.id for row in rules.transitions]
    assert ids == sorted([*(row.id for row in first.transitions), "R-25"])
    assert (rules.row("R-17"), rules.row("R-25")) == (changed, added)
    same = [row for row in rules.transitions if row.id not in ("R-17", "R-25")]
    assert same == [row for row in first.transitions if row.id != "R-17"]
    assert rules.deadlines == (longer, *first.deadlines[1:])
    assert first.with_rows() == first


def test_two_versions_decide_at_the_same_time(second: int) -> None:
    """R-30: the same message is accepted under the first version and rejected under the second."""
    assert second == 2
    cancel = message("cancel", Role.FREELANCER)
    purchase = Purchase().reviewed()
    answer = decide(under(FIRST, purchase), cancel, purchase.now)
    assert getattr(answer, "transition", None) == "freelancer_cancelled"
    rejected(
        decide(under(second, purchase), cancel, purchase.now),
        Code.WRONG_ROLE,
        "cancel is for the client",
    )


def test_deadlines_and_permissions_follow_the_purchases_version(second: int) -> None:
    """R-17, R-30: the expiry text and the permission to cancel differ between the versions."""
    purchase = Purchase().delivered()
    first, other = (under(version, purchase) for version in (FIRST, second))
    assert deadlines(first)[0].then == (
        "the delivery counts as accepted and all of the money goes to the freelancer"
    )
    assert deadlines(other)[0].then == "something else"
    reviewed = Purchase().reviewed()
    allowed = {
        version: {
            each.message
            for each in permissions(under(version, reviewed), Role.FREELANCER, reviewed.now)
            if each.allowed
        }
        for version in (FIRST, second)
    }
    assert allowed[FIRST] - allowed[second] == {"cancel"}


def row(row_id: str) -> Transition:
    """A row of the first version."""
    return next(row for row in VERSIONS[FIRST].transitions if row.id == row_id)


def with_row(changed: Transition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the row with this id in the first version."""
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
def test_a_new_row_may_use_each_handler_that_decides(
    handler: Handler, refund: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-41 with other handlers: refund all, release all, pay the claim, each with a reason of its
    own."""
    with_row(replace(row("R-41"), handler=handler), monkeypatch)
    purchase = Purchase().disputed()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=12_000)
    settles(purchase, "because", refund=refund, release=ESCROW - refund)


def test_a_lapsed_claim_without_an_amount_refunds_all() -> None:
    """R-38: without a claim, the freelancer gets nothing."""
    draft = draft_of(Purchase().working().state, DeadlineExpired(DeadlineName.CLAIM), NOON)
    handlers.pay_claim("because")(draft)
    assert draft.state.decision == Decision("because", ESCROW, 0, NOON)


def test_a_mediators_split_stays_within_the_escrow() -> None:
    """R-41: from nothing to the whole escrow; more is rejected."""
    for refund in (0, ESCROW):
        purchase = Purchase().disputed()
        purchase.send(Role.MEDIATOR, "resolve_dispute", refund=refund)
        settles(purchase, "dispute_resolved", refund=refund, release=ESCROW - refund)
    answer = Purchase().disputed().send(Role.MEDIATOR, "resolve_dispute", refund=ESCROW + 1)
    rejected(answer, Code.INVALID_AMOUNT, "250.01 USD is not between 0.00 USD and the escrow")


def test_a_new_row_may_apply_in_another_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """R-23 with other stages: a dispute can be opened as soon as the refund is requested."""
    with_row(replace(row("R-23"), stages=(Stage.REFUND_REQUESTED,)), monkeypatch)
    purchase = Purchase().requested()
    purchase.client("open_dispute", reason="no answer")
    becomes(purchase, Stage.DISPUTED, notified={"client", "freelancer", "operator"})
    assert set(purchase.state.deadlines) == {DeadlineName.DISPUTE}


def test_the_row_and_not_its_handler_sets_the_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R-14 with another `to`: the same handler ends in another stage."""
    with_row(replace(row("R-14"), to=Stage.IN_PROGRESS), monkeypatch)
    purchase = Purchase().working()
    purchase.freelancer("deliver")
    assert purchase.state.stage is Stage.IN_PROGRESS


def test_timeline_and_notice_use_the_text_of_the_purchases_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R-41 with another text: the summary and the notice change with the row."""
    own = replace(row("R-41").text, summary="{Actor} decided: {refund} to {client}.")
    with_row(replace(row("R-41"), text=own), monkeypatch)
    purchase = Purchase().disputed()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=15_000)
    assert purchase.last.text == "The mediator decided: 150.00 USD to Ana."
    assert purchase.notices[0].text == own


def test_the_expiry_of_a_deadline_without_a_row_only_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R-17 taken away: the review ends, and nothing else changes."""
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


def test_a_window_in_business_days_that_restarts_waits_for_the_calendar() -> None:
    """R-21, R-60: the end that was computed before does not hold any more."""
    purchase = Purchase().contested()
    draft = draft_of(purchase.state, DeadlineExpired(DeadlineName.CLAIM), purchase.now)
    draft.start(DeadlineName.CLAIM)
    assert DeadlineName.CLAIM not in draft.state.deadlines
    assert draft.effects == [ComputeDeadline(DeadlineName.CLAIM, purchase.now, 5)]


def test_an_unknown_version_is_named_in_the_error() -> None:
    """R-15, R-17: everything that needs the rules raises UnknownVersion, which names the missing
    version."""
    purchase = Purchase().delivered()
    state = under(7, purchase)
    missing = "bought under version 7 of the rules; this worker knows 1"
    with pytest.raises(UnknownVersion, match=missing):
        decide(state, message("accept_delivery", Role.CLIENT), purchase.now)
    with pytest.raises(UnknownVersion, match=missing):
        decide(state, DeadlineExpired(DeadlineName.REVIEW), purchase.now)
    with pytest.raises(UnknownVersion, match=missing):
        deadlines(state)


def test_the_error_about_an_unknown_version_lists_the_known_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operator sees which versions this worker has."""
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: VERSIONS[FIRST], 2: a_second_version()})
    with pytest.raises(UnknownVersion, match=r"this worker knows 1, 2\."):
        deadlines(under(7, Purchase().delivered()))


def test_a_state_without_a_version_has_the_first() -> None:
    """R-01: states written before there were versions belong to the first."""
    state = under(FIRST, Purchase())
    written = STATES.dump_python(state, mode="json")
    del written["terms"]["rules_version"]
    assert STATES.validate_python(written) == state
    assert begin(state.terms, state.terms.purchased_at).state.stage is Stage.AWAITING_REQUIREMENTS
    assert state.terms.rules_version == FIRST


def test_a_sample_is_of_the_senders_row_in_the_purchases_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R-48, R-49 with other samples: each role has its own, and each version."""
    with_row(replace(row("R-49"), form=Form(label="x", sample={"text": "from Bo"})), monkeypatch)
    changed, first = versions.VERSIONS[FIRST], Rules(TRANSITIONS, DEADLINES)
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: changed, 2: first})
    purchase = Purchase().working()

    def text(version: int, role: Role) -> list[str]:
        found = samples(under(version, purchase), "send_message", role)
        return [getattr(sample, "text", "") for sample in found]

    assert text(FIRST, Role.FREELANCER) == ["from Bo"]
    assert text(2, Role.FREELANCER) == ["…"]
    assert text(FIRST, Role.CLIENT) == ["…"]


def test_a_message_that_the_purchases_version_lacks_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R-46 taken away: give_refund is rejected, and its permission says why."""
    first = VERSIONS[FIRST]
    without = Rules(
        tuple(row for row in first.transitions if row.cause.message != "give_refund"),
        first.deadlines,
    )
    monkeypatch.setattr(versions, "VERSIONS", {FIRST: without, 2: NEWEST})
    purchase = Purchase().working()
    purchase.state = under(FIRST, purchase)
    answer = purchase.freelancer("give_refund")
    rejected(answer, Code.NOT_ALLOWED_NOW, "give_refund is not part of the rules that this")
    shown = {p.message: p for p in permissions(purchase.state, Role.FREELANCER, purchase.now)}
    assert not shown["give_refund"].allowed
    assert shown["give_refund"].why_not == getattr(answer, "text", "")
