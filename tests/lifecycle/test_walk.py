"""What holds in every state that a purchase can reach, whoever says what in whatever order.

Each policy of POLICIES is walked once; together they make every choice of the policy.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from tests.lifecycle.given import ESCROW, NOON, Purchase, purchase_in, rejected, said
from tests.lifecycle.walk import FIELDS, Edge, Key, Node, Walk, position, walk
from tests.proof.counts import counted
from workflows.lifecycle import actions, deadlines, decide, is_pending, waiting_for
from workflows.lifecycle.deadlines import DEADLINES, DeadlineRule
from workflows.lifecycle.draft import STAGE_DEADLINE
from workflows.lifecycle.state import (
    Accepted,
    CheckRefund,
    Code,
    DeadlineComputed,
    DeadlineExpired,
    DeadlineName,
    DecisionPosted,
    EffectBlocked,
    Event,
    Fact,
    Notify,
    Payment,
    PaymentDeclined,
    PaymentHeld,
    PaymentVoided,
    PlatformCancelled,
    RefundAnswered,
    Rejection,
    SettlementPosted,
    Stage,
    State,
    Step,
)
from workflows.lifecycle.transitions import RULES, WITH_ESCROW, Rule
from workflows.messages import MESSAGES, Message, Role

POLICIES: dict[str, dict[str, Any]] = {
    "default": {},
    "silence resumes": {"refund_decision_silence": "resume", "claim_silence": "resume"},
    "silence calls a person, early cancelling is free": {
        "refund_decision_silence": "attention",
        "cancel_before_requirements": "refund",
    },
    "no requirements needed, cancelling is free for a while": {
        "requirements_needed": False,
        "free_cancel_window": "PT24H",
    },
}
DECIDED = (Stage.SETTLING, Stage.CLOSED)
OUTCOMES = {"refunded", "released", "split", "payment_declined", "payment_failed"}
TABLES: tuple[Rule | DeadlineRule, ...] = (*RULES, *DEADLINES)
BLOCKABLE = [kind.__dataclass_fields__["kind"].default for kind in Step.__args__]


@cache
def walked(policy: str) -> Walk:
    """The walk under that policy, made once."""
    return walk(**POLICIES[policy])


@pytest.fixture(params=list(POLICIES))
def found(request: pytest.FixtureRequest) -> Walk:
    """Every reachable state, policy by policy."""
    return walked(request.param)


@cache
def every_state() -> dict[Key, State]:
    """Every state under every policy, each position of a purchase once."""
    nodes = (node for policy in POLICIES for node in walked(policy).nodes.values())
    return {position(node.state): node.state for node in nodes}


def everything() -> Iterator[tuple[Node, Edge]]:
    """Every transition under every policy."""
    for policy in POLICIES:
        found = walked(policy)
        for key, edges in found.edges.items():
            yield from ((found.nodes[key], edge) for edge in edges)


def taken(event: Event, answer: Accepted | Rejection) -> Rule | DeadlineRule | None:
    """The row of the tables that an event took, if it took one."""
    if isinstance(answer, Rejection) or not answer.transition:
        return None
    if isinstance(event, DeadlineExpired):
        return next(
            row
            for row in DEADLINES
            if (row.deadline, row.transition) == (event.deadline, answer.transition)
        )
    if not isinstance(event, Message):
        return None
    choice = getattr(event, "decision", None) or getattr(event, "action", None)
    return next(
        row
        for row in RULES
        if (row.message, row.transition) == (event.name, answer.transition)
        and event.by.role in row.by
        and row.choice in (None, choice)
    )


def sound(state: State) -> None:
    """What may be said of every purchase at any time."""
    where = (state.held, state.in_transit, state.refunded, state.released)
    assert min(where) >= 0
    assert sum(where) == (ESCROW if state.payment is Payment.HELD else 0)
    if state.payment is not Payment.NONE:
        assert (state.decision is not None) == (state.stage in DECIDED)
    if state.decision:
        assert state.decision.refund + state.decision.release == ESCROW
    assert (state.claim is not None) == (state.stage in (Stage.CONTESTED, Stage.DISPUTED))
    for stage, deadline in STAGE_DEADLINE.items():
        assert deadline not in state.deadlines or state.stage is stage
    assert waiting_for(state) in {*Role, "nobody"}
    assert (state.stage is Stage.CLOSED) == (waiting_for(state) == "nobody")
    if state.stage is Stage.CLOSED:
        assert (state.held, state.in_transit, dict(state.deadlines), state.attention) == (
            0,
            0,
            {},
            (),
        )
        assert state.outcome in OUTCOMES
        assert state.reason
        assert state.closed_at


# --- states


@pytest.mark.parametrize("policy", POLICIES)
def test_every_state_is_sound(policy: str, record_property: Callable[[str, object], None]) -> None:
    """No cent appears or vanishes, and a closed purchase has nothing left to do."""
    found = walked(policy)
    for node in found.nodes.values():
        sound(node.state)
        if node.state.stage is Stage.CLOSED:
            assert not node.pending
    counts = {"states": len(found.nodes), "transitions": found.transitions}
    record_property("proof", counted(f"every state walked, {policy}", counts))


def test_each_open_deadline_says_what_silence_does(found: Walk) -> None:
    """Every running clock is a row of the tables, and is shown with its consequence."""
    for node in found.nodes.values():
        shown = {deadline.name for deadline in deadlines(node.state)}
        assert shown == set(node.state.deadlines)
        assert all(deadline.then for deadline in deadlines(node.state))


def test_what_is_asked_for_is_answered_or_overtaken(found: Walk) -> None:
    """Money on its way is never forgotten: while something is undecided by the world, either it
    was asked for, or a clock runs, or a person knows."""
    for node in found.nodes.values():
        state = node.state
        if state.stage is Stage.SETTLING:
            assert node.pending or state.deadlines or state.attention, state
        elif state.stage is not Stage.CLOSED:
            assert state.deadlines or state.attention or node.pending, state


# --- transitions


def test_a_decision_about_money_is_never_taken_back(found: Walk) -> None:
    """Once decided, the decision stays as it is, and only settling and closed follow."""
    for key, edges in found.edges.items():
        before = found.nodes[key].state
        if before.decision is None:
            continue
        for edge in edges:
            if isinstance(edge.answer, Accepted):
                assert edge.answer.state.decision == before.decision
                assert edge.answer.state.stage in DECIDED


def test_every_refusal_has_a_code_and_a_sentence(found: Walk) -> None:
    """Nobody is turned away without a reason that can be read."""
    for edges in found.edges.values():
        for edge in edges:
            if isinstance(edge.answer, Rejection):
                assert edge.answer.code in Code
                assert edge.answer.text.endswith("."), edge.answer.text
                assert "{" not in edge.answer.text


def test_facts_are_never_refused(found: Walk) -> None:
    """What has happened has happened: a deadline or an answer from outside is always taken in."""
    for edges in found.edges.values():
        for edge in edges:
            assert isinstance(edge.event, Message) or isinstance(edge.answer, Accepted)


def test_each_transition_tells_each_reader_once(found: Walk) -> None:
    """One notice of one transition to each reader, with a sentence and a rule."""
    for edges in found.edges.values():
        for edge in edges:
            if isinstance(edge.answer, Accepted):
                notices = [e for e in edge.answer.effects if isinstance(e, Notify)]
                told = [(n.transition, reader) for n in notices for reader in n.recipients]
                assert len(told) == len(set(told)), told
                assert all(n.what and n.rule and "{" not in n.what for n in notices)


def test_a_step_is_done_once_its_answer_has_come(found: Walk) -> None:
    """Nothing is asked of a bank or a calendar again that has been answered."""
    for key, edges in found.edges.items():
        for edge in edges:
            if edge.answered and isinstance(edge.answer, Accepted):
                assert not is_pending(edge.answer.state, edge.answered), (key, edge)


# --- the tables


def test_every_row_of_the_tables_is_reached() -> None:
    """No row is dead."""
    reached = {id(taken(edge.event, edge.answer)) for _, edge in everything()}
    assert [row for row in TABLES if id(row) not in reached] == []


def test_rows_lead_where_they_say() -> None:
    """A row leads to the stages it declares or stays, and to each of them some time."""
    seen: dict[int, set[Stage]] = defaultdict(set)
    for node, edge in everything():
        row = taken(edge.event, edge.answer)
        if row is not None and isinstance(edge.answer, Accepted):
            after = edge.answer.state.stage
            assert node.state.stage in row.stages
            assert after in row.becomes or after is node.state.stage, (row.transition, after)
            seen[id(row)].add(after)
    for row in TABLES:
        assert set(row.becomes) <= seen[id(row)], row.transition


def test_every_refusal_code_of_the_rules_is_used() -> None:
    """Each code is given somewhere; three speak of what the rules never see."""
    used = {edge.answer.code for _, edge in everything() if isinstance(edge.answer, Rejection)}
    elsewhere = {Code.NOT_A_PARTY, Code.UNKNOWN_MESSAGE}
    assert used | elsewhere == set(Code)


# --- ways out


def test_silence_leads_to_the_end_or_to_a_person(found: Walk) -> None:
    """From every open state, if nobody ever speaks again, the purchase closes or asks for help."""
    back: dict[Key, set[Key]] = defaultdict(set)
    for key, edges in found.edges.items():
        for edge in edges:
            if not isinstance(edge.event, Message | PlatformCancelled | EffectBlocked):
                back[edge.target].add(key)
    good = {
        key
        for key, node in found.nodes.items()
        if node.state.stage is Stage.CLOSED or node.state.attention
    }
    reached, frontier = set(good), list(good)
    while frontier:
        new = back[frontier.pop()] - reached
        reached |= new
        frontier.extend(new)
    assert set(found.nodes) - reached == set()


# --- what a page shows


def test_actions_agree_with_decide() -> None:
    """`actions` allows exactly what `decide` accepts, for every role in every state."""
    accepted: dict[Key, set[tuple[str, Role]]] = defaultdict(set)
    for node, edge in everything():
        if isinstance(edge.event, Message) and isinstance(edge.answer, Accepted):
            accepted[position(node.state)].add((edge.event.name, edge.event.by.role))
    for key, state in every_state().items():
        for role in Role:
            for action in actions(state, role, NOON):
                allowed = (action.message, role) in accepted[key]
                assert action.allowed == allowed, (state, role, action)
                assert bool(action.why_not) == bool(action.code) == (not allowed)


@pytest.mark.parametrize("stage", [*WITH_ESCROW, *DECIDED])
@pytest.mark.parametrize("name", MESSAGES)
def test_a_wrong_role_is_refused_in_every_stage(name: str, stage: Stage) -> None:
    """Whatever the stage, a message is for its roles only."""
    purchase = decided(stage) if stage in DECIDED else purchase_in(stage)
    right = {role for row in RULES if row.message == name for role in row.by}
    for role in set(Role) - right:
        message = said(name, role, **FIELDS.get(name, ({},))[0])
        answer = decide(purchase.state, message, purchase.now)
        rejected(answer, Code.WRONG_ROLE, f"not for the {role.value}")


def decided(stage: Stage) -> Purchase:
    """Decided, and closed if that is asked for."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    if stage is Stage.CLOSED:
        purchase.posted()
    return purchase


