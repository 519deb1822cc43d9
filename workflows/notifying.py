"""Notifier people: what a notice says, and the workflow that goes on telling after the end."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.workflow import ParentClosePolicy

from activities.requests import (
    NOTICE_QUEUE,
    SEND_NOTICES,
    ErrorType,
    Money,
    Movement,
    NoticeAnswer,
    NoticeDeadline,
    NoticeRequest,
    Recipient,
    Refused,
    Undelivered,
)
from workflows import lifecycle
from workflows.lifecycle.state import DeadlineName, Notify, RecipientRole, State
from workflows.messages import Deadline, Role
from workflows.policy import Policy
from workflows.undelivered import REMINDER, is_moot, report, time_left
from workflows.workflow_state import UNDELIVERED_KEPT, PendingNotice, WorkflowState

ONE_DELIVERY = timedelta(minutes=2)
"""How long one attempt at all the readers of a notice may take."""

WAITING_AT_MOST = 50
"""So many notices of a purchase may wait for a mail server that is away; more are given up, so
that neither the server's limits nor a fresh history can be overrun by somebody who writes a lot."""

SOON_DELIVERED = timedelta(seconds=5)
"""So long a fresh history waits for notices on their way before the next run sends them again."""

LAST_NOTICES = timedelta(minutes=1)
"""So long a closed purchase waits for its last notices before it hands them on."""
HANDED_ON = "still being tried when the purchase closed"

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=15),
)


def request(memory: WorkflowState, pending_notices: PendingNotice) -> NoticeRequest:
    """The notice of one transition, to everybody whom it concerns: amounts as they were then,
    deadlines and what each reader can do as they are now."""
    start, state, notify, at = (
        memory.start,
        memory.state,
        pending_notices.notify,
        pending_notices.at,
    )
    parties = {"client": start.client, "freelancer": start.freelancer}
    open_ones = lifecycle.deadlines(state)
    about = [_deadline(state, item) for item in open_ones if notify.deadline in (None, item.name)]
    deadline, later = (about[0], about[1:]) if about else (None, [])
    return NoticeRequest(
        purchase_id=start.purchase_id,
        title=start.title,
        price=start.price,
        client=start.client,
        freelancer=start.freelancer,
        transition_id=pending_notices.number,
        transition=notify.transition,
        at=at,
        actor=notify.by,
        what=notify.what,
        rule=notify.rule,
        words=notify.words,
        movements=tuple(
            Movement(
                amount=Money(amount=moved.amount, currency=start.price.currency),
                source=moved.source,
                target=moved.target,
            )
            for moved in notify.movements
        ),
        deadline=deadline,
        later=tuple(later),
        refund_by=state.deadlines.get(DeadlineName.SETTLEMENT),
        recipients=tuple(
            Recipient(
                role=recipient,
                party=parties.get(recipient),
                can=_steps(state, Role(recipient), at),
            )
            for recipient in notify.recipients
        ),
        amounts=pending_notices.amounts,
        windows={deadline: getattr(start.policy, name) for deadline, name in _WINDOWS.items()},
        rejected=Refused(message=notify.rejected[0], code=notify.rejected[1])
        if notify.rejected
        else None,
    )


_WINDOWS = {
    deadline.value: f"{deadline}_window"
    for deadline in DeadlineName
    if f"{deadline}_window" in Policy.model_fields
}


def _steps(state: State, recipient: Role, at: datetime) -> tuple[str, ...]:
    """What a reader can do; what waits for a mediator is done by whoever the operators call."""
    called = recipient is Role.OPERATOR and lifecycle.waiting_for(state) == "mediator"
    mediation = lifecycle.steps(state, Role.MEDIATOR, at) if called else ()
    return (*lifecycle.steps(state, recipient, at), *mediation)


def _deadline(state: State, open_one: Deadline) -> NoticeDeadline:
    leads_to = lifecycle.on_expiry(state, DeadlineName(open_one.name))
    return NoticeDeadline(
        name=open_one.name,
        at=open_one.at,
        then=open_one.then,
        silence=leads_to.transition if leads_to else "",
    )


async def send(notice: NoticeRequest) -> Sequence[Undelivered]:
    """Deliver a notice, for a day at most. What could not be delivered is returned, not raised."""
    left = time_left(notice, workflow.now())
    if left <= timedelta(0):
        return _missed(notice, "its deadline has passed")
    try:
        answer: NoticeAnswer = await workflow.execute_activity(
            SEND_NOTICES.name,
            notice,
            task_queue=NOTICE_QUEUE,
            result_type=NoticeAnswer,
            schedule_to_close_timeout=left,
            start_to_close_timeout=ONE_DELIVERY,
            retry_policy=RETRY,
            summary=f"Tell {_readers(notice)}: {notice.transition.replace('_', ' ')}",
        )
    except ActivityError as error:
        return _undelivered(notice, error)
    return answer.undelivered


def _readers(notice: NoticeRequest) -> str:
    return " and ".join(recipient.role for recipient in notice.recipients)


