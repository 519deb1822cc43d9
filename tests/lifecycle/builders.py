"""Helpers for the tests of the rules: a purchase, messages, facts, and what must follow."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest

from workflows.lifecycle import begin, decide, newest
from workflows.lifecycle.deadlines import UNDECIDED
from workflows.lifecycle.events import (
    Accepted,
    DeadlineComputed,
    DeadlineExpired,
    DecisionPosted,
    Event,
    Notify,
    PaymentHeld,
    PostDecision,
    RefundReported,
    Rejection,
)
from workflows.lifecycle.state import Code, DeadlineName, Person, Stage, State, Terms
from workflows.messages import MESSAGES, Message, Role, Sender
from workflows.policy import Policy

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""A Monday."""
ESCROW = 25_000
IDS = {
    Role.CLIENT: "ana",
    Role.FREELANCER: "bo",
    Role.MEDIATOR: "mediator-1",
    Role.OPERATOR: "operator-1",
    Role.PAYMENTS: "sandbox",
}


def terms(*, requirements_needed: bool = True, **policy: Any) -> Terms:
    """What was bought: a project for 250.00 USD, at noon."""
    return Terms(
        key="purchase-p-1",
        client=Person("ana", "Ana"),
        freelancer=Person("bo", "Bo"),
        amount=ESCROW,
        currency="USD",
        decimals=2,
        purchased_at=NOON,
        requirements_needed=requirements_needed,
        policy=Policy(**policy),
        rules_version=newest(),
    )


def message(name: str, role: Role, *, sender: str | None = None, **fields: Any) -> Message:
    """A message from somebody in that role, from the purchase's own person unless `sender` is
    given."""
    return MESSAGES[name](by=Sender(role=role, id=sender or IDS[role]), **fields)


class Purchase:
    """A purchase under the newest rules. The test sends messages, reports facts and sets the
    time."""

    def __init__(self, *, held: bool = True, **given: Any) -> None:
        first = begin(terms(**given), NOON)
        self.state: State = first.state
        self.now = NOON
        self.last = first
        if held:
            self.fact(PaymentHeld())

    def after(self, **duration: float) -> Self:
        """Time passes; nobody acts."""
        self.now += timedelta(**duration)
        return self

    def _decide(self, event: Event) -> Accepted | Rejection:
        answer = decide(self.state, event, self.now)
        if isinstance(answer, Accepted):
            self.state, self.last = answer.state, answer
        return answer

    def client(self, name: str, **fields: Any) -> Accepted | Rejection:
        """The client sends a message."""
        return self._decide(message(name, Role.CLIENT, **fields))

    def freelancer(self, name: str, **fields: Any) -> Accepted | Rejection:
        """The freelancer sends a message."""
        return self._decide(message(name, Role.FREELANCER, **fields))

    def send(self, role: Role, name: str, **fields: Any) -> Accepted | Rejection:
        """Somebody in that role sends a message."""
        return self._decide(message(name, role, **fields))

    def fact(self, fact: Event) -> Accepted:
        """Provider, ledger, calendar or platform report a fact."""
        answer = self._decide(fact)
        assert isinstance(answer, Accepted)
        return answer

    def deadline(self, deadline: DeadlineName) -> Accepted:
        """An open deadline expires, at its own instant or now if that has passed."""
        assert deadline in self.state.deadlines, (
            f"{deadline} is not open: {dict(self.state.deadlines)}"
        )
        self.now = max(self.now, self.state.deadlines[deadline])
        return self.fact(DeadlineExpired(deadline))

    def calendar(self, deadline: DeadlineName, days: int = 7) -> Accepted:
        """The calendar computes a deadline."""
        return self.fact(DeadlineComputed(deadline, self.now, self.now + timedelta(days=days)))

    # --- the shortest way to each stage

    def reviewed(self) -> Self:
        """The requirements are in; the freelancer's cancel window is open."""
        self.client("submit_requirements", requirements="a logo")
        return self

    def working(self) -> Self:
        """The freelancer is committed."""
        self.reviewed().deadline(DeadlineName.FREELANCER_CANCEL)
        return self

    def delivered(self) -> Self:
        """The work is delivered."""
        self.working().freelancer("deliver")
        return self

    def requested(self) -> Self:
        """The work is in progress, and the client has cancelled."""
        self.working().client("cancel")
        return self

    def contested(self, claim: int = 10_000) -> Self:
        """The freelancer has declined the refund and claims a part of the escrow."""
        self.requested().freelancer("decide_refund", decision="decline", claim=claim)
        self.calendar(DeadlineName.CLAIM)
        return self

    def disputed(self) -> Self:
        """The client has opened a dispute."""
        self.contested().client("open_dispute", reason="not what I asked for")
        return self

    def posted(self) -> Self:
        """The ledger has the decision."""
        if DeadlineName.SETTLEMENT not in self.state.deadlines:
            self.calendar(DeadlineName.SETTLEMENT)
        self.fact(DecisionPosted())
        return self

    @property
    def notices(self) -> list[Notify]:
        """The notices of the last accepted event."""
        return list(self.last.notices)


