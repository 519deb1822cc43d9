"""A breadth-first walk over every state that a version of the rules can reach.

It sends every message from every role, and lets every deadline expire and every answer come, in
every state. Times are abstracted away: any open deadline may expire next, which covers every order
in which deadlines and messages can meet. Pending effects are part of a state.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from activities.requests import ClosedPurchase, LedgerDecision, RefundNews
from tests.lifecycle.builders import ESCROW, NOON, message, terms
from workflows.lifecycle import begin, begin_case, decide, is_pending
from workflows.lifecycle.events import (
    Accepted,
    AftercareReviewed,
    BankDisputeReported,
    CheckPayment,
    CheckRefund,
    ComputeDeadline,
    DeadlineComputed,
    DeadlineExpired,
    DecisionPosted,
    Effect,
    EffectBlocked,
    Event,
    PaymentChecked,
    PaymentDeclined,
    PaymentHeld,
    PaymentNeedsClient,
    PaymentUnusable,
    PaymentVoided,
    PlatformCancelled,
    PostDecision,
    PostProviderMove,
    PostSettlement,
    ProviderMovePosted,
    RefundedElsewhere,
    RefundElsewhereFailed,
    RefundReported,
    Rejection,
    SendRefund,
    SettlementPosted,
    TakePayment,
    VoidPayment,
)
from workflows.lifecycle.state import DeadlineName, Payment, RefundStatus, Stage, State
from workflows.lifecycle.versions import Rules, rules_of
from workflows.messages import MESSAGES, Message, Role

CLAIM, SPLIT = 10_000, 15_000
STATUSES: tuple[Literal["opened", "won", "lost"], ...] = ("opened", "won", "lost")
ATTEMPTS = 3
"""The walk stops asking for more refund attempts here; each further one is like the last."""

NOT_IN_KEY = {
    *("terms", "reason", "closed_at", "charge_reference", "confirm_url"),
    *("payment_checks", "payment_checks_done", "in_aftercare", "settlements"),
}
"""The fields of a state that are alike in a whole walk, or on which no rule depends there."""

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Node:
    """A state and its pending effects."""

    state: State
    pending: frozenset[Effect]

    @cached_property
    def key(self) -> Key:
        """What makes two nodes the same: everything but times and reasons, and of the past only
        what a rule may still need."""
        return (*position(self.state), frozenset(map(_effect_key, self.pending)))


def position(s: State) -> Key:
    """The part of a node's key that is about the purchase, without its pending effects."""
    undecided = (
        s.requirements_received,
        s.cancel_window_closed_at is not None,
        s.stage_before_request,
        frozenset(s.suspended),
        s.requested_by_system,
        s.claim,
        s.offer and (s.offer.by, s.offer.refund),
    )
    return (
        s.stage,
        s.payment,
        frozenset(s.deadlines),
        (s.decision.refund, s.decision.release) if s.decision else undecided,
        s.decision_posted,
        s.refund and (s.refund.attempt, s.refund.status),
        frozenset((item.kind, item.effect) for item in s.attention),
        s.outcome,
        tuple((d.dispute_id, d.status, d.account, d.amount) for d in s.bank_disputes),
        tuple((m.kind, m.account, m.amount, m.posted) for m in s.moves),
        s.refunds_elsewhere,
        (frozenset(s.suspended), frozenset(s.computing), s.suspended_since is not None),
        s.refund and (s.refund.amount, bool(s.settlement and s.settlement.presumed)),
    )


def _effect_key(effect: Effect) -> Key:
    deadline, attempt = getattr(effect, "deadline", None), getattr(effect, "attempt", None)
    number = effect.number if isinstance(effect, PostProviderMove) else None
    return (type(effect).__name__, deadline, attempt, number)


@dataclass(frozen=True)
class Edge:
    """One event and the node it led to. `answered`: the effect that the event is the answer to."""

    event: Event
    answer: Accepted | Rejection
    target: Key
    answered: Effect | None = None


@dataclass
class Walk:
    """All nodes, and the edges that leave each of them."""

    nodes: dict[Key, Node] = field(default_factory=dict)
    edges: dict[Key, list[Edge]] = field(default_factory=dict)

    @property
    def transitions(self) -> int:
        """How many times `decide` was called."""
        return sum(map(len, self.edges.values()))


