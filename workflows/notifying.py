"""Notifies people, without delaying money or deadlines; also after the purchase has closed."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import RootModel
from temporalio import workflow
from temporalio.common import Priority, RawValue
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from activities.formatter import spaced
from activities.keys import purchase_of_workflow
from activities.requests import (
    CONSUMER,
    GIVE_UP_AFTER,
    NOTICE_QUEUE,
    SEND_NOTICES,
    ErrorType,
    EventsRequest,
    NoticeAnswer,
    NoticeRequest,
    Recipient,
    Undelivered,
)
from activities.sanitize import markdown
from workflows import budget, priorities
from workflows.emitting import (
    CLOSE_AFTER,
    RETRY,
    EventSender,
    deliver_events,
    undelivered_events,
)
from workflows.failures import failure
from workflows.lifecycle import texts
from workflows.lifecycle.events import Notify, RecipientRole
from workflows.lifecycle.queries import REMINDER
from workflows.lifecycle.state import DeadlineName, Stage, State
from workflows.notice_requests import notice_request, notice_text
from workflows.receiving.encrypted import RawAnswer, check_deciphered
from workflows.receiving.parsing import parse, parse_answer
from workflows.workflow_state import PendingNotice, WorkflowState

DELIVERY_TIMEOUT = timedelta(minutes=2)
"""Bounds one attempt to deliver a notice to all its recipients."""

AT_LEAST = timedelta(minutes=1)
"""How long a notice that an earlier run could not deliver is retried in any case."""

CONTINUE_AFTER = timedelta(seconds=5)
"""How long continue-as-new waits for notices in delivery; then the next run sends them again."""

PURCHASE_NOTICES = "PurchaseNotices"
TAKEN_OVER = "still being tried when the purchase closed"


class Notifier:
    """Sends notices concurrently: only the end of a purchase waits for them."""

    def __init__(self, state: WorkflowState, deadlines_known: Callable[[], bool]) -> None:
        self._state = state
        self._events = EventSender(state, self._give_up)
        self._deadlines_known = deadlines_known
        self._in_delivery = 0
        self._unbounded = 0
        """How many of these are retried for longer than CLOSE_AFTER."""
        self._late: list[NoticeRequest] = []
        """Those of a closed purchase that were not delivered in that time."""
        self._stopping = False

    @property
    def done(self) -> bool:
        """Whether every notice was delivered, given up, or is for PurchaseNotices to deliver; and
        every event stored."""
        state = self._state
        delivered = not state.pending_notices and len(state.notices) == len(self._late)
        return delivered and self._events.done

    def send_events(self) -> None:
        """Send the events that no notice takes along."""
        self._events.send()

    def notify(self, notify: Notify, at: datetime) -> bool:
        """Notify of a transition, as soon as the deadlines that follow from it are computed. The
        notice takes the events along that wait then. False: it was given up."""
        state = self._state
        state.notice_count += 1
        if not self._has_room(notify):
            why = "too many notices were waiting"
            self._give_up(_undelivered(notify.transition, notify.recipients, at, why))
            return False
        number = f"{state.notice_count}-{notify.transition}"
        pending = PendingNotice(
            notify=notify,
            number=number,
            at=at,
            amounts=state.purchase.amounts,
            stage=state.purchase.stage,
        )
        state.pending_notices.append(pending)
        asyncio.create_task(self._write(pending))
        return True

    def _has_room(self, notify: Notify) -> bool:
        """Whether one more notice may wait. Those about nothing but a message leave half of the
        room for notes to the others."""
        pending, written = self._state.pending_notices, self._state.notices
        if len(pending) + len(written) >= budget.NOTICES_WAITING:
            return False
        notes = [notify.note, *(one.notify.note for one in pending), *(one.note for one in written)]
        room = budget.NOTES_WAITING if notify.about_money else budget.NOTES_WAITING // 2
        return sum(budget.size(note or "") for note in notes) <= room

    def resume(self) -> None:
        """Continue with what an earlier run had not written or not delivered."""
        for pending in self._state.pending_notices:
            asyncio.create_task(self._write(pending))
        for notice in self._state.notices:
            asyncio.create_task(self._deliver(notice))
        self._events.resume()

    async def _write(self, pending: PendingNotice) -> None:
        await workflow.wait_condition(self._deadlines_known)
        state = self._state
        # A reminder may be withdrawn, so it takes none along.
        events = () if pending.notify.transition == REMINDER else self._events.take()
        notice = notice_request(state, pending).model_copy(update={"events": events})
        state.pending_notices = [one for one in state.pending_notices if one is not pending]
        state.notices.append(notice)
        await self._deliver(notice)

    async def _deliver(self, notice: NoticeRequest) -> None:
        if self._stopping:
            return
        self._in_delivery += 1
        try:
            answer = await self._send(notice)
        except ActivityError:
            self._late.append(notice)
            return
        finally:
            self._in_delivery -= 1
        self._give_up(answer.undelivered)
        self._state.notices = [one for one in self._state.notices if one is not notice]
        self._events.answered(answer.events_pending)
        if report := undelivered_report(notice, answer.undelivered, workflow.now()):
            self._state.notices.append(report)
            await self._deliver(report)

    async def _send(self, notice: NoticeRequest) -> NoticeAnswer:
        """Deliver a notice. Raises ActivityError if the purchase is closed and it is late."""
        reminds = notice.transition == REMINDER
        if self._state.purchase.stage is Stage.CLOSED and not reminds:
            return await attempt(notice, min(time_left(notice, workflow.now()), CLOSE_AFTER))
        self._unbounded += 1
        try:
            return await (self._remind if reminds else send)(notice)
        finally:
            self._unbounded -= 1

    async def _remind(self, notice: NoticeRequest) -> NoticeAnswer:
        """Deliver a reminder, unless its deadline ends or is no longer open."""
        sending = asyncio.create_task(send(notice))
        await workflow.wait_condition(
            lambda: sending.done() or not _is_open(notice, self._state.purchase)
        )
        if sending.done():
            return sending.result()
        sending.cancel()
        over = notice.deadlines and notice.deadlines[0].at <= workflow.now()
        why = "its deadline has passed"
        return NoticeAnswer(undelivered=_all_undelivered(notice, why) if over else ())

    def _give_up(self, undelivered: Sequence[Undelivered]) -> None:
        self._state.add_undelivered(undelivered)
        given_up = workflow.metric_meter().create_counter(
            "recourse_notices_given_up", "Notices that were not delivered"
        )
        for notice in undelivered:
            given_up.add(1, {"channel": notice.channel})

    def came_back(self, lost: Undelivered, at: datetime) -> None:
        """Give up a notice that came back after it was sent; operators are notified, once."""
        key = (lost.transition, lost.role, lost.channel, lost.at)
        known = ((one.transition, one.role, one.channel, one.at) for one in self._state.undelivered)
        if key not in known:
            self._give_up([lost])
            row = Notify("notice_undelivered", "system", texts.NOTICE_UNDELIVERED, ("operator",))
            values = _undelivered_values(lost.transition, [lost])
            self.notify(replace(row, values=values), at)

    async def stop(self) -> None:
        """Send nothing more, and wait a moment for what is in delivery: the next run continues.

        An answer that arrives while a run ends makes the server reject that end. A worker then
        replays thousands of events, and every sender waits.
        """
        self._stopping = True
        self._events.stop()
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: not self._in_delivery and not self._events.storing,
                timeout=CONTINUE_AFTER,
                timeout_summary="notices in delivery",
            )

    async def finish(self) -> None:
        """Give the last notices a moment; PurchaseNotices takes over what is left, so that the end
        of a purchase never waits for a mail server."""
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self.done,
                timeout=CLOSE_AFTER if self._unbounded or self._events.unbounded else None,
                timeout_summary="the last notices",
            )
        self._events.stop()
        if not self._state.notices and not self._events.left():
            return
        for notice in self._state.notices:
            self._give_up(_all_undelivered(notice, TAKEN_OVER))
        child_id = f"{workflow.info().workflow_id}/notices/{workflow.info().run_id}"
        try:
            await self._hand_over(child_id)
        except WorkflowAlreadyStartedError:  # a workflow of somebody else has this id
            await self._hand_over(f"{child_id}/{workflow.uuid4()}")

    async def _hand_over(self, child_id: str) -> None:
        purchase_id = markdown(self._state.start.purchase_id)
        events = self._events.left()
        await workflow.start_child_workflow(
            PURCHASE_NOTICES,
            args=[self._state.notices, events] if events else [self._state.notices],
            id=child_id,
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=budget.cut(f"Last notices of purchase {purchase_id}", 200),
        )


class HandedOver(RootModel[list[NoticeRequest]]):
    """The input of PurchaseNotices."""


@workflow.defn(name=PURCHASE_NOTICES)
class PurchaseNotices:
    """Delivers the notices and events that a closed purchase could not deliver yet."""

    @workflow.run
    async def run(self, *given: RawValue) -> list[Undelivered]:
        """Returns what could not be delivered in the end. Only a purchase, or its aftercare case,
        hands notices and events over: a start by anybody else fails, and nothing is sent."""
        check_deciphered(given)
        try:
            notices = parse(HandedOver, given[:1]).root
            events = parse(EventsRequest, given[1:]) if given[1:] else None
        except ValueError as error:
            raise failure(ErrorType.INVALID_INPUT, f"Nothing was sent: {error}") from None
        parent = workflow.info().parent
        purchases = {each.purchase_id for each in notices}
        if events:
            purchases.add(events.purchase_id)
        if not parent or purchases != {purchase_of_workflow(parent.workflow_id)}:
            why = "only a purchase hands over its last notices."
            raise failure(ErrorType.INVALID_INPUT, f"Nothing was sent: {why}")
        delivering = [_send_or_report(notice) for notice in notices]
        found = await asyncio.gather(*delivering, *([deliver_events(events)] if events else []))
        return [item for items in found for item in items]


async def _send_or_report(notice: NoticeRequest) -> Sequence[Undelivered]:
    answer = await send(notice)
    found = [*answer.undelivered]
    if report := undelivered_report(notice, answer.undelivered, workflow.now()):
        found += (await send(report)).undelivered
    if answer.events_pending:
        found += await deliver_events(EventsRequest(purchase_id=notice.purchase_id))
    return found


# --- delivery


async def send(notice: NoticeRequest) -> NoticeAnswer:
    """Deliver a notice, for a day at most. What could not be delivered is returned, not raised."""
    left = time_left(notice, workflow.now())
    if left <= timedelta(0):
        return NoticeAnswer(undelivered=_all_undelivered(notice, "its deadline has passed"))
    try:
        return await attempt(notice, left)
    except ActivityError as error:
        return _answer_in(notice, error)


async def attempt(notice: NoticeRequest, left: timedelta) -> NoticeAnswer:
    """Deliver a notice, retried for the time that is left; what can never be delivered is
    returned. Raises ActivityError."""
    recipients = " and ".join(each.role for each in notice.recipients)
    payload = await workflow.execute_activity(
        SEND_NOTICES.name,
        notice,
        task_queue=NOTICE_QUEUE,
        result_type=RawAnswer,
        schedule_to_close_timeout=left,
        start_to_close_timeout=DELIVERY_TIMEOUT,
        retry_policy=RETRY,
        summary=f"Notify {recipients}: {notice.transition.replace('_', ' ')}",
        priority=_priority(notice),
    )
    try:
        return parse_answer(NoticeAnswer, SEND_NOTICES.name, payload)
    except ValueError:
        return NoticeAnswer(
            undelivered=_all_undelivered(notice, "its activity was completed by hand")
        )


def _priority(notice: NoticeRequest) -> Priority:
    if notice.transition == REMINDER:
        return priorities.REMINDERS
    return priorities.MONEY if notice.about_money else priorities.CHECKS


def time_left(notice: NoticeRequest, now: datetime) -> timedelta:
    """How long to retry: a day from the transition; a reminder not beyond its deadline."""
    left = max(notice.at + GIVE_UP_AFTER - now, AT_LEAST)
    if notice.transition == REMINDER and notice.deadlines:
        left = min(left, notice.deadlines[0].at - now)
    return left


def _is_open(reminder: NoticeRequest, state: State) -> bool:
    """Whether a reminder's deadline is still open at the same instant."""
    if not reminder.deadlines:
        return False
    deadline = reminder.deadlines[0]
    return state.deadlines.get(DeadlineName(deadline.name)) == deadline.at