def _undelivered(notice: NoticeRequest, error: ActivityError) -> Sequence[Undelivered]:
    """Whom the notice did not reach: the activity's last failure says so, if it said anything."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type == ErrorType.NOTICE_DELAYED:
            said: RawValue = cause.details[0]
            answer = workflow.payload_converter().from_payload(said.payload, NoticeAnswer)
            return answer.undelivered
        cause = cause.__cause__
    return _missed(notice, "not delivered within a day")


def _missed(notice: NoticeRequest, why: str) -> Sequence[Undelivered]:
    recipients = (recipient.role for recipient in notice.recipients)
    return _untold(notice.transition, recipients, notice.at, why)


def _untold(
    transition: str, recipients: Iterable[RecipientRole], at: datetime, why: str
) -> Sequence[Undelivered]:
    return tuple(
        Undelivered(transition=transition, role=recipient, channel="any", at=at, why=why)
        for recipient in recipients
    )


class Notifier:
    """Tells people beside everything else: nothing here is waited for but at the very end."""

    def __init__(self, memory: WorkflowState, dates_known: Callable[[], bool]) -> None:
        self._memory = memory
        self._dates_known = dates_known
        self._unwritten_before = list(memory.pending_notices)
        self._notices_before = list(memory.notices)
        self._on_their_way = 0
        self._resting = False

    @property
    def done(self) -> bool:
        """Whether everybody has been told, or it was given up."""
        return not self._memory.pending_notices and not self._memory.notices

    def tell(self, notify: Notify, at: datetime) -> None:
        """Tell of a transition, as soon as the deadlines that follow from it are known."""
        memory = self._memory
        memory.told += 1
        if len(memory.pending_notices) + len(memory.notices) >= WAITING_AT_MOST:
            why = "too many notices were waiting"
            self._give_up(_untold(notify.transition, notify.recipients, at, why))
            return
        number = f"{memory.told}-{notify.transition}"
        amounts = memory.state.amounts
        pending_notices = PendingNotice(notify=notify, number=number, at=at, amounts=amounts)
        memory.pending_notices.append(pending_notices)
        asyncio.create_task(self._tell(pending_notices))

    async def _tell(self, pending_notices: PendingNotice) -> None:
        await workflow.wait_condition(self._dates_known)
        memory = self._memory
        notice = request(memory, pending_notices)
        memory.pending_notices = [
            one for one in memory.pending_notices if one is not pending_notices
        ]
        memory.notices.append(notice)
        await self._deliver(notice)

    def resume(self) -> None:
        """Go on with what an earlier run had not written or not delivered yet."""
        for pending_notices in self._unwritten_before:
            asyncio.create_task(self._tell(pending_notices))
        for notice in self._notices_before:
            asyncio.create_task(self._deliver(notice))

    async def _deliver(self, notice: NoticeRequest) -> None:
        if self._resting:
            return
        deliver = self._remind if notice.transition == REMINDER else send
        self._on_their_way += 1
        missed = await deliver(notice)
        self._on_their_way -= 1
        self._give_up(missed)
        self._memory.notices = [one for one in self._memory.notices if one is not notice]
        if told := report(notice, missed, workflow.now()):
            self._memory.notices.append(told)
            await self._deliver(told)

    async def _remind(self, notice: NoticeRequest) -> Sequence[Undelivered]:
        """Deliver a reminder, unless the matter is settled first or the deadline has passed."""
        sending = asyncio.create_task(send(notice))
        await workflow.wait_condition(lambda: sending.done() or is_moot(notice, self._memory.state))
        if sending.done():
            return sending.result()
        sending.cancel()
        over = notice.deadline and notice.deadline.at <= workflow.now()
        return _missed(notice, "its deadline has passed") if over else ()

    def _give_up(self, missed: Sequence[Undelivered]) -> None:
        kept = [*self._memory.undelivered, *missed][-UNDELIVERED_KEPT:]
        self._memory.undelivered = kept
        given_up = workflow.metric_meter().create_counter(
            "recourse_notices_given_up", "Notices that nobody will get"
        )
        for notice in missed:
            given_up.add(1, {"channel": notice.channel})

    async def rest(self) -> None:
        """Send nothing more, and wait a moment for what is on its way: the next run goes on.

        An answer that comes while a run ends makes the server refuse that end. A worker then
        replays thousands of events, and whoever sends a message waits for that.
        """
        self._resting = True
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: not self._on_their_way,
                timeout=SOON_DELIVERED,
                timeout_summary="notices on their way",
            )

    async def finish(self) -> None:
        """Give the last notices a moment; hand on what then is left, so that the end of a purchase
        waits for nobody's mail server."""
        try:
            await workflow.wait_condition(
                lambda: self.done, timeout=LAST_NOTICES, timeout_summary="the last notices"
            )
        except TimeoutError:
            for notice in self._memory.notices:
                self._give_up(_missed(notice, HANDED_ON))
            await workflow.start_child_workflow(
                PurchaseNotices.run,
                self._memory.notices,
                id=f"{workflow.info().workflow_id}/notices/{workflow.info().run_id}",
                parent_close_policy=ParentClosePolicy.ABANDON,
                static_summary=f"Last notices of purchase {self._memory.start.purchase_id}",
            )


@workflow.defn(name="PurchaseNotices")
class PurchaseNotices:
    """Goes on delivering what a closed purchase could not deliver yet, so that its end waits for
    nobody's mail server."""

    @workflow.run
    async def run(self, notices: list[NoticeRequest]) -> list[Undelivered]:
        """Returns what could not be delivered in the end."""
        found = await asyncio.gather(*(_tell_or_report(notice) for notice in notices))
        return [item for items in found for item in items]


async def _tell_or_report(notice: NoticeRequest) -> Sequence[Undelivered]:
    missed = await send(notice)
    told = report(notice, missed, workflow.now())
    return (*missed, *(await send(told))) if told else missed
