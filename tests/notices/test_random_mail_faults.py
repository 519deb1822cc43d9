"""Random faults of the mail server change neither money nor deadlines, and every notice arrives
under its one Message-ID or is listed as undelivered."""

import asyncio
import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from temporalio.common import RetryPolicy

from activities.notices.channels import SmtpChannel
from demo.runner import Handle, status
from demo.scenarios import Sleep
from tests.notices.driver import ADDRESSES, bought, expected_mail, perform
from tests.notices.environment import Environment, environment
from tests.notices.faulty_smtp import ON_CONNECT, ON_MESSAGE, TIMEOUT, Faults, faulty_server
from tests.notices.mailbox import expected_id, quiet
from tests.notices.rows import AWAY, ROWS, Row
from tests.purchases import purchase_of
from workflows import notifying
from workflows.messages import Status

SEEDS = (1, 2, 3)
ROWS_PER_SEED = 8
QUICK_RETRY = RetryPolicy(initial_interval=timedelta(seconds=0.1), backoff_coefficient=1.0)
ABOUT = timedelta(minutes=2)
"""How much instants of two runs of a row may differ: between skips, they run in real time."""

OPERATORS = ADDRESSES["operator"]

Transfer = tuple[str, str, str, int]


@dataclass(frozen=True)
class Result:
    """The status and the transfers of a purchase at its end."""

    found: Status
    transfers: tuple[Transfer, ...]


async def _run(env: Environment, row: Row) -> Result:
    handle, _ = await bought(env, row)
    for step in row.steps:
        await perform(env, handle, step)
    await quiet(handle)
    found = await status(handle)
    if found.outcome is None:
        await handle.terminate("checked")
    return Result(found, _transfers(env, handle))


def _transfers(env: Environment, handle: Handle) -> tuple[Transfer, ...]:
    """The transfers of a purchase, without its id and the provider's names."""
    purchase_id = purchase_of(handle)
    found = env.services.ledger.transfers(purchase_id)
    return tuple(
        (
            re.sub(r"(dp|re)_[0-9a-f]+$", "", one.key.replace(purchase_id, "")),
            one.debit_account.replace(purchase_id, ""),
            one.credit_account.replace(purchase_id, ""),
            one.amount,
        )
        for one in found
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_mail_faults_change_neither_money_nor_deadlines(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aborted, busy, slow, greylisting, rejecting, cut off before, within and after a message."""
    rows = _some(random.Random(seed))
    monkeypatch.setattr(notifying, "RETRY", QUICK_RETRY)
    faults = Faults(seed)
    async with (
        environment(tmp_path / "without", operator_email=OPERATORS) as without,
        faulty_server(faults) as port,
    ):
        quick = SmtpChannel("127.0.0.1", port, starttls=False, wait=TIMEOUT)
        monkeypatch.setattr("activities.services.channels_from_urls", lambda *_: (quick,))
        async with environment(tmp_path / "with", operator_email=OPERATORS) as with_faults:
            results = await asyncio.gather(
                *(_run(env, row) for env in (with_faults, without) for row in rows)
            )

    assert set(faults.seen) >= {*ON_CONNECT, *ON_MESSAGE}, faults.seen
    for row, result, expected in zip(rows, results, results[len(rows) :], strict=False):
        _check_money_and_deadlines(result, expected)
        _check_notices(row, result.found, faults)
    assert all(len(raws) == 1 for raws in faults.raw.values()), "a retry sent other bytes"
    assert not faults.retried_after_rejection, "a rejected notice was sent again"


def _some(chance: random.Random) -> list[Row]:
    """Rows without a wait, and one in which time passes."""
    quick = [
        row for row in ROWS if row.steps and not any(isinstance(one, Sleep) for one in row.steps)
    ]
    slow = [row for row in ROWS if any(isinstance(one, Sleep) for one in row.steps)]
    slow = [row for row in slow if row.method not in (AWAY, "pm_sandbox_slow")]
    return [*chance.sample(quick, ROWS_PER_SEED), chance.choice(slow)]


def _check_money_and_deadlines(result: Result, expected: Result) -> None:
    mine, theirs = result.found, expected.found
    assert (mine.stage, mine.outcome, mine.reason) == (theirs.stage, theirs.outcome, theirs.reason)
    assert mine.escrow == theirs.escrow
    assert result.transfers == expected.transfers
    for one, other in zip(_instants(mine), _instants(theirs), strict=True):
        assert one[0] == other[0]
        assert abs(one[1] - other[1]) < ABOUT, one[0]


def _instants(found: Status) -> list[tuple[str, datetime]]:
    """The instants of the timeline and of the open deadlines."""
    happened = sorted((entry.transition, entry.at) for entry in found.timeline)
    return [*happened, *((one.name, one.at) for one in found.deadlines)]


def _check_notices(row: Row, found: Status, faults: Faults) -> None:
    expected = dict(expected_mail(found.purchase_id, row, "smtp"))
    reports = {
        expected_id(
            found.purchase_id, count, f"{entry.split(':')[0]}-undelivered", "operator", "smtp"
        )
        for count, entry in enumerate(row.notices, 1)
    }
    kept = {
        mail.id: mail for mail in faults.kept if mail["X-Recourse-Purchase"] == found.purchase_id
    }
    assert kept.keys() <= {*expected, *reports}
    lost = {one for one in expected if one not in kept}
    assert lost <= faults.rejected
    shown = [item for item in found.undelivered if item.transition != "notice_undelivered"]
    assert len(shown) == len(faults.rejected & expected.keys())
    assert all("550 not here" in item.why for item in shown)
    for one, mail in kept.items():
        assert one in reports or mail.to == expected[one]
