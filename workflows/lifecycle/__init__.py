"""The rules of a purchase: `decide(state, event, now)`, pure.

Read `transitions.py` (the table), then `deadlines.py`, `handlers.py` and `decide.py`.
"""

from workflows.lifecycle.aftercare import begin_case, handled_news
from workflows.lifecycle.decide import begin, begin_again, continue_imported, decide
from workflows.lifecycle.handlers import note_of
from workflows.lifecycle.pending import is_pending, retry_interval
from workflows.lifecycle.queries import (
    BLOCKED_AFTER,
    allowed_messages,
    deadlines,
    governing_deadline,
    main_deadline,
    next_deadline,
    next_reminder,
    on_expiry,
    payment_attempt_ends,
    permissions,
    rejection_notice,
    reminder,
    samples,
    usual_rows,
    waiting_for,
)
from workflows.lifecycle.versions import newest, newest_rules, rules_of

__all__ = [
    "BLOCKED_AFTER",
    "allowed_messages",
    "begin",
    "begin_again",
    "begin_case",
    "continue_imported",
    "deadlines",
    "decide",
    "governing_deadline",
    "handled_news",
    "is_pending",
    "main_deadline",
    "newest",
    "newest_rules",
    "next_deadline",
    "next_reminder",
    "note_of",
    "on_expiry",
    "payment_attempt_ends",
    "permissions",
    "rejection_notice",
    "reminder",
    "retry_interval",
    "rules_of",
    "samples",
    "usual_rows",
    "waiting_for",
]
