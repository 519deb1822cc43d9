"""What comes next: who has to act, until when, and what happens otherwise. The rules say it."""

from dataclasses import replace
from datetime import UTC, datetime

from workflows import lifecycle
from workflows.lifecycle.deadlines import DeadlineRule
from workflows.lifecycle.events import Accepted
from workflows.lifecycle.state import DeadlineName, Stage, State
from workflows.messages import Deadline, Message, Role
from workroom.forms import Form
from workroom.show import View

PARTIES = (Role.CLIENT, Role.FREELANCER)
ANSWERED = (Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DELIVERED)
"""Stages in which one party has to answer the other."""
ANSWER_UNTIL = "{Actor} can answer until {moment}. Without an answer: {expiry}."
DECIDED = (Stage.SETTLING, Stage.CLOSED)


def after_sending(view: View, form: Form) -> str:
    """What was sent, and what comes next as the purchase is now."""
    text = view.say(form.sent, view.sender.role.value)
    if form.money == "request" and view.status.stage in DECIDED:
        text = view.say("Your cancellation was sent.")
    return f"{text} {outlook(view)}".strip()


def outlook(view: View) -> str:
    """What comes next, as the next deadline says; empty without one."""
    deadline, who = view.next, view.status.waiting_for
    if deadline is None or view.status.frozen:
        return ""
    values = _ends(view, deadline)
    if view.status.stage == Stage.SETTLING:
        return view.say(
            "The refund should arrive by {moment}. If nothing is reported by then: {expiry}.",
            **values,
        )
    rule = lifecycle.newest_rules().deadline(DeadlineName(deadline.name))
    stage = view.status.stage
    answered = stage in ANSWERED and rule.is_waited_for(stage)
    if answered and who in PARTIES and who != view.sender.role:
        return view.say(ANSWER_UNTIL, who, **values)
    return view.say("If nobody acts by {moment}: {expiry}.", **values)


def before_sending(view: View, message: Message, state: State | None) -> str:
    """How long the other side or the mediator will have, and what happens otherwise; empty if
    nobody has to act, if all deadlines are suspended, or if the state is not known."""
    if state is None or state.suspended_since:
        return ""
    now = datetime.now(UTC)
    answer = lifecycle.decide(state, message, now)
    if not isinstance(answer, Accepted) or answer.state.stage is state.stage:
        return ""
    rule = lifecycle.governing_deadline(answer.state)
    if rule is None or rule.waiting_for not in (*PARTIES, Role.MEDIATOR):
        return ""
    window, at = getattr(view.terms.policy, rule.window), answer.state.deadlines.get(rule.name)
    deadline = lifecycle.next_deadline(replace(answer.state, deadlines={rule.name: at or now}))
    if deadline is None:
        return ""
    if first := _decides_before(answer.state, rule):
        return view.say(ANSWER_UNTIL, rule.waiting_for, **_ends(view, first))
    if at and not rule.in_business_days and at != now + window:  # it began before
        return view.say(ANSWER_UNTIL, rule.waiting_for, **_ends(view, deadline))
    return view.say(
        "{Actor} then has {window} to answer. Without an answer: {expiry}.",
        rule.waiting_for,
        window=view.formatter.window(window),
        expiry=view.expiry(deadline),
    )


def _decides_before(state: State, rule: DeadlineRule) -> Deadline | None:
    """The deadline that decides who gets the money in every stage, if it ends before this one."""
    found = {each.name: each for each in lifecycle.deadlines(state)}
    first = lifecycle.main_deadline(state.stage, found)
    if first is None or first is rule.name:
        return None
    decides = lifecycle.newest_rules().deadline(first).decides_in_every_stage
    return found[first] if decides else None


def _ends(view: View, deadline: Deadline) -> dict[str, str]:
    return {"moment": view.moment(deadline.at), "expiry": view.expiry(deadline)}
