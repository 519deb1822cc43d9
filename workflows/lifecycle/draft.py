"""One event being worked out: the small vocabulary in which the rules' actions are written.

A Draft is made for one call of `decide` and thrown away after it. Its methods change only the
Draft; the State it started from is never touched.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from activities.amounts import format_amount
from workflows.lifecycle.state import (
    Attention,
    AttentionKind,
    Code,
    ComputeDeadline,
    DeadlineName,
    Decision,
    Effect,
    Event,
    Payment,
    PostDecision,
    Rejection,
    Stage,
    State,
)

STAGE_DEADLINE = {
    Stage.IN_PROGRESS: DeadlineName.DORMANCY,
    Stage.DELIVERED: DeadlineName.REVIEW,
    Stage.REFUND_REQUESTED: DeadlineName.REFUND_DECISION,
    Stage.CONTESTED: DeadlineName.CLAIM,
    Stage.DISPUTED: DeadlineName.DISPUTE,
}
"""The clock that runs while, and only while, a purchase is in a stage."""

BUSINESS_DAYS = {DeadlineName.CLAIM, DeadlineName.SETTLEMENT}

_OVER_WITH_THE_STAGE = {AttentionKind.DECISION_OVERDUE, AttentionKind.DISPUTE_OVERDUE}


@dataclass
class Draft:
    """The working copy of `state` while one event is applied at `now`."""

    state: State
    event: Event
    now: datetime
    effects: list[Effect] = field(default_factory=list)

    def set(self, **changes: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **changes)

    def ask(self, *effects: Effect) -> None:
        """Ask for effects, in this order."""
        self.effects.extend(effects)

    def amount(self, minor: int) -> str:
        """Minor units as a person writes them."""
        return format_amount(minor, self.state.terms.currency)

    # --- clocks

    def start(self, deadline: DeadlineName) -> None:
        """Start a clock anew; a window in business days is asked of the calendar first."""
        policy = self.state.terms.policy
        if deadline in BUSINESS_DAYS:
            self.stop(deadline)
            self.ask(ComputeDeadline(deadline, self.now, getattr(policy, f"{deadline}_window")))
        else:
            self.run_until(deadline, self.now + getattr(policy, f"{deadline}_window"))

    def run_until(self, deadline: DeadlineName, at: datetime) -> None:
        """Let a clock run to an absolute deadline."""
        self.set(deadlines={**self.state.deadlines, deadline: at})

    def stop(self, *deadlines: DeadlineName) -> None:
        """Stop clocks that may be running."""
        left = {
            deadline: at
            for deadline, at in self.state.deadlines.items()
            if deadline not in deadlines
        }
        self.set(deadlines=left)

    # --- stages

    def go(self, stage: Stage) -> None:
        """Enter a stage: the clock of the one before stops, its own starts."""
        if old := STAGE_DEADLINE.get(self.state.stage):
            self.stop(old)
        self.set(
            stage=stage,
            attention=tuple(a for a in self.state.attention if a.kind not in _OVER_WITH_THE_STAGE),
        )
        if new := STAGE_DEADLINE.get(stage):
            self.start(new)

    def leave_for_request(self, *, by_system: bool) -> None:
        """A refund is requested. The review clock keeps its remainder; the 48 h one and the
        freelancer's 24 h one run on (`RULES.md`, cancel by the client)."""
        ends = self.state.deadlines.get(DeadlineName.REVIEW)
        self.set(
            left=self.state.stage,
            time_left=ends - self.now if ends else None,
            requested_by_system=by_system,
        )
        self.go(Stage.REFUND_REQUESTED)

    def go_back(self) -> None:
        """Back to the stage that the refund request left, its clock with what it still had."""
        left, time_left = self.state.left, self.state.time_left
        assert left is not None
        self.forget_request()
        self.go(left)
        if time_left is not None:
            self.run_until(DeadlineName.REVIEW, self.now + time_left)

    def forget_request(self) -> None:
        """No refund request is open any more."""
        self.set(left=None, time_left=None, claim=None, requested_by_system=False)

    # --- money

    def settle(self, reason: str, *, refund: int) -> None:
        """Record the decision, once: `refund` to the client, the rest of the escrow to the
        freelancer. It is carried out when the money is held."""
        release = self.state.terms.amount - refund
        self.forget_request()
        self.go(Stage.SETTLING)
        self.stop(
            *(deadline for deadline in self.state.deadlines if deadline is not DeadlineName.PAYMENT)
        )
        self.set(
            offer=None,
            reason=reason,
            decision=Decision(reason, refund, release, self.now),
        )
        if self.state.payment is Payment.HELD:
            self.carry_out()

    def carry_out(self) -> None:
        """Ask for the decision to be posted; a refund's settlement window starts."""
        decision = self.state.decision
        assert decision is not None
        if decision.refund:
            self.start(DeadlineName.SETTLEMENT)
        self.ask(PostDecision(decision.refund, decision.release))

    def close(self, outcome: str, reason: str) -> None:
        """Nothing is left to do."""
        self.forget_request()
        self.go(Stage.CLOSED)
        self.set(
            deadlines={},
            offer=None,
            outcome=outcome,
            reason=reason,
            closed_at=self.now,
        )

    # --- people

    def raise_alert(self, kind: AttentionKind, text: str, step: str = "") -> None:
        """Something needs a person. Said once per kind and step."""
        kept = tuple(a for a in self.state.attention if (a.kind, a.step) != (kind, step))
        self.set(attention=(*kept, Attention(kind, text, self.now, step)))

    def clear_alert(self, *kinds: AttentionKind) -> None:
        """It no longer needs a person."""
        self.set(attention=tuple(a for a in self.state.attention if a.kind not in kinds))

    def clear_blocked(self, step: str) -> None:
        """It is not held up any more. (A step that is done or overtaken is forgotten anyway.)"""
        self.set(attention=tuple(a for a in self.state.attention if a.step != step))

    def not_an_amount(self, amount: int, least: int) -> Rejection | None:
        """A refusal unless `least` ≤ amount ≤ escrow."""
        if least <= amount <= self.state.terms.amount:
            return None
        return Rejection(
            Code.INVALID_AMOUNT,
            f"{self.amount(amount)} is not between {self.amount(least)} and the escrow of "
            f"{self.amount(self.state.terms.amount)}; send minor units in that range.",
        )
