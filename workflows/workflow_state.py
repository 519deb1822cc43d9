"""Everything a purchase keeps: what continue-as-new carries from one run to the next."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from activities import fields
from activities.amounts import decimals, step_of
from activities.keys import aftercare_id_of, workflow_id_of
from activities.requests import (
    CONSUMER,
    ClosedPurchase,
    EventRecord,
    LedgerDecision,
    Money,
    NoticeRequest,
    Party,
    Undelivered,
)
from workflows import budget, lifecycle
from workflows.imported import Imported
from workflows.lifecycle.events import Accepted, CheckPayment, Effect, Notify
from workflows.lifecycle.state import DeadlineName, Person, Stage, State, Terms
from workflows.messages import Message, PurchaseStart, RejectedSignal, TimelineEntry
from workflows.policy import Policy
from workflows.purchase_events import event_record
from workflows.receiving.idempotency import IdempotencyCache

ADOPTED = "adopted"
"""The transition of the timeline that `recourse adopt` causes."""

NOTIFY_REJECTION_EVERY = timedelta(hours=1)
"""A party is notified of rejected signals at most once per code in this time."""


class AcceptedStart(BaseModel):
    """A start input that was accepted, with every default, and the decimals of its currency and the
    smallest amount (`step`, minor units) that the payment provider moves in it.

    Its types are as wide as they can be: what was accepted once is never validated again by the
    limits of a later release."""

    model_config = ConfigDict(frozen=True)

    purchase_id: str
    title: str
    client: Party
    freelancer: Party
    price: Money
    decimals: int
    step: int = 1
    payment_method: str = ""
    payment_reference: str = ""
    requirements_needed: bool
    purchased_at: datetime | None
    policy: Policy
    imported: Imported | None = None
    imported_at: datetime | None = None
    """When it was accepted as a purchase that runs elsewhere; None for any other one."""
    events: bool = False
    """Whether other systems receive its events, as the worker that accepted it was set."""

    @classmethod
    def of(cls, start: PurchaseStart, now: datetime | None = None) -> "AcceptedStart":
        """The terms in a valid start input that is accepted `now`."""
        given = start.model_dump(mode="json")
        paying = ("payment_method", "payment_reference")
        given |= {name: given[name] or "" for name in paying}
        currency = start.price.currency
        return cls.model_validate(
            {
                **given,
                "decimals": decimals(currency),
                "step": step_of(currency),
                "imported_at": now if start.imported else None,
            }
        )


class PendingNotice(BaseModel):
    """A notice that waits until the deadlines it names are computed. `amounts`, `stage`: as they
    were when the transition happened."""

    notify: Notify
    number: str
    at: datetime
    amounts: dict[str, int] = Field(default_factory=dict)
    stage: Stage | None = None


class WaitingMessage(BaseModel):
    """A message that was received and not handled. `payload`: its JSON."""

    name: str
    payload: str
    at: datetime


class WorkflowState(BaseModel):
    """The state of the workflow. `purchase` is what the rules know; every list keeps the newest.
    At most `budget.LARGEST_STATE` bytes."""

    model_config = ConfigDict(extra="forbid")

    continued: Literal[True] = True
    start: AcceptedStart
    purchase: State
    effects: list[Annotated[Effect, Field(discriminator="kind")]] = Field(default_factory=list)
    pending_notices: list[PendingNotice] = Field(default_factory=list)
    notices: list[NoticeRequest] = Field(default_factory=list)
    answers: IdempotencyCache = Field(default_factory=IdempotencyCache)
    requirements: JsonValue = None
    transitions: int = 0
    notice_count: int = 0
    timeline: list[TimelineEntry] = Field(default_factory=list)
    rejected: list[RejectedSignal] = Field(default_factory=list)
    rejected_count: int = 0
    rejections_notified: dict[str, datetime] = Field(default_factory=dict)
    undelivered: list[Undelivered] = Field(default_factory=list)
    reminded_until: datetime
    deadlines_set: dict[DeadlineName, datetime] = Field(default_factory=dict)
    """When each open deadline was set, or continued after it had waited."""
    waiting: list[WaitingMessage] = Field(default_factory=list)
    """Only in a state that was saved of an ended run; handled before anything else."""
    stream: str = ""
    """The name under which its events are numbered without gaps; empty if it sends none."""
    sequence: int = 0
    events: list[EventRecord] = Field(default_factory=list)
    """Events that no activity has stored yet."""
    events_pending: bool = False
    """Whether a consumer has not taken some of those that are stored."""

    @classmethod
    def begin(
        cls,
        start: AcceptedStart,
        now: datetime,
        rules_version: int,
        started: datetime | None = None,
    ) -> "WorkflowState":
        """The state of a purchase at its first moment: the payment is the first effect. `started`:
        when its workflow started, if that was before `now`."""
        first = _first(start, now, rules_version, started or now)
        return cls._begun(start, first, now, workflow_id_of(start.purchase_id))

    @classmethod
    def begin_again(
        cls,
        start: AcceptedStart,
        now: datetime,
        rules_version: int,
        decision: LedgerDecision | None,
    ) -> "WorkflowState":
        """The state of a purchase that is known by its terms only: its deadlines start `now`. What
        the ledger has decided stays decided."""
        first = _first(start, now, rules_version, now)
        again = lifecycle.begin_again(first.state, now, decision)
        # The lost runs have numbered their events, too: these are another stream.
        stream = _stream(workflow_id_of(start.purchase_id), now)
        state = cls._begun(start, replace(first, state=again), now, stream)
        # Above the numbers of the lost runs: the delivery log sends a notice once per number.
        state.notice_count = int(now.timestamp())
        return state

    @classmethod
    def _begun(
        cls, start: AcceptedStart, first: Accepted, now: datetime, stream: str
    ) -> "WorkflowState":
        stream = stream if start.events else ""
        state = cls(start=start, purchase=first.state, reminded_until=now, stream=stream)
        state.record(first, now)
        state.effects = list(first.effects)
        return state

    @classmethod
    def begin_case(
        cls,
        closed: ClosedPurchase,
        now: datetime,
        rules_version: int,
        started: datetime | None = None,
    ) -> "WorkflowState":
        """The state of a closed purchase's aftercare case: it looks at the payment first.
        `started`: when its workflow started, if that was before `now`."""
        start = AcceptedStart.model_validate(closed.document)
        purchase = lifecycle.begin_case(_terms(start, now, rules_version), closed, now)
        state = cls(start=start, purchase=purchase, reminded_until=now)
        # Above the purchase's own numbers: the delivery log sends a notice once per number.
        state.notice_count = int(now.timestamp())
        if start.events:
            state.stream = _stream(aftercare_id_of(start.purchase_id), started or now)
        if purchase.payment_checks:
            state.effects = [CheckPayment(purchase.payment_checks)]
        return state

    def record(self, answer: Accepted, now: datetime, message: Message | None = None) -> None:
        """A transition takes effect, `message` is its cause if it is one: the new state, its event,
        and a line in the timeline."""
        before, self.purchase = self.purchase, answer.state
        for name in {**before.deadlines, **answer.state.deadlines}:
            if (at := answer.state.deadlines.get(name)) is None:
                self.deadlines_set.pop(name, None)
            elif at != before.deadlines.get(name):
                self.deadlines_set[name] = now
        if self.stream:
            self._add_event(before, answer, now, message)
        if not answer.transition:
            return
        self.transitions += 1
        note = lifecycle.note_of(message) if message else None
        entry = TimelineEntry(
            number=self.transitions,
            at=now,
            transition=answer.transition,
            by=answer.actor,
            by_id=message.by.id if message else None,
            text=budget.cut(answer.text, budget.LONGEST_SENTENCE),
            note=budget.cut(note, budget.LONGEST_NOTE) if note else None,
            late_by=answer.late_by.total_seconds() if answer.late_by else None,
        )
        self.timeline = [*self.timeline, entry][-budget.TIMELINE_KEPT :]

    def record_adopted(self, now: datetime, by_id: str | None, text: str) -> None:
        """A line in the timeline: `recourse adopt` has continued the purchase. No row of the rules
        is applied, so it has no event and no notice."""
        self.transitions += 1
        entry = TimelineEntry(
            number=self.transitions,
            at=now,
            transition=ADOPTED,
            by="operator",
            by_id=by_id,
            text=text,
        )
        self.timeline = [*self.timeline, entry][-budget.TIMELINE_KEPT :]

    def _add_event(
        self, before: State, answer: Accepted, now: datetime, message: Message | None
    ) -> None:
        number, purchase_id = self.sequence + 1, self.start.purchase_id
        event = event_record(purchase_id, self.stream, number, before, answer, now, message)
        if event is None:
            return
        self.sequence = number
        waiting = [*self.events, *(one for notice in self.notices for one in notice.events)]
        if sum(map(_bytes_of, (*waiting, event))) <= budget.EVENTS_WAITING:
            self.events.append(event)
            return
        why = "too many events were waiting"
        lost = Undelivered(
            transition=event.transition, role=CONSUMER, channel="any", at=now, why=why
        )
        self.add_undelivered([lost])

    def add_effect(self, effect: Effect) -> None:
        """Run after those before it; the same effect asked for again replaces the older one."""
        self.effects = [*(other for other in self.effects if other != effect), effect]

    def has_rejected(self, code: str, at: datetime) -> bool:
        """Whether one of the newest rejections has this code and instant."""
        return any((one.code, one.at) == (code, at) for one in reversed(self.rejected))

    def add_rejected(self, rejected: RejectedSignal) -> None:
        """Keep a rejected signal."""
        self.rejected = [*self.rejected, rejected][-budget.REJECTED_KEPT :]
        self.rejected_count += 1

    def add_undelivered(self, undelivered: Iterable[Undelivered]) -> None:
        """Keep notices that were given up."""
        kept = (
            one.model_copy(
                update={
                    "channel": budget.cut(one.channel, fields.LONGEST_ID),
                    "why": budget.cut(one.why, budget.LONGEST_SENTENCE),
                }
            )
            for one in undelivered
        )
        self.undelivered = [*self.undelivered, *kept][-budget.UNDELIVERED_KEPT :]

    def should_notify_rejection(self, recipient: str, code: str, now: datetime) -> bool:
        """Whether to notify a party of a rejection now; if so, remembers that it was."""
        last = self.rejections_notified.get(f"{recipient}:{code}")
        if last is not None and now - last < NOTIFY_REJECTION_EVERY:
            return False
        self.rejections_notified[f"{recipient}:{code}"] = now
        return True


def _first(start: AcceptedStart, now: datetime, rules_version: int, started: datetime) -> Accepted:
    """The first moment of a purchase, of an imported one where it stands."""
    first = lifecycle.begin(_terms(start, started, rules_version), now)
    if start.imported is None:
        return first
    return replace(first, state=lifecycle.continue_imported(first.state, start.imported))


def _bytes_of(event: EventRecord) -> int:
    return len(event.model_dump_json().encode())


def _stream(workflow_id: str, began: datetime) -> str:
    return f"{workflow_id}/{int(began.timestamp())}"


def _terms(start: AcceptedStart, started: datetime, rules_version: int) -> Terms:
    return Terms(
        key=workflow_id_of(start.purchase_id),
        client=Person(start.client.id, start.client.name),
        freelancer=Person(start.freelancer.id, start.freelancer.name),
        amount=start.price.amount,
        currency=start.price.currency,
        decimals=start.decimals,
        purchased_at=start.purchased_at or started,
        requirements_needed=start.requirements_needed,
        policy=start.policy,
        rules_version=rules_version,
        step=start.step,
        imported_at=start.imported_at,
    )
