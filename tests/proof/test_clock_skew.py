"""A worker whose clock differs from the server's by minutes: purchases end the same, and deadlines
follow the server's clock."""

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
from tests.proof.conftest import UndisturbedRuns
from tests.proof.counts import ALL, SELECTED, TIME_LIMIT, counted
from tests.proof.fault_injection import WorkerSetup, running_worker
from tests.proof.final_state import final_state
from tests.proof.harness import Harness, bounded_gather
from tests.proof.outages import worker_started
from workflows import view

APART = (timedelta(minutes=7), timedelta(minutes=-7))
PARALLEL = 3
TOLERANCE = timedelta(minutes=1)
"""How long a busy machine may take to start a worker or to record an event."""
START_ATTEMPTS = 3


@pytest.fixture
def faketime() -> Path:
    """The library libfaketime, which makes a process see another time of day."""
    for found in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"):
        return found
    pytest.skip("libfaketime is missing: apt-get install faketime")


def skewed_clock(library: Path, apart: timedelta) -> dict[str, str]:
    """Environment variables for a process with a wrong wall clock and a right monotonic clock."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"{apart.total_seconds():+.0f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


@asynccontextmanager
async def worker_with_clock(
    setup: WorkerSetup, library: Path, apart: timedelta
) -> AsyncIterator[None]:
    """A running worker with a skewed clock. Starting is retried, because libfaketime sometimes
    hangs a process while it starts."""
    for _ in range(START_ATTEMPTS):
        with running_worker(setup, environment=skewed_clock(library, apart)) as process:
            up = False
            with suppress(TimeoutError):
                async with asyncio.timeout(TOLERANCE.total_seconds()):
                    up = await worker_started(setup, process)
            if up:
                yield
                return
    raise AssertionError(f"No worker started in {START_ATTEMPTS} attempts: see {setup.log}.")


def logged_start(setup: WorkerSetup) -> datetime:
    """The time at which a worker started, by its own clock."""
    lines = (json.loads(line) for line in setup.log.read_text().splitlines() if line[:1] == "{")
    at = next(line["timestamp"] for line in lines if line["event"] == "worker_started")
    return datetime.fromisoformat(at)


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_purchase_ends_the_same_when_the_workers_clock_is_minutes_off(
    faketime: Path,
    harness: Harness,
    undisturbed: UndisturbedRuns,
    record_property: Callable[[str, object], None],
) -> None:
    """Scenarios end the same whether the worker's clock is ahead of the server's or behind it."""
    different: list[str] = []

    async def run_skewed(run: tuple[Scenario, timedelta]) -> None:
        scenario, apart = run
        purchase_id = f"{scenario.name}-{apart.total_seconds():.0f}"
        setup = harness.worker_setup(purchase_id)
        async with worker_with_clock(setup, faketime, apart):
            result = await ScenarioRunner(harness).run(scenario, purchase_id)
            state = await final_state(harness.client, harness.services, setup.mailbox, result)
        expected, _ = await undisturbed(scenario)
        if differences := state.differences_from(expected):
            different.append(f"{setup.queue}: {pformat(differences, width=120)}")

    runs = list(itertools.product(SELECTED, APART))
    await bounded_gather(PARALLEL, run_skewed, runs)
    assert not different, "\n".join(different)
    report = await reconcile(
        harness.services.ledger,
        harness.services.provider,
        TemporalPurchaseDirectory(harness.client),
    )
    assert report.differences == ()
    counts = {"stories": len(runs)}
    record_property("proof", counted("clocks seven minutes apart", counts, sample=not ALL))


@pytest.mark.parametrize("apart", APART, ids=["ahead", "behind"])
async def test_deadlines_follow_the_servers_clock_not_the_workers(
    apart: timedelta, faketime: Path, harness: Harness
) -> None:
    """The first deadline is 48 h after the server started the purchase: in the status, the search
    attribute and the notices. The Date of a notice is the server's time too."""
    purchase_id = f"clock-{apart.total_seconds():.0f}"
    setup = harness.worker_setup(purchase_id)
    async with worker_with_clock(setup, faketime, apart):
        assert abs(logged_start(setup) - datetime.now(UTC) - apart) < TOLERANCE
        terms = SELECTED[0].start(purchase_id)
        handle = await start(harness.client, terms)
        found = await until(handle, lambda found: found.payment == "held")
        await quiet(handle)
        described = await handle.describe()
        await handle.cancel()
        await skip(harness, handle)

    (deadline,) = found.deadlines
    bought = deadline.at - terms.policy.requirements_window
    assert timedelta(0) <= bought - described.start_time < TOLERANCE
    assert described.typed_search_attributes[view.DEADLINE] == deadline.at
    sent = [mail for mail in inbox(setup.mailbox, purchase_id) if mail.transition == "payment_held"]
    (to_client,) = (mail for mail in sent if mail.to == terms.client.email)
    assert to_client.shows(f"{deadline.at:%Y-%m-%d %H:%M} UTC")
    assert abs(to_client.date - described.start_time) < TOLERANCE
