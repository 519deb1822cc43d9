"""Business-day deadlines: the end of the n-th business day in every country and zone."""

import re
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from zoneinfo import ZoneInfo

import holidays
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.calendar import (
    UnknownCalendar,
    business_deadline,
    business_deadline_activity,
    check_calendar,
)
from activities.requests import BusinessDeadline, BusinessDeadlineRequest


def deadline(
    start: str, days: int = 1, country: str = "US", timezone: str = "UTC"
) -> BusinessDeadline:
    return business_deadline(
        BusinessDeadlineRequest(
            start=datetime.fromisoformat(start), days=days, country=country, timezone=timezone
        )
    )


def ends(start: str, days: int = 1, country: str = "US", timezone: str = "UTC") -> str:
    return deadline(start, days, country, timezone).at.strftime("%Y-%m-%dT%H:%MZ")


def test_the_whole_last_day_counts_and_the_start_day_does_not() -> None:
    assert ends("2026-03-02T00:00Z", 5) == "2026-03-10T00:00Z"
    assert ends("2026-03-02T23:59Z", 5) == "2026-03-10T00:00Z"
    assert ends("2026-03-03T00:00Z", 5) == "2026-03-11T00:00Z"


def test_a_start_on_a_weekend_counts_from_monday() -> None:
    assert ends("2026-03-07T12:00Z") == ends("2026-03-08T12:00Z") == "2026-03-10T00:00Z"


def test_bank_holidays_at_the_end_of_the_year_are_skipped_and_named() -> None:
    answer = deadline("2026-12-24T09:00Z", 5)
    assert answer.at == datetime(2027, 1, 5, tzinfo=UTC)
    assert answer.skipped == (
        (date(2026, 12, 25), "Christmas Day"),
        (date(2026, 12, 26), "Saturday"),
        (date(2026, 12, 27), "Sunday"),
        (date(2027, 1, 1), "New Year's Day"),
        (date(2027, 1, 2), "Saturday"),
        (date(2027, 1, 3), "Sunday"),
    )


def test_a_new_year_on_a_saturday_takes_nothing_from_the_old_year() -> None:
    answer = deadline("2027-12-30T09:00Z", 2)
    assert answer.at == datetime(2028, 1, 4, tzinfo=UTC)
    assert answer.skipped[0] == (date(2028, 1, 1), "New Year's Day")


def test_the_leap_day_is_a_business_day() -> None:
    assert ends("2028-02-28T09:00Z") == "2028-03-01T00:00Z"
    assert ends("2027-02-26T09:00Z") == "2027-03-02T00:00Z"


def test_days_end_at_local_midnight_on_either_side_of_a_daylight_saving_change() -> None:
    assert ends("2026-03-05T12:00Z", timezone="America/New_York") == "2026-03-07T05:00Z"
    assert ends("2026-03-06T12:00Z", timezone="America/New_York") == "2026-03-10T04:00Z"
    assert ends("2026-10-30T12:00Z", timezone="America/New_York") == "2026-11-03T05:00Z"


def test_the_start_day_is_the_one_on_the_local_calendar() -> None:
    """The same instant is Friday 01:00 at UTC+14 and Thursday 00:00 at UTC−11."""
    instant = "2026-03-05T11:00Z"
    assert ends(instant, timezone="Pacific/Kiritimati") == "2026-03-09T10:00Z"
    assert ends(instant, timezone="Pacific/Pago_Pago") == "2026-03-07T11:00Z"


def test_a_day_ends_when_the_next_begins_even_if_daylight_saving_skips_midnight() -> None:
    """In Cairo 24 April 2026 begins at 01:00, when Thursday has ended at 22:00 UTC."""
    assert ends("2026-04-22T12:00Z", country="EG", timezone="Africa/Cairo") == "2026-04-23T22:00Z"


@pytest.mark.parametrize(
    "timezone",
    ["Africa/Cairo", "America/Havana", "America/Santiago", "Asia/Beirut", "Atlantic/Azores"],
)
@pytest.mark.parametrize(("month", "days"), [(3, 60), (9, 80)])
def test_a_deadline_is_the_first_instant_of_a_local_day_in_every_zone(
    timezone: str, month: int, days: int
) -> None:
    zone = ZoneInfo(timezone)
    first = datetime(2026, month, 1, 12, tzinfo=UTC)
    for start in (first + timedelta(days=n) for n in range(days)):
        answer = deadline(start.isoformat(), timezone=timezone)
        before = (answer.at - timedelta(seconds=1)).astimezone(zone)
        counted = len(answer.skipped) + 1
        assert before.date() == start.astimezone(zone).date() + timedelta(days=counted)
        assert answer.at.astimezone(zone).date() == before.date() + timedelta(days=1)


@pytest.mark.parametrize(
    ("country", "start", "end", "skipped"),
    [
        ("GB", "2026-12-24T09:00Z", "2026-12-30T00:00Z", "Boxing Day (observed)"),
        ("AT", "2026-04-02T09:00Z", "2026-04-08T00:00Z", "Good Friday"),  # for banks alone
        ("EG", "2026-03-05T09:00Z", "2026-03-09T00:00Z", "Friday"),
        ("IR", "2026-12-24T09:00Z", "2026-12-27T00:00Z", "Friday"),
    ],
)
def test_each_country_has_its_own_holidays_and_weekend(
    country: str, start: str, end: str, skipped: str
) -> None:
    assert ends(start, country=country) == end
    assert skipped in dict(deadline(start, country=country).skipped).values()


