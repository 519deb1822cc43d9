"""The rules of a purchase: `decide(state, event, now)`, pure.

`rules` and `deadlines` hold the tables; `versions` says under which of them a purchase lives; `act`
what their rows do; `turn` the words they do it in; `refuse` the refusals; `unfinished` what is
still to be done; `look` what can be read off a state; `state` the data. `decide` is the way in.
"""

from workflows.lifecycle.decide import begin, decide
from workflows.lifecycle.pending import is_pending
from workflows.lifecycle.queries import (
    AWAITED,
    actions,
    deadlines,
    next_deadline,
    next_reminder,
    on_expiry,
    rejection,
    reminder,
    steps,
    then,
    waiting_for,
)
from workflows.lifecycle.versions import newest, tables

__all__ = [
    "AWAITED",
    "actions",
    "begin",
    "deadlines",
    "decide",
    "is_pending",
    "newest",
    "next_deadline",
    "next_reminder",
    "on_expiry",
    "rejection",
    "reminder",
    "steps",
    "tables",
    "then",
    "waiting_for",
]
