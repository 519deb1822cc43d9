"""What holds in every state that a purchase can reach, in any order of messages and deadlines.

Every version in the registry is walked under each of POLICIES, which together contain every choice
of the policy.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest

from tests.lifecycle.builders import ESCROW, NOON, Purchase, message, purchase_in, rejected, terms
from tests.lifecycle.walk import (
    FIELDS,
    NEWS,
    NOT_IN_KEY,
    SKIPPED,
    Edge,
    Key,
    Node,
    Walk,
    position,
    walk,
)
from tests.proof.counts import counted
from workflows.lifecycle import (
    begin,
    deadlines,
    decide,
    is_pending,
    permissions,
    versions,
    waiting_for,
)
from workflows.lifecycle.deadlines import UNDECIDED
from workflows.lifecycle.events import (
    Accepted,
    BankDisputeReported,
    CheckPayment,
    CheckRefund,
    DeadlineComputed,
    DeadlineExpired,
    DecisionPosted,
    Effect,
    EffectBlocked,
    Event,
    Fact,
    PaymentChecked,
    PaymentDeclined,
    PaymentHeld,
    PaymentNeedsClient,
    PaymentUnusable,
    PaymentVoided,
    PlatformCancelled,
    ProviderMovePosted,
    RefundedElsewhere,
    RefundElsewhereFailed,
    RefundReported,
    Rejection,
    SettlementPosted,
)
from workflows.lifecycle.state import Code, DeadlineName, Payment, Refund, Stage, State
from workflows.lifecycle.transition import To, Transition
from workflows.lifecycle.versions import FIRST, VERSIONS, Rules, draft_of, rules_of
from workflows.messages import MESSAGES, Message, Role

POLICIES: dict[str, dict[str, Any]] = {
    "default": {},
    "unanswered requests and claims resume": {
        "refund_decision_silence": "resume",
        "claim_silence": "resume",
    },
    "unanswered requests call a person, early cancelling is free": {
        "refund_decision_silence": "attention",
        "cancel_before_requirements": "refund",
    },
    "no requirements needed, cancelling is free for a while": {
        "requirements_needed": False,
        "free_cancel_window": "PT24H",
    },
}
DECIDED = (Stage.SETTLING, Stage.CLOSED)
OUTCOMES = {
    *("refunded", "released", "split", "charged_back"),
    *("payment_declined", "payment_failed"),
}
BLOCKABLE = [kind.__dataclass_fields__["kind"].default for kind in Effect.__args__]


AT_PROVIDER = [news for news in NEWS if NEWS[news]]
WALKS = [(version, name) for version in VERSIONS for name in (*POLICIES, *AT_PROVIDER)]


@cache
def walked(version: int, name: str) -> Walk:
    """The walk under that version, and that policy or with that news; made once."""
    if name in NEWS:
        return walk(version, name)
    return walk(version, **POLICIES[name])


@pytest.fixture(params=WALKS, ids=lambda walk: f"version {walk[0]}, {walk[1]}")
def found(request: pytest.FixtureRequest) -> Walk:
    """Every reachable state, for each version and policy."""
    return walked(*request.param)


@pytest.fixture(params=VERSIONS, ids=lambda version: f"version {version}")
def version(request: pytest.FixtureRequest) -> int:
    """Every version in the registry."""
    return int(request.param)


@cache
def every_state(version: int) -> dict[Key, State]:
    """Every state of a version under every policy, each position of a purchase once."""
    nodes = (
        node
        for each, name in WALKS
        if each == version
        for node in walked(version, name).nodes.values()
    )
    return {position(node.state): node.state for node in nodes}


def every_edge(version: int) -> Iterator[tuple[Node, Edge]]:
    """Every event in every state of a version, under every policy."""
    for each, name in WALKS:
        found = walked(version, name) if each == version else Walk()
        for key, edges in found.edges.items():
            yield from ((found.nodes[key], edge) for edge in edges)


def taken(node: Node, edge: Edge) -> Transition | None:
    """The row that an accepted event took, if it took one."""
    if isinstance(edge.answer, Rejection):
        return None
    return rules_of(node.state).row_for(draft_of(node.state, edge.event, NOON))


def sound(state: State) -> None:
    """Assert what holds for every purchase at any time."""
    where = (state.held, state.in_transit, state.refunded, state.released, state.charged_back)
    assert min(where) >= 0
    assert sum(where) == (ESCROW if state.payment is Payment.HELD else 0)
    by_provider = bool(state.moves)  # a bank or somebody else may end it, or leave only a rest
    if state.payment is not Payment.NONE and not by_provider:
        assert (state.decision is not None) == (state.stage in DECIDED)
    if state.decision:
        assert state.decision.refund + state.decision.release == state.escrow
    claimable = state.stage in (Stage.CONTESTED, Stage.DISPUTED)
    assert claimable if state.claim is not None else by_provider or not claimable
    for rule in rules_of(state).deadlines:
        assert rule.name not in state.deadlines or state.stage in rule.stages
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


def test_the_key_of_a_state_has_every_field_that_a_rule_may_ask() -> None:
    """Otherwise a walk would take two states for one, and go on from one of them only."""
    asked = set()

    class Asked(State):
        def __getattribute__(self, name: str) -> Any:
            asked.add(name)
            return super().__getattribute__(name)

    position(Asked(terms(), Stage.SETTLING, {}, refund=Refund(ESCROW)))
    assert {field.name for field in fields(State)} - asked == NOT_IN_KEY


@pytest.mark.parametrize(("version", "policy"), WALKS)
def test_every_state_is_sound(
    version: int, policy: str, record_property: Callable[[str, object], None]
) -> None:
    """No cent appears or vanishes, and a closed purchase has nothing pending."""
    found = walked(version, policy)
    for node in found.nodes.values():
        sound(node.state)
        if node.state.stage is Stage.CLOSED:
            assert not node.pending
    counts = {"states": len(found.nodes), "transitions": found.transitions}
    record_property("proof", counted(f"every state walked, version {version}, {policy}", counts))


def test_each_open_deadline_says_what_happens_on_expiry(found: Walk) -> None:
    """Every open deadline has a row for its expiry, and is listed with its expiry text."""
    for node in found.nodes.values():
        shown = {deadline.name for deadline in deadlines(node.state)}
        assert shown == set(node.state.deadlines)
        assert all(deadline.then for deadline in deadlines(node.state))


def test_an_open_purchase_always_waits_for_something(found: Walk) -> None:
    """No money is forgotten: an effect is pending, a deadline is open, or a person is needed."""
    for node in found.nodes.values():
        state = node.state
        if state.stage is Stage.SETTLING:
            reviewed = state.in_aftercare  # it ends by itself when nothing is open
            assert node.pending or state.deadlines or state.attention or reviewed, state
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
            if isinstance(edge.answer, Accepted) and not is_by_provider(edge.event):
                assert edge.answer.state.decision == before.decision
                assert edge.answer.state.stage in DECIDED


def is_by_provider(event: Event) -> bool:
    """Whether a bank took money, or somebody refunded it, or such a refund failed: what was decided
    may be gone, or be more."""
    return isinstance(event, BankDisputeReported | RefundedElsewhere | RefundElsewhereFailed)


def test_every_rejection_has_a_code_and_a_sentence(found: Walk) -> None:
    """Every rejection gives a code and a complete sentence."""
    for edges in found.edges.values():
        for edge in edges:
            if isinstance(edge.answer, Rejection):
                assert edge.answer.code in Code
                assert edge.answer.text.endswith("."), edge.answer.text
                assert "{" not in edge.answer.text


def test_facts_are_never_rejected(found: Walk) -> None:
    """An expired deadline or another fact is always accepted."""
    for edges in found.edges.values():
        for edge in edges:
            assert isinstance(edge.event, Message) or isinstance(edge.answer, Accepted)


def test_each_transition_notifies_each_recipient_once(found: Walk) -> None:
    """A transition sends each recipient at most one notice, with every name filled in."""
    for key, edges in found.edges.items():
        for edge in edges:
            if isinstance(edge.answer, Accepted):
                notified = [role for n in edge.answer.notices for role in n.recipients]
                assert len(notified) == len(set(notified)), (key, notified)
                assert "{" not in edge.answer.text
                assert bool(edge.answer.text) == bool(edge.answer.transition)


def test_an_effect_is_done_once_its_answer_arrived(found: Walk) -> None:
    """Provider, ledger and calendar are not asked again for what they answered."""
    for key, edges in found.edges.items():
        for edge in edges:
            if edge.answered and isinstance(edge.answer, Accepted):
                if edge.answered in edge.answer.effects:
                    continue  # a refund that was sent is looked at until it is settled
                assert not is_pending(edge.answer.state, edge.answered), (key, edge)


# --- the tables


def test_every_row_is_reached(version: int) -> None:
    """Every row of every version applies in some reachable state."""
    reached = {row.id for node, edge in every_edge(version) if (row := taken(node, edge))}
    rules = VERSIONS[version]
    reached |= {row.id for row in rules.starts}
    reached.add("R-08")  # only an imported purchase takes it: test_imported.py
    assert [row.id for row in rules.transitions if row.id not in reached] == []


def test_a_purchase_begins_in_the_stage_of_its_first_row(version: int) -> None:
    """R-01, R-02: with and without requirements."""
    for needed, stage in ((True, Stage.AWAITING_REQUIREMENTS), (False, Stage.FREELANCER_REVIEW)):
        begun = begin(replace(terms(requirements_needed=needed), rules_version=version), NOON)
        assert begun.state.stage is stage


def test_each_row_leads_to_its_stage(version: int) -> None:
    """The engine enters the stage that the row's `to` names, and no other."""
    for node, edge in every_edge(version):
        row = taken(node, edge)
        if row is None or not isinstance(edge.answer, Accepted):
            continue
        before, after = node.state, edge.answer.state.stage
        assert before.stage in row.stages
        if row.to is To.SAME:
            assert after is before.stage, row.id
        elif row.to is To.BEFORE_REQUEST:
            assert after is before.stage_before_request, row.id
        else:
            assert after is row.to, row.id


