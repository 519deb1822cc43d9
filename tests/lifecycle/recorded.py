"""Purchases that write down what each event does: their state, effects and notices, in order."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from textwrap import TextWrapper
from typing import Any, Self

from tests.lifecycle.builders import NOON, Purchase, terms
from tests.lifecycle.test_aftercare import closed
from workflows.lifecycle import begin_case, is_pending, waiting_for
from workflows.lifecycle.events import Accepted, Effect, Event, Notify, PaymentHeld, Rejection
from workflows.lifecycle.formatting import text_values, third_person
from workflows.lifecycle.pending import is_kind_pending
from workflows.lifecycle.state import Stage, State
from workflows.messages import Message

AMOUNTS = ("escrow", "held", "in_transit", "refunded", "charged_back", "released", "refund_amount")
KINDS = (
    *("take_payment", "void_payment", "check_payment", "compute_deadline", "post_decision"),
    *("send_refund", "check_refund", "post_settlement", "post_provider_move", "none"),
)
WRAP = TextWrapper(100, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False)


class Recorded(Purchase):
    """A purchase under the newest rules, and the record of its events."""

    def __init__(self, *, held: bool = True, **given: Any) -> None:
        super().__init__(held=False, **given)
        self.begin_record(State(terms(**given), Stage.AWAITING_REQUIREMENTS, {}), self.last)
        if held:
            self.fact(PaymentHeld("ch_1"))

    def begin_record(self, before: State, first: Accepted) -> None:
        """The record's first lines: how it differs from a state without anything."""
        self.asked: list[Effect] = []
        self.lines = ["begins", *self._changes(before, first)]

    def from_here(self) -> Self:
        """Leave the way to this state out of the record."""
        self.lines = []
        return self

    def _decide(self, event: Event) -> Accepted | Rejection:
        before = self.state
        answer = super()._decide(event)
        self.lines += ["", f"{self.now:%d %b %H:%M}  {_event(event)}"]
        if isinstance(answer, Rejection):
            self.lines.append(f"  rejected {answer.code.value}: {answer.text}")
        else:
            self.lines += self._changes(before, answer)
        return answer

    @property
    def record(self) -> str:
        """What was written down."""
        lines = (part for line in self.lines for part in WRAP.wrap(line) or [""])
        return "\n".join(lines).strip() + "\n"

    def _changes(self, before: State, answer: Accepted) -> Iterator[str]:
        after = answer.state
        if answer.transition:
            yield f"  {answer.transition} by {answer.actor}: {answer.text}"
        if answer.late_by:
            yield f"  late by {answer.late_by}"
        for change in (*_difference(before, after, ""), *_difference(_view(before), _view(after))):
            yield f"  {change}"
        for effect in dict.fromkeys(self.asked):
            was, now = is_pending(before, effect), is_pending(after, effect)
            if was != now:
                yield f"  {'to be done again' if now else 'no longer to be done'}: {show(effect)}"
        for effect in answer.effects:
            yield f"  asks for {show(effect)}"
            self.asked.append(effect)
        for notice in answer.notices:
            yield f"  notifies {', '.join(notice.recipients)}{_notice(notice, answer)}"


class RecordedCase(Recorded):
    """An aftercare case, 20 days after the purchase was closed, and its record."""

    def __init__(
        self, refund: int, *, days: int = 20, policy: Mapping[str, Any] | None = None, **known: Any
    ) -> None:
        self.now = NOON + timedelta(days=days)
        bought = terms(**policy or {})
        self.state = begin_case(bought, closed(refund, **known), self.now)
        self.begin_record(State(bought, Stage.SETTLING, {}), Accepted(self.state))


STORIES: dict[str, Callable[[], Recorded]] = {}


def story(tell: Callable[[], Recorded]) -> Callable[[], Recorded]:
    """Keep a story under its name."""
    STORIES[tell.__name__] = tell
    return tell


def show(value: Any) -> str:
    """A value as people read it; of a dataclass, what differs from its defaults."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return f"{value:%d %b %Y %H:%M:%S}"
    if isinstance(value, Mapping):
        return ", ".join(f"{show(key)}: {show(each)}" for key, each in value.items()) or "nothing"
    if isinstance(value, tuple):
        return "; ".join(map(show, value)) or "nothing"
    if isinstance(value, str):
        return value if re.fullmatch("[a-z_]+", value) else f'"{value}"'
    if is_dataclass(value):
        shown = (
            f"{field.name}={show(it)}"
            for field in fields(value)
            if (it := getattr(value, field.name)) != _default(field)
        )
        return f"{type(value).__name__}({', '.join(shown)})"
    return str(value)


def _default(field: "Field[Any]") -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _event(event: Event) -> str:
    if not isinstance(event, Message):
        return show(event)
    given = event.model_dump(exclude={"by"}, exclude_defaults=True)
    return f"{event.by.role.value}: {event.name} {show(given) if given else ''}".rstrip()


def _view(state: State) -> Mapping[str, Any]:
    """What follows from a state."""
    return {
        **{name: getattr(state, name) for name in AMOUNTS},
        "amounts": state.amounts,
        "waits for": waiting_for(state),
        "kinds to be done": tuple(kind for kind in KINDS if is_kind_pending(state, kind)),
    }


def _difference(before: Any, after: Any, path: str = "·") -> Iterator[str]:
    """The parts that differ, each with its path."""
    if before == after and type(before) is type(after):
        return
    old, new = _parts(before), _parts(after)
    if old is None or new is None or type(before) is not type(after):
        yield f"{path} = {show(after)}"
        return
    for name in dict.fromkeys((*old, *new)):
        inner = f"{path} {name}".lstrip()
        if name not in new:
            yield f"{inner} is gone"
        elif name not in old:
            yield f"{inner} = {show(new[name])}"
        else:
            yield from _difference(old[name], new[name], inner)


def _parts(value: Any) -> Mapping[Any, Any] | None:
    """What a value consists of, by name, or by number from 1."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        names = [getattr(each, "dispute_id", number) for number, each in enumerate(value, start=1)]
        return dict(zip(names, value, strict=True))
    return value if isinstance(value, Mapping) else None


def _notice(notice: Notify, answer: Accepted) -> str:
    """A notice, without its texts and what the transition says already."""
    said = text_values(answer.state, notice.actor, notice.values)
    assert third_person(answer.state).format(notice.text.summary, said) == answer.text
    assert (notice.transition, notice.actor) == (answer.transition, answer.actor)
    known = {"transition", "actor", "text", "recipients"}
    shown = [
        f"{field.name} = {show(value)}"
        for field in fields(notice)
        if field.name not in known
        if (value := getattr(notice, field.name)) != _default(field)
    ]
    return f": {', '.join(shown)}" if shown else ""
