"""Races between a deadline and a message, to the millisecond, on the real server.

The rule: a deadline takes effect when the purchase acts on it, and a message recorded before that
counts. These tests read from the history which of the two was recorded first, and from the purchase
what followed.
"""

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.services import Services
from demo.runner import Handle, send, skip, start, status, until
from demo.scenarios import PEOPLE, PRICE
from tests.notices.mailbox import quiet
from tests.proof.counts import ALL, counted
from tests.proof.harness import bounded_gather
from tests.purchases import purchase
from worker import build_worker
from workflows.messages import Role, Status

SEND_OFFSETS = [
    timedelta(milliseconds=ms) for ms in (range(-40, 84, 4) if ALL else (-40, 0, 20, 80))
]
"""When the message is sent, relative to the end of the window. Timers fire some 20 milliseconds
after the end, since the server needs time to start them."""
SEND_OFFSETS_NO_WORKER = [
    timedelta(milliseconds=ms) for ms in (range(-200, 201, 20) if ALL else (-200, 200))
]
"""The same while no worker is running."""
PARALLEL = 12
TITLE = "a message meets a deadline"
NEAR, VERY_NEAR = timedelta(minutes=30), timedelta(seconds=3)
SMALLEST_MOVE = timedelta(seconds=1)

FIRED = EventType.EVENT_TYPE_TIMER_FIRED
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
TIME_SKIP_REQUESTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
TIME_SKIPPED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED
TASK_STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
TASK_DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED

Message = tuple[Role, str, Mapping[str, Any]]

