"""The working copy of a purchase's state while one event is applied.

A Draft is made for one call of `decide` and thrown away after it. Handlers change only the Draft;
the State it started from is never touched. The engine moves it to another stage; handlers cannot.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from activities.amounts import format_amount
from workflows.lifecycle.deadlines import DEADLINES, DeadlineRule
from workflows.lifecycle.events import (
    ComputeDeadline,
    Effect,
    Event,
    Movement,
    PostDecision,
    Rejection,
)
from workflows.lifecycle.state import (
    Attention,
    AttentionKind,
    Code,
    DeadlineName,
    Decision,
    Payment,
    Stage,
    State,
)

PAYMENT_METHOD = "the client's payment method"
ESCROW = "escrow"
IN_TRANSIT = "refunds in transit"
FREELANCER_BALANCE = "the freelancer's balance"


@dataclass
class Draft:
    """`state` while `event` is applied at `now`, under the deadlines of the purchase's version."""

    state: State
    event: Event
    now: datetime
    rules: tuple[DeadlineRule, ...] = DEADLINES
    effects: list[Effect] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    """What the row's texts quote beside names, amounts and windows."""

    def set(self, **changes: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **changes)

    def emit(self, *effects: Effect) -> None:
        """Ask for effects, in this order."""
        self.effects.extend(effects)

    def amount(self, minor: int) -> str:
        """Minor units as a person writes them."""
        return format_amount(minor, self.state.terms.currency)

    # --- deadlines

    def start(self, name: DeadlineName) -> None:
        """Start a deadline anew. One in business days is computed by the calendar first."""
        rule = next(rule for rule in self.rules if rule.name is name)
        window = getattr(self.state.terms.policy, rule.window)
        if rule.in_business_days:
            self.stop(name)
            self.emit(ComputeDeadline(name, self.now, window))
        else:
            self.set_deadline(name, self.now + window)

    def set_deadline(self, name: DeadlineName, at: datetime) -> None:
        """Let a deadline be at an absolute instant."""
        self.set(deadlines={**self.state.deadlines, name: at})

    def stop(self, *names: DeadlineName) -> None:
        """Stop deadlines that may be open."""
        open_ones = self.state.deadlines.items()
        self.set(deadlines={name: at for name, at in open_ones if name not in names})

    # --- stages (for the engine)

    def enter(self, stage: Stage) -> None:
        """Enter a stage: deadlines that do not belong to it stop, those that it starts start."""
        self.set(stage=stage)
        self.stop(*(rule.name for rule in self.rules if stage not in rule.stages))
        self.clear_alert(AttentionKind.DECISION_OVERDUE, AttentionKind.DISPUTE_OVERDUE)
        for rule in self.rules:
            if rule.starts_with is stage:
                self.start(rule.name)

    def return_to_stage_before_request(self) -> None:
        """Back to the stage that the refund request left; a stopped deadline gets what it had."""
        stage, time_left = self.state.stage_before_request, self.state.time_left
        assert stage is not None
        self.close_request()
        self.enter(stage)
        if time_left is not None:
            kept = next(rule for rule in self.rules if rule.keeps_time_left)
            self.set_deadline(kept.name, self.now + time_left)

    # --- the refund request

    def open_request(self, *, by_system: bool) -> None:
        """A refund is requested. A deadline that keeps its time stops with what it has left."""
        kept = next(rule for rule in self.rules if rule.keeps_time_left)
        ends = self.state.deadlines.get(kept.name)
        self.set(
            stage_before_request=self.state.stage,
            time_left=ends - self.now if ends else None,
            requested_by_system=by_system,
        )

    def close_request(self) -> None:
        """No refund request is open any more."""
        self.set(stage_before_request=None, time_left=None, claim=None, requested_by_system=False)

    # --- money

    def decide(self, reason: str, *, refund: int) -> None:
        """Record the decision, once: `refund` to the client, the rest of the escrow to the
        freelancer. It is carried out when the money is held."""
        release = self.state.terms.amount - refund
        self.close_request()
        decision = Decision(reason, refund, release, self.now)
        self.set(offer=None, reason=reason, decision=decision)
        self.move(refund, ESCROW, PAYMENT_METHOD)
        self.move(release, ESCROW, FREELANCER_BALANCE)
        if self.state.payment is Payment.HELD:
            self.carry_out_decision()

    def carry_out_decision(self) -> None:
        """Ask for the decision to be posted; the settlement window of a refund starts."""
        decision = self.state.decision
        assert decision is not None
        if decision.refund:
            self.start(DeadlineName.SETTLEMENT)
        self.emit(PostDecision(decision.refund, decision.release))

    def move(self, amount: int, source: str, target: str) -> None:
        """Money that this transition moves."""
        if amount:
            self.movements.append(Movement(amount, source, target))

    def close(self, outcome: str, reason: str) -> None:
        """Record how the purchase ends."""
        self.close_request()
        self.set(offer=None, outcome=outcome, reason=reason, closed_at=self.now)

    # --- people

    def raise_alert(self, kind: AttentionKind, text: str, effect: str = "") -> None:
        """A person is needed. Raised once per kind and effect."""
        others = (a for a in self.state.attention if (a.kind, a.effect) != (kind, effect))
        self.set(attention=(*others, Attention(kind, text, self.now, effect)))

    def clear_alert(self, *kinds: AttentionKind) -> None:
        """A person is no longer needed for these reasons."""
        self.set(attention=tuple(a for a in self.state.attention if a.kind not in kinds))

    def clear_blocked(self, effect: str) -> None:
        """An effect of this kind is no longer blocked."""
        self.set(attention=tuple(a for a in self.state.attention if a.effect != effect))

    def check_amount(self, amount: int, least: int) -> Rejection | None:
        """A rejection unless `least` ≤ amount ≤ escrow."""
        if least <= amount <= self.state.terms.amount:
            return None
        return Rejection(
            Code.INVALID_AMOUNT,
            f"{self.amount(amount)} is not between {self.amount(least)} and the escrow of "
            f"{self.amount(self.state.terms.amount)}; send minor units in that range.",
        )