def test_every_rejection_code_of_the_rules_is_used(version: int) -> None:
    """Each code is given somewhere; two are about messages that never reach the rules."""
    used = {e.answer.code for _, e in every_edge(version) if isinstance(e.answer, Rejection)}
    elsewhere = {Code.NOT_A_PARTY, Code.UNKNOWN_MESSAGE}
    assert used | elsewhere == set(Code)


# --- ways out


def test_without_messages_a_purchase_closes_or_needs_a_person(found: Walk) -> None:
    """From every open state, if nobody sends a message any more."""
    assert not stuck(found)


def stuck(found: Walk) -> set[Key]:
    """The states from which deadlines and answers lead neither to the end nor to a person."""
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
    return set(found.nodes) - reached


def test_the_walk_finds_purchases_that_are_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version without disputes and without the rows of four deadlines does not pass."""
    first = VERSIONS[FIRST]
    dropped = {"R-23", "R-35", "R-36", "R-37", "R-38", "R-39", "R-17", "R-18", "R-42"}
    crippled = Rules(
        tuple(row for row in first.transitions if row.id not in dropped),
        tuple(
            replace(rule, expiry=tuple(row for row in rule.expiry if row not in dropped))
            for rule in first.deadlines
        ),
    )
    monkeypatch.setattr(versions, "VERSIONS", {**VERSIONS, 99: crippled})
    assert stuck(walk(99)) != set()


# --- permissions


def test_permissions_agree_with_decide(version: int) -> None:
    """A message is permitted exactly if `decide` accepts it, for every role in every state."""
    accepted: dict[Key, set[tuple[str, Role]]] = defaultdict(set)
    for node, edge in every_edge(version):
        if isinstance(edge.event, Message) and isinstance(edge.answer, Accepted):
            accepted[position(node.state)].add((edge.event.name, edge.event.by.role))
    for key, state in every_state(version).items():
        skipped = SKIPPED if state.bank_disputes or state.refunds_elsewhere else ()
        if state.moves or state.in_aftercare:
            continue  # these walks send only some messages; `test_bank_disputes` has the others
        for role in Role:
            for each in permissions(state, role, NOON):
                if each.message in skipped:
                    continue
                allowed = (each.message, role) in accepted[key]
                assert each.allowed == allowed, (state, role, each)
                assert bool(each.why_not) == bool(each.code) == (not allowed)


@pytest.mark.parametrize("stage", [*UNDECIDED, *DECIDED])
@pytest.mark.parametrize("name", MESSAGES)
def test_a_wrong_role_is_rejected_in_every_stage(name: str, stage: Stage) -> None:
    """In every stage, a message of another role is rejected as WRONG_ROLE."""
    purchase = decided(stage) if stage in DECIDED else purchase_in(stage)
    rows = rules_of(purchase.state).rows(name)
    right = {role for row in rows for role in row.cause.by}
    for role in set(Role) - right:
        sent = message(name, role, **FIELDS.get(name, ({},))[0])
        answer = decide(purchase.state, sent, purchase.now)
        rejected(answer, Code.WRONG_ROLE, "not for the")


def decided(stage: Stage) -> Purchase:
    """A decided purchase, closed if `stage` is closed."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    if stage is Stage.CLOSED:
        purchase.posted()
    return purchase


