"""What the two sides have written about what a stage is about: a delivery, a request, a dispute."""

from dataclasses import dataclass

from activities.links import form_of
from workflows.lifecycle.state import Stage
from workflows.lifecycle.versions import VERSIONS
from workflows.messages import Status, TimelineEntry
from workroom.forms import kind_of

REQUEST = (Stage.REFUND_REQUESTED, Stage.CONTESTED, Stage.DISPUTED)
"""The stages of a request. What began an earlier one still counts in a later one."""
MESSAGES = {row.name: row for rules in VERSIONS.values() for row in rules.transitions if row.form}
"""The transitions that a person's message causes, by their name."""


@dataclass(frozen=True)
class Reason:
    """A text, or its beginning. `by`: the role of who wrote it; `kind`: what it is, in English."""

    by: str
    kind: str
    text: str


def reasons(status: Status) -> list[Reason]:
    """Why this stage, and those of the request before it, began; the oldest first."""
    stage = Stage(status.stage)
    stages = REQUEST[: REQUEST.index(stage) + 1] if stage in REQUEST else (stage,)
    begun = (_began(status, each) for each in stages)
    return [_reason(each) for each in begun if each and each.note]


def _began(status: Status, stage: Stage) -> TimelineEntry | None:
    """The newest message that led to a stage."""
    found = (each for each in reversed(status.timeline) if each.transition in MESSAGES)
    return next((each for each in found if MESSAGES[each.transition].to is stage), None)


def _reason(entry: TimelineEntry) -> Reason:
    cause = MESSAGES[entry.transition].cause
    kind = kind_of(form_of(cause.message, {"decision": cause.choice}))
    return Reason(entry.by, kind, entry.note or "")
