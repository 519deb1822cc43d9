"""What can be read off a state: who may do what until when, whose turn it is, what silence does."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from workflows.lifecycle.deadlines import DeadlineRule
from workflows.lifecycle.decide import decide
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.rejections import may_send
from workflows.lifecycle.state import (
    Accepted,
    AttentionKind,
    DeadlineExpired,
    DeadlineName,
    Notify,
    PlatformCancelled,
    RecipientRole,
    Rejection,
    Stage,
    State,
)
from workflows.lifecycle.transitions import choice_of
from workflows.lifecycle.versions import deadline_rule
from workflows.messages import MESSAGES, Action, Deadline, Message, Role, Sender

_TURN = {
    Stage.AWAITING_REQUIREMENTS: "client",
    Stage.FREELANCER_REVIEW: "freelancer",
    Stage.IN_PROGRESS: "freelancer",
    Stage.DELIVERED: "client",
    Stage.REFUND_REQUESTED: "freelancer",
    Stage.CONTESTED: "client",
    Stage.DISPUTED: "mediator",
    Stage.SETTLING: "payments",
    Stage.CLOSED: "nobody",
}

AWAITED = {
    DeadlineName.PAYMENT: "the client's payment is made",
    DeadlineName.REQUIREMENTS: "client sends requirements",
    DeadlineName.FREELANCER_CANCEL: "freelancer may cancel",
    DeadlineName.REFUND_DECISION: "freelancer decides on the refund",
    DeadlineName.CLAIM: "client answers the claim",
    DeadlineName.REVIEW: "client reviews the delivery",
    DeadlineName.DORMANCY: "either party acts",
    DeadlineName.DISPUTE: "mediator decides",
    DeadlineName.SETTLEMENT: "the refund arrives",
}
"""What each clock gives time for."""


def waiting_for(state: State) -> str:
    """Whose turn it is. When a person is needed, it is the staff's."""
    if state.stage is Stage.DISPUTED or state.needs(AttentionKind.DECISION_OVERDUE):
        return "mediator"
    return "operator" if state.attention else _TURN[state.stage]


def deadlines(state: State) -> tuple[Deadline, ...]:
    """The open deadlines, the next one first, each with what silence will do."""
    found = []
    for deadline, at in sorted(state.deadlines.items(), key=lambda item: item[1]):
        rule = on_expiry(state, deadline)
        if rule:
            found.append(Deadline(name=deadline.value, at=at, then=rule.warns))
    return tuple(found)


def on_expiry(state: State, deadline: DeadlineName) -> DeadlineRule | None:
    """The row that will apply when `clock`, which is running, runs out and nobody has acted."""
    return deadline_rule(
        Draft(state, DeadlineExpired(deadline), state.deadlines[deadline]), deadline
    )


def then(state: State, deadline: DeadlineName) -> str:
    """What happens when `clock` runs out."""
    rule = on_expiry(state, deadline)
    return rule.warns if rule else "nothing"


def next_deadline(state: State) -> Deadline | None:
    """The deadline that comes first."""
    return next(iter(deadlines(state)), None)


def actions(state: State, role: Role, now: datetime) -> tuple[Action, ...]:
    """Every message, and whether `role` may send it now: decided by asking `decide` itself."""
    return tuple(_action(state, name, role, now) for name in MESSAGES)


def _action(state: State, name: str, role: Role, now: datetime) -> Action:
    answers = [decide(state, message, now) for message in samples(state, name, role)]
    if not any(isinstance(answer, Accepted) for answer in answers):
        rejection = answers[0]
        assert isinstance(rejection, Rejection)
        return Action(
            message=name, allowed=False, code=rejection.code.value, why_not=rejection.text
        )
    for deadline in deadlines(state):
        after = decide(state, DeadlineExpired(DeadlineName(deadline.name)), deadline.at)
        assert isinstance(after, Accepted)
        later = (
            decide(after.state, message, deadline.at) for message in samples(state, name, role)
        )
        if not any(isinstance(answer, Accepted) for answer in later):
            return Action(message=name, allowed=True, until=deadline.at)
    return Action(message=name, allowed=True)


def steps(state: State, role: Role, now: datetime) -> tuple[str, ...]:
    """Every message that `role` may send now; where one has a choice, each choice that is open:
    `decide_refund approve`."""
    open_now = may_send(Draft(state, PlatformCancelled(), now), role)
    return tuple(
        " ".join(filter(None, (name, choice_of(message))))
        for name in MESSAGES
        if name in open_now
        for message in samples(state, name, role)
        if isinstance(decide(state, message, now), Accepted)
    )


def samples(state: State, name: str, role: Role) -> Iterator[Message]:
    """A good message of this name from this role, one for each choice it offers."""
    terms = state.terms
    ids = {Role.CLIENT: terms.client.id, Role.FREELANCER: terms.freelancer.id}
    fields: dict[str, Any] = {
        "by": Sender(role=role, id=ids.get(role, f"any {role}".replace(" ", "-")))
    }
    choices: tuple[dict[str, Any], ...] = ({},)
    match name:
        case "submit_requirements":
            fields["requirements"] = "…"
        case "open_dispute":
            fields["reason"] = "…"
        case "send_message":
            fields["text"] = "…"
        case "propose_split" | "accept_split" | "resolve_dispute":
            fields["refund"] = state.offer.refund if state.offer else terms.amount
        case "decide_refund":
            choices = ({"decision": "approve"}, {"decision": "decline"})
        case "settlement_update":
            fields |= {"refund_id": state.refund_id(1), "status": "settled"}
        case "resolve_attention":
            choices = ({"action": "retry"}, {"action": "mark_settled", "reference": "…"})
    for choice in choices:
        yield MESSAGES[name](**fields, **choice)


REMINDED: dict[DeadlineName, RecipientRole] = {
    DeadlineName.REQUIREMENTS: "client",
    DeadlineName.FREELANCER_CANCEL: "freelancer",
    DeadlineName.REFUND_DECISION: "freelancer",
    DeadlineName.CLAIM: "client",
    DeadlineName.REVIEW: "client",
}
"""Of which deadlines whom to remind."""


def next_reminder(
    state: State, after: datetime
) -> tuple[datetime, tuple[DeadlineName, ...]] | None:
    """The next instant after `after` at which to remind somebody, and of which deadlines."""
    due: dict[datetime, list[DeadlineName]] = {}
    for deadline, at in state.deadlines.items():
        for offset in getattr(state.terms.policy.reminders, deadline.value, ()):
            if at - offset > after:
                due.setdefault(at - offset, []).append(deadline)
    if not due:
        return None
    first = min(due)
    return first, tuple(due[first])


def reminder(deadline: DeadlineName) -> Notify:
    """What to say of a deadline that comes near."""
    return Notify(
        "reminder",
        "system",
        f"A reminder: it is your turn ({deadline.value.replace('_', ' ')}).",
        "We remind you before a deadline passes.",
        (REMINDED[deadline],),
        deadline=deadline,
    )


def rejection(name: str, rejected: Rejection, recipient: RecipientRole) -> Notify:
    """What to say to a party whose message was not accepted."""
    return Notify(
        "message_rejected",
        "system",
        f"Your message {name} could not be accepted ({rejected.code}).",
        rejected.text,
        (recipient,),
        rejected=(name, rejected.code),
    )