REQUIREMENTS: Message = (Role.CLIENT, "submit_requirements", {"requirements": "A lighthouse."})
CANCELS: Message = (Role.CLIENT, "cancel", {})
DECLINES: Message = (Role.FREELANCER, "decide_refund", {"decision": "decline", "claim": PRICE // 2})
APPROVES: Message = (Role.FREELANCER, "decide_refund", {"decision": "approve"})
DELIVERS: Message = (Role.FREELANCER, "deliver", {})
A_DAY = timedelta(hours=25)


@dataclass(frozen=True)
class Race:
    """A window, the messages that open it, and the message that is sent at its end. `accepted` is
    the transition if the message is first, `expired` if the deadline is; then the message is
    rejected with the code `rejected`."""

    window: str
    before: tuple[Message | timedelta, ...]
    message: Message
    accepted: str
    expired: str
    rejected: str


RACES = (
    Race(
        window="requirements",
        before=(),
        message=REQUIREMENTS,
        accepted="requirements_submitted",
        expired="requirements_timeout",
        rejected="ALREADY_SETTLED",
    ),
    Race(
        window="freelancer_cancel",
        before=(REQUIREMENTS,),
        message=(Role.FREELANCER, "cancel", {}),
        accepted="freelancer_cancelled",
        expired="freelancer_committed",
        rejected="WINDOW_CLOSED",
    ),
    Race(
        window="refund_decision",
        before=(REQUIREMENTS, CANCELS),
        message=DECLINES,
        accepted="refund_declined",
        expired="freelancer_silent",
        rejected="TOO_LATE",
    ),
    Race(
        window="refund_decision",
        before=(REQUIREMENTS, CANCELS),
        message=APPROVES,
        accepted="refund_approved",
        expired="freelancer_silent",
        rejected="ALREADY_SETTLED",
    ),
    Race(
        window="claim",
        before=(REQUIREMENTS, CANCELS, DECLINES),
        message=(Role.CLIENT, "open_dispute", {"reason": "Nothing is done."}),
        accepted="dispute_opened",
        expired="claim_lapsed",
        rejected="ALREADY_SETTLED",
    ),
    Race(
        window="review",
        before=(REQUIREMENTS, DELIVERS),
        message=(Role.CLIENT, "request_changes", {}),
        accepted="changes_requested",
        expired="review_lapsed",
        rejected="ALREADY_SETTLED",
    ),
    Race(
        window="dormancy",
        before=(REQUIREMENTS, A_DAY),
        message=DELIVERS,
        accepted="delivered",
        expired="client_dormant",
        rejected="CANCELLATION_PENDING",
    ),
)


@dataclass
class RacingPurchase:
    """A purchase that approaches the end of a window."""

    server: WorkflowEnvironment
    race: Race
    send_offset: timedelta
    handle: Handle
    ends: datetime

    async def approach_end(self, distance: timedelta = VERY_NEAR) -> None:
        """Move the purchase's clock to this distance from the end of the window; by default until
        only the window's own timer is left. Needs no worker."""
        left = self.ends - await self._clock_offset() - datetime.now(UTC)
        await self.server.fast_forward(self.handle, left - distance)

    async def send_message(self) -> None:
        """Send the message at its time by the purchase's clock."""
        left = self.ends + self.send_offset - await self._clock_offset()
        await asyncio.sleep((left - datetime.now(UTC)).total_seconds())
        role, message, fields = self.race.message
        payload = {"by": {"role": role.value, "id": PEOPLE[role]}, **fields}
        await self.handle.signal(message, payload)

    async def timer_fired(self) -> None:
        """Wait until the window's timer has fired."""
        async for event in self.handle.fetch_history_events(wait_new_event=True):
            if self._is_end_of_window(event):
                return

    async def first_recorded(self) -> tuple[bool, timedelta]:
        """Whether the message was recorded before the purchase acted on the deadline, and how long
        after the timer it was recorded, or after the window if the timer never fired."""
        events = [event async for event in self.handle.fetch_history_events()]
        (message,) = (event for event in events if event.event_type == SIGNALED)
        fired = next(filter(self._is_end_of_window, events), None)
        if fired is None:
            return True, time_of(message) - self.ends
        done = next(e for e in events if e.event_id > fired.event_id and e.event_type == TASK_DONE)
        acted = done.workflow_task_completed_event_attributes.started_event_id
        return message.event_id < acted, time_of(message) - time_of(fired)

    def _is_end_of_window(self, event: Any) -> bool:
        return event.event_type == FIRED and time_of(event) >= self.ends

    async def _clock_offset(self) -> timedelta:
        """How far the purchase's clock is ahead of ours. The server only reports it when it moves
        that clock, so this moves it by one second. (A shorter move may run on to the next timer.)
        """
        asked = datetime.now(UTC)
        await self.server.fast_forward(self.handle, SMALLEST_MOVE)
        events = [event async for event in self.handle.fetch_history_events()]
        requested = next(
            event for event in reversed(events) if event.event_type == TIME_SKIP_REQUESTED
        )
        moved = next(event for event in reversed(events) if event.event_type == TIME_SKIPPED)
        change = moved.workflow_execution_time_skipping_transitioned_event_attributes
        by = change.target_time.ToDatetime(UTC) - time_of(moved)
        return time_of(requested) - asked + by


def time_of(event: Any) -> datetime:
    """When the server recorded an event."""
    at: datetime = event.event_time.ToDatetime(UTC)
    return at


async def prepare(
    server: WorkflowEnvironment, race: Race, send_offset: timedelta
) -> RacingPurchase:
    """A purchase half an hour before the end of the window, with nothing pending."""
    racing = await open_window(server, race, send_offset)
    await racing.approach_end(NEAR)
    await quiet(racing.handle)
    return racing


async def open_window(
    server: WorkflowEnvironment, race: Race, send_offset: timedelta
) -> RacingPurchase:
    """A purchase whose window is open. The provider takes long to settle its refund, so that the
    purchase is still open when a late message arrives."""
    handle = await start(server.client, purchase("pm_sandbox_slow"))
    await until(handle, lambda found: found.payment == "held")
    for act in race.before:
        if isinstance(act, timedelta):
            await skip(server, handle, act)
        else:
            role, message, fields = act
            await send(handle, role, message, **fields)
    found = await until(handle, lambda found: race.window in {d.name for d in found.deadlines})
    await quiet(handle)
    ends = next(deadline.at for deadline in found.deadlines if deadline.name == race.window)
    return RacingPurchase(server, race, send_offset, handle, ends)


RaceResult = tuple[bool, timedelta, float | None]


async def race_result(racing: RacingPurchase, services: Services) -> RaceResult:
    """Whether the history has the message first, how long after the timer it was recorded, and by
    how much the purchase reports it as late. Checks that timeline, rejections and ledger agree."""
    race, handle = racing.race, racing.handle

    def over(found: Status) -> bool:
        return found.rejected_count > 0 or race.accepted in transitions(found)

    await quiet(handle)  # no query while a workflow task waits: it would change what is tested
    await until(handle, over)
    await quiet(handle)
    first, after = await racing.first_recorded()
    found = await status(handle)
    what = f"{race.message[1]} {after / timedelta(milliseconds=1):+.1f} ms"
    assert transitions(found) & {race.accepted, race.expired} == {
        race.accepted if first else race.expired
    }, what
    codes = [each.code for each in found.rejected]
    assert codes in ([[]] if first else [[race.rejected], ["CLOSED"]]), what
    moved = {one.key.rpartition("/")[2] for one in services.ledger.transfers(found.purchase_id)}
    decided = found.stage in ("settling", "closed")
    assert len(moved - {"hold", "settled"}) == decided, what
    if not decided:
        await handle.terminate("seen")
    return first, after, found.late_by


def transitions(found: Status) -> set[str]:
    """The names of all transitions in the timeline."""
    return {entry.transition for entry in found.timeline}


def closest(results: Sequence[RaceResult]) -> int:
    """The shortest time between a timer and its message in milliseconds, rounded up."""
    return math.ceil(min(abs(after) for _, after, _ in results) / timedelta(milliseconds=1))


@pytest.mark.timeout(900 if ALL else 300)
async def test_the_first_recorded_of_message_and_deadline_counts_while_a_worker_runs(
    server: WorkflowEnvironment,
    worker: Worker,
    services: Services,
    record_property: Callable[[str, object], None],
) -> None:
    """A message recorded before the purchase acts on a deadline is accepted; one recorded after it
    is rejected with the reason."""

    async def run(entry: tuple[Race, timedelta]) -> RaceResult:
        racing = await prepare(server, *entry)
        await racing.approach_end()
        await racing.send_message()
        return await race_result(racing, services)

    entries = list(itertools.product(RACES, SEND_OFFSETS))
    results = await bounded_gather(PARALLEL, run, entries)

    won = Counter(f"won by the {'message' if first else 'deadline'}" for first, *_ in results)
    assert len(won) == 2 or not ALL, "in the full run each side has to win some races"
    won["milliseconds apart at the least"] = closest(results)
    record_property("proof", counted(f"{TITLE}, a worker there", won, sample=not ALL))


@pytest.mark.timeout(900 if ALL else 300)
async def test_every_message_recorded_while_no_worker_runs_counts(
    bare_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    record_property: Callable[[str, object], None],
) -> None:
    """An outage of our workers costs no party a right: every message recorded before the purchase
    could act on the deadline counts, and the status says by how much it was late."""
    async with build_worker(bare_server.client, services, threads):
        purchases = await bounded_gather(
            PARALLEL,
            lambda entry: prepare(bare_server, *entry),
            list(itertools.product(RACES, SEND_OFFSETS_NO_WORKER)),
        )

    async def run(racing: RacingPurchase) -> None:
        await racing.approach_end()
        await asyncio.gather(racing.send_message(), racing.timer_fired())

    await bounded_gather(PARALLEL, run, purchases)
    async with build_worker(bare_server.client, services, threads):
        results = await bounded_gather(
            PARALLEL, lambda racing: race_result(racing, services), purchases
        )

    assert all(first and late for first, _, late in results)
    sent = Counter(
        f"sent {'after' if after > timedelta(0) else 'before'} the timer and accepted"
        for _, after, _ in results
    )
    assert len(sent) == 2
    record_property("proof", counted(f"{TITLE}, no worker there", sent, sample=not ALL))