# --- what comes late, twice, or from nowhere


def any_fact(state: State) -> Iterator[Fact]:
    """Every kind of fact, whether or not it was asked for."""
    yield from (DeadlineExpired(deadline) for deadline in DeadlineName)
    yield from (
        DeadlineComputed(deadline, NOON)
        for deadline in (DeadlineName.CLAIM, DeadlineName.SETTLEMENT)
    )
    yield from (PaymentHeld(), PaymentDeclined(), PaymentVoided(), PlatformCancelled())
    yield from (DecisionPosted(), SettlementPosted())
    for attempt in range(1, (state.refund.attempt if state.refund else 1) + 1):
        yield RefundAnswered(attempt, "pending", "re_1")
        yield RefundAnswered(attempt, "settled", "re_1")
        yield RefundAnswered(attempt, "failed", "re_1")
    yield from (EffectBlocked(kind, "it does not answer") for kind in BLOCKABLE)


def test_stale_repeated_and_unasked_answers_break_nothing() -> None:
    """Every fact in every state: money still adds up, and what was decided or closed stays so."""
    for state in every_state().values():
        for fact in any_fact(state):
            answer = decide(state, fact, NOON)
            assert isinstance(answer, Accepted)
            sound(answer.state)
            if state.decision:
                assert answer.state.decision == state.decision
            if state.stage is Stage.CLOSED:
                assert (answer.state, answer.effects) == (state, ())


def test_what_is_blocked_is_still_to_be_done(found: Walk) -> None:
    """A person is never sent to see to a step that is done or overtaken."""
    for node in found.nodes.values():
        pending = {getattr(effect, "kind", "") for effect in node.pending}
        pending |= {CheckRefund.kind} if node.state.refund else set()
        for item in node.state.attention:
            assert not item.step or item.step in pending, item
