"""Hands the events of a purchase to activities, without delaying money, deadlines or notices.

An event rides in the notice of its transition. The others are handed over by `send_events`, one
call at a time. Both store them in the delivery log and try once; while a consumer does not answer,
one more `send_events` retries everything that is stored and not sent.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from activities.requests import (
    CONSUMER,
    GIVE_UP_EVENTS_AFTER,
    NOTICE_QUEUE,
    SEND_EVENTS,
    EventRecord,
    EventsRequest,
    NoticeAnswer,
    Undelivered,
)
from workflows import priorities
from workflows.lifecycle.state import Stage
from workflows.receiving.encrypted import RawAnswer
from workflows.receiving.parsing import parse_answer
from workflows.workflow_state import WorkflowState

CLOSE_AFTER = timedelta(minutes=1)
"""How long a closed purchase waits for its last notices and events before PurchaseNotices takes
over."""

ATTEMPT_TIMEOUT = timedelta(minutes=2)
"""Bounds one attempt to send all events that are pending."""

LONGEST_CALL = GIVE_UP_EVENTS_AFTER + timedelta(hours=1)
"""Within this time every stored event is sent or given up, unless the log cannot be reached."""

RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=5),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=15),
)


class EventSender:
    """Sends the events in the state of a purchase; `give_up` gets what could not be delivered."""

    def __init__(
        self, state: WorkflowState, give_up: Callable[[Sequence[Undelivered]], None]
    ) -> None:
        self._state = state
        self._give_up = give_up
        self._in_flight: tuple[EventRecord, ...] = ()
        self._late = False
        self._stopping = False
        self._retrying: asyncio.Task[None] | None = None
        self._again = False
        self.unbounded = False
        """Whether a call is retried for longer than CLOSE_AFTER."""

    @property
    def done(self) -> bool:
        """Whether every event is stored or given up, or is for PurchaseNotices to deliver."""
        return not self._state.events or self._late

    @property
    def storing(self) -> bool:
        """Whether a call is in flight that has events."""
        return bool(self._in_flight)

    def send(self) -> None:
        """Hand over the events that no notice takes along."""
        if self._state.events and not self._in_flight and not self._stopping:
            self._in_flight = tuple(self._state.events)
            asyncio.create_task(self._store())

    def take(self) -> tuple[EventRecord, ...]:
        """The events that are not in flight, for a notice that takes them along."""
        taken = tuple(one for one in self._state.events if one not in self._in_flight)
        self._state.events = list(self._in_flight)
        return taken

    def resume(self) -> None:
        """Continue with what an earlier run has not handed over or not sent."""
        self.send()
        self.answered(self._state.events_pending)

    def answered(self, pending: bool) -> None:
        """An activity has stored events; `pending`: some are not sent, so they are retried."""
        if not pending:
            return
        self._state.events_pending = self._again = True
        is_closed = self._state.purchase.stage is Stage.CLOSED
        if self._retrying is None and not self._stopping and not is_closed:
            self._retrying = asyncio.create_task(self._retry())

    def stop(self) -> None:
        """Send nothing more: the next run continues, or PurchaseNotices."""
        self._stopping = True
        if self._retrying:
            self._retrying.cancel()

    def left(self) -> EventsRequest | None:
        """What PurchaseNotices has to deliver."""
        state = self._state
        if not state.events and not state.events_pending:
            return None
        return EventsRequest(purchase_id=state.start.purchase_id, events=tuple(state.events))

    async def _store(self) -> None:
        state = self._state
        while self._in_flight:
            closed = state.purchase.stage is Stage.CLOSED
            self.unbounded = not closed
            request = EventsRequest(purchase_id=state.start.purchase_id, events=self._in_flight)
            try:
                answer = await _send(request, CLOSE_AFTER if closed else LONGEST_CALL)
            except ActivityError:
                if closed:
                    self._late, self._in_flight = True, ()
                    return
                answer = NoticeAnswer(undelivered=_lost(self._in_flight))
            state.events = [one for one in state.events if one not in self._in_flight]
            self._in_flight = () if self._stopping else tuple(state.events)
            self._give_up(answer.undelivered)
            self.answered(answer.events_pending)
        self.unbounded = False

    async def _retry(self) -> None:
        """Until nothing is pending. Cancelled when the run stops."""
        while self._again and not self._stopping:
            self._again = False
            lost = await deliver_events(EventsRequest(purchase_id=self._state.start.purchase_id))
            if self._stopping:
                return
            self._give_up(lost)
            self._state.events_pending = self._again
        self._retrying = None


async def deliver_events(request: EventsRequest) -> Sequence[Undelivered]:
    """Deliver events and all that are pending of their purchase. What could not be delivered is
    returned, not raised."""
    lost: list[Undelivered] = []
    while True:
        try:
            answer = await _send(request, LONGEST_CALL)
        except ActivityError:
            return [*lost, *_lost(request.events)]
        lost += answer.undelivered
        if not answer.events_pending:
            return lost
        request = EventsRequest(purchase_id=request.purchase_id)


async def _send(request: EventsRequest, within: timedelta) -> NoticeAnswer:
    """Raises ActivityError."""
    payload = await workflow.execute_activity(
        SEND_EVENTS.name,
        request,
        task_queue=NOTICE_QUEUE,
        result_type=RawAnswer,
        schedule_to_close_timeout=within,
        start_to_close_timeout=ATTEMPT_TIMEOUT,
        retry_policy=RETRY,
        summary="Send events to other systems",
        priority=priorities.EVENTS,
    )
    try:
        return parse_answer(NoticeAnswer, SEND_EVENTS.name, payload)
    except ValueError:  # completed by hand
        return NoticeAnswer(undelivered=_lost(request.events))


def _lost(events: Sequence[EventRecord]) -> Sequence[Undelivered]:
    return undelivered_events(events, "the delivery log could not be reached")


def undelivered_events(events: Sequence[EventRecord], why: str) -> Sequence[Undelivered]:
    """Events that reached no consumer."""
    return tuple(
        Undelivered(transition=one.transition, role=CONSUMER, channel="any", at=one.at, why=why)
        for one in events
    )