FIELDS: dict[str, tuple[dict[str, Any], ...]] = {
    "submit_requirements": ({"requirements": "a logo"},),
    "open_dispute": ({"reason": "not what I asked for"},),
    "send_message": ({"text": "hello"},),
    "decide_refund": (
        {"decision": "approve"},
        {"decision": "decline"},
        {"decision": "decline", "claim": CLAIM},
        {"decision": "decline", "claim": 0},
    ),
    "propose_split": ({"refund": SPLIT}, {"refund": ESCROW + 1}),
    "accept_split": ({"refund": SPLIT}, {"refund": SPLIT + 1}),
    "resolve_dispute": ({"refund": SPLIT}, {"refund": 0}, {"refund": ESCROW}),
    "settlement_update": tuple(
        {"refund_id": name, "status": status}
        for name in ("purchase-p-1/refund", "purchase-p-1/refund-2", "of-another")
        for status in ("sent", "settled", "failed")
    ),
    "resolve_attention": (
        {"action": "retry"},
        {"action": "mark_settled", "reference": "statement 7"},
        {"action": "mark_settled"},
    ),
}
"""The fields of a message, in every variant that makes a difference; others have none."""


def every_message(rules: Rules) -> tuple[Message, ...]:
    """Every message from every role that may send it, with each choice and amount that makes a
    difference. (`test_a_wrong_role_is_rejected_in_every_stage` covers the other roles.)"""
    return tuple(
        message(name, role, **given)
        for name in MESSAGES
        for role in Role
        if any(row.cause.message == name and role in row.cause.by for row in rules.transitions)
        for given in FIELDS.get(name, ({},))
    )


def answers(node: Node) -> Iterator[tuple[Event, Effect | None]]:
    """Every answer to the pending effects; a blocked effect stays pending."""
    for effect in node.pending:
        match effect:
            case TakePayment():
                yield PaymentNeedsClient("https://pay.example/1"), None
                yield PaymentHeld(), effect
                yield PaymentDeclined(), effect
                yield PaymentUnusable(), effect
            case VoidPayment():
                yield PaymentHeld(), effect
                yield PaymentVoided(), effect
            case ComputeDeadline(deadline):
                yield DeadlineComputed(deadline, NOON, NOON), effect
            case PostDecision():
                yield DecisionPosted(), effect
            case PostProviderMove(number):
                yield ProviderMovePosted(number), effect
            case SendRefund(attempt) | CheckRefund(attempt):
                if isinstance(effect, SendRefund):
                    yield RefundReported(attempt, "pending", "re_1"), effect
                    yield RefundReported(attempt, "pending", "re_1", "no balance"), effect
                refund = node.state.refund
                if refund and refund.status is not RefundStatus.SENT:
                    yield RefundReported(attempt, "sent", "re_1"), effect
                yield RefundReported(attempt, "settled", "re_1"), effect
                yield RefundReported(attempt, "failed", "re_1"), effect
            case PostSettlement():
                yield SettlementPosted(), effect
        if not isinstance(effect, ComputeDeadline):
            yield EffectBlocked(effect.kind, "it does not answer"), None


def when_nobody_acts(node: Node) -> Iterator[tuple[Event, Effect | None]]:
    """Deadlines and answers: what can happen while nobody sends a message."""
    for deadline in DeadlineName:
        if deadline in node.state.deadlines:
            yield DeadlineExpired(deadline), None
    yield from answers(node)


AFTER_THE_END = "news after a split, in an aftercare case"

NEWS: dict[str, tuple[Event, ...]] = {
    "nothing": (),
    "the bank takes all, or all is refunded elsewhere": (
        BankDisputeReported("dp_1", "inquiry", ESCROW),
        *(BankDisputeReported("dp_1", status, ESCROW) for status in STATUSES),
        RefundedElsewhere("re_x", ESCROW),
    ),
    "the bank takes a part, a part is refunded elsewhere": (
        *(BankDisputeReported("dp_1", status, 5_000) for status in STATUSES),
        RefundedElsewhere("re_x", 18_000),
    ),
    "a part is refunded elsewhere, and that refund fails": (
        RefundedElsewhere("re_x", 18_000),
        RefundElsewhereFailed("re_x"),
    ),
    AFTER_THE_END: (
        *(BankDisputeReported("dp_1", status, ESCROW) for status in STATUSES),
        RefundedElsewhere("re_x", 5_000),
        RefundReported(1, "failed", "re_1"),
        AftercareReviewed(),
    ),
}
"""What may happen to the payment at the provider, in any state and order. These walks begin with
work in progress, skip messages that move no money, and post each move at once: one in which
everything meets everything has millions of states."""

