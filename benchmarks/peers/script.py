"""The scenario that all sides run: an approved refund."""

from workflows.policy import Policy

POLICY = Policy()
MESSAGES = ("submit_requirements", "cancel", "decide_refund")
WINDOWS = {
    "submit_requirements": POLICY.requirements_window.total_seconds(),
    "cancel": POLICY.freelancer_cancel_window.total_seconds(),
    "decide_refund": POLICY.refund_decision_window.total_seconds(),
}
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
