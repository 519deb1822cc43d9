"""What a notice says: one request for all readers of a transition."""

from dataclasses import replace
from datetime import datetime

from activities.requests import (
    AllowedMessage,
    NoticeDeadline,
    NoticeRequest,
    NoticeText,
    Recipient,
)
from workflows import lifecycle
from workflows.lifecycle import texts
from workflows.lifecycle.events import Notify, RecipientRole
from workflows.lifecycle.state import DeadlineName, State
from workflows.lifecycle.texts import Text
from workflows.messages import Role
from workflows.workflow_state import PendingNotice, WorkflowState


def notice_request(state: WorkflowState, pending: PendingNotice) -> NoticeRequest:
    """The notice of one transition to all its recipients: amounts as they were then, deadlines and
    what each recipient may send as they are now.

    If the purchase is in another stage by now, these would contradict the text: the notice says
    that the purchase has changed, and leaves them out.
    """
    start, purchase, notify, at = state.start, state.purchase, pending.notify, pending.at
    is_current = pending.stage in (None, purchase.stage)
    text = notify.text
    if not is_current:
        text = replace(text, advice=dict.fromkeys(notify.recipients, (texts.CHANGED_SINCE,)))
    return NoticeRequest(
        purchase_id=start.purchase_id,
        title=start.title,
        price=start.price,
        client=start.client,
        freelancer=start.freelancer,
        transition_id=pending.number,
        transition=notify.transition,
        at=at,
        actor=notify.actor,
        text=notice_text(text),
        note=notify.note,
        movements=notify.movements,
        deadlines=_deadlines(purchase, notify) if is_current else (),
        money_text=notify.money_text,
        refund_by=purchase.deadlines.get(DeadlineName.SETTLEMENT),
        recipients=tuple(
            Recipient(role=role, allowed=_allowed(purchase, role, at) if is_current else ())
            for role in notify.recipients
        ),
        amounts=pending.amounts,
        windows=purchase.windows,
        values=dict(notify.values),
        confirm_url=notify.values.get("confirm_url", ""),
        about_money=notify.about_money,
    )


def notice_text(text: Text) -> NoticeText:
    return NoticeText(
        heading=text.heading,
        summary=text.summary,
        explanation=f"The rule: {text.explanation}",
        advice=dict(text.advice),
    )


def _deadlines(state: State, notify: Notify) -> tuple[NoticeDeadline, ...]:
    """The open deadlines, the next one first; only the one that the notice is about, if any."""
    found = []
    for name, at in sorted(state.deadlines.items(), key=lambda item: item[1]):
        row = lifecycle.on_expiry(state, name)
        if row is None or notify.deadline not in (None, name):
            continue
        rule = lifecycle.rules_of(state).deadline(name)
        found.append(
            NoticeDeadline(
                name=name.value,
                at=at,
                label=rule.label,
                expiry_text=row.text.expiry,
                waiting_for=rule.waiting_for,
                staff_only=notify.hide_settlement_deadline and name is DeadlineName.SETTLEMENT,
            )
        )
    return tuple(found)


def _allowed(state: State, role: RecipientRole, at: datetime) -> tuple[AllowedMessage, ...]:
    """What a recipient may send; operators also what a mediator may, if one is needed."""
    roles = [Role(role)]
    if role == "operator" and lifecycle.waiting_for(state) == "mediator":
        roles.append(Role.MEDIATOR)
    return tuple(
        AllowedMessage(message=each.message, label=each.label, fields=each.fields)
        for sender in roles
        for each in lifecycle.allowed_messages(state, sender, at)
    )
