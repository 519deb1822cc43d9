"""Business days: when "within five business days" ends, and which days do not count.

An activity computes the deadline and history records it, because two releases of the holiday table
may differ and the deadline of a running purchase must not change.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.metadata import version
from zoneinfo import ZoneInfo

import holidays
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.locales import find_zone
from activities.requests import (
    BUSINESS_DEADLINE,
    BusinessDeadline,
    BusinessDeadlineRequest,
    ErrorType,
)

TABLE = f"holidays {version('holidays')}"
"""The name and version of the holiday table."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class UnknownCalendar(ValueError):
    """The country or the time zone is unknown. The message says which, and what to give instead."""


def check_calendar(country: str, timezone: str) -> None:
    """Raise UnknownCalendar unless business days can be counted in `country` and `timezone`."""
    _zone(timezone)
    if country not in holidays.list_supported_countries():
        raise UnknownCalendar(
            f"The bank holidays of the country {country!r} are unknown: "
            "give an ISO 3166 code in capitals, such as US or PT."
        )


def business_deadline(request: BusinessDeadlineRequest) -> BusinessDeadline:
    """Return the end of the n-th business day after the local day of `start`.

    The deadline is the instant (UTC) at which the next local day begins, so the whole n-th day
    counts, also when daylight saving makes it shorter or longer. Bank and public holidays and the
    weekend of the country (Friday and Saturday in Egypt) are not business days. Weekend days that
    the country declares working days are.

    Raises UnknownCalendar.
    """
    check_calendar(request.country, request.timezone)
    zone = _zone(request.timezone)
    day = request.start.astimezone(zone).date()
    table = _holidays(request.country, day.year, request.days)
    skipped: list[tuple[date, str]] = []
    days_left = request.days
    while days_left:
        day += timedelta(days=1)
        if table.is_working_day(day):
            days_left -= 1
        else:
            skipped.append((day, table.get(day) or _WEEKDAYS[day.weekday()]))
    return BusinessDeadline(
        at=_start_of(day + timedelta(days=1), zone),
        timezone=request.timezone,
        country=request.country,
        skipped=tuple(skipped),
        table=TABLE,
    )


@activity.defn(name=BUSINESS_DEADLINE.name)
def business_deadline_activity(request: BusinessDeadlineRequest) -> BusinessDeadline:
    """Run `business_deadline`. An unknown calendar is not retried: a person must correct it."""
    try:
        return business_deadline(request)
    except UnknownCalendar as error:
        raise ApplicationError(
            str(error), type=ErrorType.UNKNOWN_CALENDAR, non_retryable=True
        ) from None


def _zone(timezone: str) -> ZoneInfo:
    if zone := find_zone(timezone):
        return zone
    raise UnknownCalendar(
        f"The time zone {timezone!r} is unknown: give an IANA name, such as UTC or Europe/Lisbon."
    )


@lru_cache(maxsize=256)
def _holidays(country: str, year: int, days: int) -> holidays.HolidayBase:
    """Return the holidays of every year that `days` business days after a day in `year` can reach.

    The years are filled in advance: the library does not know the working weekends of a year that
    it adds on demand.
    """
    known = getattr(holidays, country).supported_categories
    return holidays.country_holidays(
        country,
        years=range(year, year + 2 + days // 150),  # no country works fewer than 150 days a year
        expand=False,
        categories=tuple({"bank", "public"} & set(known)),
        language="en_US",  # the default depends on the machine's locale
    )


def _start_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a local day.

    Where daylight saving skips or repeats midnight, `fold=0` (the default) gives that instant.
    """
    return datetime.combine(day, time.min, zone).astimezone(UTC)
