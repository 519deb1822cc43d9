"""The types that make up a row of the table of transitions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from workflows.lifecycle.events import DeadlineExpired, Event, RecipientRole, RefundReported
from workflows.lifecycle.guards import Guard
from workflows.lifecycle.handlers import Handler, nothing
from workflows.lifecycle.state import DeadlineName, Stage, State
from workflows.lifecycle.texts import Text
from workflows.messages import Message, Role

BOTH: tuple[RecipientRole, ...] = ("client", "freelancer")


class To(Enum):
    """The target of a row that names no stage."""

    SAME = "the stage stays"
    BEFORE_REQUEST = "back to the stage before the request"


@dataclass(frozen=True)
class Cause:
    """Who or what causes a transition: a message from one of `by` (with `choice`, where it has
    one), the end of a deadline, or a fact from provider, ledger, calendar or platform. `actor`: who
    acts if it is not a message."""

    message: str = ""
    by: tuple[Role, ...] = ()
    choice: str = ""
    deadline: DeadlineName | None = None
    fact: type[Event] | None = None
    actor: str = "system"

    def matches(self, event: Event) -> bool:
        """Whether the event is this cause."""
        if isinstance(event, Message):
            sent = event.name == self.message and event.by.role in self.by
            return sent and (not self.choice or self.choice == choice_of(event))
        if isinstance(event, DeadlineExpired):
            return event.deadline is self.deadline
        if isinstance(event, RefundReported) and event.status != self.choice:
            return False
        return self.fact is type(event)


def message(name: str, *by: Role, choice: str = "") -> Cause:
    """A message from somebody in one of these roles."""
    return Cause(message=name, by=by, choice=choice)


def expiry(deadline: DeadlineName) -> Cause:
    """The end of a deadline."""
    return Cause(deadline=deadline)


def fact(kind: type[Event], actor: str = "system") -> Cause:
    """An answer from provider, ledger, calendar or platform."""
    return Cause(fact=kind, actor=actor)


def report(status: str) -> Cause:
    """A report on the refund: an answer of the provider, or its `settlement_update`."""
    by = Role.PAYMENTS
    return Cause("settlement_update", (by,), status, fact=RefundReported, actor=by.value)


def answer(status: str) -> Cause:
    """An answer of the provider on the refund."""
    return Cause(choice=status, fact=RefundReported)


def choice_of(sent: Message) -> str:
    """Which of a message's choices it makes; empty if it offers none."""
    for name in ("decision", "action", "status"):
        if choice := getattr(sent, name, None):
            return str(choice)
    return ""


Placeholder = Callable[[State], Any]


def AMOUNT(state: State) -> int:
    """Any amount up to the escrow; shown to people as AMOUNT."""
    return state.escrow


def OFFERED(state: State) -> int:
    """The refund that the standing offer gives."""
    return state.offer.refund if state.offer else state.escrow


def REFUND_ID(state: State) -> str:
    """The id of the first refund attempt."""
    return state.refund_id(1)


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a message is offered to its sender: `label` says what it does (a template), `sample` are
    fields that make a good message. `listed_last`: listed after the messages specific to the stage.
    `same_as`: of the forms with the same `same_as`, only the first is offered. `hint`: what staff
    must know about the fields."""

    label: str
    sample: Mapping[str, Any | Placeholder] = field(default_factory=dict)
    listed_last: bool = False
    same_as: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One row: while the purchase is in one of `stages` and `guard` holds, `cause` runs `handler`
    and leads to `to`.

    `source`: A = the article that clients read, U = the marketplace's other published rules, O =
    our choice. `silent_for_facts`: no line in the timeline and no notice if a fact causes it.
    `hide_settlement_deadline`: notices show the settlement deadline only to operators.
    `blocked_while_frozen`: it decides on money that is held, so its message is rejected while a
    bank has that money.
    """

    id: str
    name: str
    cause: Cause
    stages: tuple[Stage, ...]
    guard: Guard | None = None
    handler: Handler = nothing
    to: Stage | To = To.SAME
    text: Text
    notify: tuple[RecipientRole, ...] = BOTH
    source: str
    form: Form | None = None
    silent_for_facts: bool = False
    about_money: bool = True
    hide_settlement_deadline: bool = False
    blocked_while_frozen: bool = False
