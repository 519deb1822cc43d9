"""Why a message is rejected, and what could be done instead."""

from workflows.lifecycle.draft import Draft
from workflows.lifecycle.events import Rejection
from workflows.lifecycle.formatting import instant
from workflows.lifecycle.state import Code, Stage, State
from workflows.lifecycle.versions import rules_of
from workflows.messages import Message, Role

_REQUEST_OPEN = (Stage.REFUND_REQUESTED, Stage.CONTESTED)
_WAIT_FOR_THE_REQUEST = ("deliver", "submit_requirements", "accept_delivery")

STAGE_TEXT = {
    Stage.AWAITING_REQUIREMENTS: "waiting for requirements",
    Stage.FREELANCER_REVIEW: "under review by the freelancer",
    Stage.IN_PROGRESS: "in progress",
    Stage.DELIVERED: "delivered and under review",
    Stage.REFUND_REQUESTED: "waiting for an answer to the refund request",
    Stage.CONTESTED: "waiting for an answer to the claim",
    Stage.DISPUTED: "in a dispute that a mediator decides",
    Stage.SETTLING: "decided, and the money is on its way",
    Stage.CLOSED: "closed",
}


def check_sender(state: State, message: Message) -> Rejection | None:
    """Reject a party under another id, and a party that acts as staff."""
    role, sender = message.by.role, message.by.id
    parties = {Role.CLIENT: state.terms.client.id, Role.FREELANCER: state.terms.freelancer.id}
    if role in parties:
        if sender == parties[role]:
            return None
        return Rejection(
            Code.NOT_A_PARTY, f"{sender!r} is not the {role} of this purchase; check `by`."
        )
    if sender in parties.values():
        return Rejection(
            Code.WRONG_ROLE, f"{sender!r} is a party to this purchase and cannot act as its {role}."
        )
    return None


def check_role(state: State, name: str, role: Role) -> Rejection | None:
    """A message is for the roles of its rows only."""
    senders = {by for row in rules_of(state).rows(name) for by in row.cause.by}
    if role in senders:
        return None
    if not senders:
        return Rejection(
            Code.NOT_ALLOWED_NOW,
            f"{name} is not part of the rules that this purchase was bought under.",
        )
    roles = " or ".join(_named(by) for by in Role if by in senders)
    return Rejection(Code.WRONG_ROLE, f"{name} is for the {roles}, not for the {_named(role)}.")


def _named(role: Role) -> str:
    return "payment provider" if role is Role.PAYMENTS else role.value


def explain(draft: Draft, message: Message) -> Rejection:
    """The rejection of a message for which no row is open."""
    name, role = message.name, message.by.role
    if rejection := check_role(draft.state, name, role):
        return rejection
    stage = draft.state.stage
    if stage is Stage.CLOSED:
        return Rejection(
            Code.CLOSED,
            f"The purchase is closed ({draft.state.outcome}, {draft.state.reason}); "
            "nothing can be changed any more.",
        )
    if stage is Stage.SETTLING and role in (Role.CLIENT, Role.FREELANCER, Role.MEDIATOR):
        return _decided(draft, message)
    if rejection := _by_a_guard(draft, message):
        return rejection
    if name == "cancel" and draft.state.stage_before_request:
        return Rejection(
            Code.ALREADY_REQUESTED,
            f"A refund is already requested; its deadline stays. {_instead(draft, role)}",
        )
    if name in _WAIT_FOR_THE_REQUEST and stage in _REQUEST_OPEN:
        return Rejection(
            Code.CANCELLATION_PENDING,
            f"{name} has to wait: the client's cancellation is pending. The client may send "
            f"withdraw_cancellation first. {_instead(draft, role)}",
        )
    return Rejection(
        Code.NOT_ALLOWED_NOW,
        f"{name} is not possible while the purchase is {STAGE_TEXT[stage]}. "
        f"{_instead(draft, role)}",
    )


def _decided(draft: Draft, message: Message) -> Rejection:
    decision = draft.state.decision
    if decision is None:
        return Rejection(
            Code.ALREADY_SETTLED,
            "The client has all of the money already, by the bank or by a refund made elsewhere "
            f"({draft.state.reason}). {_instead(draft, message.by.role)}",
        )
    what = (
        f"The money was decided at {instant(decision.at)} ({decision.reason}): "
        f"{draft.amount(decision.refund)} to the client, "
        f"{draft.amount(decision.release)} to the freelancer."
    )
    if getattr(message, "decision", None) == "decline":
        return Rejection(
            Code.TOO_LATE,
            f"{what} A decision about money is never taken back; send_message still reaches "
            "the client.",
        )
    return Rejection(Code.ALREADY_SETTLED, f"{what} {_instead(draft, message.by.role)}")


def _by_a_guard(draft: Draft, message: Message) -> Rejection | None:
    rows = rules_of(draft.state).rows(message.name)
    guards = (
        row.guard
        for row in rows
        if row.cause.matches(message) and draft.state.stage in row.stages and row.guard
    )
    found = (guard.rejection for guard in guards if guard.rejection and not guard.holds(draft))
    return next((rejection(draft) for rejection in found), None)


def allowed_names(draft: Draft, role: Role) -> tuple[str, ...]:
    """The names of the messages for which `role` has an open row."""
    offer = draft.state.offer
    theirs = offer is not None and offer.by is not role
    names = (row.cause.message for row in rules_of(draft.state).open_rows(draft, role))
    return tuple(dict.fromkeys(name for name in names if name != "accept_split" or theirs))


def _instead(draft: Draft, role: Role) -> str:
    if names := allowed_names(draft, role):
        return f"The {_named(role)} can now send: {', '.join(names)}."
    return f"There is nothing that the {_named(role)} can send now."
