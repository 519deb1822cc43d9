"""One event being worked out: the small vocabulary in which the rules' actions are written.

A Turn is made for one call of `decide` and thrown away after it. Its methods change only the
Turn; the State it started from is never touched.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from activities.amounts import format_amount
from workflows.lifecycle.state import (
    Attention,
    AttentionKind,
    Clock,
    Code,
    Decision,
    Effect,
    Event,
    FindDeadline,
    Payment,
    PostDecision,
    Refusal,
    Stage,
    State,
)

STAGE_CLOCK = {
    Stage.IN_PROGRESS: Clock.DORMANCY,
    Stage.DELIVERED: Clock.REVIEW,
    Stage.REFUND_REQUESTED: Clock.REFUND_DECISION,
    Stage.CONTESTED: Clock.CLAIM,
    Stage.DISPUTED: Clock.DISPUTE,
}
"""The clock that runs while, and only while, a purchase is in a stage."""

BUSINESS_DAYS = {Clock.CLAIM, Clock.SETTLEMENT}

_OVER_WITH_THE_STAGE = {AttentionKind.DECISION_OVERDUE, AttentionKind.DISPUTE_OVERDUE}


@dataclass
class Turn:
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

    def start(self, clock: Clock) -> None:
        """Start a clock anew; a window in business days is asked of the calendar first."""
        policy = self.state.terms.policy
        if clock in BUSINESS_DAYS:
            self.stop(clock)
            self.ask(FindDeadline(clock, self.now, getattr(policy, f"{clock}_window")))
        else:
            self.run_until(clock, self.now + getattr(policy, f"{clock}_window"))

    def run_until(self, clock: Clock, at: datetime) -> None:
        """Let a clock run to an absolute deadline."""
        self.set(clocks={**self.state.clocks, clock: at})

    def stop(self, *clocks: Clock) -> None:
        """Stop clocks that may be running."""
        left = {clock: at for clock, at in self.state.clocks.items() if clock not in clocks}
        self.set(clocks=left)

    # --- stages

    def go(self, stage: Stage) -> None:
        """Enter a stage: the clock of the one before stops, its own starts."""
        if old := STAGE_CLOCK.get(self.state.stage):
            self.stop(old)
        self.set(
            stage=stage,
            attention=tuple(a for a in self.state.attention if a.kind not in _OVER_WITH_THE_STAGE),
        )
        if new := STAGE_CLOCK.get(stage):
            self.start(new)

    def leave_for_request(self, *, by_system: bool) -> None:
        """A refund is requested. The review clock keeps its remainder; the 48 h one and the
        freelancer's 24 h one run on (`RULES.md`, cancel by the client)."""
        ends = self.state.clocks.get(Clock.REVIEW)
        self.set(
            left=self.state.stage,
            remainder=ends - self.now if ends else None,
            requested_by_system=by_system,
        )
        self.go(Stage.REFUND_REQUESTED)

    def go_back(self) -> None:
        """Back to the stage that the refund request left, its clock with what it still had."""
        left, remainder = self.state.left, self.state.remainder
        assert left is not None
        self.forget_request()
        self.go(left)
        if remainder is not None:
            self.run_until(Clock.REVIEW, self.now + remainder)

    def forget_request(self) -> None:
        """No refund request is open any more."""
        self.set(left=None, remainder=None, claim=None, requested_by_system=False)

    # --- money

    def settle(self, reason: str, *, refund: int) -> None:
        """Record the decision, once: `refund` to the client, the rest of the escrow to the
        freelancer. It is carried out when the money is held."""
        release = self.state.terms.amount - refund
        self.forget_request()
        self.go(Stage.SETTLING)
        self.stop(*(clock for clock in self.state.clocks if clock is not Clock.PAYMENT))
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
            self.start(Clock.SETTLEMENT)
        self.ask(PostDecision(decision.refund, decision.release))

    def close(self, outcome: str, reason: str) -> None:
        """Nothing is left to do."""
        self.forget_request()
        self.go(Stage.CLOSED)
        self.set(
            clocks={},
            offer=None,
            outcome=outcome,
            reason=reason,
            closed_at=self.now,
        )

    # --- people

    def alert(self, kind: AttentionKind, text: str, step: str = "") -> None:
        """Something needs a person. Said once per kind and step."""
        kept = tuple(a for a in self.state.attention if (a.kind, a.step) != (kind, step))
        self.set(attention=(*kept, Attention(kind, text, self.now, step)))

    def calm(self, *kinds: AttentionKind) -> None:
        """It no longer needs a person."""
        self.set(attention=tuple(a for a in self.state.attention if a.kind not in kinds))

    def unblock(self, step: str) -> None:
        """It is not held up any more. (A step that is done or overtaken is forgotten anyway.)"""
        self.set(attention=tuple(a for a in self.state.attention if a.step != step))

    def not_an_amount(self, amount: int, least: int) -> Refusal | None:
        """A refusal unless `least` ≤ amount ≤ escrow."""
        if least <= amount <= self.state.terms.amount:
            return None
        return Refusal(
            Code.INVALID_AMOUNT,
            f"{self.amount(amount)} is not between {self.amount(least)} and the escrow of "
            f"{self.amount(self.state.terms.amount)}; send minor units in that range.",
        )
