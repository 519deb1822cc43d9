"""Runs a purchase without a server, to see its notices: the real rules, activities and notices, on
a clock that is set ahead.

Each effect runs at once; one that fails is retried when an operator asks. The tests of the
scenarios prove what a purchase does on a real server; a rehearsal of a scenario sends the same
notices, and a test proves it.
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
from activities.aftercare import AftercareActivities
from activities.calendar import business_deadline
from activities.ledger import Ledger
from activities.money import CHECK_EVERY, MoneyActivities
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import (
    BUSINESS_DEADLINE,
    CHECK_PAYMENT,
    CHECK_REFUND,
    POST_DECISION,
    POST_PROVIDER_MOVE,
    POST_SETTLEMENT,
    SEND_REFUND,
    TAKE_PAYMENT,
    VOID_PAYMENT,
    ClosedPurchaseRequest,
    Money,
    NoticeRequest,
)
from demo.scenarios import PEOPLE, CancelWorkflow, Happens, Send, Sleep, Step, UntilClosed
from workflows import lifecycle
from workflows.activity_calls import activity_call
from workflows.lifecycle.events import (
    UNORDERED,
    Accepted,
    AftercareReviewed,
    CheckRefund,
    ComputeDeadline,
    DeadlineExpired,
    Effect,
    EffectBlocked,
    Event,
    Notify,
    PaymentNeedsClient,
    PlatformCancelled,
    RecipientRole,
    Rejection,
)
from workflows.lifecycle.state import Stage
from workflows.messages import Message, PurchaseStart, Role
from workflows.notice_requests import notice_request
from workflows.receiving.parsing import InvalidMessage, parse_message
from workflows.workflow_state import AcceptedStart, PendingNotice, WorkflowState

LONGEST = timedelta(days=400)
"""Longer than any purchase stays open while nobody acts."""


@dataclass(frozen=True)
class Outage:
    """From now on these activities fail; without names, all work again."""

    activities: tuple[str, ...] = ()
    text: str = "The payment provider cannot be reached: it does not answer."


@dataclass(frozen=True)
class Rehearsed:
    """The ledger and the provider of rehearsals, and the activities that use them."""

    ledger: Ledger
    provider: SandboxProvider

    @property
    def activities(self) -> MoneyActivities:
        return MoneyActivities(self.ledger, self.provider)

    @property
    def aftercare(self) -> AftercareActivities:
        return AftercareActivities(self.ledger, self.provider)


@contextmanager
def money_activities() -> Iterator[Rehearsed]:
    """A ledger and a provider for any number of rehearsals, deleted afterwards."""
    with TemporaryDirectory() as folder:
        engine = database.create_engine(f"sqlite:///{folder}/recourse.db")
        database.migrate(engine)
        provider = SandboxProvider(Path(folder) / "sandbox.db")
        try:
            yield Rehearsed(Ledger(engine), provider)
        finally:
            provider.close()
            engine.dispose()


class Rehearsal:
    """One purchase, from its first moment at `now`. `notices` holds its notices in order, `state`
    everything else that it keeps."""

    def __init__(self, money: Rehearsed, start: PurchaseStart, now: datetime) -> None:
        self.now = now
        self.notices: list[NoticeRequest] = []
        self._outage = Outage()
        self._money = money
        self._check_at = now
        self.state = WorkflowState.begin(AcceptedStart.of(start), now, lifecycle.newest())
        activities = money.activities
        self._activities: dict[str, Callable[[Any], Any]] = {
            TAKE_PAYMENT.name: activities.take_payment,
            VOID_PAYMENT.name: activities.void_payment,
            POST_DECISION.name: activities.post_decision,
            SEND_REFUND.name: activities.send_refund,
            CHECK_REFUND.name: activities.check_refund,
            CHECK_PAYMENT.name: activities.check_payment,
            POST_PROVIDER_MOVE.name: activities.post_provider_move,
            POST_SETTLEMENT.name: activities.post_settlement,
            BUSINESS_DEADLINE.name: business_deadline,
        }

    def run(self, *steps: Step | Outage) -> list[NoticeRequest]:
        """Run all steps; returns every notice."""
        for step in steps:
            if isinstance(step, Outage):
                self._outage = step
                continue
            self._run_effects()
            match step:
                case Send():
                    self.receive(step.role, step.message, step.fields)
                case Sleep(duration):
                    until = self.now + duration
                    self._wait(until)
                    self.now = until
                case UntilClosed():
                    self._wait(self.now + LONGEST)
                    self._decide(AftercareReviewed())
                case CancelWorkflow():
                    self._decide(PlatformCancelled())
                case Happens(event, amount):
                    self._make_happen(event, amount)
        self._run_effects()
        return self.notices

    def _make_happen(self, event: SandboxEvent, minor: int | None) -> None:
        """Something happens at the provider, and the purchase looks. If it is closed, its aftercare
        case begins, which looks at once."""
        terms, stage = self.state.purchase.terms, self.state.purchase.stage
        amount = minor and Money(amount=minor, currency=terms.currency)
        self._money.provider.make_happen(event, f"{terms.key}/hold", amount or None, self.now)
        if stage is not Stage.CLOSED:
            self.receive(Role.PAYMENTS, "check_payment", {})
            return
        request = ClosedPurchaseRequest(purchase_id=self.state.start.purchase_id, at=self.now)
        closed = ActivityEnvironment().run(self._money.aftercare.load_closed_purchase, request)
        self.state = WorkflowState.begin_case(closed, self.now, lifecycle.newest())
        self._run_effects()

    # --- messages

    def receive(self, role: Role, name: str, fields: Any) -> Rejection | None:
        """A message arrives as a signal: a rejected one is answered by a notice."""
        sent = json.dumps({"by": {"role": role, "id": PEOPLE[role]}, **fields}).encode()
        raw = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=sent))
        try:
            message = parse_message(name, [raw])
        except InvalidMessage as invalid:
            return self._reject(role, name, invalid.rejection)
        if rejection := self._decide(message):
            return self._reject(role, name, rejection)
        return None

    def _reject(self, role: Role, name: str, rejection: Rejection) -> Rejection:
        parties: dict[Role, RecipientRole] = {Role.CLIENT: "client", Role.FREELANCER: "freelancer"}
        if role in parties:
            self._notify(lifecycle.rejection_notice(name, rejection, parties[role]))
        return rejection

    # --- events

    def _decide(self, event: Event) -> Rejection | None:
        answer = lifecycle.decide(self.state.purchase, event, self.now)
        if isinstance(answer, Rejection):
            return answer
        self._apply(answer, event if isinstance(event, Message) else None)
        self._run_effects()
        return None

    def _apply(self, answer: Accepted, message: Message | None = None) -> None:
        self.state.record(answer, self.now, message)
        amounts = self.state.purchase.amounts
        for effect in answer.effects:
            if isinstance(effect, ComputeDeadline):
                self._attempt(effect)
            else:
                self.state.add_effect(effect)
            if isinstance(effect, CheckRefund):
                self._check_at = self.now
        for notice in answer.notices:
            self._notify(notice, amounts)

    def _notify(self, notify: Notify, amounts: dict[str, int] | None = None) -> None:
        self.state.notice_count += 1
        number = f"{self.state.notice_count}-{notify.transition}"
        given = self.state.purchase.amounts if amounts is None else amounts
        pending = PendingNotice(notify=notify, number=number, at=self.now, amounts=given)
        self.notices.append(notice_request(self.state, pending))

    # --- effects

    def _run_effects(self) -> None:
        """Run what was asked for, in order, until nothing is left or one effect fails. Checks of
        the provider wait for no other effect, and none waits for them."""
        while effect := self._next_done():
            self.state.effects = [other for other in self.state.effects if other is not effect]

    def _next_done(self) -> Effect | None:
        """The next effect that is carried out, or no longer needed."""
        is_blocked = False
        for effect in tuple(self.state.effects):
            if is_blocked and not isinstance(effect, UNORDERED):
                continue
            if not lifecycle.is_pending(self.state.purchase, effect) or self._attempt(effect):
                return effect
            is_blocked = is_blocked or not isinstance(effect, UNORDERED)
        return None

    def _attempt(self, effect: Effect) -> bool:
        purchase = self.state.purchase
        if any(item.effect == effect.kind for item in purchase.attention):
            return False
        if isinstance(effect, CheckRefund) and self.now < self._check_at:
            return False
        call = activity_call(effect, purchase, self.state.start, self.now, "rehearsal")
        try:
            if call.type.name in self._outage.activities:
                raise ApplicationError(self._outage.text)
            activity = self._activities[call.type.name]
            facts = call.facts(ActivityEnvironment().run(activity, call.request))
        except ApplicationError as error:
            if isinstance(effect, CheckRefund):
                self._check_at = self.now + CHECK_EVERY
            if call.give_up_after is not None:
                self._apply_fact(EffectBlocked(effect.kind, error.message))
            return False
        for fact in facts:
            self._apply_fact(fact)
        return not any(isinstance(fact, PaymentNeedsClient) for fact in facts)

    def _apply_fact(self, fact: Event) -> None:
        answer = lifecycle.decide(self.state.purchase, fact, self.now)
        assert isinstance(answer, Accepted)
        self._apply(answer)

    # --- time

    def _wait(self, until: datetime) -> None:
        while self.state.purchase.stage is not Stage.CLOSED:
            self._run_effects()
            purchase, after = self.state.purchase, self.state.reminded_until
            open_ones = purchase.deadlines
            deadline = min(open_ones, key=lambda one: open_ones[one], default=None)
            reminder = lifecycle.next_reminder(purchase, after, self.state.deadlines_set)
            instants = [open_ones[deadline]] if deadline else []
            instants += [reminder[0]] if reminder else []
            instants += [self._check_at] if self._is_checking else []
            if not instants or min(instants) > until:
                return
            self.now = max(self.now, min(instants))
            if reminder and reminder[0] <= self.now:
                self.state.reminded_until = self.now
                for due in reminder[1]:
                    if open_ones[due] > self.now:
                        self._notify(lifecycle.reminder(purchase, due))
            elif deadline and open_ones[deadline] <= self.now:
                self._decide(DeadlineExpired(deadline))

    @property
    def _is_checking(self) -> bool:
        """Whether the provider is asked about a refund that is pending."""
        return any(isinstance(effect, CheckRefund) for effect in self.state.effects)
