"""Two workers poll one task queue and one of them is killed again and again: the other goes on, and
purchases end the same."""

from collections import Counter
from collections.abc import Callable
from pprint import pformat

import pytest

from activities.audit import reconcile
from demo.scenarios import Scenario
from temporal.directory import TemporalPurchaseDirectory
from tests.proof.conftest import UndisturbedRuns
from tests.proof.counts import ALL, SELECTED, TIME_LIMIT, counted
from tests.proof.fault_injection import running_worker
from tests.proof.harness import Harness, bounded_gather

APART = 40
"""Events between two kills in one purchase."""
FIRST = range(1, APART, 14) if ALL else (12,)
PARALLEL = 6


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_purchase_ends_the_same_when_one_of_two_workers_is_killed_repeatedly(
    harness: Harness,
    undisturbed: UndisturbedRuns,
    record_property: Callable[[str, object], None],
) -> None:
    """What the killed worker had begun, the other one repeats under the same keys."""
    kinds: Counter[str] = Counter()
    different: list[str] = []

    async def disturbed(run: tuple[Scenario, int]) -> None:
        scenario, first = run
        expected, points = await undisturbed(scenario)
        # Which worker runs an activity is chance, so only events of the history are crash points.
        chosen_points = [point for point in points if not point.activity][first::APART]
        purchase_id = f"{scenario.name}-two-{first}"
        with running_worker(harness.worker_setup(purchase_id)):
            state, kills = await harness.run_with_crashes(scenario, purchase_id, chosen_points)
        kinds.update(point.kind for point in chosen_points[:kills])
        if differences := state.differences_from(expected):
            different.append(f"{purchase_id}: {pformat(differences, width=120)}")

    await bounded_gather(
        PARALLEL, disturbed, [(scenario, first) for first in FIRST for scenario in SELECTED]
    )

    assert not different, "\n".join(different)
    directory = TemporalPurchaseDirectory(harness.client)
    report = await reconcile(harness.services.ledger, harness.services.provider, directory)
    assert report.differences == ()
    record_property("proof", counted("one of two workers killed (kill -9)", kinds, sample=not ALL))
    assert kinds.total() > len(SELECTED)
