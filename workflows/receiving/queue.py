"""Processes messages in order of arrival, in batches that fit in a workflow task.

The SDK gives up a workflow task that works for two seconds and runs it again; thousands of messages
may arrive in one task: all that were sent while no worker ran.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from temporalio import workflow

FIRST_BATCH, NEXT_BATCH = 500, 1_000
"""Messages processed in the first workflow task of a burst, and in each further one. A batch takes
a quarter of a second; the SDK itself needs much of the first task to deliver the burst."""

BYTES_PER_UNIT = 1_024
"""A message counts as one more message for each of these bytes."""

YIELD = timedelta(milliseconds=1)
"""A timer that ends the workflow task, so that the next one continues."""


Received = tuple[str, Sequence[object], datetime]
"""A message: its name, its payloads, and when it was received."""


class MessageQueue:
    """Processes everything in the order of arrival: at once while little arrives, else in batches.
    Until it is opened, everything waits.

    Batches are counted, not timed, so that a replay divides them the same way.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[], None], int, Received | None]] = deque()
        self._task: datetime | None = None
        self._left = 0
        self._yielding = False
        self._opened = False

    def open(self) -> None:
        """Process what has arrived, and from now on what arrives."""
        self._opened = True
        self._begin()

    @property
    def waiting(self) -> int:
        """How many messages wait for a later task."""
        return len(self._waiting)

    @property
    def received(self) -> list[Received]:
        """The messages that wait."""
        return [received for _, _, received in self._waiting if received]

    def process(
        self, work: Callable[[], None], size: int = 0, received: Received | None = None
    ) -> None:
        """Process an arrival of `size` bytes now, or after everything that arrived before it.
        `received`: the message, if it is one."""
        self._waiting.append((work, 1 + size // BYTES_PER_UNIT, received))
        if self._opened and not self._yielding:
            self._begin()

    def process_first(self, work: Callable[[], None], size: int, received: Received) -> None:
        """Process a message before everything that waits."""
        self._waiting.appendleft((work, 1 + size // BYTES_PER_UNIT, received))

    def _begin(self) -> None:
        self._process_batch(FIRST_BATCH)
        if self._waiting:
            self._yielding = True
            asyncio.create_task(self._continue())

    def _process_batch(self, at_most: int) -> None:
        now = workflow.now()
        if now != self._task:
            self._task, self._left = now, at_most
        while self._waiting and self._left > 0:
            work, units, _ = self._waiting.popleft()
            self._left -= units
            work()

    async def _continue(self) -> None:
        while self._waiting:
            await workflow.sleep(YIELD, summary=f"{len(self._waiting)} messages wait in the queue")
            self._process_batch(NEXT_BATCH)
        self._yielding = False