SKIPPED = ("send_message", "request_changes", "open_dispute", "settlement_update", "check_payment")


def case() -> State:
    """The aftercare case of a purchase that ended with a split; a lost dispute is a debt."""
    bought = terms(chargeback_after_release="freelancer")
    refund = RefundNews(
        refund_id="purchase-p-1/refund", reference="re_1", amount=SPLIT, status="sent"
    )
    closed = ClosedPurchase(
        document=None,
        charge_reference="ch_1",
        decision=LedgerDecision(refund=SPLIT, release=ESCROW - SPLIT, at=NOON),
        in_transit=0,
        attempts=(refund,),
        settlements=1,
        settled_attempt=1,
        settled_at=NOON,
        moves=(),
        closed_at=NOON,
    )
    return replace(begin_case(bought, closed, NOON), payment_checks_done=1)


def working(state: State) -> State:
    """Work in progress, with the payment held."""
    for event in (
        PaymentHeld(),
        message("submit_requirements", Role.CLIENT, requirements="a logo"),
        DeadlineExpired(DeadlineName.FREELANCER_CANCEL),
    ):
        answer = decide(state, event, NOON)
        assert isinstance(answer, Accepted)
        state = answer.state
    assert state.stage is Stage.IN_PROGRESS
    return state


def walk(version: int, news: str = "nothing", **given: Any) -> Walk:
    """Walk from the first moment of a purchase under that version and policy, with that news."""
    begun = begin(replace(terms(**given), rules_version=version), NOON)
    start = Node(begun.state, frozenset(begun.effects))
    found = Walk(nodes={start.key: start})
    messages = every_message(rules_of(begun.state))
    if NEWS[news]:
        start = Node(case() if news == AFTER_THE_END else working(begun.state), frozenset())
        found = Walk(nodes={start.key: start})
        messages = tuple(each for each in messages if each.name not in SKIPPED)
    queue = deque([start])
    while queue:
        node = queue.popleft()
        edges = found.edges[node.key] = []
        events: list[tuple[Event, Effect | None]] = [(message, None) for message in messages]
        checked = PaymentChecked(node.state.payment_checks)
        facts = (PlatformCancelled(), checked, *NEWS[news])
        events += [(fact, None) for fact in facts]
        events += when_nobody_acts(node)
        for event, answered in events:
            if NEWS[news] and isinstance(event, EffectBlocked):
                continue
            answer = decide(node.state, event, NOON)
            first = _next(node, answer, answered)
            target = _posted(found, first) if NEWS[news] else first
            edges.append(Edge(event, answer, first.key, answered))
            if any(dispute.changed_to for dispute in target.state.bank_disputes):
                continue  # `test_bank_disputes` covers what follows
            if target.state.refund and target.state.refund.attempt > (
                2 if NEWS[news] else ATTEMPTS
            ):
                edges.pop()
                continue
            if target.key not in found.nodes:
                found.nodes[target.key] = target
                queue.append(target)
    return found


def _next(node: Node, answer: Accepted | Rejection, answered: Effect | None) -> Node:
    if isinstance(answer, Rejection):
        return node
    pending = node.pending - {answered} if answered else node.pending
    return Node(
        answer.state,
        frozenset(
            effect for effect in pending | set(answer.effects) if _awaited(answer.state, effect)
        ),
    )


def _posted(found: Walk, node: Node) -> Node:
    """The ledger has what moved at the provider."""
    for number, move in enumerate(node.state.moves):
        if not move.posted:
            event, effect = ProviderMovePosted(number), PostProviderMove(number)
            answer = decide(node.state, event, NOON)
            target = _next(node, answer, effect)
            if node.key not in found.nodes:
                found.nodes[node.key] = node
                found.edges[node.key] = [Edge(event, answer, target.key, effect)]
            node = target
    return node


def _awaited(state: State, effect: Effect) -> bool:
    """A payment may still be answered while it is being voided. A look at the payment changes
    nothing by itself: its news may come in any state."""
    if isinstance(effect, CheckPayment):
        return False
    taking = isinstance(effect, TakePayment) and state.payment is Payment.VOIDING
    return taking or is_pending(state, effect)
