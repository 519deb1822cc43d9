"""The working copy of a purchase's state while one event is applied.

A Draft is made for one call of `decide` and thrown away after it. Handlers change only the Draft;
the State it started from is never touched. The engine moves it to another stage; handlers cannot.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from activities.amounts import why_unmovable
from activities.requests import MoveAccount, Movement, ProviderMoveKind
from workflows.lifecycle.deadlines import DeadlineRule, rule_named
from workflows.lifecycle.events import (
    ComputeDeadline,
    Effect,
    Event,
    PostDecision,
    PostProviderMove,
    Rejection,
    SendRefund,
)
from workflows.lifecycle.pending import is_kind_pending
from workflows.lifecycle.state import (
    Attention,
    AttentionKind,
    Code,
    DeadlineName,
    Decision,
    Payment,
    ProviderMove,
    Stage,
    State,
)
from workflows.lifecycle.texts import DECISION_WAITS, REFUND_TAKES

Item = TypeVar("Item")

PAYMENT_METHOD = "the client's payment method"
ESCROW = "escrow"
IN_TRANSIT = "refunds in transit"
FREELANCER_BALANCE = "the freelancer's balance"
BANK = "the client's bank"


@dataclass
class Draft:
    """`state` while `event` is applied at `now`, under the deadlines of the purchase's version."""

    state: State
    event: Event
    now: datetime
    rules: tuple[DeadlineRule, ...]
    effects: list[Effect] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    money_text: str | None = None
    """When the money moves, for the notice: a template without its full stop."""
    values: dict[str, str] = field(default_factory=dict)
    """Values that the row's texts quote, in addition to names, amounts and windows."""

    def set(self, **changes: Any) -> None:
        """Replace fields of the state."""
        self.state = replace(self.state, **changes)

    def emit(self, *effects: Effect) -> None:
        """Ask for effects, in this order."""
        self.effects.extend(effects)

    def amount(self, minor: int) -> str:
        """Minor units as a person writes them."""
        return self.state.terms.format_amount(minor)

    # --- deadlines

    def start(self, name: DeadlineName) -> None:
        """Start a deadline anew. One in business days is computed by the calendar first."""
        rule = rule_named(self.rules, name)
        window = getattr(self.state.terms.policy, rule.window)
        if rule.in_business_days:
            self.end(name)
            self.set(computing={**self.state.computing, name: self.now})
            self.emit(ComputeDeadline(name, self.now, window))
        else:
            self.set_deadline(name, self.now + window, self.now)

    def set_deadline(self, name: DeadlineName, at: datetime, start: datetime) -> None:
        """Set a deadline that runs since `start` to `at`; while all are suspended, store the time
        that it had left when it was suspended instead."""
        since = self.state.suspended_since
        self.set(computing=_without(self.state.computing, (name,)))
        if since and rule_named(self.rules, name).can_be_suspended:
            self.set(suspended={**self.state.suspended, name: at - max(start, since)})
        else:
            self.set(deadlines={**self.state.deadlines, name: at})

    def end(self, *names: DeadlineName) -> None:
        """End deadlines that may be open, suspended or still computed."""
        self.set(
            deadlines=_without(self.state.deadlines, names),
            suspended=_without(self.state.suspended, names),
            computing=_without(self.state.computing, names),
        )

    def suspend(self, *names: DeadlineName) -> None:
        """Open deadlines of these names wait with the time they have left."""
        left = {n: at - self.now for n, at in self.state.deadlines.items() if n in names}
        self.set(
            deadlines=_without(self.state.deadlines, left),
            suspended={**self.state.suspended, **left},
        )

    def continue_suspended(self, *names: DeadlineName) -> None:
        """Suspended deadlines of these names go on with the time they had left."""
        for name, left in self.state.suspended.items():
            if name in names:
                self.set(suspended=_without(self.state.suspended, (name,)))
                self.set_deadline(name, self.now + left, self.now)

    def suspend_or_continue(self) -> None:
        """For the engine, after each event: suspend all deadlines while `State.suspends_deadlines`,
        and continue them afterwards."""
        suspends, since = self.state.suspends_deadlines, self.state.suspended_since
        if suspends and not since:
            self.suspend_all()
        elif since and not suspends:
            self.continue_all()

    def suspend_all(self) -> None:
        """Suspend what can be suspended, and each deadline that starts until `continue_all`."""
        self.suspend(*(rule.name for rule in self.rules if rule.can_be_suspended))
        self.set(suspended_since=self.now)

    def continue_all(self) -> None:
        """Continue all deadlines except those that an open refund request suspends. One that is
        still being computed runs later by the time that it would have waited."""
        since = self.state.suspended_since
        assert since is not None
        waited = {
            n: start + (self.now - max(start, since)) for n, start in self.state.computing.items()
        }
        self.set(suspended_since=None, computing=waited)
        self.continue_suspended(
            *(rule.name for rule in self.rules if self.state.stage in rule.stages)
        )

    # --- stages (for the engine)

    def enter(self, stage: Stage) -> None:
        """Enter a stage: deadlines that do not belong to it end, those that it starts start."""
        over = [rule.name for rule in self.rules if stage not in rule.stages]
        requested = self.state.stage_before_request is not None
        kept = [rule.name for rule in self.rules if requested and rule.suspended_by_request]
        self.set(
            stage=stage,
            deadlines=_without(self.state.deadlines, over),
            suspended=_without(self.state.suspended, [name for name in over if name not in kept]),
            computing=_without(self.state.computing, over),
        )
        self.clear_alert(AttentionKind.DECISION_OVERDUE, AttentionKind.DISPUTE_OVERDUE)
        for rule in self.rules:
            if rule.starts_with is stage:
                self.start(rule.name)

    def return_to_stage_before_request(self) -> None:
        """Back to the stage that the refund request left; its deadline gets the time it had."""
        stage, suspended = self.state.stage_before_request, self.state.suspended
        assert stage is not None
        self.close_request()
        self.enter(stage)
        for rule in self.rules:
            if rule.suspended_by_request and rule.name in suspended and stage in rule.stages:
                self.set_deadline(rule.name, self.now + suspended[rule.name], self.now)

    # --- the refund request

    def open_request(self, *, by_system: bool) -> None:
        """A refund is requested. The deadline of the stage that it leaves may wait."""
        self.suspend(*(rule.name for rule in self.rules if rule.suspended_by_request))
        self.set(stage_before_request=self.state.stage, requested_by_system=by_system)

    def close_request(self) -> None:
        """No refund request is open any more."""
        waiting = [rule.name for rule in self.rules if rule.suspended_by_request]
        self.set(
            suspended=_without(self.state.suspended, waiting),
            stage_before_request=None,
            claim=None,
            requested_by_system=False,
        )

    # --- money

    def record_decision(self, reason: str, *, refund: int) -> None:
        """Record the decision, once: `refund` to the client, the rest of the escrow to the
        freelancer. It is carried out when the money is held."""
        release = self.state.escrow - refund
        self.close_request()
        decision = Decision(reason, refund, release, self.now)
        self.set(offer=None, reason=reason, decision=decision)
        if self.state.payment is not Payment.HELD:
            self.money_text = DECISION_WAITS
        elif not self.state.frozen:
            self.carry_out_decision()

    def carry_out_decision(self) -> None:
        """Ask for the decision to be posted; the settlement window of a refund starts."""
        decision = self.state.decision
        assert decision is not None
        self.move(decision.refund, ESCROW, PAYMENT_METHOD)
        self.move(decision.release, ESCROW, FREELANCER_BALANCE)
        if decision.refund and not self.state.has_deadline(DeadlineName.SETTLEMENT):
            self.start(DeadlineName.SETTLEMENT)
        if decision.refund:
            self.money_text = REFUND_TAKES
        self.emit(PostDecision(decision.refund, decision.release))

    def resume_payout(self) -> None:
        """Continue what a dispute or a refund elsewhere had suspended."""
        if is_kind_pending(self.state, PostDecision.kind):
            self.carry_out_decision()
        elif self.state.refund and is_kind_pending(self.state, SendRefund.kind):
            self.emit(SendRefund(self.state.refund.attempt))

    def drop_decision(self) -> None:
        """What was decided can no longer be paid, and nothing of it was: somebody decides anew."""
        self.end(DeadlineName.SETTLEMENT)
        self.set(decision=None, reason=None)

    def record_move(
        self, kind: ProviderMoveKind, account: MoveAccount, amount: int, reference: str
    ) -> None:
        """Money has moved at the provider without us: ask for its posting."""
        if amount:
            number = len(self.state.moves)
            move = ProviderMove(kind, account, amount, reference, self.now)
            self.set(moves=(*self.state.moves, move))
            self.emit(PostProviderMove(number))

    def move(self, amount: int, source: str, target: str) -> None:
        """Money that this transition moves."""
        if amount:
            self.movements.append(Movement(amount, source, target))

    def close(self, outcome: str, reason: str) -> None:
        """Record how the purchase ends."""
        self.close_request()
        self.set(offer=None, outcome=outcome, reason=reason, closed_at=self.now, attention=())

    # --- people

    def quote_reason(self, text: str) -> None:
        """Let the row's texts quote a reason of provider or bank as `{because}`."""
        self.values["because"] = f" ({text.rstrip('.')})" if text else ""

    def raise_alert(self, kind: AttentionKind, text: str, effect: str = "") -> None:
        """A person is needed. Raised once per kind and effect."""
        others = (a for a in self.state.attention if (a.kind, a.effect) != (kind, effect))
        self.set(attention=(*others, Attention(kind, text, self.now, effect)))

    def clear_alert(self, *kinds: AttentionKind) -> None:
        """A person is no longer needed for these reasons."""
        if self.state.attention:
            self.set(attention=tuple(a for a in self.state.attention if a.kind not in kinds))

    def clear_blocked(self, effect: str) -> None:
        """An effect of this kind is no longer blocked."""
        self.set(attention=tuple(a for a in self.state.attention if a.effect != effect))

    def check_amount(self, amount: int, least: int) -> Rejection | None:
        """A rejection unless `least` ≤ amount ≤ escrow, and the payment provider can move it."""
        escrow, step = self.state.escrow, self.state.terms.step
        if least <= amount <= escrow:
            if amount % step == 0:
                return None
            why = why_unmovable(amount, step, least, escrow, self.amount)
            return Rejection(Code.INVALID_AMOUNT, why)
        return Rejection(
            Code.INVALID_AMOUNT,
            f"{self.amount(amount)} is not between {self.amount(least)} and the escrow of "
            f"{self.amount(escrow)}; choose an amount in that range.",
        )


def _without(
    items: Mapping[DeadlineName, Item], names: Collection[DeadlineName]
) -> dict[DeadlineName, Item]:
    return {name: value for name, value in items.items() if name not in names}
