"""The status card that the Web UI shows of a purchase, in Markdown.

Lists, because the Web UI leaves wide gaps between paragraphs and none between table cells.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow

from activities.amounts import format_amount
from activities.requests import Undelivered
from workflows import lifecycle
from workflows.lifecycle.draft import STAGE_DEADLINE, Draft
from workflows.lifecycle.queries import samples
from workflows.lifecycle.rejections import IN_WORDS, may_send
from workflows.lifecycle.state import (
    Accepted,
    DeadlineName,
    Payment,
    PlatformCancelled,
    Stage,
    State,
)
from workflows.lifecycle.transitions import Rule, choice_of
from workflows.lifecycle.versions import open_rules
from workflows.messages import RejectedSignal, Role, TimelineEntry
from workflows.workflow_state import WorkflowState

Item = TypeVar("Item")

EVENTS_SHOWN = 5
PROBLEMS_SHOWN = 3
"""So many refused signals, and so many undelivered notices: the newest."""

_STAGE_DEADLINE = {
    Stage.AWAITING_REQUIREMENTS: DeadlineName.REQUIREMENTS,
    Stage.FREELANCER_REVIEW: DeadlineName.FREELANCER_CANCEL,
    Stage.SETTLING: DeadlineName.SETTLEMENT,
    **STAGE_DEADLINE,
}
"""Until when it is somebody's turn."""

_NOTHING_HELD = {
    Payment.PENDING: "nothing is held yet; {price} is being charged",
    Payment.VOIDING: "nothing is held; the payment of {price} is being called off",
    Payment.HELD: "nothing is left here",
    Payment.NONE: "nothing was paid",
}

_WANTED = {
    "resolve_dispute": "`refund` is what the client gets, in minor units; the rest is released to "
    "the freelancer.",
    "mark_settled": "`reference` names the proof.",
}

_RESET = (
    "> **This run was reset** to an earlier point by an operator. Money that has moved is in the "
    "books and is not moved again; see `python -m starter ledger`."
)
_TERMINATE = "Never press *Terminate*: the money would stay where it is, and only the audit sees it"
_TIMES = "%Y-%m-%d %H:%M:%S"


def card(memory: WorkflowState) -> str:
    """Stage in words, whose turn and until when, what silence does and by which rule, where the
    money is, what needs a person, what staff may do, the last events, what went wrong.

    Stays far below the server's limit of 20 KB.
    """
    state = memory.state
    now = memory.timeline[-1].at if memory.timeline else state.terms.purchased_at
    words = IN_WORDS[state.stage]
    blocks = [
        f"### {words[0].upper()}{words[1:]}",
        *(f"> **Needs attention:** {plain(item.text)}" for item in state.attention),
        _RESET if _is_reset() else "",
        _list("", _facts(state)),
        _list("For staff", _staff(state, now)),
        _list("The parties may send", _parties(state, now)),
        _list("What happened last (UTC)", map(_event, _newest(memory.timeline, EVENTS_SHOWN))),
        _list(
            f"Refused signals: {memory.rejected_count}",
            map(_refused, _newest(memory.rejected, PROBLEMS_SHOWN)),
        ),
        _list(
            f"Undelivered notices: {len(memory.undelivered)}",
            map(_undelivered, _newest(memory.undelivered, PROBLEMS_SHOWN)),
        ),
    ]
    return "\n\n".join(block for block in blocks if block)


def _list(title: str, items: Iterable[str]) -> str:
    """A list under its title; nothing, if it is empty."""
    lines = [f"- {item}" for item in items]
    head = [f"**{title}**", ""] if title else []
    return "\n".join([*head, *lines]) if lines else ""


def _newest(items: Sequence[Item], most: int) -> Iterator[Item]:
    return reversed(items[-most:])


def _facts(state: State) -> Iterator[str]:
    """What everybody wants to know first."""
    deadlines = dict(state.deadlines)
    if state.stage is Stage.CLOSED:
        yield f"**Outcome:** {_spaced(state.outcome)} ({_spaced(state.reason)})"
    else:
        deadline = _STAGE_DEADLINE[state.stage]
        until = f", until {instant(at)}" if (at := deadlines.get(deadline)) else ""
        yield f"**Whose turn:** {_whose(state)}{'' if state.attention else until}"
        if at and not state.attention:
            deadlines.pop(deadline)
            yield f"**Silence until then:** {lifecycle.then(state, deadline)}"
            yield f"**Rule:** {_rule(state, deadline)}"
    yield f"**Money:** {_money(state)}"
    if decision := state.decision:
        yield f"**Decided:** {_spaced(decision.reason)}, {_divided(state, decision.refund)}"
    if state.claim:
        claim = format_amount(state.claim, state.terms.currency)
        yield f"**Claim:** the freelancer wants to keep {claim}"
    if offer := state.offer:
        yield f"**Offer of the {offer.by}:** {_divided(state, offer.refund)}"
    for deadline, at in sorted(deadlines.items(), key=lambda item: item[1]):
        yield f"**Also running:** {_spaced(deadline)} until {instant(at)}, {_then(state, deadline)}"


