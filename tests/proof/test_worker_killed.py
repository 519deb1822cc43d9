"""The worker is killed (`kill -9`) at every event of every scenario: the next worker goes on, and
purchases end the same.

The normal suite kills at some crash points of each scenario, chosen so that every kind of event has
its turn; `make kills` kills at all of them. A crash point is either an event of the history, or the
moment after an activity is done and before that is reported. Several workers are killed in one
purchase, one after the other, at points so far apart that each makes some progress.
"""

from collections import Counter
from collections.abc import Callable
from pprint import pformat

import pytest

from activities.audit import reconcile
from demo.runner import skip, start, until
from demo.scenarios import PRICE, SCENARIOS
from temporal.directory import TemporalPurchaseDirectory
from tests.proof.conftest import UndisturbedRuns
from tests.proof.counts import ALL, counted
from tests.proof.fault_injection import CrashPlan, running_worker, was_killed
from tests.proof.harness import CrashPoint, Harness, bounded_gather
from tests.purchases import CLIENT, FREELANCER

APART = 25 if ALL else 80
"""Crash points between two kills in one purchase; this many purchases visit all crash points of a
scenario."""
PARALLEL = 12
MAX_SHOWN = 20
"""How many purchases that ended differently a failure shows."""


def chosen(points: dict[str, list[CrashPoint]]) -> list[tuple[str, int]]:
    """One purchase per scenario, as name and first crash point: the first crash point with which
    the most kinds of crash points are visited that no other purchase visits."""
    met: set[str] = set()
    starts = []
    for name, path in points.items():
        start = max(range(APART), key=lambda at: len({p.kind for p in path[at::APART]} - met))
        met |= {point.kind for point in path[start::APART]}
        starts.append((name, start))
    return starts


async def test_a_worker_killed_in_an_effect_that_is_no_longer_needed_alerts_nobody(
    harness: Harness,
) -> None:
    """The worker is killed while it calculates the deadline of a claim; then the claim is
    accepted, so that the deadline is not needed."""
    setup = harness.worker_setup("overtaken")
    handle = await start(harness.client, SCENARIOS[0].start("overtaken"))
    await handle.signal("cancel", {"by": CLIENT})
    await handle.signal(
        "decide_refund", {"by": FREELANCER, "decision": "decline", "claim": PRICE // 2}
    )
    with running_worker(setup, CrashPlan(handle.id, activity="business_deadline")) as process:
        assert await was_killed(process)
    await handle.signal("accept_claim", {"by": CLIENT})

    with running_worker(setup):
        found = await until(handle, lambda found: "settlement" in {d.name for d in found.deadlines})
        assert "effect_blocked" not in [entry.transition for entry in found.timeline]
        await skip(harness, handle)
        assert (await handle.result()).reason == "claim_accepted"


@pytest.mark.timeout(14_400 if ALL else 300)
async def test_a_purchase_ends_the_same_when_its_worker_is_killed_at_any_event(
    harness: Harness,
    undisturbed: UndisturbedRuns,
    record_property: Callable[[str, object], None],
) -> None:
    """Outcome, postings, charges, refunds and notices (each once) are those of an undisturbed
    run."""
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}

    found = await bounded_gather(PARALLEL, undisturbed, SCENARIOS)
    expected = {name: state for name, (state, _) in zip(scenarios, found, strict=True)}
    points = {name: path for name, (_, path) in zip(scenarios, found, strict=True)}
    every_one = [(name, start) for start in range(APART) for name in scenarios]
    runs = every_one if ALL else chosen(points)
    different: list[str] = []
    kinds: Counter[str] = Counter()

    async def disturbed(run: tuple[str, int]) -> None:
        name, start = run
        chosen_points = points[name][start::APART]
        state, kills = await harness.run_with_crashes(
            scenarios[name], f"{name}-{start}", chosen_points
        )
        kinds.update(point.kind for point in chosen_points[:kills])
        if differences := state.differences_from(expected[name]):
            different.append(f"{name} killed at {chosen_points}: {pformat(differences, width=120)}")

    await bounded_gather(PARALLEL, disturbed, runs)

    assert not different, f"{len(different)} of {len(runs)}\n" + "\n".join(different[:MAX_SHOWN])
    report = await reconcile(
        harness.services.ledger,
        harness.services.provider,
        TemporalPurchaseDirectory(harness.client),
    )
    assert report.differences == ()
    record_property("proof", counted("a worker killed (kill -9)", kinds, sample=not ALL))
    assert kinds.total() > len(runs)
