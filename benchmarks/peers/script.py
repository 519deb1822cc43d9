"""What all sides play: an approved refund."""

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
