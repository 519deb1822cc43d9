"""Limits how often one person may ask: so that nobody takes the workers' time from all others."""

import time
from collections import OrderedDict
from collections.abc import Callable

from workflows.messages import Sender

PER_SECOND = 20.0
AT_ONCE = 100.0
"""Requests: how many a person may make again each second, and how many in one burst. A page of a
busy shop's own service makes more: give it several operators' ids."""
PEOPLE_KEPT = 10_000
"""Who asked longest ago is forgotten first, and has a whole burst again."""


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
        left, since = self._left.pop(sender, (AT_ONCE, now))
        left = min(AT_ONCE, left + (now - since) * PER_SECOND)
        self._left[sender] = (max(left - 1, 0), now) if left >= 1 else (left, now)
        while len(self._left) > PEOPLE_KEPT:
            self._left.popitem(last=False)
        if left < 1:
            raise TooMany((1 - left) / PER_SECOND)
