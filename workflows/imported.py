"""Where a purchase stands that already runs elsewhere and continues here: part of its start input.

The money was paid before, so the start gives `payment_reference`: it is verified and held, and
nothing is charged. Stage and deadlines are taken as they are, and no deadline begins anew.
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from activities.amounts import MAX_AMOUNT
from activities.fields import UtcDatetime
from activities.requests import Model
from workflows.policy import LONGEST, Duration

DEADLINES = {
    "awaiting_requirements": "requirements",
    "freelancer_review": "freelancer_cancel",
    "in_progress": "dormancy",
    "delivered": "review",
    "refund_requested": "refund_decision",
    "contested": "claim",
    "disputed": "dispute",
}
"""The deadline of each stage that can be imported. What is decided already ends where it was
decided."""

REQUESTED = ("refund_requested", "contested", "disputed")
"""The stages of a refund request, which remember the stage that they left."""

KEPT_BY_REQUEST = ("awaiting_requirements", "freelancer_review")
"""The stages whose deadline goes on while a refund request is open."""

GivenStage = Literal[
    "awaiting_requirements",
    "freelancer_review",
    "in_progress",
    "delivered",
    "refund_requested",
    "contested",
    "disputed",
]
GivenDeadline = Literal[
    "requirements",
    "freelancer_cancel",
    "dormancy",
    "review",
    "refund_decision",
    "claim",
    "dispute",
]


class Imported(Model):
    """Where an imported purchase stands."""

    stage: str
    deadlines: dict[str, datetime]
    stage_before_request: str | None = None
    review_time_left: timedelta | None = None
    claim: int | None = None


class GivenImport(Imported):
    """Where a purchase stands that already runs elsewhere, with its limits."""

    stage: GivenStage
    deadlines: dict[GivenDeadline, UtcDatetime]  # type: ignore[assignment]
    stage_before_request: (
        Literal["awaiting_requirements", "freelancer_review", "in_progress", "delivered"] | None
    ) = None
    review_time_left: Annotated[Duration, Field(gt=timedelta(0), le=LONGEST)] | None = None
    claim: Annotated[int, Field(strict=True, gt=0, le=MAX_AMOUNT)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "GivenImport":
        before = self.stage_before_request
        needed = {
            "stage_before_request": self.stage in REQUESTED,
            "review_time_left": before == "delivered",
            "claim": self.stage in ("contested", "disputed"),
        }
        for field, is_needed in needed.items():
            if is_needed is (getattr(self, field) is None):
                raise ValueError(f"{field} is {'missing' if is_needed else 'not for this stage'}")
        expected = {DEADLINES[self.stage]}
        if before in KEPT_BY_REQUEST:
            expected.add(DEADLINES[before])
        if set(self.deadlines) != expected:
            raise ValueError(f"deadlines must be exactly {' and '.join(sorted(expected))}")
        return self


def check_deadlines(imported: Imported, now: datetime) -> None:
    """Raises ValueError with a sentence for a deadline that is over: it belongs to the system that
    the purchase comes from, and here it would take effect at once."""
    for name, at in imported.deadlines.items():
        if at <= now:
            raise ValueError(
                f"imported.deadlines.{name} is over. Carry out what it decides where the purchase "
                "runs now, or import it with a later deadline."
            )
        if at > now + LONGEST:
            raise ValueError(f"imported.deadlines.{name} is over ten years ahead.")
