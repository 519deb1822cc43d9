"""The policy of a purchase: its windows and choices.

Each purchase has its own, given when it starts. Durations are ISO 8601 and elapsed time, unaffected
by daylight saving. The two windows in business days end with the n-th business day after the start
date, in the policy's calendar and zone.
"""

import re
from datetime import timedelta
from itertools import chain
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from activities.requests import Model

_CALENDAR = r"(?:[A-Z]{2}(?:-[A-Z0-9]{1,3})?|X[A-Z]{3})"
CALENDARS = rf"^{_CALENDAR}(?:\+{_CALENDAR}){{0,4}}$"
"""Countries (`PT`), parts of countries (`US-CA`) and bank systems (`XFED`), at most five. The
payment activity rejects those that do not exist."""
LONGEST = timedelta(days=3650)
MOST_BUSINESS_DAYS = 366
_TO_366 = r"(?:[1-9]\d?|[12]\d{2}|3[0-5]\d|36[0-6])"
"""The numbers from 1 to MOST_BUSINESS_DAYS, for the schema."""
MOST_REMINDERS = 10

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
BusinessDays = Annotated[
    int,
    BeforeValidator(_business_days),
    PlainSerializer(lambda days: f"{days} business days"),
    WithJsonSchema({"type": "string", "pattern": rf"^{_TO_366} business days?$"}),
]

Offsets = tuple[Duration, ...]


class Reminders(Model):
    """How long before a deadline the parties are reminded of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    requirements: Offsets = (timedelta(hours=24), timedelta(hours=4))
    """Of the requirements."""
    freelancer_cancel: Offsets = (timedelta(hours=6),)
    """Of the end of the time to cancel."""
    refund_decision: Offsets = (timedelta(days=4), timedelta(days=1), timedelta(hours=4))
    """Of the answer to a request."""
    claim: Offsets = (timedelta(days=1),)
    """Of the answer to a claim."""
    review: Offsets = (timedelta(days=2),)
    """Of the answer to a delivery."""


class Policy(Model):
    """Windows and choices of a purchase, with their defaults for new purchases."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    payment_window: Duration = timedelta(hours=1)
    """How long the payment may take."""
    requirements_window: Duration = timedelta(hours=48)
    """How long the client has for the requirements from the purchase on."""
    freelancer_cancel_window: Duration = timedelta(hours=24)
    """How long the freelancer can cancel after the requirements."""
    refund_decision_window: Duration = timedelta(days=7)
    """How long the freelancer has to answer a refund request."""
    refund_decision_silence: Literal["refund", "resume", "attention"] = "refund"
    """What happens at its end."""
    claim_window: BusinessDays = 5
    """How long the client has to answer a claim."""
    claim_silence: Literal["pay_claim", "resume"] = "pay_claim"
    """What happens at its end."""
    review_window: Duration = timedelta(days=14)
    """How long the client has to answer a delivery."""
    dormancy_window: Duration = timedelta(days=90)
    """How long the work may go without a message of either party."""
    dispute_window: Duration = timedelta(days=30)
    """After which staff are reminded of a dispute."""
    settlement_window: BusinessDays = 5
    """How long a refund takes at most."""
    arrival: Literal["presumed", "proved"] = "presumed"
    """presumed: a refund that was sent and did not come back in time has arrived. proved: it waits
    for proof."""
    aftercare_window: Duration = timedelta(days=120)
    """How long after the end news about the payment opens a case."""
    chargeback_after_release: Literal["platform", "freelancer"] = "platform"
    """Who bears a payment that the bank takes back after it was released."""
    cancel_before_requirements: Literal["ask", "refund"] = "ask"
    """ask: the client's cancellation needs the freelancer's answer also before requirements.
    refund: then it is free."""
    free_cancel_window: Duration = timedelta(0)
    """How long the client can cancel freely from the purchase on."""
    calendar: str = "US"
    calendar_timezone: str = "UTC"
    reminders: Reminders = Reminders()
    """When the parties are reminded of a deadline. Default: see each."""


class GivenPolicy(Policy):
    """A policy in a start input, with its limits."""

    calendar: Annotated[str, Field(pattern=CALENDARS)] = "US"
    """Whose bank holidays count: a country (PT), a part of one (US-CA), a bank system (XECB), or up
    to five of them joined by +."""
    calendar_timezone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = "UTC"
    """The IANA time zone in which business days end."""

    @field_validator("*")
    @classmethod
    def _within_limits(cls, value: object, info: ValidationInfo) -> object:
        windows = list(vars(value).values()) if isinstance(value, Reminders) else [(value,)]
        if max(map(len, windows)) > MOST_REMINDERS:
            raise ValueError(f"a deadline has at most {MOST_REMINDERS} reminders")
        for window in chain.from_iterable(windows):
            if isinstance(window, timedelta):
                # A window whose default is zero is switched off by zero.
                default = cls.model_fields[str(info.field_name)].default
                _check_window(window, may_be_zero=default == timedelta(0))
            elif isinstance(window, int) and not 1 <= window <= MOST_BUSINESS_DAYS:
                raise ValueError(f"a window must be 1 to {MOST_BUSINESS_DAYS} business days")
        return value


def _check_window(window: timedelta, *, may_be_zero: bool) -> None:
    if window > LONGEST or window < timedelta(0) or not (window or may_be_zero):
        raise ValueError("a window must be longer than zero and at most ten years")
