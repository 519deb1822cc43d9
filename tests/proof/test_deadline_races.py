"""A deadline and a message meet, to the millisecond, on the real server (`RULES.md`, Windows and
Races).

A deadline takes effect when the purchase acts on it; a message recorded before that counts. Who was
first is read from the history, which nobody can argue with; what came of it, from the purchase.
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
from demo.runner import Handle, say, skip, start, status, until
from demo.scenarios import PEOPLE, PRICE
from tests.notices.mailbox import quiet
from tests.proof.count import ALL, counted
from tests.proof.stage import few_at_once
from tests.purchases import purchase
from worker import build_worker
from workflows.messages import Role, Status

SPOKEN_AT = [timedelta(milliseconds=ms) for ms in (range(-40, 84, 4) if ALL else (-40, 0, 20, 80))]
"""When a message is sent, after the end of the window. What the server needs to get a timer going
comes on top of the window: some 20 milliseconds."""
ABSENT_AT = [timedelta(milliseconds=ms) for ms in (range(-200, 201, 20) if ALL else (-200, 200))]
"""The same while no worker is there."""
FIRST_BATCH = 12
TITLE = "a message meets a deadline"
NEAR, VERY_NEAR = timedelta(minutes=30), timedelta(seconds=3)
A_LITTLE = timedelta(seconds=1)

FIRED = EventType.EVENT_TYPE_TIMER_FIRED
SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
ASKED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
MOVED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED
TASK_BEGUN = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
TASK_DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED

Said = tuple[Role, str, Mapping[str, Any]]

BRIEF: Said = (Role.CLIENT, "submit_requirements", {"requirements": "A lighthouse."})
CANCELS: Said = (Role.CLIENT, "cancel", {})
DECLINES: Said = (Role.FREELANCER, "decide_refund", {"decision": "decline", "claim": PRICE // 2})
APPROVES: Said = (Role.FREELANCER, "decide_refund", {"decision": "approve"})
DELIVERS: Said = (Role.FREELANCER, "deliver", {})
A_DAY = timedelta(hours=25)


@dataclass(frozen=True)
class Race:
    """A window, what leads to it, and what is said at its end. `heard` and `silence` are what
    follows if the message or the deadline is first; then the message is `refused`."""

    window: str
    before: tuple[Said | timedelta, ...]
    said: Said
    heard: str
    silence: str
    rejected: str


RACES = (
    Race(
        window="requirements",
        before=(),
        said=BRIEF,
        heard="requirements_submitted",
        silence="requirements_timeout",
        rejected="ALREADY_SETTLED",
    ),
    Race(
        window="freelancer_cancel",
        before=(BRIEF,),
        said=(Role.FREELANCER, "cancel", {}),
        heard="freelancer_cancelled",
        silence="freelancer_committed",
        rejected="WINDOW_CLOSED",
    ),
    Race(
        window="refund_decision",
        before=(BRIEF, CANCELS),
        said=DECLINES,
        heard="refund_declined",
        silence="freelancer_silent",
        rejected="TOO_LATE",
    ),
    Race(
        window="refund_decision",
        before=(BRIEF, CANCELS),
        said=APPROVES,
        heard="refund_approved",
        silence="freelancer_silent",
        rejected="ALREADY_SETTLED",
    ),
    Race(
        window="claim",
        before=(BRIEF, CANCELS, DECLINES),
        said=(Role.CLIENT, "open_dispute", {"reason": "Nothing is done."}),
        heard="dispute_opened",
        silence="claim_lapsed",
        rejected="ALREADY_SETTLED",
    ),
    Race(
        window="review",
        before=(BRIEF, DELIVERS),
        said=(Role.CLIENT, "request_changes", {}),
        heard="changes_requested",
        silence="review_lapsed",
        rejected="ALREADY_SETTLED",
    ),
    Race(
        window="dormancy",
        before=(BRIEF, A_DAY),
        said=DELIVERS,
        heard="delivered",
        silence="client_dormant",
        rejected="CANCELLATION_PENDING",
    ),
)


@dataclass
class Runner:
    """A purchase on its way to the end of a window."""

    server: WorkflowEnvironment
    race: Race
    spoken_at: timedelta
    handle: Handle
    ends: datetime

    async def comes_near(self, distance: timedelta = VERY_NEAR) -> None:
        """Moves the purchase's clock; by default until only the window's own timer is left. No
        worker is needed."""
        left = self.ends - await self._ahead() - datetime.now(UTC)
        await self.server.fast_forward(self.handle, left - distance)

    async def speaks(self) -> None:
        """Sends the message at its time by the purchase's own clock."""
        left = self.ends + self.spoken_at - await self._ahead()
        await asyncio.sleep((left - datetime.now(UTC)).total_seconds())
        role, message, fields = self.race.said
        payload = {"by": {"role": role.value, "id": PEOPLE[role]}, **fields}
        await self.handle.signal(message, payload)

    async def passes(self) -> None:
        """Waits until the window's timer has run out."""
        async for event in self.handle.fetch_history_events(wait_new_event=True):
            if self._is_its_end(event):
                return

    async def verdict(self) -> tuple[bool, timedelta]:
        """Whether the message was recorded before the purchase acted on the deadline; and by how
        much after the timer it was, or after the window if the timer never ran out."""
        events = [event async for event in self.handle.fetch_history_events()]
        (spoken,) = (event for event in events if event.event_type == SIGNALED)
        fired = next(filter(self._is_its_end, events), None)
        if fired is None:
            return True, time_of(spoken) - self.ends
        done = next(e for e in events if e.event_id > fired.event_id and e.event_type == TASK_DONE)
        acted = done.workflow_task_completed_event_attributes.started_event_id
        return spoken.event_id < acted, time_of(spoken) - time_of(fired)

    def _is_its_end(self, event: Any) -> bool:
        return event.event_type == FIRED and time_of(event) >= self.ends

    async def _ahead(self) -> timedelta:
        """How far the purchase's clock is ahead of ours. Nobody tells but the server, when it has
        moved it: so it is moved, by a little. (By less, it may go on to the next timer.)"""
        asked = datetime.now(UTC)
        await self.server.fast_forward(self.handle, A_LITTLE)
        events = [event async for event in self.handle.fetch_history_events()]
        begun = next(event for event in reversed(events) if event.event_type == ASKED)
        moved = next(event for event in reversed(events) if event.event_type == MOVED)
        change = moved.workflow_execution_time_skipping_transitioned_event_attributes
        by = change.target_time.ToDatetime(UTC) - time_of(moved)
        return time_of(begun) - asked + by


