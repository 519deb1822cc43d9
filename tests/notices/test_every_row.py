"""Every row of the rules on a real server: exactly its notices arrive in a real Maildir, in order,
with the texts that they must have."""

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
from tests.notices.environment import Environment, environment
from tests.notices.mailbox import Mail, inbox, quiet
from tests.notices.rows import AWAY, ROWS, Row
from tests.purchases import purchase_of
from workflows.lifecycle import newest_rules
from workflows.lifecycle.events import EffectBlocked
from workflows.messages import PurchaseStart

TRANSITIONS = newest_rules().transitions
TOLERANCE = timedelta(seconds=30)
BATCH = 8
"""Purchases that run at a time."""

Finished = tuple[PurchaseStart, list[Mail]]


@pytest.fixture(scope="module")
def away() -> Iterator[None]:
    """Let the provider never answer a charge with the payment method AWAY."""
    charge = SandboxProvider.charge

    def unreached(self: SandboxProvider, key: str, amount: Any, method: str, at: datetime) -> Any:
        if method == AWAY:
            raise ProviderUnreachable("the sandbox did not answer")
        return charge(self, key, amount, method, at)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SandboxProvider, "charge", unreached)
        yield


class Rows:
    """Runs rows ahead of the tests that need them, because skipping time is mostly waiting."""

    def __init__(self, env: Environment, mail: Path) -> None:
        self._env = env
        self._mail = mail
        self._tasks: dict[str, asyncio.Task[Finished]] = {}

    async def finished(self, row: Row) -> Finished:
        """The start input and the mail of a row, when its steps are done."""
        here = ROWS.index(row)
        for each in ROWS[here : here + BATCH]:
            if each.name not in self._tasks:
                self._tasks[each.name] = asyncio.create_task(self._run(each))
        return await self._tasks[row.name]

    async def _run(self, row: Row) -> Finished:
        handle, terms = await bought(self._env, row)
        for step in row.steps:
            await perform(self._env, handle, step)
        await quiet(handle)
        if not (await handle.describe()).close_time:
            await handle.terminate("checked")
        return terms, await asyncio.to_thread(inbox, self._mail, purchase_of(handle))

    async def close(self) -> None:
        """Stop the rows that no test needs."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


@pytest.fixture(scope="module")
async def rows(away: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rows]:
    """An environment for all rows, with a Maildir."""
    folder = tmp_path_factory.mktemp("rows")
    async with environment(folder, operator_email=ADDRESSES["operator"]) as env:
        rows = Rows(env, folder / "mail")
        yield rows
        await rows.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row(row: Row, rows: Rows) -> None:
    """The right recipients get the right notices, in order, in one thread each, with the texts of
    the row."""
    terms, mails = await rows.finished(row)

    expected = expected_mail(terms.purchase_id, row)
    assert sorted((mail.id, mail.to) for mail in mails) == sorted(expected)
    for mail in mails:
        _check_headers(mail, mails)
    last, _, recipients = row.notices[-1].partition(": ")
    ids = [found for found, _ in expected[-len(recipients.split(", ")) :]]
    own = [mail for mail in mails if mail.id in ids]
    for mail in own:
        advice = row.advice if mail.to == ADDRESSES["client"] else ()
        for pattern in (*row.shows, *advice, *_names(last, mail)):
            assert mail.shows(pattern), f"{pattern!r} is not in {mail.text}"
        if row.pays:
            _check_money(mail, *row.pays)
        if row.due and mail.to != ADDRESSES["operator"]:
            _check_due(mail, row, _since(row, terms, mails, mail))


def test_every_transition_with_recipients_is_in_a_row() -> None:
    """No transition of which somebody is notified is left out, but for those of blocked effects
    (test_operators) and aftercare cases (test_aftercare), of a bank that changes its decision, and
    of a second refund (test_samples)."""
    covered = {entry.split(":")[0] for row in ROWS for entry in row.notices}
    blocked = [row for row in TRANSITIONS if row.cause.fact is EffectBlocked]
    notified = {row.name for row in TRANSITIONS if row.notify and row not in blocked}
    elsewhere = {"refund_returned", "bank_dispute_debt", "bank_dispute_after_release"}
    elsewhere |= {"bank_dispute_changed", "refunded_elsewhere_late"}
    assert notified - covered == elsewhere


def _check_headers(mail: Mail, mails: list[Mail]) -> None:
    assert TITLE in mail["Subject"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["References"] == mail["In-Reply-To"]
    assert mail["References"] not in {other.id for other in mails}
    for other in mails:
        assert (mail["References"] == other["References"]) == (mail.to == other.to)


def _names(transition: str, mail: Mail) -> Iterator[str]:
    """The name of the party that acted, if the other party reads the mail."""
    parties = {"client": ("Ana", "freelancer"), "freelancer": ("Bo", "client")}
    for row in TRANSITIONS:
        by = row.cause.by
        if row.name == transition and len(by) == 1 and by[0].value in parties:
            name, other = parties[by[0].value]
            if mail.to == ADDRESSES[other]:
                yield name


def _check_money(mail: Mail, refund: int, release: int) -> None:
    """The mail shows each amount with its source and target; for a refund also how long it may take
    and the latest date."""
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
    """The mail shows the next deadline in UTC and in the reader's zone, and what happens then."""
    assert row.due is not None
    after = row.due.after
    due = since + after if isinstance(after, timedelta) else _business_days(since, after)
    # A resumed deadline has less time left, by the time that the steps took.
    seen = [at for at in (due, due - TOLERANCE) if mail.shows(rf"{at:%Y-%m-%d %H:%M} UTC")]
    assert seen, f"{due} is not in {mail.text}"
    local = seen[0].astimezone(ZONES["client" if mail.to == ADDRESSES["client"] else "freelancer"])
    assert mail.shows(rf"\b{local.day}\b.*\b({local:%H}|{int(f'{local:%I}')}):{local:%M}")
    assert mail.shows(row.due.expiry), mail.text


def _since(row: Row, terms: PurchaseStart, mails: list[Mail], own: Mail) -> datetime:
    assert row.due is not None
    if row.due.since == "purchase":
        assert terms.purchased_at is not None
        return terms.purchased_at
    return next((mail.date for mail in mails if mail.transition == row.due.since), own.date)


def _business_days(start: datetime, days: int) -> datetime:
    asked = BusinessDeadlineRequest(start=start, days=days, country="US", timezone="UTC")
    return business_deadline(asked).at