def undelivered_report(
    notice: NoticeRequest, undelivered: Sequence[Undelivered], now: datetime
) -> NoticeRequest | None:
    """The notice to operators that one about money did not reach a party; None if there is nothing
    to report. A report that is not delivered is not reported again."""
    lost = [one for one in undelivered if one.role not in ("operator", CONSUMER)]
    if not lost or not notice.about_money:
        return None
    return notice.model_copy(
        update={
            "transition_id": f"{notice.transition_id}-undelivered",
            "transition": "notice_undelivered",
            "at": now,
            "actor": "system",
            "text": notice_text(texts.NOTICE_UNDELIVERED),
            "values": _undelivered_values(notice.transition, lost),
            "note": None,
            "money_text": None,
            "recipients": (Recipient(role="operator"),),
            "events": (),
        }
    )


def _undelivered_values(transition: str, lost: Sequence[Undelivered]) -> dict[str, str]:
    """What the report to operators quotes."""
    ways = "; ".join(f"to the {one.role} by {one.channel}: {one.why.rstrip('.')}" for one in lost)
    return {"notice": spaced(transition), "problem": budget.cut(ways, budget.LONGEST_PROBLEM)}


def _answer_in(notice: NoticeRequest, error: ActivityError) -> NoticeAnswer:
    """The answer in the activity's last failure: what reached its recipients, and what did not."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type == ErrorType.NOTICE_DELAYED:
            with suppress(ValueError):
                return parse(NoticeAnswer, cause.details)
        cause = cause.__cause__
    return NoticeAnswer(undelivered=_all_undelivered(notice, "not delivered within a day"))


def _all_undelivered(notice: NoticeRequest, why: str) -> Sequence[Undelivered]:
    roles = (recipient.role for recipient in notice.recipients)
    lost = _undelivered(notice.transition, roles, notice.at, why)
    return (*lost, *undelivered_events(notice.events, why))


def _undelivered(
    transition: str, roles: Iterable[RecipientRole], at: datetime, why: str
) -> Sequence[Undelivered]:
    return tuple(
        Undelivered(transition=transition, role=role, channel="any", at=at, why=why)
        for role in roles
    )
