"""`decide(state, event, now)`: the engine that runs the table of transitions. Pure: no Temporal, no
I/O, no clock.

Everything that needs the rules asks here: message handlers, update validators, the `actions`
query, the generated docs and the exhaustive tests.
"""

from dataclasses import replace
from datetime import datetime

from activities.requests import LedgerDecision
from workflows.imported import Imported
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.events import (
    Accepted,
    DeadlineExpired,
    Event,
    Notify,
    Rejection,
    TakePayment,
)
from workflows.lifecycle.formatting import text_values, third_person
from workflows.lifecycle.handlers import note_of
from workflows.lifecycle.pending import is_kind_pending
from workflows.lifecycle.provider import rejected_while_frozen
from workflows.lifecycle.rejections import check_sender, explain
from workflows.lifecycle.state import RESTORED, DeadlineName, Decision, Stage, State, Terms
from workflows.lifecycle.transition import To, Transition
from workflows.lifecycle.versions import draft_of, rules_of
from workflows.messages import Message, Role


def begin(terms: Terms, now: datetime) -> Accepted:
    """The purchase at its first moment (R-01, R-02). The stages run while the payment is made."""
    policy, needed = terms.policy, terms.requirements_needed
    first, window = (
        (DeadlineName.REQUIREMENTS, policy.requirements_window)
        if needed
        else (DeadlineName.FREELANCER_CANCEL, policy.freelancer_cancel_window)
    )
    deadlines = {
        # The payment window is the provider's time, so it starts with the first attempt.
        DeadlineName.PAYMENT: now + policy.payment_window,
        first: terms.purchased_at + window,
    }
    state = State(terms, Stage.AWAITING_REQUIREMENTS, deadlines, requirements_received=not needed)
    draft = draft_of(state, DeadlineExpired(first), now)
    row = next(row for row in rules_of(state).starts if row.guard is None or row.guard.holds(draft))
    assert isinstance(row.to, Stage)
    draft.set(stage=row.to)
    draft.emit(TakePayment())
    return _accepted(row, draft, actor=Role.CLIENT.value)


def continue_imported(state: State, given: Imported) -> State:
    """A purchase that ran elsewhere, where it stands; the payment is pending, as at any beginning.
    A deadline that a request makes wait keeps the time it had left there."""
    terms, before = state.terms, given.stage_before_request
    deadlines = {DeadlineName(name): at for name, at in given.deadlines.items()}
    received = (before or given.stage) != Stage.AWAITING_REQUIREMENTS
    closed_at = None
    if received and DeadlineName.FREELANCER_CANCEL not in deadlines:
        window = terms.policy.freelancer_cancel_window
        closed_at = min(terms.purchased_at + window, terms.imported_at or terms.purchased_at)
    left = given.review_time_left
    return replace(
        state,
        stage=Stage(given.stage),
        deadlines={DeadlineName.PAYMENT: state.deadlines[DeadlineName.PAYMENT], **deadlines},
        suspended={} if left is None else {DeadlineName.REVIEW: left},
        requirements_received=received,
        cancel_window_closed_at=closed_at,
        stage_before_request=Stage(before) if before else None,
        claim=given.claim,
    )


def begin_again(state: State, now: datetime, decided: LedgerDecision | None) -> State:
    """A purchase that began at some time begins again at `now`, because what happened since is
    lost: its deadlines are as far ahead as they were then. A decision that the ledger has is
    carried out when the payment is found."""
    terms, payment = state.terms, state.deadlines[DeadlineName.PAYMENT]
    if decided is None:
        began = terms.imported_at or terms.purchased_at
        later = {name: at + (now - began) for name, at in state.deadlines.items()}
        return replace(state, deadlines=later | {DeadlineName.PAYMENT: payment})
    decision = Decision(RESTORED, decided.refund, decided.release, decided.at)
    return replace(
        state,
        stage=Stage.SETTLING,
        deadlines={DeadlineName.PAYMENT: payment},
        decision=decision,
        reason=RESTORED,
    )


def decide(state: State, event: Event, now: datetime) -> Accepted | Rejection:
    """What `event` does to `state` at `now`: a new state and the effects it asks for, or a
    rejection with a code and a sentence that says what could be done instead.

    A fact that no row takes (a deadline that is not open, an answer that came twice) is accepted
    and changes nothing.
    """
    draft = draft_of(state, event, now)
    if isinstance(event, Message) and (rejection := check_sender(state, event)):
        return rejection
    row = rules_of(state).row_for(draft)
    if isinstance(event, DeadlineExpired):
        if event.deadline not in state.deadlines:
            return Accepted(state)
        draft.end(event.deadline)
    if row and row.blocked_while_frozen and state.frozen and isinstance(event, Message):
        return rejected_while_frozen(state)
    if row is None:
        return explain(draft, event) if isinstance(event, Message) else Accepted(draft.state)
    return _apply(row, draft)


def _apply(row: Transition, draft: Draft) -> Accepted | Rejection:
    before, event = draft.state, draft.event
    if rejection := row.handler(draft):
        return rejection
    if isinstance(row.to, Stage):
        draft.enter(row.to)
    elif row.to is To.BEFORE_REQUEST:
        draft.return_to_stage_before_request()
    draft.suspend_or_continue()
    if not isinstance(event, Message):
        return _accepted(row, draft, actor=row.cause.actor)
    if event.by.role in (Role.CLIENT, Role.FREELANCER):
        _restart_deadlines(draft)
    overdue = [at for at in before.deadlines.values() if at <= draft.now]
    return _accepted(row, draft, actor=event.by.role.value, overdue=min(overdue, default=None))


def _restart_deadlines(draft: Draft) -> None:
    for rule in draft.rules:
        if rule.restarts_with_party_messages and draft.state.stage in rule.stages:
            draft.start(rule.name)


def _accepted(
    row: Transition, draft: Draft, *, actor: str, overdue: datetime | None = None
) -> Accepted:
    _forget_unblocked(draft)
    is_message = isinstance(draft.event, Message)
    if row.silent_for_facts and not is_message:
        return Accepted(draft.state, tuple(draft.effects), actor=actor, row=row.id)
    text = third_person(draft.state).format(
        row.text.summary, text_values(draft.state, actor, draft.values)
    )
    notice = Notify(
        row.name,
        actor,
        row.text,
        row.notify,
        note_of(draft.event) if isinstance(draft.event, Message) else None,
        tuple(draft.movements),
        values=dict(draft.values),
        money_text=draft.money_text,
        about_money=row.about_money,
        hide_settlement_deadline=row.hide_settlement_deadline,
    )
    return Accepted(
        draft.state,
        tuple(draft.effects),
        (notice,) if row.notify else (),
        row.name,
        text,
        actor,
        draft.now - overdue if overdue else None,
        row.id,
    )


def _forget_unblocked(draft: Draft) -> None:
    """An effect that is done or no longer needed needs no person."""
    if draft.state.attention:
        kept = (
            item
            for item in draft.state.attention
            if not item.effect or is_kind_pending(draft.state, item.effect)
        )
        draft.set(attention=tuple(kept))
