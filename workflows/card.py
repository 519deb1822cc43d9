"""The status card that the Web UI shows of a purchase, in Markdown.

Lists, because the Web UI leaves wide gaps between paragraphs and none between table cells.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from temporalio import workflow

from activities.formatter import capitalized, spaced
from activities.requests import Undelivered
from activities.sanitize import isolated_markdown, markdown
from workflows import lifecycle
from workflows.lifecycle.events import Accepted, PlatformCancelled
from workflows.lifecycle.formatting import by_role, expiry_text, text_values
from workflows.lifecycle.queries import Allowed
from workflows.lifecycle.rejections import STAGE_TEXT, allowed_names
from workflows.lifecycle.state import DeadlineName, Payment, Stage, State
from workflows.lifecycle.versions import draft_of
from workflows.messages import RejectedSignal, Role, TimelineEntry
from workflows.workflow_state import WorkflowState

Item = TypeVar("Item")

EVENTS_SHOWN = 5
PROBLEMS_SHOWN = 3
"""How many rejected signals, and how many undelivered notices: the newest."""

_NOTHING_HELD = {
    Payment.PENDING: "nothing is held yet; {price} is being charged",
    Payment.VOIDING: "nothing is held; the payment of {price} is being cancelled",
    Payment.HELD: "nothing is left here",
    Payment.NONE: "nothing was paid",
}

_RESET = (
    "> **This run was reset** to an earlier point by an operator. Steps that already moved money "
    "are recognised by their key and skipped; see `recourse ledger`."
)
_TERMINATE = (
    "Never press *Terminate*: the money would stay where it is, and only the audit would notice"
)
_RESET_FORGETS = (
    "Before *Reset*: the purchase forgets every message and decision after that point, and "
    "deadlines after it start again. To continue an ended purchase, use `recourse adopt`"
)
_TIMES = "%Y-%m-%d %H:%M:%S"


def card(workflow_state: WorkflowState) -> str:
    """Stage, who must act and until when, what happens on expiry by which rule, where the money
    is, what needs a person, what staff may do, the last events, what went wrong.

    Stays far below the server's limit of 20 KB.
    """
    state = workflow_state.purchase
    timeline = workflow_state.timeline
    now = timeline[-1].at if timeline else state.terms.purchased_at
    rejected, undelivered = workflow_state.rejected, workflow_state.undelivered
    blocks = [
        f"### {_heading(state)}",
        *(f"> **Needs attention:** {markdown(item.text)}" for item in state.attention),
        _RESET if _is_reset() else "",
        _list("", _facts(state)),
        _list("For staff", _staff(state, now)),
        _list("The parties may send", _parties(state, now)),
        _list("The last events (UTC)", map(_event, _newest(timeline, EVENTS_SHOWN))),
        _list(
            f"Rejected signals: {workflow_state.rejected_count}",
            map(_rejected, _newest(rejected, PROBLEMS_SHOWN)),
        ),
        _list(
            f"Undelivered notices: {len(undelivered)}",
            map(_undelivered, _newest(undelivered, PROBLEMS_SHOWN)),
        ),
    ]
    return "\n\n".join(block for block in blocks if block)


def _heading(state: State) -> str:
    if state.in_aftercare and state.stage is not Stage.CLOSED:
        return "Closed; an aftercare case about the payment is open"
    return capitalized(STAGE_TEXT[state.stage])


def _list(title: str, items: Iterable[str]) -> str:
    """A list under its title; nothing, if it is empty."""
    lines = [f"- {item}" for item in items]
    head = [f"**{title}**", ""] if title else []
    return "\n".join([*head, *lines]) if lines else ""


def _newest(items: Sequence[Item], most: int) -> Iterator[Item]:
    return reversed(items[-most:])


def _facts(state: State) -> Iterator[str]:
    """Next action or outcome, money, decision, claim, offer and deadlines."""
    deadlines = dict(state.deadlines)
    if state.outcome:
        yield f"**Outcome:** {spaced(state.outcome)} ({spaced(state.reason)})"
    else:
        rule = lifecycle.governing_deadline(state)
        governing = rule.name if rule else None
        at = deadlines.get(governing) if governing else None
        until = f", until {instant(at)}" if at else ""
        yield f"**Waiting for:** {_whose(state)}{'' if state.attention else until}"
        if governing and at and not state.attention:
            deadlines.pop(governing)
            yield f"**If nobody acts by then:** {_then(state, governing)}"
            yield f"**Rule:** {_rule(state, governing)}"
    if dispute := state.frozen:
        taken = state.terms.format_amount(dispute.amount)
        since = f"{instant(dispute.since)}, {isolated_markdown(dispute.dispute_id)}"
        yield f"**Frozen:** the client's bank has taken {taken} back (since {since})"
    yield f"**Money:** {_money(state)}"
    if decision := state.decision:
        divided = _divided(state, decision.refund, decision.release)
        yield f"**Decided:** {spaced(decision.reason)}, {divided}"
    if state.claim:
        claim = state.terms.format_amount(state.claim)
        yield f"**Claim:** the freelancer wants to keep {claim}"
    if offer := state.offer:
        divided = _divided(state, offer.refund, state.escrow - offer.refund)
        yield f"**Offer of the {offer.by}:** {divided}"
    for name, at in sorted(deadlines.items(), key=lambda item: item[1]):
        yield f"**Also open:** {spaced(name)} until {instant(at)}; then {_then(state, name)}"


def _whose(state: State) -> str:
    terms = state.terms
    return {
        "client": f"the client ({isolated_markdown(terms.client.id)})",
        "freelancer": f"the freelancer ({isolated_markdown(terms.freelancer.id)})",
        "mediator": "a mediator",
        "operator": "our staff (operator)",
        "payments": "the payment provider",
    }[lifecycle.waiting_for(state)]


def _then(state: State, name: DeadlineName) -> str:
    row = lifecycle.on_expiry(state, name)
    return expiry_text(state, row.text) if row else "nothing changes"


def _rule(state: State, name: DeadlineName) -> str:
    row = lifecycle.on_expiry(state, name)
    if row is None:
        return "none"
    return f"{by_role(state).format(row.text.explanation, text_values(state))} ({row.id})"


def _money(state: State) -> str:
    places = {
        "held in escrow": state.held,
        "in transit to the client": state.in_transit,
        "refunded to the client": state.refunded,
        "released to the freelancer": state.released,
        "taken back by the client's bank": state.charged_back,
    }
    shown = [
        f"{state.terms.format_amount(amount)} {where}" for where, amount in places.items() if amount
    ]
    return ", ".join(shown) or _NOTHING_HELD[state.payment].format(price=_price(state))


def _all(state: State) -> str:
    return state.terms.format_amount(state.escrow)


def _price(state: State) -> str:
    return state.terms.format_amount(state.terms.amount)


def _divided(state: State, refund: int, release: int) -> str:
    written = state.terms.format_amount
    return f"{written(refund)} to the client, {written(release)} to the freelancer"


# --- what can be sent


def _staff(state: State, now: datetime) -> Iterator[str]:
    """What staff may do, with the message to send."""
    for role in (Role.MEDIATOR, Role.OPERATOR):
        for allowed in lifecycle.allowed_messages(state, role, now):
            yield _sendable(state, allowed, role)
    answer = lifecycle.decide(state, PlatformCancelled(), now)
    if isinstance(answer, Accepted) and answer.transition:
        yield f"*Request Cancellation* gives {_all(state)} back to the client, and notifies both"
    if state.stage is not Stage.CLOSED:
        yield _RESET_FORGETS
        yield _TERMINATE


def _sendable(state: State, allowed: Allowed, role: Role) -> str:
    message = {"by": {"role": role.value, "id": "your-id"}, **allowed.fields}
    sent = json.dumps(message, ensure_ascii=False)
    label = by_role(state).format(allowed.label, text_values(state))
    hint = f". {allowed.hint}" if allowed.hint else ""
    if "AMOUNT" in allowed.fields.values():  # not a number: nobody sends all of it by mistake
        hint += f'. In place of `"AMOUNT"` write a number: {state.escrow} is {_all(state)}'
    return f"{label}: send `{allowed.message}` with `{sent}`{hint}"


def _parties(state: State, now: datetime) -> Iterator[str]:
    """What the parties may send."""
    draft, terms = draft_of(state, PlatformCancelled(), now), state.terms
    for role, party in ((Role.CLIENT, terms.client), (Role.FREELANCER, terms.freelancer)):
        if names := allowed_names(draft, role):
            listed = ", ".join(f"`{name}`" for name in names)
            yield f"The {role} ({isolated_markdown(party.id)}): {listed}"


# --- events


def _event(entry: TimelineEntry) -> str:
    by = f" ({entry.by} {isolated_markdown(entry.by_id)})" if entry.by_id else ""
    note = f" “{markdown(entry.note)}”" if entry.note else ""
    return f"{entry.at:{_TIMES}} {markdown(entry.text)}{by}{note}"


def _rejected(item: RejectedSignal) -> str:
    sender = item.sender
    by = f" by the {sender.role} ({isolated_markdown(sender.id)})" if sender else ""
    why = f"{isolated_markdown(item.code)}: {markdown(item.text)}"
    return f"{item.at:{_TIMES}} {isolated_markdown(item.name)}{by}, {why}"


def _undelivered(item: Undelivered) -> str:
    what = f"{spaced(item.transition)}, to the {item.role} by {isolated_markdown(item.channel)}"
    return f"{item.at:{_TIMES}} {what}: {isolated_markdown(item.why)}"


def _is_reset() -> bool:
    """Whether this run continues from a point of an earlier one."""
    if not workflow.in_workflow():
        return False
    info = workflow.info()
    return info.run_id != info.original_execution_run_id


def instant(at: datetime) -> str:
    """A UTC instant as a person reads it."""
    return f"{at:{_TIMES}} UTC"
