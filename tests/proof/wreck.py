"""Stories that go on while something under them is broken and mended again and again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from pprint import pformat
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from activities.audit import reconcile
from demo.runner import ScenarioRunner
from demo.scenarios import Scenario
from temporal.directory import TemporalPurchaseDirectory
from tests.proof.conftest import Undisturbed
from tests.proof.fate import Post, at_work
from tests.proof.left import left_of
from tests.proof.stage import Stage, kind_of

Wreck = Callable[[], Awaitable[None]]
"""Breaks something and mends it."""


async def survived(
    stage: Stage,
    undisturbed: Undisturbed,
    scenarios: Sequence[Scenario],
    wreck: Wreck,
    *,
    first: int,
    apart: int,
) -> Counter[str]:
    """Play stories at once, each with a worker that lives on, and wreck what is under them all
    whenever one of them has come to its event number `first`, and to every one so far `apart` after
    it. Each has to end as undisturbed, and the audit finds nothing. Returns at what kinds of events
    it was wrecked."""
    one_at_a_time = asyncio.Lock()

    async def alone() -> None:
        async with one_at_a_time:
            await wreck()

    names = [f"{scenario.name}-{first}" for scenario in scenarios]
    posts = [replace(stage.post(name), give_up_after=PATIENCE) for name in names]
    runner = ScenarioRunner(stage)
    with ExitStack() as workers:
        processes = [workers.enter_context(at_work(post)) for post in posts]
        up = await asyncio.gather(*map(begun, posts, processes))
        assert all(up), f"no worker begins: {stage.folder}"
        async with asyncio.TaskGroup() as group:
            compared = [group.create_task(undisturbed(scenario)) for scenario in scenarios]
            ends = [
                group.create_task(runner.play(scenario, name))
                for scenario, name in zip(scenarios, names, strict=True)
            ]
            wrecks = [
                group.create_task(wrecked(stage, name, alone, first + number, apart))
                for number, name in enumerate(names)
            ]
        otherwise = []
        for post, end, compare in zip(posts, ends, compared, strict=True):
            left = await left_of(stage.client, stage.services, post.mailbox, end.result())
            expected, _ = compare.result()
            if differs := left.but_for(expected):
                otherwise.append(f"{post.queue}: {pformat(differs, width=120)}")
    assert not otherwise, "\n".join(otherwise)
    directory = TemporalPurchaseDirectory(stage.client)
    report = await reconcile(stage.services.ledger, stage.services.provider, directory)
    assert report.differences == ()
    return sum((each.result() for each in wrecks), Counter())


PATIENCE = timedelta(days=1)
"""Nobody calls a person meanwhile: the clock of a purchase that waits is skipped ahead, and minutes
of waiting are over in a second."""
LONG_ENOUGH = 1.0
"""Seconds that something is broken at most, if nobody notices."""


async def noticed(logs: Path, words: str) -> None:
    """Wait until a worker says so in its log; nobody may want anything just then."""
    before = said(logs, words)
    with suppress(TimeoutError):
        async with asyncio.timeout(LONG_ENOUGH):
            while said(logs, words) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def said(logs: Path, words: str) -> int:
    """How often workers have said so."""
    return sum(log.read_text().count(words) for log in logs.glob("*.log"))


async def begun(post: Post, process: BaseProcess) -> bool:
    """Wait until a worker is up. False if it ends instead, with a sentence in its log, as one does
    that finds no server when it begins."""
    while not post.log.exists() or "worker_started" not in post.log.read_text():
        if not process.is_alive():
            return False
        await asyncio.sleep(0.05)
    return True


async def wrecked(
    stage: Stage, purchase_id: str, wreck: Wreck, first: int, apart: int
) -> Counter[str]:
    """Wreck something whenever a purchase has come to one of its events, until it is closed."""
    kinds: Counter[str] = Counter()
    due = first
    async for event in events_of(stage.client.get_workflow_handle(f"purchase-{purchase_id}")):
        if event.event_id >= due:
            await wreck()
            kinds[kind_of(event)] += 1
            due += apart
    return kinds


async def events_of(handle: WorkflowHandle[Any, Any]) -> AsyncIterator[Any]:
    """Each event of a purchase as it happens, whatever is away meanwhile, until it is closed."""
    seen = 0
    while True:
        try:
            async for event in handle.fetch_history_events(wait_new_event=True):
                if event.event_id > seen:
                    seen = event.event_id
                    yield event
        except RPCError:  # not started yet, or no server
            await asyncio.sleep(0.01)
        else:
            return