# --- purchases in each stage, and what must follow

_SHORTEST_WAY: dict[Stage, Callable[[Purchase], Purchase]] = {
    Stage.AWAITING_REQUIREMENTS: lambda purchase: purchase,
    Stage.FREELANCER_REVIEW: Purchase.reviewed,
    Stage.IN_PROGRESS: Purchase.working,
    Stage.DELIVERED: Purchase.delivered,
    Stage.REFUND_REQUESTED: Purchase.requested,
    Stage.CONTESTED: Purchase.contested,
    Stage.DISPUTED: Purchase.disputed,
}


def purchase_in(stage: Stage, **given: Any) -> Purchase:
    """A purchase in that stage whose payment is held."""
    purchase = _SHORTEST_WAY[stage](Purchase(**given))
    assert purchase.state.stage is stage
    return purchase


def pending_refund() -> Purchase:
    """The freelancer gave a refund; it is posted, and pending at the provider."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.calendar(DeadlineName.SETTLEMENT, days=7)
    purchase.posted().fact(RefundReported(1, "pending", "re_1"))
    return purchase


any_undecided_stage = pytest.mark.parametrize("stage", UNDECIDED)
"""The row holds in any stage before the decision."""

BOTH = {"client", "freelancer"}


def becomes(purchase: Purchase, stage: Stage, *, notified: set[str] = BOTH) -> None:
    """The last event led to `stage`, and notified exactly these recipients, each once."""
    assert purchase.state.stage is stage
    recipients = [role for notice in purchase.notices for role in notice.recipients]
    assert sorted(recipients) == sorted(notified)


def settles(
    purchase: Purchase, reason: str, *, refund: int, release: int, moved: bool = True
) -> None:
    """The money is decided: recorded, to be posted, and both parties are notified of what moves.
    `moved=False`: they were notified when it was decided, before the payment was held."""
    becomes(purchase, Stage.SETTLING)
    decision = purchase.state.decision
    assert decision is not None
    assert (decision.reason, decision.refund, decision.release) == (reason, refund, release)
    assert purchase.state.reason == reason
    assert PostDecision(refund, release) in purchase.last.effects
    if moved:
        moves = [(m.amount, m.source, m.target) for n in purchase.notices for m in n.movements]
        to_client = (refund, "escrow", "the client's payment method")
        to_freelancer = (release, "escrow", "the freelancer's balance")
        assert moves == [move for move in (to_client, to_freelancer) if move[0]]


def rejected(answer: Accepted | Rejection, code: Code, *parts: str) -> None:
    """The answer is a rejection with this code, and its sentence contains these parts."""
    assert isinstance(answer, Rejection), "The message was accepted."
    assert answer.code is code, answer.text
    assert answer.text.endswith("."), answer.text
    for part in parts:
        assert part in answer.text
