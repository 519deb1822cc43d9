"""The policy of a purchase: its windows and choices.

Each purchase has its own, given when it starts. Durations are ISO 8601 and elapsed time, unaffected
by daylight saving. The two windows in business days end with the n-th business day after the start
date, in the policy's calendar and zone.
"""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    TypeAdapter,
    WithJsonSchema,
)

from activities.requests import Model

LONGEST = timedelta(days=3650)


def _window(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST:
        raise ValueError("a window must be longer than zero and at most ten years")
    return value


ISO_8601 = re.compile(r"P(?=.)(\d+W|(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?)")
"""A duration of weeks, or of days and time; months and years have no fixed length."""


def _iso_only(value: object) -> object:
    if isinstance(value, timedelta) or (isinstance(value, str) and ISO_8601.fullmatch(value)):
        return value
    raise ValueError("write an ISO 8601 duration, for example PT48H")


def _business_days(value: object) -> object:
    match = isinstance(value, str) and re.fullmatch(r"([1-9]\d{0,2}) business days?", value)
    if match:
        return int(match[1])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("write a number of business days, for example '5 business days'")


def _write(value: timedelta) -> str:
    """Days and time. pydantic itself would write years of 365 days, which are not accepted."""
    rest = value - timedelta(days=value.days)
    days = f"{value.days}D" if value.days else ""
    time = _TIME.dump_python(rest, mode="json").removeprefix("P") if rest or not days else ""
    return f"P{days}{time}"


_TIME = TypeAdapter(timedelta)

Duration = Annotated[
    timedelta, BeforeValidator(_iso_only), PlainSerializer(_write, when_used="json")
]
Window = Annotated[Duration, AfterValidator(_window)]
BusinessDays = Annotated[
    int,
    BeforeValidator(_business_days),
    Field(ge=1, le=366),
    PlainSerializer(lambda days: f"{days} business days"),
    WithJsonSchema({"type": "string", "pattern": r"^[1-9]\d{0,2} business days?$"}),
]

Offsets = tuple[Window, ...]


class Reminders(Model):
    """How long before a deadline the parties are reminded of it."""

    requirements: Offsets = (timedelta(hours=24), timedelta(hours=4))
    freelancer_cancel: Offsets = (timedelta(hours=6),)
    refund_decision: Offsets = (timedelta(days=4), timedelta(days=1), timedelta(hours=4))
    claim: Offsets = (timedelta(days=1),)
    review: Offsets = (timedelta(days=2),)


class Policy(Model):
    """Windows and choices of a purchase, with their defaults."""

    payment_window: Window = timedelta(hours=1)
    requirements_window: Window = timedelta(hours=48)
    freelancer_cancel_window: Window = timedelta(hours=24)
    refund_decision_window: Window = timedelta(days=7)
    refund_decision_silence: Literal["refund", "resume", "attention"] = "refund"
    claim_window: BusinessDays = 5
    claim_silence: Literal["pay_claim", "resume"] = "pay_claim"
    review_window: Window = timedelta(days=14)
    dormancy_window: Window = timedelta(days=90)
    dispute_window: Window = timedelta(days=30)
    settlement_window: BusinessDays = 5
    cancel_before_requirements: Literal["ask", "refund"] = "ask"
    free_cancel_window: Duration = Field(default=timedelta(0), ge=timedelta(0), le=LONGEST)
    calendar: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "US"
    calendar_timezone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = "UTC"
    reminders: Reminders = Reminders()
