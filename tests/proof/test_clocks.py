"""A worker whose clock is minutes apart from the server's: the same end, and deadlines by the
server's time."""

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from pprint import pformat

import pytest

from activities.audit import examine
from starter.census import TemporalCensus
from starter.theatre import Theatre, skip, start, until
from tests.notices.inbox import inbox, quiet
from tests.proof.conftest import Undisturbed
from tests.proof.count import ALL, PLAYED, counted
from tests.proof.fate import Post, at_work
from tests.proof.left import left_of
from tests.proof.stage import Stage
from tests.proof.wreck import begun
from workflows import view

APART = (timedelta(minutes=7), timedelta(minutes=-7))
SOON = timedelta(minutes=1)
"""What a busy machine may need."""


@pytest.fixture
def faketime() -> Path:
    """The library that makes a process see another clock."""
    for found in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return found
    pytest.skip("libfaketime is missing: apt-get install faketime")


def clock(library: Path, apart: timedelta) -> dict[str, str]:
    """The environment of a process whose calendar is wrong and whose stop watch is not."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{apart.total_seconds():+.0f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def told_time(post: Post) -> datetime:
    """What a worker believed the time to be when it began."""
    lines = (json.loads(line) for line in post.log.read_text().splitlines() if line[:1] == "{")
    at = next(line["timestamp"] for line in lines if line["event"] == "worker_started")
    return datetime.fromisoformat(at)


async def test_clocks_minutes_apart_leave_the_same_end(
    faketime: Path,
    theatre: Stage,
    undisturbed: Undisturbed,
    record_property: Callable[[str, object], None],
) -> None:
    """Stories end as ever, whether the worker is ahead of the server or behind it."""
    plays = [(story, apart) for story in PLAYED for apart in APART]
    posts = [theatre.post(f"{story.name}-{apart.total_seconds():.0f}") for story, apart in plays]
    with ExitStack() as workers:
        for post, (_, apart) in zip(posts, plays, strict=True):
            workers.enter_context(at_work(post, environment=clock(faketime, apart)))
        stage = Theatre(theatre)
        async with asyncio.TaskGroup() as group:
            compared = [group.create_task(undisturbed(story)) for story, _ in plays]
            results = [
                group.create_task(stage.play(story, post.queue.removeprefix("purchase-")))
                for post, (story, _) in zip(posts, plays, strict=True)
            ]
        otherwise = []
        for post, result, compare in zip(posts, results, compared, strict=True):
            left = await left_of(theatre.client, theatre.parts, post.mailbox, result.result())
            if differs := left.but_for(compare.result()[0]):
                otherwise.append(f"{post.queue}: {pformat(differs, width=120)}")
    assert not otherwise, "\n".join(otherwise)
    report = await examine(
        theatre.parts.ledger, theatre.parts.provider, TemporalCensus(theatre.client)
    )
    assert report.differences == ()
    counts = {"stories": len(plays)}
    record_property("proof", counted("clocks seven minutes apart", counts, sample=not ALL))


@pytest.mark.parametrize("apart", APART, ids=["ahead", "behind"])
async def test_deadlines_are_by_the_servers_time(
    apart: timedelta, faketime: Path, theatre: Stage
) -> None:
    """48 h from when the server started the purchase, in its status, its search attribute and its
    notices, whose Date is the server's too."""
    purchase_id = f"clock-{apart.total_seconds():.0f}"
    post = theatre.post(purchase_id)
    with at_work(post, environment=clock(faketime, apart)):
        await begun(post)
        assert abs(told_time(post) - datetime.now(UTC) - apart) < SOON
        terms = PLAYED[0].start(purchase_id)
        handle = await start(theatre.client, terms)
        found = await until(handle, lambda found: found.payment == "held")
        await quiet(handle)
        described = await handle.describe()
        await handle.cancel()
        await skip(theatre, handle)

    (deadline,) = found.deadlines
    bought = deadline.at - terms.policy.requirements_window
    assert timedelta(0) <= bought - described.start_time < SOON
    assert described.typed_search_attributes[view.DEADLINE] == deadline.at
    told = [mail for mail in inbox(post.mailbox, purchase_id) if mail.transition == "payment_held"]
    (to_client,) = (mail for mail in told if mail.to == terms.client.email)
    assert to_client.shows(f"{deadline.at:%Y-%m-%d %H:%M} UTC")
    assert abs(to_client.date - described.start_time) < SOON
