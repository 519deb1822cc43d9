"""Limits how often one person may send requests, so that workers have time for everybody else."""

import time
from collections import OrderedDict
from collections.abc import Callable

from workflows.messages import Sender

PER_SECOND = 20.0
BURST = 100.0
"""Requests of one person: how many each second, and how many in one burst. A service that makes
more needs several operators' ids."""
PEOPLE_KEPT = 10_000
"""The person whose last request is oldest is removed first, and has a whole burst again."""


class TooMany(Exception):
    """The person has asked too often. `seconds`: when to ask again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Limits:
    """Token buckets by person, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[Sender, tuple[float, float]] = OrderedDict()

    def count(self, sender: Sender) -> None:
        """Count one request. Raises TooMany."""
        now = self._clock()
        left, since = self._left.pop(sender, (BURST, now))
        left = min(BURST, left + (now - since) * PER_SECOND)
        self._left[sender] = (max(left - 1, 0), now) if left >= 1 else (left, now)
        while len(self._left) > PEOPLE_KEPT:
            self._left.popitem(last=False)
        if left < 1:
            raise TooMany((1 - left) / PER_SECOND)
