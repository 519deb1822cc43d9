"""Queries on a state: open deadlines, who must act, who may send what until when."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from activities.formatter import spaced
from workflows.lifecycle import texts
from workflows.lifecycle.deadlines import DeadlineRule
from workflows.lifecycle.decide import decide
from workflows.lifecycle.events import (
    Accepted,
    DeadlineExpired,
    Notify,
    RecipientRole,
    Rejection,
)
from workflows.lifecycle.formatting import expiry_text
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, Stage, State
from workflows.lifecycle.transition import AMOUNT, Transition
from workflows.lifecycle.versions import RULES_1, draft_of, is_open, newest_rules, rules_of
from workflows.messages import MESSAGES, Deadline, Message, Permission, Role, Sender

BLOCKED_AFTER = timedelta(minutes=5)
"""An effect that could not be carried out for this long is reported as blocked."""

REMINDER = "reminder"
"""The name of every reminder."""


def waiting_for(state: State) -> str:
    """The role that must act; staff if something needs attention."""
    if state.stage is Stage.DISPUTED or state.needs(AttentionKind.DECISION_OVERDUE):
        return "mediator"
    if state.attention:
        return "operator"
    rule = governing_deadline(state)
    return rule.waiting_for if rule else "nobody"


def governing_deadline(state: State) -> DeadlineRule | None:
    """The row of the deadline that people wait for in this stage."""
    rules = rules_of(state).deadlines
    return next((rule for rule in rules if rule.governs is state.stage), None)


def main_deadline(stage: str, deadlines: Collection[str]) -> DeadlineName | None:
    """Of the names of open deadlines, the earliest first, the one to show first: the payment's, on
    which all others depend; else the first that people wait for in this stage; else the earliest.
    """
    waited_for = {rule.name.value for rule in newest_rules().deadlines if rule.is_waited_for(stage)}
    if DeadlineName.PAYMENT in deadlines:
        return DeadlineName.PAYMENT
    own = (name for name in deadlines if name in waited_for)
    found = next(own, next(iter(deadlines), None))
    return None if found is None else DeadlineName(found)


def on_expiry(state: State, deadline: DeadlineName) -> Transition | None:
    """The row that applies when this open deadline ends and nobody has acted."""
    draft = draft_of(state, DeadlineExpired(deadline), state.deadlines[deadline])
    return rules_of(state).row_for(draft)


def usual_rows(stage: str) -> tuple[str, ...]:
    """The ids of the rows that lists take for granted for the end of the deadline of a stage: those
    of the first version, so that they are the same in every release."""
    found = (rule.usual or rule.expiry for rule in RULES_1.deadlines if rule.governs == stage)
    return next(found, ())


def payment_attempt_ends(state: State, now: datetime) -> datetime | None:
    """The latest instant at which the first attempt to charge is answered; None after it. It is
    nearly always answered within a second, so until then no later deadline needs a timer."""
    due = state.deadlines.get(DeadlineName.PAYMENT)
    if due is None or state.attention or state.confirm_url:
        return None
    begins_until = due - state.terms.policy.payment_window + BLOCKED_AFTER
    ends = now + BLOCKED_AFTER
    return ends if now < begins_until and ends <= due else None


def deadlines(state: State) -> tuple[Deadline, ...]:
    """The open deadlines, the next one first, each with what happens when it ends."""
    return tuple(_deadlines(state))


def next_deadline(state: State) -> Deadline | None:
    """The deadline that comes first."""
    return next(_deadlines(state), None)


def _deadlines(state: State) -> Iterator[Deadline]:
    for name, at in sorted(state.deadlines.items(), key=lambda item: item[1]):
        if row := on_expiry(state, name):
            yield Deadline(name=name.value, at=at, then=expiry_text(state, row.text))


# --- who may send what


@dataclass(frozen=True)
class Allowed:
    """A message that a role may send now. `fields`: the message's own, `AMOUNT` for a choice."""

    row: Transition
    message: str
    label: str
    fields: dict[str, Any]
    hint: str


def allowed_messages(state: State, role: Role, now: datetime) -> tuple[Allowed, ...]:
    """What `role` may send now, each choice of a message apart, the most relevant first."""
    rows = [
        row
        for row in rules_of(state).transitions
        if row.form
        and role in row.cause.by
        and state.stage in row.stages
        # A guard may ask what the message says.
        and is_open(row, draft_of(state, _sample(row, state, role), now))
    ]
    found: list[Allowed] = []
    offered: set[str] = set()
    for row in sorted(rows, key=lambda row: bool(row.form and row.form.listed_last)):
        form = row.form
        assert form is not None
        if form.same_as in offered:
            continue
        if isinstance(decide(state, _sample(row, state, role), now), Accepted):
            found.append(
                Allowed(row, row.cause.message, form.label, _fields(row, state), form.hint)
            )
            if form.same_as:
                offered.add(form.same_as)
    return tuple(found)


