"""Whatever the mail server does, in whatever order: money and clocks are what they are without it,
and every notice arrives under its one Message-ID or is shown as undelivered."""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from temporalio.common import RetryPolicy

from activities.notices import SmtpChannel
from demo.runner import Handle, status
from demo.scenarios import Sleep
from tests.notices.driver import ADDRESSES, bought, expected_mail, perform
from tests.notices.environment import House, house
from tests.notices.faulty_smtp import AT_THE_DOOR, INSIDE, WAIT, Moody, moody_server
from tests.notices.mailbox import number, quiet
from tests.notices.rows import AWAY, ROWS, Row
from tests.purchases import purchase_of
from workflows import notifying
from workflows.messages import Status

SEEDS = (1, 2, 3)
PLAYED = 8
SOON = RetryPolicy(initial_interval=timedelta(seconds=0.1), backoff_coefficient=1.0)
ABOUT = timedelta(minutes=2)
"""So much may two plays of a row differ: between the skips they are played in real time."""

OPERATORS = ADDRESSES["operator"]

Transfer = tuple[str, str, str, int]


@dataclass(frozen=True)
class Fate:
    """What became of a purchase."""

    found: Status
    transfers: tuple[Transfer, ...]


async def _play(at: House, row: Row) -> Fate:
    handle, _ = await bought(at, row)
    for act in row.acts:
        await perform(at, handle, act)
    await quiet(handle)
    found = await status(handle)
    if found.outcome is None:
        await handle.terminate("seen")
    return Fate(found, _transfers(at, handle))


def _transfers(at: House, handle: Handle) -> tuple[Transfer, ...]:
    """The books, whatever the purchase's id."""
    purchase_id = purchase_of(handle)
    found = at.services.ledger.transfers(purchase_id)
    return tuple(
        (
            one.key.replace(purchase_id, ""),
            one.debit_account.replace(purchase_id, ""),
            one.credit_account.replace(purchase_id, ""),
            one.amount,
        )
        for one in found
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_in_any_order_of_trouble(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away, busy, silent, greylisting, refusing, cut off before, within and after a message."""
    print(f"seed {seed}")
    rows = _some(random.Random(seed))
    monkeypatch.setattr(notifying, "RETRY", SOON)
    mind = Moody(seed)
    async with (
        house(tmp_path / "calm", operator_email=OPERATORS) as calm,
        moody_server(mind) as port,
    ):
        hasty = SmtpChannel("127.0.0.1", port, starttls=False, wait=WAIT)
        monkeypatch.setattr("activities.services.channels_from_urls", lambda *_: (hasty,))
        async with house(tmp_path / "rough", operator_email=OPERATORS) as rough:
            fates = await asyncio.gather(*(_play(at, row) for at in (rough, calm) for row in rows))

    assert set(mind.had) >= {*AT_THE_DOOR, *INSIDE}, mind.had
    for row, fate, without in zip(rows, fates, fates[len(rows) :], strict=False):
        _check_money_and_clocks(fate, without)
        _check_notices(row, fate.found, mind)
    assert all(len(raws) == 1 for raws in mind.raw.values()), "a repeated message was another one"
    assert not mind.asked_again, "a final refusal was asked again"


def _some(chance: random.Random) -> list[Row]:
    """Rows in which somebody acts, and one in which time passes."""
    quick = [row for row in ROWS if row.acts and not any(isinstance(a, Sleep) for a in row.acts)]
    slow = [row for row in ROWS if any(isinstance(a, Sleep) for a in row.acts)]
    slow = [row for row in slow if row.method not in (AWAY, "pm_sandbox_slow")]
    return [*chance.sample(quick, PLAYED), chance.choice(slow)]


def _check_money_and_clocks(fate: Fate, without: Fate) -> None:
    mine, theirs = fate.found, without.found
    assert (mine.stage, mine.outcome, mine.reason) == (theirs.stage, theirs.outcome, theirs.reason)
    assert mine.escrow == theirs.escrow
    assert fate.transfers == without.transfers
    for one, other in zip(_instants(mine), _instants(theirs), strict=True):
        assert one[0] == other[0]
        assert abs(one[1] - other[1]) < ABOUT, one[0]


def _instants(found: Status) -> list[tuple[str, datetime]]:
    """Everything that happened and every open deadline."""
    happened = sorted((entry.transition, entry.at) for entry in found.timeline)
    return [*happened, *((one.name, one.at) for one in found.deadlines)]


def _check_notices(row: Row, found: Status, mind: Moody) -> None:
    expected = dict(expected_mail(found.purchase_id, row, "smtp"))
    reports = {
        number(found.purchase_id, count, f"{entry.split(':')[0]}-undelivered", "operator", "smtp")
        for count, entry in enumerate(row.told, 1)
    }
    kept = {mail.id: mail for mail in mind.kept if mail["X-Recourse-Purchase"] == found.purchase_id}
    assert kept.keys() <= {*expected, *reports}
    lost = {one for one in expected if one not in kept}
    assert lost <= mind.rejected
    shown = [item for item in found.undelivered if item.transition != "notice_undelivered"]
    assert len(shown) == len(mind.rejected & expected.keys())
    assert all("550 not here" in item.why for item in shown)
    for one, mail in kept.items():
        assert one in reports or mail.to == expected[one]
