"""One visible timer for each open deadline, and one for the next reminder."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow

from activities.formatter import window_text
from workflows import lifecycle
from workflows.lifecycle.formatting import expiry_text, label_text
from workflows.lifecycle.state import DeadlineName
from workflows.workflow_state import WorkflowState

Timer = tuple[datetime, asyncio.Task[None]]


class Timers:
    """Keeps the timers of a purchase. All instants are absolute: a new run waits for the rest.

    `reached` is called when the timer of a deadline fires. `remind` is called for each deadline
    that a reminder is due of, and once with None after them: the next reminder needs a timer.
    """

    def __init__(
        self,
        state: WorkflowState,
        reached: Callable[[DeadlineName, datetime], None],
        remind: Callable[[DeadlineName | None], None],
    ) -> None:
        self._state = state
        self._reached = reached
        self._remind = remind
        self._deadlines: dict[DeadlineName, Timer] = {}
        self._reminder: Timer | None = None

    def sync(self) -> None:
        """Make the timers match the deadlines of the state."""
        purchase = self._state.purchase
        soon = lifecycle.payment_attempt_ends(purchase, workflow.now())
        open_ones = {
            name: at for name, at in purchase.deadlines.items() if soon is None or at <= soon
        }
        for name, (at, timer) in list(self._deadlines.items()):
            if open_ones.get(name) != at:
                timer.cancel()
                del self._deadlines[name]
        for name, at in open_ones.items():
            if name not in self._deadlines:
                self._deadlines[name] = (at, asyncio.create_task(self._await_deadline(name, at)))
        self._sync_reminder(soon)

    async def _await_deadline(self, name: DeadlineName, at: datetime) -> None:
        state = self._state.purchase
        row = lifecycle.on_expiry(state, name)
        then = expiry_text(state, row.text) if row else "nothing changes"
        label = label_text(state, lifecycle.rules_of(state).deadline(name))
        await _sleep_until(at, f"{label} in {{window}}. If nobody acts: {then}")
        self._reached(name, at)

    def _sync_reminder(self, soon: datetime | None) -> None:
        upcoming = self._next_reminder()
        at = upcoming[0] if upcoming and (soon is None or upcoming[0] <= soon) else None
        if self._reminder and self._reminder[0] != at:
            self._reminder[1].cancel()
            self._reminder = None
        if at and not self._reminder:
            self._reminder = (at, asyncio.create_task(self._await_reminder(at)))

    def _next_reminder(self) -> tuple[datetime, tuple[DeadlineName, ...]] | None:
        state = self._state
        return lifecycle.next_reminder(state.purchase, state.reminded_until, state.deadlines_set)

    async def _await_reminder(self, at: datetime) -> None:
        await _sleep_until(at, "A reminder is due in {window}")
        state, now = self._state, workflow.now()
        upcoming = self._next_reminder()
        state.reminded_until = now
        self._reminder = None
        for name in upcoming[1] if upcoming and upcoming[0] == at else ():
            if state.purchase.deadlines[name] > now:
                self._remind(name)
        self._remind(None)


async def _sleep_until(at: datetime, summary: str) -> None:
    left = at - workflow.now()
    if left > timedelta(0):
        await workflow.sleep(left, summary=summary.format(window=window_text(left))[:200])