def _fields(row: Transition, state: State) -> dict[str, Any]:
    """The sample as people see it."""
    assert row.form is not None
    sample = row.form.sample.items()
    return {name: "AMOUNT" if it is AMOUNT else _filled(it, state) for name, it in sample}


def _filled(value: Any, state: State) -> Any:
    return value(state) if callable(value) else value


def _sample(row: Transition, state: State, role: Role) -> Message:
    """A good message for a row, from somebody in that role."""
    assert row.form is not None
    terms = state.terms
    ids = {Role.CLIENT: terms.client.id, Role.FREELANCER: terms.freelancer.id}
    fields = {name: _filled(value, state) for name, value in row.form.sample.items()}
    sender = Sender(role=role, id=ids.get(role, f"any-{role}"))
    return MESSAGES[row.cause.message](by=sender, **fields)


def samples(state: State, name: str, role: Role) -> Iterator[Message]:
    """Good messages of this name from this role, one for each choice; of any role's rows if this
    role has none, and of the newest version if the purchase's own does not know the message."""
    rows = [row for row in rules_of(state).rows(name) if row.form]
    rows = rows or [row for row in newest_rules().rows(name) if row.form]
    own = [row for row in rows if role in row.cause.by] or rows
    for choice in dict.fromkeys(row.cause.choice for row in own):
        yield _sample(next(row for row in own if row.cause.choice == choice), state, role)


def permissions(state: State, role: Role, now: datetime) -> tuple[Permission, ...]:
    """Every message, and whether `role` may send it now: decided by asking `decide` itself."""
    return tuple(_permission(state, name, role, now) for name in MESSAGES)


def _permission(state: State, name: str, role: Role, now: datetime) -> Permission:
    answers = [decide(state, message, now) for message in samples(state, name, role)]
    if not any(isinstance(answer, Accepted) for answer in answers):
        rejection = answers[0]
        assert isinstance(rejection, Rejection)
        code, text = rejection.code.value, rejection.text
        return Permission(message=name, allowed=False, code=code, why_not=text)
    for deadline in deadlines(state):
        after = decide(state, DeadlineExpired(DeadlineName(deadline.name)), deadline.at)
        assert isinstance(after, Accepted)
        later = (
            decide(after.state, message, deadline.at) for message in samples(state, name, role)
        )
        if not any(isinstance(answer, Accepted) for answer in later):
            return Permission(message=name, allowed=True, until=deadline.at)
    return Permission(message=name, allowed=True)


# --- reminders and rejections


def next_reminder(
    state: State, after: datetime, set_at: Mapping[DeadlineName, datetime]
) -> tuple[datetime, tuple[DeadlineName, ...]] | None:
    """The next instant after `after` at which to remind somebody, and of which deadlines. Of a
    deadline that was set at some instant, nobody is reminded before."""
    due: dict[datetime, list[DeadlineName]] = {}
    for name, at in state.deadlines.items():
        for offset in getattr(state.terms.policy.reminders, name.value, ()):
            if at - offset > max(after, set_at.get(name, after)):
                due.setdefault(at - offset, []).append(name)
    if not due:
        return None
    first = min(due)
    return first, tuple(due[first])


def reminder(state: State, deadline: DeadlineName) -> Notify:
    """The reminder of a deadline, to the party in its `reminds`."""
    rule = rules_of(state).deadline(deadline)
    assert rule.reminder is not None
    assert rule.reminds is not None
    return Notify(
        REMINDER, "system", rule.reminder, (rule.reminds,), deadline=deadline, about_money=False
    )


def rejection_notice(name: str, rejection: Rejection, recipient: RecipientRole) -> Notify:
    """The notice of a rejected signal: to the party that sent it, or to operators if a program has
    sent in the party's name what cannot be read."""
    values = {"message": spaced(name), "code": rejection.code.value, "answer": rejection.text}
    text = texts.rejected(texts.WHY_REJECTED[rejection.code.value])
    if rejection.code in (Code.INVALID_MESSAGE, Code.UNKNOWN_MESSAGE):
        values["sender"] = recipient
        text, recipient = texts.UNREADABLE, "operator"
    return Notify(
        "message_rejected", "system", text, (recipient,), values=values, about_money=False
    )
