"""What comes next: who has to act, until when, and what happens otherwise. The rules say it."""

from dataclasses import replace
from datetime import UTC, datetime

from activities.amounts import decimals
from activities.keys import workflow_id_of
from workflows import lifecycle
from workflows.lifecycle.events import Accepted
from workflows.lifecycle.state import Payment, Person, Stage, State, Terms
from workflows.messages import Message, Role
from workroom.forms import Form
from workroom.show import View

PARTIES = (Role.CLIENT, Role.FREELANCER)
ANSWERED = (Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DELIVERED)
"""Stages in which one party has to answer the other."""
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
    values = {"moment": view.moment(deadline.at), "expiry": view.expiry(deadline)}
    if view.status.stage == Stage.SETTLING:
        return view.say(
            "The refund should arrive by {moment}. If nothing is reported by then: {expiry}.",
            **values,
        )
    if view.status.stage in ANSWERED and who in PARTIES and who != view.sender.role:
        return view.say(
            "{Actor} can answer until {moment}. If {actor} does not answer: {expiry}.",
            who,
            **values,
        )
    return view.say("If nobody acts by {moment}: {expiry}.", **values)


def before_sending(view: View, message: Message) -> str:
    """How long the other side or the mediator will have, and what happens otherwise; empty if
    nobody has to act."""
    if view.status.frozen:
        return ""
    now = datetime.now(UTC)
    answer = lifecycle.decide(_state(view), message, now)
    if not isinstance(answer, Accepted) or answer.state.stage == view.status.stage:
        return ""
    rule = lifecycle.governing_deadline(answer.state)
    if rule is None or rule.waiting_for not in (*PARTIES, Role.MEDIATOR):
        return ""
    (deadline,) = lifecycle.deadlines(replace(answer.state, deadlines={rule.name: now}))
    return view.say(
        "{Actor} then has {window} to answer. Without an answer: {expiry}.",
        rule.waiting_for,
        window=view.formatter.window(getattr(view.terms.policy, rule.window)),
        expiry=view.expiry(deadline),
    )


def _state(view: View) -> State:
    """The purchase as far as the rules need it to say what a message leads to."""
    terms, status = view.terms, view.status
    stage = Stage(status.stage)
    return State(
        Terms(
            key=workflow_id_of(terms.purchase_id),
            client=Person(terms.client.id, terms.client.name),
            freelancer=Person(terms.freelancer.id, terms.freelancer.name),
            amount=terms.price.amount,
            currency=terms.price.currency,
            decimals=decimals(terms.price.currency),
            purchased_at=terms.purchased_at or status.timeline[0].at,
            requirements_needed=terms.requirements_needed,
            policy=terms.policy,
            rules_version=lifecycle.newest(),
        ),
        stage,
        {},
        payment=Payment(status.payment),
        requirements_received=stage is not Stage.AWAITING_REQUIREMENTS,
        stage_before_request=Stage.IN_PROGRESS,
        claim=status.claim,
    )
