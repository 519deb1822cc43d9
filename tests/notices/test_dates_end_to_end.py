"""Deadlines on difficult days, end to end: the mail names the right instant in UTC and in the
reader's zone.

The server's clock cannot be set, so the purchase's clock is skipped to the day in question.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from demo.runner import Handle, send, skip, until
from tests.notices.driver import NO_REMINDERS
from tests.notices.environment import Environment, environment
from tests.notices.mailbox import Mail, inbox, quiet
from tests.purchases import held, purchase_of
from workflows.messages import Deadline, Role

A_WHILE = timedelta(minutes=20)
"""How far the purchase's clock may be from the instant to which it was skipped."""


@dataclass(frozen=True)
class Setup:
    """An environment and its Maildir."""

    env: Environment
    mail: Path


@pytest.fixture(scope="module")
async def setup(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setup]:
    """An environment for all tests."""
    folder = tmp_path_factory.mktemp("dates")
    async with environment(folder) as env:
        yield Setup(env, folder / "mail")


async def _bought(setup: Setup, zone: str, **policy: Any) -> Handle:
    """A purchase with a client in that zone and windows of years."""
    client = {
        "id": "ana",
        "name": "Ana",
        "email": "ana@example.com",
        "timezone": zone,
        "locale": "en_GB",
    }
    years = {"requirements_window": "P3650D", "review_window": "P3650D"}
    return await held(
        setup.env.server, client=client, policy={"reminders": NO_REMINDERS, **years, **policy}
    )


async def _skip_to(setup: Setup, handle: Handle, when: datetime) -> None:
    await quiet(handle)
    await skip(setup.env.server, handle, when - datetime.now(UTC))


async def _notice_of(setup: Setup, handle: Handle, transition: str) -> Mail:
    """The client's mail about a transition."""
    await quiet(handle)
    await handle.terminate("checked")
    mails = inbox(setup.mail, purchase_of(handle))
    (mail,) = (one for one in mails if (one.transition, one.to) == (transition, "ana@example.com"))
    return mail


async def _deadline(handle: Handle, name: str) -> Deadline:
    found = await until(handle, lambda found: any(one.name == name for one in found.deadlines))
    return next(one for one in found.deadlines if one.name == name)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "when", "day", "hour", "offset"),
    [
        ("Europe/Lisbon", "2027-03-27 12:30", "28 March 2027", "13", "+01:00"),
        ("Europe/Lisbon", "2027-10-30 00:30", "31 October 2027", "01", "+01:00"),
        ("Europe/Lisbon", "2027-10-30 01:30", "31 October 2027", "01", "+00:00"),
        ("America/New_York", "2027-03-13 12:30", "14 March 2027", "08", "−04:00"),
        ("America/New_York", "2028-02-28 22:30", "29 February 2028", "17", "−05:00"),
        ("Pacific/Kiritimati", "2026-12-30 11:30", "1 January 2027", "01", "+14:00"),
        ("Pacific/Pago_Pago", "2026-12-31 10:30", "31 December 2026", "23", "−11:00"),
    ],
    ids=[
        "an hour is skipped inside the window",
        "the hour that comes twice, first",
        "the hour that comes twice, again",
        "an hour is skipped elsewhere",
        "leap day",
        "UTC+14, a year ahead",
        "UTC-11, a year behind",
    ],
)
async def test_24_hours_are_elapsed_time_in_every_zone(
    zone: str, when: str, day: str, hour: str, offset: str, setup: Setup
) -> None:
    """24 h after the requirements, without daylight saving, in UTC and in the reader's zone."""
    handle = await _bought(setup, zone)
    await _skip_to(setup, handle, _utc(when))
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    deadline = (await _deadline(handle, "freelancer_cancel")).at
    mail = await _notice_of(setup, handle, "requirements_submitted")

    assert abs(deadline - _utc(when) - timedelta(hours=24)) < A_WHILE
    assert deadline - mail.date - timedelta(hours=24) < timedelta(seconds=1)
    assert mail.shows(f"{deadline:%Y-%m-%d %H:%M} UTC")
    local = f"{hour}:{deadline:%M}"
    assert mail.shows(re.escape(f"{day}, {local} ({zone}, UTC{offset})")), mail.text


YEARS_END = (
    # The day of the act; the last business day, and why it is that one.
    ("2026-12-24 15:30", "4 January 2027"),  # not 25 December, a weekend, 1 January, a weekend
    ("2027-12-27 15:30", "3 January 2028"),  # 31 December counts: the Federal Reserve is open
)


@pytest.mark.parametrize(("when", "last_day"), YEARS_END)
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_a_claim_over_the_years_end_is_due_after_the_holidays(
    zone: str, when: str, last_day: str, setup: Setup
) -> None:
    """Five business days: the end of the fifth in the calendar's zone, shown in UTC and in the
    reader's zone."""
    handle = await _bought(setup, zone, calendar="US", calendar_timezone="America/New_York")
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.FREELANCER, "deliver")
    await _skip_to(setup, handle, _utc(when))
    await send(handle, Role.CLIENT, "cancel")
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)
    deadline = (await _deadline(handle, "claim")).at
    mail = await _notice_of(setup, handle, "refund_declined")

    end = datetime.strptime(last_day, "%d %B %Y") + timedelta(days=1)  # noqa: DTZ007
    assert deadline == end.replace(tzinfo=ZoneInfo("America/New_York"))
    assert mail.shows(f"{deadline:%Y-%m-%d %H:%M} UTC")
    at_home = deadline.astimezone(ZoneInfo(zone))
    if zone == "America/New_York":
        assert mail.shows(f"{last_day}, at the end of the day \\({zone}"), mail.text
    else:
        day = f"{at_home.day} {at_home:%B %Y}, {at_home:%H:%M}"
        assert mail.shows(f"\\b{day} \\({zone}"), mail.text


@pytest.mark.parametrize(("when", "last_day"), YEARS_END)
async def test_a_refund_over_the_years_end_may_take_until_after_the_holidays(
    when: str, last_day: str, setup: Setup
) -> None:
    """The notice says up to five business days, with the latest date."""
    zone = "America/New_York"
    handle = await _bought(setup, zone, calendar="US", calendar_timezone=zone)
    await _skip_to(setup, handle, _utc(when))
    await send(handle, Role.FREELANCER, "give_refund")
    await _deadline(handle, "settlement")
    mail = await _notice_of(setup, handle, "freelancer_gave_refund")

    assert mail.shows("(five|5) business days")
    assert mail.shows(rf"\b{last_day}\b"), mail.text
