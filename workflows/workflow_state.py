"""All that a purchase remembers: what passes from one run to the next when history grows long."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from activities.requests import NoticeRequest, Undelivered
from workflows import lifecycle
from workflows.lifecycle.state import Accepted, Notify, Person, State, Step, Terms
from workflows.messages import PurchaseStart, RejectedSignal, Role, TimelineEntry
from workflows.receiving.parsing import IdempotencyCache

TIMELINE_KEPT = 200
REJECTED_KEPT = 50
UNDELIVERED_KEPT = 50
NOTIFY_REJECTION_EVERY = timedelta(hours=1)


class PendingNotice(BaseModel):
    """A notice that cannot be written yet: a deadline that follows is still being looked up."""

    notify: Notify
    number: str
    at: datetime
    amounts: dict[str, int] = Field(default_factory=dict)
    """What the notice can speak of, as it was at that time."""


class WorkflowState(BaseModel):
    """The memory of a purchase. Bounded: of every list the newest are kept."""

    model_config = ConfigDict(extra="forbid")

    continued: Literal[True] = True
    start: PurchaseStart
    state: State
    steps: list[Annotated[Step, Field(discriminator="kind")]] = Field(default_factory=list)
    pending_notices: list[PendingNotice] = Field(default_factory=list)
    notices: list[NoticeRequest] = Field(default_factory=list)
    answers: IdempotencyCache = Field(default_factory=IdempotencyCache)
    requirements: JsonValue = None
    transitions: int = 0
    told: int = 0
    timeline: list[TimelineEntry] = Field(default_factory=list)
    rejected: list[RejectedSignal] = Field(default_factory=list)
    rejected_count: int = 0
    rejections_notified: dict[str, datetime] = Field(default_factory=dict)
    undelivered: list[Undelivered] = Field(default_factory=list)
    reminded_until: datetime

    @classmethod
    def fresh(cls, start: PurchaseStart, now: datetime, rules_version: int) -> "WorkflowState":
        """The memory of a purchase at its first moment: the payment is the first thing to do."""
        terms = Terms(
            key=f"purchase-{start.purchase_id}",
            client=Person(start.client.id, start.client.name),
            freelancer=Person(start.freelancer.id, start.freelancer.name),
            amount=start.price.amount,
            currency=start.price.currency,
            purchased_at=start.purchased_at or now,
            requirements_needed=start.requirements_needed,
            policy=start.policy,
            rules_version=rules_version,
        )
        first = lifecycle.begin(terms, now)
        memory = cls(start=start, state=first.state, reminded_until=now)
        memory.record(first, Role.CLIENT.value, now)
        memory.steps = [effect for effect in first.effects if not isinstance(effect, Notify)]
        return memory

    def record(self, answer: Accepted, by: str, now: datetime) -> None:
        """A transition takes effect: the new state, and a line in the timeline."""
        self.state = answer.state
        if not answer.transition:
            return
        self.transitions += 1
        entry = TimelineEntry(
            number=self.transitions,
            at=now,
            transition=answer.transition,
            by=by,
            text=answer.text,
            late_by=answer.late_by.total_seconds() if answer.late_by else None,
        )
        self.timeline = [*self.timeline, entry][-TIMELINE_KEPT:]

    def ask(self, step: Step) -> None:
        """One more thing to do, after those before it; the same asked for again takes the place of
        the older one."""
        self.steps = [*(other for other in self.steps if other != step), step]

    def has_rejected(self, code: str, at: datetime) -> bool:
        """Whether one of the newest refusals is of this code and instant."""
        return any((one.code, one.at) == (code, at) for one in reversed(self.rejected))

    def reject(self, rejection: RejectedSignal) -> None:
        """A signal was refused."""
        self.rejected = [*self.rejected, rejection][-REJECTED_KEPT:]
        self.rejected_count += 1

    def should_notify_rejection(self, recipient: str, code: str, now: datetime) -> bool:
        """Whether to tell a party of a refusal: at most once per code and hour."""
        last = self.rejections_notified.get(f"{recipient}:{code}")
        if last is not None and now - last < NOTIFY_REJECTION_EVERY:
            return False
        self.rejections_notified[f"{recipient}:{code}"] = now
        return True