def time_of(event: Any) -> datetime:
    """When the server recorded it."""
    at: datetime = event.event_time.ToDatetime(UTC)
    return at


async def prepared(server: WorkflowEnvironment, race: Race, spoken_at: timedelta) -> Runner:
    """A purchase half an hour before the end of the window, with nothing else to do."""
    runner = await begun(server, race, spoken_at)
    await runner.comes_near(NEAR)
    await quiet(runner.handle)
    return runner


async def begun(server: WorkflowEnvironment, race: Race, spoken_at: timedelta) -> Runner:
    """A purchase whose window has begun. Its refund takes long: it is still open when the message
    comes."""
    handle = await start(server.client, purchase("pm_sandbox_slow"))
    await until(handle, lambda found: found.payment == "held")
    for act in race.before:
        if isinstance(act, timedelta):
            await skip(server, handle, act)
        else:
            role, message, fields = act
            await say(handle, role, message, **fields)
    found = await until(handle, lambda found: race.window in {d.name for d in found.deadlines})
    await quiet(handle)
    ends = next(deadline.at for deadline in found.deadlines if deadline.name == race.window)
    return Runner(server, race, spoken_at, handle, ends)


Verdict = tuple[bool, timedelta, float | None]


async def judged(runner: Runner, services: Services) -> Verdict:
    """Whether the message was first, as the history has it; by how much it came after the timer;
    and by how much the purchase calls it late. What came of it all has to agree."""
    race, handle = runner.race, runner.handle

    def over(found: Status) -> bool:
        return found.rejected_count > 0 or race.heard in transitions(found)

    await quiet(handle)  # so that nobody looks while a task that has waited is dealt with
    await until(handle, over)
    await quiet(handle)
    first, after = await runner.verdict()
    found = await status(handle)
    what = f"{race.said[1]} {after / timedelta(milliseconds=1):+.1f} ms"
    assert transitions(found) & {race.heard, race.silence} == {
        race.heard if first else race.silence
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
    """All that has happened."""
    return {entry.transition for entry in found.timeline}


def closest(verdicts: Sequence[Verdict]) -> int:
    """Milliseconds between the timer and the message that was nearest to it, rounded up."""
    return math.ceil(min(abs(after) for _, after, _ in verdicts) / timedelta(milliseconds=1))


@pytest.mark.timeout(900 if ALL else 300)
async def test_with_a_worker_there_what_was_recorded_first_counts(
    server: WorkflowEnvironment,
    worker: Worker,
    services: Services,
    record_property: Callable[[str, object], None],
) -> None:
    """One moment after the deadline has taken effect, the message is refused with the reason."""

    async def run(entry: tuple[Race, timedelta]) -> Verdict:
        runner = await prepared(server, *entry)
        await runner.comes_near()
        await runner.speaks()
        return await judged(runner, services)

    entries = list(itertools.product(RACES, SPOKEN_AT))
    verdicts = await few_at_once(FIRST_BATCH, run, entries)

    won = Counter(f"won by the {'message' if first else 'deadline'}" for first, *_ in verdicts)
    assert len(won) == 2 or not ALL, "of a few, chance may let one side win all"
    won["milliseconds apart at the least"] = closest(verdicts)
    record_property("proof", counted(f"{TITLE}, a worker there", won, sample=not ALL))


@pytest.mark.timeout(900 if ALL else 300)
async def test_with_no_worker_there_every_message_counts(
    lonely: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    record_property: Callable[[str, object], None],
) -> None:
    """An outage of ours never costs a party its right: whatever was recorded before the purchase
    could act on the deadline counts, and the status says by how much it was late."""
    async with build_worker(lonely.client, services, threads):
        runners = await few_at_once(
            FIRST_BATCH,
            lambda entry: prepared(lonely, *entry),
            list(itertools.product(RACES, ABSENT_AT)),
        )

    async def run(runner: Runner) -> None:
        await runner.comes_near()
        await asyncio.gather(runner.speaks(), runner.passes())

    await few_at_once(FIRST_BATCH, run, runners)
    async with build_worker(lonely.client, services, threads):
        verdicts = await few_at_once(FIRST_BATCH, lambda runner: judged(runner, services), runners)

    assert all(first and late for first, _, late in verdicts)
    sent = Counter(
        f"sent {'after' if after > timedelta(0) else 'before'} the timer and heard"
        for _, after, _ in verdicts
    )
    assert len(sent) == 2
    record_property("proof", counted(f"{TITLE}, no worker there", sent, sample=not ALL))
