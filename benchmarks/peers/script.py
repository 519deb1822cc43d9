"""What all sides play: an approved refund. And what all sides note: when money moved."""

import json
import os
import time
from pathlib import Path

HOUR = 3600.0
DAY = 24 * HOUR

MESSAGES = ("submit_requirements", "cancel", "decide_refund")
WINDOWS = {"submit_requirements": 48 * HOUR, "cancel": 24 * HOUR, "decide_refund": 7 * DAY}
"""For what a purchase waits in turn, and how many seconds at most."""

BEGINS = ("take the payment", "tell that it is held")
MOVED = "post the decision"
LAST = "tell that it has arrived"
SETTLES = ("find the date", MOVED, "send the refund", "post the arrival", LAST)
"""Steps: first, and after the approval. After each message before, both parties are told."""


class Noted:
    """What the sides note in one file, in whole lines: which purchase, which step, when.

    Times are seconds of the machine's monotonic clock, which all its processes share.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "noted.jsonl"

    def step(self, purchase: str, step: str) -> None:
        """A side has carried out a step; those that are measured are noted."""
        if step not in (MOVED, LAST):
            return
        line = json.dumps([purchase, step, time.monotonic()]) + "\n"
        out = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(out, line.encode())
        finally:
            os.close(out)
