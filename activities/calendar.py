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

CENTRAL_BANKS = {"US": "XFED", "USA": "XFED"}
"""Where banks are open on other days than the government, and the library knows the bank's."""
BANK_SYSTEMS = {"XFED", "XECB"}

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class UnknownCalendar(ValueError):
    """The calendar or the time zone is unknown. The message says which, and what to give."""


def check_calendar(calendar: str, timezone: str) -> None:
    """Raise UnknownCalendar unless business days can be counted in `calendar` and `timezone`."""
    _zone(timezone)
    countries = holidays.list_supported_countries()
    for name in calendar.split("+"):
        country, dash, part = name.partition("-")
        is_part = country in countries and part in countries[country]
        if not (is_part if dash else name in countries or name in BANK_SYSTEMS):
            raise UnknownCalendar(
                f"The calendar {calendar!r} is unknown: give an ISO 3166 code in capitals, of a "
                "country such as PT or a part such as US-CA, or a bank system: XFED, XECB; join "
                "several by +."
            )


def business_deadline(request: BusinessDeadlineRequest) -> BusinessDeadline:
    """Return the end of the n-th business day after the local day of `start`.

    The deadline is the instant (UTC) at which the next local day begins, so the whole n-th day
    counts, also when daylight saving makes it shorter or longer. Bank and public holidays and the
    weekend of the country (Friday and Saturday in Egypt) are not business days. Weekend days that
    the country declares working days are. With several calendars a day counts if it is a business
    day in each.

    Raises UnknownCalendar.
    """
    check_calendar(request.country, request.timezone)
    zone = _zone(request.timezone)
    day = request.start.astimezone(zone).date()
    tables = [
        table
        for name in request.country.split("+")
        for table in _tables(name, day.year, request.days)
    ]
    skipped: list[tuple[date, str]] = []
    days_left = request.days
    while days_left:
        day += timedelta(days=1)
        closed = [table for table in tables if not table.is_working_day(day)]
        if closed:
            names = filter(None, (table.get(day) for table in closed))
            skipped.append((day, next(names, _WEEKDAYS[day.weekday()])))
        else:
            days_left -= 1
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
def _tables(name: str, year: int, days: int) -> tuple[holidays.HolidayBase, ...]:
    """Return the tables of a country, a part of one or a bank system, with the holidays of every
    year that `days` business days after a day in `year` can reach.

    The years are filled in advance: the library does not know the working weekends of a year that
    it adds on demand.
    """
    years = range(year, year + 2 + days // 100)  # no set of calendars has fewer days a year
    country, _, part = name.partition("-")
    bank = CENTRAL_BANKS.get(country, name)
    if bank not in BANK_SYSTEMS:
        return (_of_country(country, part or None, years),)
    table = holidays.financial_holidays(bank, years=years, expand=False, language="en_US")
    if not part:
        return (table,)
    own = _of_country(country, part, years)
    for day in own.keys() & _of_country(country, None, years).keys():
        del own[day]
    return table, own


def _of_country(country: str, part: str | None, years: range) -> holidays.HolidayBase:
    known = getattr(holidays, country).supported_categories
    return holidays.country_holidays(
        country,
        subdiv=part,
        years=years,
        expand=False,
        categories=tuple({"bank", "public"} & set(known)),
        language="en_US",  # the default depends on the machine's locale
    )


def _start_of(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a local day.

    Where daylight saving skips or repeats midnight, `fold=0` (the default) gives that instant.
    """
    return datetime.combine(day, time.min, zone).astimezone(UTC)
