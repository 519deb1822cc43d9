"""Plays a purchase without a server, to see what it would tell: the real rules, activities and
notices, on a clock that is simply set ahead.

What here stands in for Temporal is as simple as can be: each step is carried out at once, one that
fails is tried again when a person says so. What a purchase does on a real server is proved by the
tests of the stories; a rehearsal of a story tells the same notices, and a test says so.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import database
from activities.calendar import business_deadline
from activities.ledger import Ledger
from activities.money import CHECK_EVERY, MoneyActivities
from activities.payments.sandbox import SandboxProvider
from activities.requests import (
    BUSINESS_DEADLINE,
    CHECK_REFUND,
    POST_DECISION,
    POST_SETTLEMENT,
    SEND_REFUND,
    TAKE_PAYMENT,
    VOID_PAYMENT,
    NoticeRequest,
)
from demo.scenarios import PEOPLE, Act, CancelWorkflow, Send, Sleep, UntilClosed
from workflows import lifecycle
from workflows.activity_calls import call
from workflows.lifecycle.state import (
    Accepted,
    CheckRefund,
    ComputeDeadline,
    DeadlineExpired,
    EffectBlocked,
    Event,
    Notify,
    PlatformCancelled,
    RecipientRole,
    Rejection,
    Stage,
    Step,
)
from workflows.messages import PurchaseStart, Role
from workflows.notifying import request
from workflows.receiving.parsing import InvalidMessage, parse_message
from workflows.workflow_state import PendingNotice, WorkflowState

LONGEST = timedelta(days=400)
"""No purchase stays open for so long when nobody acts; one that does would never end."""


@dataclass(frozen=True)
class Outage:
    """From now on these activities fail; with no names, all is well again."""

    activities: tuple[str, ...] = ()
    says: str = "The payment provider cannot be reached: it does not answer."


@contextmanager
def house() -> Iterator[MoneyActivities]:
    """Books and a provider for any number of rehearsals, gone afterwards."""
    with TemporaryDirectory() as folder:
        engine = database.create_engine(f"sqlite:///{folder}/books.db")
        database.migrate(engine)
        provider = SandboxProvider(Path(folder) / "sandbox.db")
        try:
            yield MoneyActivities(Ledger(engine), provider)
        finally:
            provider.close()
            engine.dispose()


class Rehearsal:
    """One purchase, from its first moment at `now`. `told` holds its notices in order, `memory` all
    else that it remembers."""

    def __init__(self, money: MoneyActivities, start: PurchaseStart, now: datetime) -> None:
        self.now = now
        self.told: list[NoticeRequest] = []
        self._outage = Outage()
        self._asks_at = now
        self.memory = WorkflowState.fresh(start, now, lifecycle.newest())
        self._carry_out: dict[str, Callable[[Any], Any]] = {
            TAKE_PAYMENT.name: money.take_payment,
            VOID_PAYMENT.name: money.void_payment,
            POST_DECISION.name: money.post_decision,
            SEND_REFUND.name: money.send_refund,
            CHECK_REFUND.name: money.check_refund,
            POST_SETTLEMENT.name: money.post_settlement,
            BUSINESS_DEADLINE.name: business_deadline,
        }

    def play(self, *acts: Act | Outage) -> list[NoticeRequest]:
        """Play all acts; returns everything that was told."""
        for act in acts:
            if isinstance(act, Outage):
                self._outage = act
                continue
            self._work()
            match act:
                case Send():
                    self.hear(act.role, act.message, act.fields)
                case Sleep(duration):
                    until = self.now + duration
                    self._wait(until)
                    self.now = until
                case UntilClosed():
                    self._wait(self.now + LONGEST)
                case CancelWorkflow():
                    self._decide(PlatformCancelled(), "operator")
        self._work()
        return self.told

    # --- what is said

    def hear(self, role: Role, name: str, fields: Any) -> Rejection | None:
        """A message comes in as a signal: a refused one is told to its sender."""
        sent = json.dumps({"by": {"role": role, "id": PEOPLE[role]}, **fields}).encode()
        raw = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=sent))
        try:
            event = parse_message(name, [raw])
        except InvalidMessage as unreadable:
            return self._reject(role, name, unreadable.rejection)
        return self._decide(event, role.value)

    def _reject(self, role: Role, name: str, rejection: Rejection) -> Rejection:
        parties: dict[Role, RecipientRole] = {Role.CLIENT: "client", Role.FREELANCER: "freelancer"}
        if role in parties:
            self._tell(lifecycle.rejection(name, rejection, parties[role]))
        return rejection

    # --- what happens

    def _decide(self, event: Event, by: str = "system") -> Rejection | None:
        answer = lifecycle.decide(self.memory.state, event, self.now)
        if isinstance(answer, Rejection):
            return self._reject(Role(by), getattr(event, "name", ""), answer)
        self._accept(answer, by)
        self._work()
        return None

    def _accept(self, answer: Accepted, by: str) -> None:
        self.memory.record(answer, by, self.now)
        amounts = self.memory.state.amounts
        steps = [effect for effect in answer.effects if not isinstance(effect, Notify)]
        for step in steps:
            if isinstance(step, ComputeDeadline):
                self._attempt(step)
            else:
                self.memory.ask(step)
            if isinstance(step, CheckRefund):
                self._asks_at = self.now
        for effect in answer.effects:
            if isinstance(effect, Notify):
                self._tell(effect, amounts)

    def _tell(self, notify: Notify, amounts: dict[str, int] | None = None) -> None:
        self.memory.told += 1
        number = f"{self.memory.told}-{notify.transition}"
        given = self.memory.state.amounts if amounts is None else amounts
        pending_notices = PendingNotice(notify=notify, number=number, at=self.now, amounts=given)
        self.told.append(request(self.memory, pending_notices))

    # --- what is done

    def _work(self) -> None:
        """Carry out what has been asked for, in order, until nothing is left or one step fails."""
        memory = self.memory
        while memory.steps:
            step = memory.steps[0]
            if lifecycle.is_pending(memory.state, step) and not self._attempt(step):
                return
            memory.steps = [other for other in memory.steps if other is not step]

    def _attempt(self, step: Step) -> bool:
        state = self.memory.state
        if any(item.step == step.kind for item in state.attention):
            return False
        if isinstance(step, CheckRefund) and self.now < self._asks_at:
            return False
        todo = call(step, state, self.memory.start, self.now)
        try:
            if todo.type.name in self._outage.activities:
                raise ApplicationError(self._outage.says)
            work = self._carry_out[todo.type.name]
            fact = todo.fact(ActivityEnvironment().run(work, todo.request))
        except ApplicationError as error:
            if isinstance(step, CheckRefund):
                self._asks_at = self.now + CHECK_EVERY
            if todo.give_up_after is not None:
                self._learn(EffectBlocked(step.kind, error.message))
            return False
        self._learn(fact)
        return True

    def _learn(self, fact: Event) -> None:
        answer = lifecycle.decide(self.memory.state, fact, self.now)
        assert isinstance(answer, Accepted)
        self._accept(answer, "system")

    # --- time

    def _wait(self, until: datetime) -> None:
        while self.memory.state.stage is not Stage.CLOSED:
            self._work()
            state, after = self.memory.state, self.memory.reminded_until
            deadline = min(state.deadlines, key=lambda one: state.deadlines[one], default=None)
            reminder = lifecycle.next_reminder(state, after)
            instants = [state.deadlines[deadline]] if deadline else []
            instants += [reminder[0]] if reminder else []
            instants += [self._asks_at] if self._is_asking else []
            if not instants or min(instants) > until:
                return
            self.now = max(self.now, min(instants))
            if reminder and reminder[0] <= self.now:
                self.memory.reminded_until = self.now
                for due in reminder[1]:
                    if state.deadlines[due] > self.now:
                        self._tell(lifecycle.reminder(due))
            elif deadline and state.deadlines[deadline] <= self.now:
                self._decide(DeadlineExpired(deadline))

    @property
    def _is_asking(self) -> bool:
        """Whether a refund is on its way, that the provider is asked about."""
        return any(isinstance(step, CheckRefund) for step in self.memory.steps)
