"""The scenario that all sides run: an approved refund."""

HOUR = 3600.0
DAY = 24 * HOUR

MESSAGES = ("submit_requirements", "cancel", "decide_refund")
WINDOWS = {"submit_requirements": 48 * HOUR, "cancel": 24 * HOUR, "decide_refund": 7 * DAY}
"""The messages that a purchase waits for in turn, and for how many seconds at most."""

TAKE = "take payment"
FIRST_STEPS = (TAKE, "notify: held")
MOVED = "post decision"
LAST = "notify: settled"
SETTLE = "post settlement"
LAST_STEPS = ("compute deadline", MOVED, "send refund", SETTLE, LAST)
"""The steps at the start and after the approval. Each message adds a step that notifies both."""


def notify(message: str) -> str:
    """The step that notifies both parties of a message."""
    return f"notify: {message}"
