"""Deadlines are right in every time zone, also when clocks change."""

from datetime import datetime, timedelta

import pytest

from activities.formatter import window_text
from activities.notices.formats import reader, utc
from activities.notices.render import Rendered, render
from activities.requests import NoticeRequest, Party
from demo.scenarios import BRIEF, CANCELS, Step, freelancer
from docs.rehearsal import Rehearsal, money_activities
from tests.notices.builders import ANA, at, client, due, request
from workflows.messages import PurchaseStart


def read_in(notice: NoticeRequest, person: Party) -> Rendered:
    """The notice to a client who lives there."""
    return render(notice.model_copy(update={"client": person}), client(), None)


def in_zone(zone: str, locale: str = "en_US") -> Party:
    """Ana, in another zone."""
    return ANA.model_copy(update={"timezone": zone, "locale": locale})


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("zone", "when", "written"),
    [
        # New York springs forward: 2:00 to 3:00 is skipped, and both hours around it are shown.
        ("America/New_York", at(2026, 3, 8, 6, 59), "Sunday, March 8, 2026, 1:59 AM|−05:00"),
        ("America/New_York", at(2026, 3, 8, 7), "Sunday, March 8, 2026, 3:00 AM|−04:00"),
        # It falls back: half past one comes twice, with different offsets.
        ("America/New_York", at(2026, 11, 1, 5, 30), "Sunday, November 1, 2026, 1:30 AM|−04:00"),
        ("America/New_York", at(2026, 11, 1, 6, 30), "Sunday, November 1, 2026, 1:30 AM|−05:00"),
        # Berlin and Lisbon change at the same instant, an hour apart on the wall.
        ("Europe/Berlin", at(2026, 3, 29, 0, 59), "Sunday, March 29, 2026, 1:59 AM|+01:00"),
        ("Europe/Berlin", at(2026, 3, 29, 1), "Sunday, March 29, 2026, 3:00 AM|+02:00"),
        ("Europe/Berlin", at(2026, 10, 25, 0, 30), "Sunday, October 25, 2026, 2:30 AM|+02:00"),
        ("Europe/Berlin", at(2026, 10, 25, 1, 30), "Sunday, October 25, 2026, 2:30 AM|+01:00"),
        ("Europe/Lisbon", at(2026, 10, 25, 0, 30), "Sunday, October 25, 2026, 1:30 AM|+01:00"),
        ("Europe/Lisbon", at(2026, 10, 25, 1, 30), "Sunday, October 25, 2026, 1:30 AM|+00:00"),
        # A change of half an hour, and an offset of three quarters.
        ("Australia/Lord_Howe", at(2026, 4, 4, 14, 45), "Sunday, April 5, 2026, 1:45 AM|+11:00"),
        ("Australia/Lord_Howe", at(2026, 4, 4, 15, 15), "Sunday, April 5, 2026, 1:45 AM|+10:30"),
        ("Asia/Kathmandu", at(2028, 2, 29, 12), "Tuesday, February 29, 2028, 5:45 PM|+05:45"),
        # A leap day that has begun, or is not over yet, elsewhere.
        ("Pacific/Kiritimati", at(2028, 2, 28, 12), "Tuesday, February 29, 2028, 2:00 AM|+14:00"),
        ("Pacific/Pago_Pago", at(2028, 3, 1, 9), "Tuesday, February 29, 2028, 10:00 PM|−11:00"),
        # The first and the last place to see a new year.
        ("Pacific/Kiritimati", at(2026, 12, 31, 23, 30), "Friday, January 1, 2027, 1:30 PM|+14:00"),
        ("Pacific/Pago_Pago", at(2026, 1, 1, 5), "Wednesday, December 31, 2025, 6:00 PM|−11:00"),
        # Midnight is the end of a day, not a 12:00 AM that many read as the night after.
        ("Europe/Lisbon", at(2027, 1, 6), "Tuesday, January 5, 2027, at the end of the day|+00:00"),
        (
            "Pacific/Pago_Pago",
            at(2027, 1, 1, 11),
            "Thursday, December 31, 2026, at the end of the day|−11:00",
        ),
        # Where clocks skip midnight itself, the day begins at one.
        ("Asia/Beirut", at(2026, 3, 28, 22), "Sunday, March 29, 2026, 1:00 AM|+03:00"),
    ],
)
def test_a_deadline_in_the_readers_zone(zone: str, when: datetime, written: str) -> None:
    """Day, time, the zone's name and its offset at that time; and the same instant in UTC."""
    shown = render(request(client=in_zone(zone), deadlines=(due(when),)), client(), None)
    moment, offset = written.split("|")
    for text in (flat(shown.text), flat(shown.html.replace("</span>", " "))):
        assert f"{moment} ({zone}, UTC{offset})" in text
        assert when.strftime("%Y-%m-%d %H:%M UTC") in text


