"""Every row of the message and window tables on a real server: exactly the notices it asks for
arrive in a real Maildir, in order, and say what they must."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.calendar import business_deadline
from activities.payments import ProviderUnreachable
from activities.payments.sandbox import SandboxProvider
from activities.requests import BusinessDeadlineRequest
from tests.notices.driver import ADDRESSES, TITLE, ZONES, bought, expected_mail, perform
from tests.notices.environment import House, house
from tests.notices.mailbox import Mail, inbox, quiet
from tests.notices.rows import AWAY, ROWS, Row
from tests.purchases import purchase_of
from workflows.lifecycle.transitions import TRANSITIONS
from workflows.messages import PurchaseStart

MOMENTS = timedelta(seconds=30)
FIRST_BATCH = 8
"""So many purchases are played at a time."""

Played = tuple[PurchaseStart, list[Mail]]


@pytest.fixture(scope="module")
def away() -> Iterator[None]:
    """The provider never answers a charge with that payment method."""
    charge = SandboxProvider.charge

    def unreached(self: SandboxProvider, key: str, amount: Any, method: str, at: datetime) -> Any:
        if method == AWAY:
            raise ProviderUnreachable("the sandbox did not answer")
        return charge(self, key, amount, method, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SandboxProvider, "charge", unreached)
        yield


class Rows:
    """Plays rows ahead of the tests that ask for them: skipping time is mostly waiting."""

    def __init__(self, at: House, mail: Path) -> None:
        self._at = at
        self._mail = mail
        self._tasks: dict[str, asyncio.Task[Played]] = {}

    async def played(self, row: Row) -> Played:
        """A row, once it has been played."""
        here = ROWS.index(row)
        for each in ROWS[here : here + FIRST_BATCH]:
            if each.words not in self._tasks:
                self._tasks[each.words] = asyncio.create_task(self._play(each))
        return await self._tasks[row.words]

    async def _play(self, row: Row) -> Played:
        handle, terms = await bought(self._at, row)
        for act in row.acts:
            await perform(self._at, handle, act)
        await quiet(handle)
        if not (await handle.describe()).close_time:
            await handle.terminate("seen")
        return terms, await asyncio.to_thread(inbox, self._mail, purchase_of(handle))

    async def close(self) -> None:
        """Leave what nobody asked for."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


@pytest.fixture(scope="module")
async def rows(away: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rows]:
    """A house of their own, with a Maildir that a mail program could open."""
    folder = tmp_path_factory.mktemp("rows")
    async with house(folder, operator_email=ADDRESSES["operator"]) as at:
        rows = Rows(at, folder / "mail")
        yield rows
        await rows.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.words)
async def test_row(row: Row, rows: Rows) -> None:
    """Who is told of what, in order, by mail that any program can thread; and what it says."""
    terms, mails = await rows.played(row)

    expected = expected_mail(terms.purchase_id, row)
    assert sorted((mail.id, mail.to) for mail in mails) == sorted(expected)
    for mail in mails:
        _check_headers(mail, mails)
    last, _, recipients = row.told[-1].partition(": ")
    ids = [found for found, _ in expected[-len(recipients.split(", ")) :]]
    own = [mail for mail in mails if mail.id in ids]
    for mail in own:
        advice = row.advises if mail.to == ADDRESSES["client"] else ()
        for pattern in (*row.shows, *advice, *_names(last, mail)):
            assert mail.shows(pattern), f"{pattern!r} is not in {mail.text}"
        if row.pays:
            _check_money(mail, *row.pays)
        if row.due:
            _check_due(mail, row, _since(row, terms, mails, mail))


def test_every_transition_is_in_a_row() -> None:
    """No transition of which somebody is notified is left out."""
    covered = {entry.split(":")[0] for row in ROWS for entry in row.told}
    assert {row.name for row in TRANSITIONS if row.notify} <= covered


def _check_headers(mail: Mail, mails: list[Mail]) -> None:
    assert TITLE in mail["Subject"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["References"] == mail["In-Reply-To"]
    assert mail["References"] not in {other.id for other in mails}
    for other in mails:
        assert (mail["References"] == other["References"]) == (mail.to == other.to)


def _names(transition: str, mail: Mail) -> Iterator[str]:
    """Who acted, to the one who did not."""
    parties = {"client": ("Ana", "freelancer"), "freelancer": ("Bo", "client")}
    for row in TRANSITIONS:
        by = row.cause.by
        if row.name == transition and len(by) == 1 and by[0].value in parties:
            name, other = parties[by[0].value]
            if mail.to == ADDRESSES[other]:
                yield name


def _check_money(mail: Mail, refund: int, release: int) -> None:
    """How much goes from where to where; and of a refund, how long it may take, with the date."""
    for amount, target in ((refund, "payment method"), (release, "balance")):
        if amount:
            shown = rf"{amount // 100}\.{amount % 100:02}"
            assert mail.shows(rf"{shown}\D.*escrow.*{target}|escrow.*{target}\D*{shown}"), mail.text
    if refund:
        zone = ZONES["client" if mail.to == ADDRESSES["client"] else "freelancer"]
        day = (_business_days(mail.date, 5) - timedelta(microseconds=1)).astimezone(zone)
        assert mail.shows("(five|5) business days")
        assert mail.shows(rf"\b{day.day} {day:%B} {day.year}|{day:%B} {day.day}, {day.year}")


def _check_due(mail: Mail, row: Row, since: datetime) -> None:
    """The next deadline in UTC and in the reader's own zone, and what silence will do."""
    assert row.due is not None
    after = row.due.after
    due = since + after if isinstance(after, timedelta) else _business_days(since, after)
    # What a clock still had when it was stopped lacks the moments that playing took.
    seen = [at for at in (due, due - MOMENTS) if mail.shows(rf"{at:%Y-%m-%d %H:%M} UTC")]
    assert seen, f"{due} is not in {mail.text}"
    local = seen[0].astimezone(ZONES["client" if mail.to == ADDRESSES["client"] else "freelancer"])
    assert mail.shows(rf"\b{local.day}\b.*\b({local:%H}|{int(f'{local:%I}')}):{local:%M}")
    assert mail.shows(row.due.silence), mail.text


def _since(row: Row, terms: PurchaseStart, mails: list[Mail], own: Mail) -> datetime:
    assert row.due is not None
    if row.due.since == "purchase":
        assert terms.purchased_at is not None
        return terms.purchased_at
    return next((mail.date for mail in mails if mail.transition == row.due.since), own.date)


def _business_days(start: datetime, days: int) -> datetime:
    asked = BusinessDeadlineRequest(start=start, days=days, country="US", timezone="UTC")
    return business_deadline(asked).at
