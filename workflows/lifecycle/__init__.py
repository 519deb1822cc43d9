"""The rules of a purchase: `decide(state, event, now)`, pure.

`rules` holds the two tables; `act` what their rows do; `turn` the words they do it in; `refuse`
the refusals; `look` what can be read off a state; `state` the data. See `decide` for the way in.
"""

from workflows.lifecycle.decide import begin, decide, wanted
from workflows.lifecycle.look import (
    actions,
    deadlines,
    next_deadline,
    next_reminder,
    reminder,
    then,
    waiting_for,
)

__all__ = [
    "actions",
    "begin",
    "deadlines",
    "decide",
    "next_deadline",
    "next_reminder",
    "reminder",
    "then",
    "waiting_for",
    "wanted",
]