def test_the_bank_holidays_of_the_united_states_are_those_of_the_federal_reserve() -> None:
    """It is open on the Friday before a holiday that falls on a Saturday, when the government is
    closed, and closed on the Monday after one that falls on a Sunday."""
    assert ends("2026-07-02T09:00Z") == ends("2026-07-02T09:00Z", country="XFED")
    assert ends("2026-07-02T09:00Z") == "2026-07-04T00:00Z"
    assert ends("2026-07-02T09:00Z", country="USA") == "2026-07-04T00:00Z"
    assert ends("2027-07-02T09:00Z") == "2027-07-07T00:00Z"


def test_a_part_of_a_country_adds_its_own_holidays() -> None:
    """Cesar Chavez Day and the day after Thanksgiving in California, Corpus Christi in Bavaria."""
    assert ends("2026-03-30T09:00Z", country="US-CA") == "2026-04-02T00:00Z"
    assert ends("2026-11-25T09:00Z", country="US-CA") == "2026-12-01T00:00Z"
    assert ends("2026-07-02T09:00Z", country="US-CA") == "2026-07-04T00:00Z"
    assert ends("2026-06-03T09:00Z", country="DE-BY") == "2026-06-06T00:00Z"
    assert ends("2026-06-03T09:00Z", country="DE") == "2026-06-05T00:00Z"


def test_the_european_central_bank_has_its_own_holidays() -> None:
    """Of Easter, 1 May and Christmas; a country's own days do not count."""
    assert ends("2026-04-02T09:00Z", country="XECB") == "2026-04-08T00:00Z"
    assert ends("2026-04-24T09:00Z", country="XECB") == "2026-04-28T00:00Z"


@pytest.mark.parametrize(
    ("calendars", "end"),
    [("XFED", "2026-04-04T00:00Z"), ("XECB", "2026-04-08T00:00Z"), ("PT", "2026-04-07T00:00Z")],
)
def test_with_several_calendars_a_day_counts_if_it_is_a_business_day_in_each(
    calendars: str, end: str
) -> None:
    """Good Friday and Easter Monday 2026."""
    assert ends("2026-04-02T09:00Z", country=calendars) == end
    together = deadline("2026-04-02T09:00Z", country="XFED+XECB+PT")
    assert together.at == datetime(2026, 4, 8, tzinfo=UTC)
    assert (date(2026, 4, 6), "Easter Monday") in together.skipped
    assert together.country == "XFED+XECB+PT"


def test_weekends_of_several_countries_are_passed_over() -> None:
    """Friday and Saturday in Saudi Arabia, Saturday and Sunday in Portugal."""
    assert ends("2026-03-05T09:00Z", country="SA") == "2026-03-09T00:00Z"
    answer = deadline("2026-03-05T09:00Z", country="SA+PT")
    assert answer.at == datetime(2026, 3, 10, tzinfo=UTC)
    assert [reason for _, reason in answer.skipped] == ["Friday", "Saturday", "Sunday"]


def test_a_working_saturday_is_a_business_day() -> None:
    """China works on 4 January 2026, a Sunday, and on 14 February, a Saturday."""
    assert ends("2026-01-03T09:00Z", country="CN") == "2026-01-05T00:00Z"
    assert ends("2025-12-31T09:00Z", country="CN") == "2026-01-05T00:00Z"
    assert ends("2026-02-13T09:00Z", country="CN") == "2026-02-15T00:00Z"


def test_every_country_has_business_days() -> None:
    for country in holidays.list_supported_countries(include_aliases=False):
        answer = deadline("2026-12-01T09:00Z", 30, country)
        counted = answer.at.date() - date(2026, 12, 2)
        assert counted == timedelta(days=30 + len(answer.skipped)), country


def test_the_answer_names_the_holiday_table() -> None:
    answer = deadline("2026-03-02T00:00Z", 5, "PT", "Europe/Lisbon")
    assert (answer.country, answer.timezone) == ("PT", "Europe/Lisbon")
    assert answer.table == f"holidays {version('holidays')}"


@pytest.mark.parametrize(
    "country",
    [
        *("XX", "us", "", "Portugal", "date", "__doc__", "XLON", "XFED-CA"),
        *("US-", "US-XX", "US-ca", "US+", "+US", "US,PT", "US + PT", "US+XX"),
    ],
)
def test_an_unknown_country_is_rejected_with_a_message(country: str) -> None:
    with pytest.raises(
        UnknownCalendar, match=re.escape(f"The calendar {country!r} is unknown: give")
    ):
        check_calendar(country, "UTC")


@pytest.mark.parametrize("timezone", ["Mars/Base", "America", "", "../UTC", "/etc/passwd", "a\0"])
def test_an_unknown_time_zone_is_rejected_with_a_message(timezone: str) -> None:
    with pytest.raises(UnknownCalendar, match="is unknown: give an IANA name"):
        check_calendar("US", timezone)


def test_a_known_calendar_is_accepted() -> None:
    check_calendar("US", "UTC")
    check_calendar("PT", "Europe/Lisbon")
    check_calendar("US-CA+XECB+SA", "America/Los_Angeles")


def test_the_activity_does_not_retry_an_unknown_calendar() -> None:
    known = BusinessDeadlineRequest(
        start=datetime(2026, 3, 2, tzinfo=UTC), days=5, country="US", timezone="UTC"
    )
    environment = ActivityEnvironment()
    assert environment.run(business_deadline_activity, known) == business_deadline(known)
    with pytest.raises(ApplicationError, match="The calendar") as failure:
        environment.run(business_deadline_activity, known.model_copy(update={"country": "XX"}))
    assert failure.value.type == "UNKNOWN_CALENDAR"
    assert failure.value.non_retryable