# --- late, repeated and unexpected facts


def any_fact(state: State) -> Iterator[Fact]:
    """Every kind of fact, whether or not it is awaited."""
    yield from (DeadlineExpired(deadline) for deadline in DeadlineName)
    yield from (
        DeadlineComputed(deadline, NOON, NOON)
        for deadline in (DeadlineName.CLAIM, DeadlineName.SETTLEMENT)
    )
    yield from (PaymentHeld(), PaymentDeclined(), PaymentUnusable(), PaymentVoided())
    yield PlatformCancelled()
    yield from (DecisionPosted(), SettlementPosted(), PaymentChecked(state.payment_checks))
    yield PaymentNeedsClient("https://pay.example/1")
    yield from (ProviderMovePosted(number) for number in range(len(state.moves)))
    for attempt in range(1, (state.refund.attempt if state.refund else 1) + 1):
        yield RefundReported(attempt, "pending", "re_1", "insufficient balance")
        yield RefundReported(attempt, "sent", "re_1")
        yield RefundReported(attempt, "settled", "re_1")
        yield RefundReported(attempt, "failed", "re_1")
    yield from (EffectBlocked(kind, "it does not answer") for kind in BLOCKABLE)


def test_late_repeated_and_unexpected_facts_break_nothing(version: int) -> None:
    """Every fact in every state: the money still adds up, and a decision or an end stays as it
    is."""
    for state in every_state(version).values():
        for fact in any_fact(state):
            answer = decide(state, fact, NOON)
            assert isinstance(answer, Accepted)
            sound(answer.state)
            if state.decision:
                assert answer.state.decision == state.decision
            if state.stage is Stage.CLOSED:
                assert (answer.state, answer.effects) == (state, ())


def test_every_blocked_effect_is_still_pending(found: Walk) -> None:
    """A person is never asked to look into an effect that is done or no longer needed."""
    for node in found.nodes.values():
        pending = {getattr(effect, "kind", "") for effect in node.pending}
        pending |= {CheckRefund.kind} if node.state.refund else set()
        pending |= {CheckPayment.kind}
        for item in node.state.attention:
            assert not item.effect or item.effect in pending, item
