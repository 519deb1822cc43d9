"""Why a message is refused, and what could be done instead."""

from datetime import datetime

from workflows.lifecycle.state import Code, Refusal, Stage, State
from workflows.lifecycle.turn import Turn
from workflows.lifecycle.versions import open_rules, tables
from workflows.messages import Message, Role

_REQUEST_OPEN = (Stage.REFUND_REQUESTED, Stage.CONTESTED)
_PUT_OFF = ("deliver", "submit_requirements", "accept_delivery")

IN_WORDS = {
    Stage.AWAITING_REQUIREMENTS: "waiting for the client's requirements",
    Stage.FREELANCER_REVIEW: "under review by the freelancer",
    Stage.IN_PROGRESS: "in progress",
    Stage.DELIVERED: "delivered and under review by the client",
    Stage.REFUND_REQUESTED: "waiting for the freelancer's answer to the refund request",
    Stage.CONTESTED: "waiting for the client's answer to the freelancer's claim",
    Stage.DISPUTED: "in a dispute that a mediator decides",
    Stage.SETTLING: "decided, and the money is on its way",
    Stage.CLOSED: "closed",
}
"""What each stage is, in words."""


def known_sender(state: State, message: Message) -> Refusal | None:
    """A party speaks only under its own id, and nobody acts as a party and as staff."""
    role, sender = message.by.role, message.by.id
    parties = {Role.CLIENT: state.terms.client.id, Role.FREELANCER: state.terms.freelancer.id}
    if role in parties:
        if sender == parties[role]:
            return None
        return Refusal(
            Code.NOT_A_PARTY, f"{sender!r} is not the {role} of this purchase; check `by`."
        )
    if sender in parties.values():
        return Refusal(
            Code.WRONG_ROLE,
            f"{sender!r} is a party to this purchase and cannot act as its {role}.",
        )
    return None


def wrong_role(state: State, name: str, role: Role) -> Refusal | None:
    """A message is for the roles of its rows only."""
    may = {by for rule in tables(state).rules if rule.message == name for by in rule.by}
    if role in may:
        return None
    roles = " or ".join(by.value for by in Role if by in may)
    return Refusal(Code.WRONG_ROLE, f"{name} is for the {roles}, not for the {role}.")


def refuse(turn: Turn, message: Message) -> Refusal:
    """The refusal of a message for which no row is open."""
    name, role = message.name, message.by.role
    if refusal := wrong_role(turn.state, name, role):
        return refusal
    stage = turn.state.stage
    if stage is Stage.CLOSED:
        return Refusal(
            Code.CLOSED,
            f"The purchase is closed ({turn.state.outcome}, {turn.state.reason}); "
            "nothing can be changed any more.",
        )
    if stage is Stage.SETTLING and role in (Role.CLIENT, Role.FREELANCER, Role.MEDIATOR):
        return _decided(turn, message)
    if name == "cancel" and role is Role.FREELANCER:
        return _window_closed(turn.state.cancel_window_closed_at)
    if name == "cancel":
        return Refusal(
            Code.ALREADY_REQUESTED,
            f"The cancellation is already under way, and its clock runs on. {_instead(turn, role)}",
        )
    if name in _PUT_OFF and stage in _REQUEST_OPEN:
        return Refusal(
            Code.CANCELLATION_PENDING,
            f"{name} has to wait: the client's cancellation is pending. The client may send "
            f"withdraw_cancellation first. {_instead(turn, role)}",
        )
    return Refusal(
        Code.NOT_ALLOWED_NOW,
        f"{name} is not possible while the purchase is {IN_WORDS[stage]}. {_instead(turn, role)}",
    )


def _decided(turn: Turn, message: Message) -> Refusal:
    decision = turn.state.decision
    assert decision is not None
    what = (
        f"The money was decided at {_instant(decision.at)} ({decision.reason}): "
        f"{turn.amount(decision.refund)} to the client, "
        f"{turn.amount(decision.release)} to the freelancer."
    )
    if getattr(message, "decision", None) == "decline":
        return Refusal(
            Code.TOO_LATE,
            f"{what} A decision about money is never taken back; send_message still reaches "
            "the client.",
        )
    return Refusal(Code.ALREADY_SETTLED, f"{what} {_instead(turn, message.by.role)}")


def _window_closed(at: datetime | None) -> Refusal:
    assert at is not None
    return Refusal(
        Code.WINDOW_CLOSED,
        f"The window in which the freelancer can cancel closed at {_instant(at)}. "
        "To give the money back, send give_refund.",
    )


def may_send(turn: Turn, role: Role) -> tuple[str, ...]:
    """The names of the messages for which `role` has an open row."""
    offer = turn.state.offer
    theirs = offer is not None and offer.by is not role
    names = (rule.message for rule in open_rules(turn, role))
    return tuple(dict.fromkeys(name for name in names if name != "accept_split" or theirs))


def _instead(turn: Turn, role: Role) -> str:
    if names := may_send(turn, role):
        return f"The {role} can now send: {', '.join(names)}."
    return f"The {role} has nothing to do now."


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
