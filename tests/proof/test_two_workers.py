"""Two workers on one queue, of which one dies again and again: the other goes on, the end is the
same."""

from collections import Counter
from collections.abc import Callable
from pprint import pformat

import pytest

from activities.audit import reconcile
from demo.scenarios import Scenario
from temporal.directory import TemporalPurchaseDirectory
from tests.proof.conftest import Undisturbed
from tests.proof.count import ALL, PLAYED, TIME_LIMIT, counted
from tests.proof.fate import at_work
from tests.proof.stage import Stage, few_at_once

APART = 40
"""Events between two deaths in one purchase."""
FIRST = range(1, APART, 14) if ALL else (12,)
FIRST_BATCH = 6


@pytest.mark.timeout(TIME_LIMIT)
async def test_one_of_two_workers_dies_again_and_again(
    runner: Stage,
    undisturbed: Undisturbed,
    record_property: Callable[[str, object], None],
) -> None:
    """What the dead one had begun is done by the other, under the same keys."""
    kinds: Counter[str] = Counter()
    otherwise: list[str] = []

    async def disturbed(play: tuple[Scenario, int]) -> None:
        scenario, first = play
        expected, points = await undisturbed(scenario)
        # Whether an activity is the dying one's own is chance; the history is everybody's.
        deadly = [point for point in points if not point.activity][first::APART]
        purchase_id = f"{scenario.name}-two-{first}"
        with at_work(runner.post(purchase_id)):
            left, deaths = await runner.disturbed(scenario, purchase_id, deadly)
        kinds.update(point.kind for point in deadly[:deaths])
        if differs := left.but_for(expected):
            otherwise.append(f"{purchase_id}: {pformat(differs, width=120)}")

    await few_at_once(
        FIRST_BATCH, disturbed, [(scenario, first) for first in FIRST for scenario in PLAYED]
    )

    assert not otherwise, "\n".join(otherwise)
    directory = TemporalPurchaseDirectory(runner.client)
    report = await reconcile(runner.services.ledger, runner.services.provider, directory)
    assert report.differences == ()
    record_property("proof", counted("one of two workers killed (kill -9)", kinds, sample=not ALL))
    assert kinds.total() > len(PLAYED)
