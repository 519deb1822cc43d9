"""In which order, and how much at a time, a purchase deals with what happens to it.

A task in which a workflow works for two seconds is taken for dead and begun anew, for ever if it
finds the same again. And thousands of messages may await one task: all that were sent while no
worker was there, or faster than they can be answered.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow

FIRST_BATCH, NEXT_BATCH = 500, 1_000
"""So many arrivals are dealt with in the task that brings them, and in each of those after it. That
takes a quarter of a second; the SDK itself needs much of the first task to hand them over."""

BYTES_PER_UNIT = 1_024
"""Bytes. What is larger counts as so many more arrivals."""

REST = timedelta(milliseconds=1)
"""Ends a task, so that the next one goes on."""


class MessageQueue:
    """Deals with everything in the order in which it arrived.

    At once, while little comes: it is done when the handler of a message returns. What is too much
    for one task waits for the tasks right after it. It is counted and not timed, so that a replay
    divides it as the first time.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[], None], int]] = deque()
        self._task: datetime | None = None
        self._left = 0
        self._resting = False

    @property
    def waiting(self) -> int:
        """How many arrivals wait for a later task."""
        return len(self._waiting)

    def take(self, work: Callable[[], None], size: int = 0) -> None:
        """Deal with an arrival of `size` bytes now, or after everything that arrived before it."""
        self._waiting.append((work, 1 + size // BYTES_PER_UNIT))
        if self._resting:
            return
        self._work_off(FIRST_BATCH)
        if self._waiting:
            self._resting = True
            asyncio.create_task(self._go_on())

    def _work_off(self, at_most: int) -> None:
        now = workflow.now()
        if now != self._task:
            self._task, self._left = now, at_most
        while self._waiting and self._left > 0:
            work, effort = self._waiting.popleft()
            self._left -= effort
            work()

    async def _go_on(self) -> None:
        while self._waiting:
            await workflow.sleep(REST, summary=f"{len(self._waiting)} arrivals wait for their turn")
            self._work_off(NEXT_BATCH)
        self._resting = False