def _whose(state: State) -> str:
    terms = state.terms
    return {
        "client": f"the client ({plain(terms.client.id)})",
        "freelancer": f"the freelancer ({plain(terms.freelancer.id)})",
        "mediator": "a mediator",
        "operator": "our staff (operator)",
        "payments": "the payment provider",
    }[lifecycle.waiting_for(state)]


def _then(state: State, deadline: DeadlineName) -> str:
    return f"then {lifecycle.then(state, deadline)}"


def _rule(state: State, deadline: DeadlineName) -> str:
    rule = lifecycle.on_expiry(state, deadline)
    return rule.rule if rule else "none"


def _money(state: State) -> str:
    places = {
        "held in escrow": state.held,
        "on its way to the client": state.in_transit,
        "refunded to the client": state.refunded,
        "released to the freelancer": state.released,
    }
    shown = [
        f"{format_amount(amount, state.terms.currency)} {where}"
        for where, amount in places.items()
        if amount
    ]
    return ", ".join(shown) or _NOTHING_HELD[state.payment].format(price=_price(state))


def _price(state: State) -> str:
    return format_amount(state.terms.amount, state.terms.currency)


def _divided(state: State, refund: int) -> str:
    currency = state.terms.currency
    release = format_amount(state.terms.amount - refund, currency)
    return f"{format_amount(refund, currency)} to the client, {release} to the freelancer"


# --- what can be done


def _staff(state: State, now: datetime) -> Iterator[str]:
    """What staff may do, with the message to send."""
    draft = Draft(state, PlatformCancelled(), now)
    for role in (Role.MEDIATOR, Role.OPERATOR):
        for rule in open_rules(draft, role):
            yield _sendable(state, rule, role)
    answer = lifecycle.decide(state, PlatformCancelled(), now)
    if isinstance(answer, Accepted) and answer.transition:
        yield f"*Request Cancellation* gives {_price(state)} back to the client, and tells both"
    if state.stage is not Stage.CLOSED:
        yield _TERMINATE


def _sendable(state: State, rule: Rule, role: Role) -> str:
    message = next(
        sample
        for sample in samples(state, rule.message, role)
        if rule.choice in (None, choice_of(sample))
    )
    given = message.model_dump(mode="json", exclude_defaults=True)
    given["by"]["id"] = "your-id"
    sent = json.dumps(given, ensure_ascii=False)
    is_pending = _WANTED.get(rule.choice or rule.message, "")
    return f"Send `{rule.message}` with `{sent}`: {rule.rule} {is_pending}".rstrip()


def _parties(state: State, now: datetime) -> Iterator[str]:
    """What the parties may send."""
    draft, terms = Draft(state, PlatformCancelled(), now), state.terms
    for role, party in ((Role.CLIENT, terms.client), (Role.FREELANCER, terms.freelancer)):
        if names := may_send(draft, role):
            said = ", ".join(f"`{name}`" for name in names)
            yield f"The {role} ({plain(party.id)}): {said}"


# --- what has happened


def _event(entry: TimelineEntry) -> str:
    return f"{entry.at:{_TIMES}} {plain(entry.text)}"


def _refused(item: RejectedSignal) -> str:
    sender = item.sender
    by = f" by the {sender.role} ({plain(sender.id)})" if sender else ""
    return f"{item.at:{_TIMES}} {plain(item.name)}{by}, {plain(item.code)}: {plain(item.text)}"


def _undelivered(item: Undelivered) -> str:
    what = f"{_spaced(item.transition)}, to the {item.role} by {plain(item.channel)}"
    return f"{item.at:{_TIMES}} {what}: {plain(item.why)}"


def _is_reset() -> bool:
    """Whether this run goes on from a point of an earlier one."""
    if not workflow.in_workflow():
        return False
    info = workflow.info()
    return info.run_id != info.original_execution_run_id


# --- words


def instant(at: datetime) -> str:
    """A UTC instant as a person reads it."""
    return f"{at:{_TIMES}} UTC"


def span(duration: timedelta) -> str:
    """A window as a person says it: `48 h`, `14 d`, `8 d 4 h`, `90 min`, `20 s`."""
    if duration < timedelta(minutes=1):
        return f"{duration.total_seconds():.0f} s"
    hours, minutes = divmod(round(duration.total_seconds() / 60), 60)
    if minutes and hours < 3:
        return f"{60 * hours + minutes} min"
    if hours <= 72:
        return f"{hours} h"
    days, rest = divmod(hours, 24)
    return f"{days} d {rest} h" if rest else f"{days} d"


def plain(text: str) -> str:
    """Text of theirs as text of ours: no markup, no line breaks, not too long."""
    shown = " ".join(text.split())[:300]
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>()#+!|~" else char for char in shown)


def _spaced(name: str | None) -> str:
    """A name of ours in words."""
    return (name or "").replace("_", " ")
