"""Notices that do not arrive: how long each is worth trying, and what the operators are told."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from activities.requests import NoticeRequest, Recipient, Undelivered
from workflows.lifecycle.state import DeadlineName, State

TRIED_FOR = timedelta(days=1)
"""So long a notice is retried (`RULES.md`, Races); then it is shown as undelivered."""

AT_LEAST = timedelta(minutes=1)
"""A notice that an earlier run could not deliver gets so long in any case."""

REMINDER = "reminder"

NOT_ABOUT_MONEY = frozenset(
    {
        REMINDER,
        "message_sent",
        "message_rejected",
        "requirements_submitted",
        "freelancer_committed",
        "changes_requested",
    }
)
"""Every other transition moves money, says how it stands, or starts a window at whose end silence
decides about it. A reminder repeats what was told before."""


def time_left(notice: NoticeRequest, now: datetime) -> timedelta:
    """How long to go on trying: a day from the transition; a reminder not beyond its deadline."""
    left = max(notice.at + TRIED_FOR - now, AT_LEAST)
    if notice.transition == REMINDER and notice.deadline:
        left = min(left, notice.deadline.at - now)
    return left


def is_moot(notice: NoticeRequest, state: State) -> bool:
    """Whether a reminder has nothing to remind of any more."""
    deadline = notice.deadline
    return deadline is None or state.deadlines.get(DeadlineName(deadline.name)) != deadline.at


def report(
    notice: NoticeRequest, missed: Sequence[Undelivered], now: datetime
) -> NoticeRequest | None:
    """What the operators are told when a notice about money did not reach a party; None if there
    is nothing to tell. A report that does not arrive is not reported again."""
    lost = [one for one in missed if one.role != "operator"]
    if not lost or notice.transition in NOT_ABOUT_MONEY:
        return None
    name = notice.transition.replace("_", " ")
    ways = "; ".join(f"to the {one.role} by {one.channel}: {one.why.rstrip('.')}" for one in lost)
    return notice.model_copy(
        update={
            "transition_id": f"{notice.transition_id}-undelivered",
            "transition": "notice_undelivered",
            "at": now,
            "actor": "system",
            "what": f"The notice “{name}” could not be delivered {ways}.",
            "rule": "Money and deadlines wait for no notice: tell the reader in another way.",
            "words": None,
            "refund_by": None,
            "recipients": (Recipient(role="operator"),),
        }
    )
