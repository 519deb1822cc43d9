"""Runs scenarios while something they depend on fails and comes back, again and again."""

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
from tests.proof.conftest import UndisturbedRuns
from tests.proof.fault_injection import WorkerSetup, running_worker
from tests.proof.final_state import final_state
from tests.proof.harness import Harness, event_kind

Outage = Callable[[], Awaitable[None]]
"""Makes something fail, and repairs it before it returns."""


async def survive_outages(
    harness: Harness,
    undisturbed: UndisturbedRuns,
    scenarios: Sequence[Scenario],
    outage: Outage,
    *,
    first: int,
    apart: int,
) -> Counter[str]:
    """Run scenarios concurrently, each with one worker, and cause an outage whenever one of them
    has come to its event number `first`, and every `apart` events after it.

    Checks that each ends as it does undisturbed and that the audit finds no difference. Returns the
    kinds of events at which there was an outage, with their numbers.
    """
    lock = asyncio.Lock()

    async def one_outage_at_a_time() -> None:
        async with lock:
            await outage()

    names = [f"{scenario.name}-{first}" for scenario in scenarios]
    setups = [replace(harness.worker_setup(name), give_up_after=GIVE_UP_AFTER) for name in names]
    runner = ScenarioRunner(harness)
    with ExitStack() as workers:
        processes = [workers.enter_context(running_worker(setup)) for setup in setups]
        up = await asyncio.gather(*map(worker_started, setups, processes))
        assert all(up), f"A worker ended before it started: see the logs in {harness.folder}."
        async with asyncio.TaskGroup() as group:
            expectations = [group.create_task(undisturbed(scenario)) for scenario in scenarios]
            results = [
                group.create_task(runner.run(scenario, name))
                for scenario, name in zip(scenarios, names, strict=True)
            ]
            outages = [
                group.create_task(
                    cause_outages(harness, name, one_outage_at_a_time, first + number, apart)
                )
                for number, name in enumerate(names)
            ]
        different = []
        for setup, result, expectation in zip(setups, results, expectations, strict=True):
            state = await final_state(
                harness.client, harness.services, setup.mailbox, result.result()
            )
            expected, _ = expectation.result()
            if differences := state.differences_from(expected):
                different.append(f"{setup.queue}: {pformat(differences, width=120)}")
    assert not different, "\n".join(different)
    directory = TemporalPurchaseDirectory(harness.client)
    report = await reconcile(harness.services.ledger, harness.services.provider, directory)
    assert report.differences == ()
    return sum((each.result() for each in outages), Counter())


GIVE_UP_AFTER = timedelta(days=1)
"""Longer than any outage, so that no purchase is reported as blocked: the clock of a purchase that
waits is skipped ahead, and minutes of retries pass in a second."""
MAX_OUTAGE_SECONDS = 1.0
"""How long an outage lasts if no worker runs into it."""


async def until_logged(logs: Path, text: str) -> None:
    """Wait until a worker logs this text once more, or for `MAX_OUTAGE_SECONDS`: at that moment no
    worker may need what has failed."""
    before = times_logged(logs, text)
    with suppress(TimeoutError):
        async with asyncio.timeout(MAX_OUTAGE_SECONDS):
            while times_logged(logs, text) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def times_logged(logs: Path, text: str) -> int:
    """How often all workers together have logged this text."""
    return sum(log.read_text().count(text) for log in logs.glob("*.log"))


async def worker_started(setup: WorkerSetup, process: BaseProcess) -> bool:
    """Wait until a worker runs. False if it ends instead, as it does with one line in its log when
    it cannot connect to the server."""
    while not setup.log.exists() or "worker_started" not in setup.log.read_text():
        if not process.is_alive():
            return False
        await asyncio.sleep(0.05)
    return True


async def cause_outages(
    harness: Harness, purchase_id: str, outage: Outage, first: int, apart: int
) -> Counter[str]:
    """Cause an outage at event `first` of a purchase and every `apart` events after it, until the
    purchase is closed."""
    kinds: Counter[str] = Counter()
    due = first
    handle = harness.client.get_workflow_handle(f"purchase-{purchase_id}")
    async for event in follow_events(handle):
        if event.event_id >= due:
            await outage()
            kinds[event_kind(event)] += 1
            due += apart
    return kinds


async def follow_events(handle: WorkflowHandle[Any, Any]) -> AsyncIterator[Any]:
    """Each event of a purchase once, as it happens, until it is closed. Outages of the server are
    waited out."""
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
