"""Business days: when "within five business days" ends, and which days were passed over.

Computed in an activity and recorded with its answer, because two releases of the holiday table
may differ and a running purchase must not (RULES.md, Windows).
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.metadata import version
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.requests import (
    BUSINESS_DEADLINE,
    BusinessDeadline,
    BusinessDeadlineRequest,
    ErrorType,
)

TABLE = f"holidays {version('holidays')}"
"""Type of the ApplicationError for a country or zone that is in no table; never retried."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class UnknownCalendar(ValueError):
    """The country or the time zone is in no table; the message says which and what is expected."""


def check_calendar(country: str, timezone: str) -> None:
    """Return if business days can be counted in `country` and `timezone`.

    Raises UnknownCalendar otherwise.
    """
    _zone(timezone)
    if country not in holidays.list_supported_countries():
        raise UnknownCalendar(
            f"No bank holidays are known for the country {country!r}: "
            "give an ISO 3166 code in capitals, such as US or PT."
        )


def business_deadline(request: BusinessDeadlineRequest) -> BusinessDeadline:
    """The end of the n-th business day after the day in which `start` falls in the zone.

    The instant (UTC) is the one at which the following local day begins, so the whole n-th day
    counts, however many hours daylight saving gives it. Not business days: bank and public
    holidays of the country, and its own weekend (Friday and Saturday in Egypt). Weekend days that
    the country declares to be worked count.

    Raises UnknownCalendar.
    """
    check_calendar(request.country, request.timezone)
    zone = _zone(request.timezone)
    day = request.start.astimezone(zone).date()
    table = _holidays(request.country, day.year, request.days)
    skipped: list[tuple[date, str]] = []
    left = request.days
    while left:
        day += timedelta(days=1)
        if table.is_working_day(day):
            left -= 1
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
    """`business_deadline`; an unknown calendar is not retried, because it needs a person."""
    try:
        return business_deadline(request)
    except UnknownCalendar as error:
        raise ApplicationError(
            str(error), type=ErrorType.UNKNOWN_CALENDAR, non_retryable=True
        ) from None


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a region, such as "America"
        raise UnknownCalendar(
            f"The time zone {timezone!r} is not known: "
            "give an IANA name, such as UTC or Europe/Lisbon."
        ) from None


@lru_cache(maxsize=256)
def _holidays(country: str, year: int, days: int) -> holidays.HolidayBase:
    """Every year that `days` business days after one in `year` can reach, filled in advance:
    a table that grows while it is asked does not know the worked weekends of a new year."""
    known = getattr(holidays, country).supported_categories
    return holidays.country_holidays(
        country,
        years=range(year, year + 2 + days // 150),  # no country works fewer than 150 days a year
        expand=False,
        categories=tuple({"bank", "public"} & set(known)),
        language="en_US",  # otherwise the names would depend on the machine's locale
    )


def _start_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day. Where clocks leap over midnight, or live through it twice,
    `fold=0` (the default) is that first instant."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