def test_only_midnight_itself_ends_the_day() -> None:
    """Half a second after midnight belongs to the next day."""
    later = at(2027, 1, 6) + timedelta(seconds=0.5)
    assert "Wednesday, January 6, 2027, 12:00" in reader(in_zone("UTC")).moment(later)
    assert utc(later) == "2027-01-06 00:00 UTC"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(hours=24), "24 hours"),
        (timedelta(hours=48), "48 hours"),
        (timedelta(days=7), "7 days"),
        (timedelta(days=3, hours=1), "3 days 1 hour"),
        (timedelta(minutes=90), "1 hour 30 minutes"),
        (timedelta(seconds=61), "1 minute 1 second"),
        (timedelta(milliseconds=1), "a moment"),
        (1, "one business day"),
        (5, "five business days"),
        (12, "12 business days"),
    ],
)
def test_window_text(value: timedelta | int, text: str) -> None:
    """Units are in the singular for one, in the plural for more."""
    assert window_text(value) == text


# --- whole purchases


def last_notice(
    begin: datetime, *steps: Step, calendar: str = "US", zone: str = "UTC"
) -> NoticeRequest:
    """The last notice after these steps, with the real rules and bank holidays."""
    given = {
        "purchase_id": "p-1",
        "title": "Logo design",
        "client": ANA.model_dump(),
        "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com"},
        "price": {"amount": 25_000, "currency": "USD"},
        "payment_method": "pm_sandbox_ok",
        "policy": {"calendar": calendar, "calendar_timezone": zone},
    }
    with money_activities() as money:
        rehearsal = Rehearsal(money, PurchaseStart.model_validate(given), begin)
        return rehearsal.run(*steps)[-1]


@pytest.mark.parametrize(
    ("begin", "due"),
    [
        (at(2026, 3, 7, 17), "Monday, March 9, 2026, 1:00 PM (America/New_York, UTC−04:00)"),
        (at(2026, 10, 31, 16), "Monday, November 2, 2026, 11:00 AM (America/New_York, UTC−05:00)"),
    ],
)
def test_48_hours_are_48_hours_when_clocks_change(begin: datetime, due: str) -> None:
    """Purchased at noon, due at one or at eleven local time, because the clocks changed."""
    notice = last_notice(begin)
    assert notice.deadlines[0].at - begin == timedelta(hours=48)
    assert due in flat(
        render(
            notice.model_copy(update={"client": in_zone("America/New_York")}), client(), None
        ).text
    )


def test_a_week_over_a_leap_day() -> None:
    """Seven days after the 26th of February are the 4th of March in a leap year."""
    notice = last_notice(at(2028, 2, 26, 12), BRIEF, CANCELS)
    text = flat(
        render(
            notice.model_copy(update={"client": in_zone("Europe/Berlin", "de_DE")}), client(), None
        ).text
    )
    assert "Samstag, 4. März 2028, 13:00 (Europe/Berlin, UTC+01:00)" in text
    assert "2028-03-04 12:00 UTC" in text


YEARS_END = (at(2026, 12, 28, 15), BRIEF, freelancer("give_refund"))
"""A Monday. Tuesday, Wednesday, Thursday; New Year's Day and the week-end; Monday, Tuesday."""


@pytest.mark.parametrize(
    ("zone", "latest", "arrived", "instant"),
    [
        (
            "UTC",
            "Tuesday, January 5, 2027.",
            "Tuesday, January 5, 2027, at the end of the day (UTC)",
            "",
        ),
        (
            "America/New_York",
            "Tuesday, January 5, 2027.",
            "Tuesday, January 5, 2027, 7:00 PM (America/New_York, UTC−05:00)",
            "2027-01-06 00:00 UTC",
        ),
        (
            "Pacific/Pago_Pago",
            "Tuesday, January 5, 2027.",
            "Tuesday, January 5, 2027, 1:00 PM (Pacific/Pago_Pago, UTC−11:00)",
            "2027-01-06 00:00 UTC",
        ),
        (
            "Pacific/Kiritimati",
            "Wednesday, January 6, 2027.",
            "Wednesday, January 6, 2027, 2:00 PM (Pacific/Kiritimati, UTC+14:00)",
            "2027-01-06 00:00 UTC",
        ),
    ],
)
def test_five_business_days_over_a_years_end(
    zone: str, latest: str, arrived: str, instant: str
) -> None:
    """Up to five business days; the latest day is a day in the reader's zone."""
    notice = last_notice(*YEARS_END)
    text = flat(read_in(notice, in_zone(zone)).text)
    assert (
        f"up to five business days to be deposited into your account: at the latest on {latest}"
        in text
    )
    assert f"Next deadline: Your refund is due {arrived} {instant}".rstrip() in text


def test_five_business_days_by_another_calendar() -> None:
    """In Germany, over Good Friday and Easter Monday; the last day ends at Berlin's midnight."""
    begin = at(2026, 3, 30, 12)
    notice = last_notice(
        begin, BRIEF, freelancer("give_refund"), calendar="DE", zone="Europe/Berlin"
    )
    text = flat(
        render(
            notice.model_copy(update={"client": in_zone("Europe/Berlin", "de_DE")}), client(), None
        ).text
    )
    assert "spätestens am Mittwoch, 8. April 2026." in text
    assert "Mittwoch, 8. April 2026, am Ende des Tages (Europe/Berlin, UTC+02:00)" in text
    assert "2026-04-08 22:00 UTC" in text
