"""A worker whose clock is minutes apart from the server's: the same end, and deadlines by the
server's time."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pprint import pformat

import pytest

from activities.audit import reconcile
from demo.runner import ScenarioRunner, skip, start, until
from demo.scenarios import Scenario
from temporal.directory import TemporalPurchaseDirectory
from tests.notices.mailbox import inbox, quiet
from tests.proof.conftest import Undisturbed
from tests.proof.count import ALL, PLAYED, TIME_LIMIT, counted
from tests.proof.fate import Post, at_work
from tests.proof.left import left_of
from tests.proof.stage import Stage, few_at_once
from tests.proof.wreck import begun
from workflows import view

APART = (timedelta(minutes=7), timedelta(minutes=-7))
FIRST_BATCH = 3
SOON = timedelta(minutes=1)
"""What a busy machine may need."""
TRIES = 3


@pytest.fixture
def faketime() -> Path:
    """The library that makes a process see another clock."""
    for found in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return found
    pytest.skip("libfaketime is missing: apt-get install faketime")


def deadline(library: Path, apart: timedelta) -> dict[str, str]:
    """The environment of a process whose calendar is wrong and whose stop watch is not."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{apart.total_seconds():+.0f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


@asynccontextmanager
async def elsewhere(post: Post, library: Path, apart: timedelta) -> AsyncIterator[None]:
    """A worker with another clock, once it works. The library now and then hangs a process that
    begins: then another one is started."""
    for _ in range(TRIES):
        with at_work(post, environment=deadline(library, apart)) as process:
            up = False
            with suppress(TimeoutError):
                async with asyncio.timeout(SOON.total_seconds()):
                    up = await begun(post, process)
            if up:
                yield
                return
    raise AssertionError(f"no worker begins: {post.log}")


def told_time(post: Post) -> datetime:
    """What a worker believed the time to be when it began."""
    lines = (json.loads(line) for line in post.log.read_text().splitlines() if line[:1] == "{")
    at = next(line["timestamp"] for line in lines if line["event"] == "worker_started")
    return datetime.fromisoformat(at)


@pytest.mark.timeout(TIME_LIMIT)
async def test_clocks_minutes_apart_leave_the_same_end(
    faketime: Path,
    runner: Stage,
    undisturbed: Undisturbed,
    record_property: Callable[[str, object], None],
) -> None:
    """Stories end as ever, whether the worker is ahead of the server or behind it."""
    otherwise: list[str] = []

    async def plays_on(play: tuple[Scenario, timedelta]) -> None:
        scenario, apart = play
        purchase_id = f"{scenario.name}-{apart.total_seconds():.0f}"
        post = runner.post(purchase_id)
        async with elsewhere(post, faketime, apart):
            result = await ScenarioRunner(runner).play(scenario, purchase_id)
            left = await left_of(runner.client, runner.services, post.mailbox, result)
        expected, _ = await undisturbed(scenario)
        if differs := left.but_for(expected):
            otherwise.append(f"{post.queue}: {pformat(differs, width=120)}")

    plays = list(itertools.product(PLAYED, APART))
    await few_at_once(FIRST_BATCH, plays_on, plays)
    assert not otherwise, "\n".join(otherwise)
    report = await reconcile(
        runner.services.ledger, runner.services.provider, TemporalPurchaseDirectory(runner.client)
    )
    assert report.differences == ()
    counts = {"stories": len(plays)}
    record_property("proof", counted("clocks seven minutes apart", counts, sample=not ALL))


@pytest.mark.parametrize("apart", APART, ids=["ahead", "behind"])
async def test_deadlines_are_by_the_servers_time(
    apart: timedelta, faketime: Path, runner: Stage
) -> None:
    """48 h from when the server started the purchase, in its status, its search attribute and its
    notices, whose Date is the server's too."""
    purchase_id = f"clock-{apart.total_seconds():.0f}"
    post = runner.post(purchase_id)
    async with elsewhere(post, faketime, apart):
        assert abs(told_time(post) - datetime.now(UTC) - apart) < SOON
        terms = PLAYED[0].start(purchase_id)
        handle = await start(runner.client, terms)
        found = await until(handle, lambda found: found.payment == "held")
        await quiet(handle)
        described = await handle.describe()
        await handle.cancel()
        await skip(runner, handle)

    (deadline,) = found.deadlines
    bought = deadline.at - terms.policy.requirements_window
    assert timedelta(0) <= bought - described.start_time < SOON
    assert described.typed_search_attributes[view.DEADLINE] == deadline.at
    told = [mail for mail in inbox(post.mailbox, purchase_id) if mail.transition == "payment_held"]
    (to_client,) = (mail for mail in told if mail.to == terms.client.email)
    assert to_client.shows(f"{deadline.at:%Y-%m-%d %H:%M} UTC")
    assert abs(to_client.date - described.start_time) < SOON
