"""`kill -9` at every event of every story: the next worker goes on, and the end is the same.

The normal suite kills at some points of each story, chosen so that every kind of event has its turn
(`make kills`: at every event). Each point is one of three moments: the history has come to an event
and the worker does nothing more; or an activity has done its work and nobody knows yet. Several die
in one purchase, one after the other, at points far enough apart that each gets something done.
"""

from collections import Counter
from collections.abc import Callable
from pprint import pformat

import pytest

from activities.audit import reconcile
from demo.runner import skip, start, until
from demo.scenarios import PRICE, SCENARIOS
from temporal.directory import TemporalPurchaseDirectory
from tests.proof.conftest import Undisturbed
from tests.proof.count import ALL, counted
from tests.proof.fate import Fate, at_work, killed
from tests.proof.stage import Point, Stage, few_at_once
from tests.purchases import CLIENT, FREELANCER

APART = 25 if ALL else 80
"""Points between two deaths in one purchase; so many purchases visit all points of a story."""
FIRST_BATCH = 12
SHOWN = 20
"""So many of those that ended otherwise are shown."""


def chosen(points: dict[str, list[Point]]) -> list[tuple[str, int]]:
    """One purchase of each story, beginning to die at that point which meets most kinds of points
    that no other has met."""
    met: set[str] = set()
    starts = []
    for name, path in points.items():
        start = max(range(APART), key=lambda at: len({p.kind for p in path[at::APART]} - met))
        met |= {point.kind for point in path[start::APART]}
        starts.append((name, start))
    return starts


async def test_whoever_dies_over_what_nobody_needs_any_more_alerts_nobody(runner: Stage) -> None:
    """The worker that looks up the end of a claim dies; then the claim is accepted."""
    post = runner.post("overtaken")
    handle = await start(runner.client, SCENARIOS[0].start("overtaken"))
    await handle.signal("cancel", {"by": CLIENT})
    await handle.signal(
        "decide_refund", {"by": FREELANCER, "decision": "decline", "claim": PRICE // 2}
    )
    with at_work(post, Fate(handle.id, activity="business_deadline")) as process:
        assert await killed(process)
    await handle.signal("accept_claim", {"by": CLIENT})

    with at_work(post):
        found = await until(handle, lambda found: "settlement" in {d.name for d in found.deadlines})
        assert "effect_blocked" not in [entry.transition for entry in found.timeline]
        await skip(runner, handle)
        assert (await handle.result()).reason == "claim_accepted"


@pytest.mark.timeout(14_400 if ALL else 300)
async def test_a_worker_killed_at_any_event_leaves_the_same_end(
    runner: Stage,
    undisturbed: Undisturbed,
    record_property: Callable[[str, object], None],
) -> None:
    """Outcome, every posting, every charge and refund, and each notice once: as undisturbed."""
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}

    found = await few_at_once(FIRST_BATCH, undisturbed, SCENARIOS)
    expected = {name: left for name, (left, _) in zip(scenarios, found, strict=True)}
    points = {name: path for name, (_, path) in zip(scenarios, found, strict=True)}
    every_one = [(name, start) for start in range(APART) for name in scenarios]
    plays = every_one if ALL else chosen(points)
    otherwise: list[str] = []
    kinds: Counter[str] = Counter()

    async def disturbed(play: tuple[str, int]) -> None:
        name, start = play
        deadly = points[name][start::APART]
        left, deaths = await runner.disturbed(scenarios[name], f"{name}-{start}", deadly)
        kinds.update(point.kind for point in deadly[:deaths])
        if differs := left.but_for(expected[name]):
            otherwise.append(f"{name} killed at {deadly}: {pformat(differs, width=120)}")

    await few_at_once(FIRST_BATCH, disturbed, plays)

    assert not otherwise, f"{len(otherwise)} of {len(plays)}\n" + "\n".join(otherwise[:SHOWN])
    report = await reconcile(
        runner.services.ledger, runner.services.provider, TemporalPurchaseDirectory(runner.client)
    )
    assert report.differences == ()
    record_property("proof", counted("a worker killed (kill -9)", kinds, sample=not ALL))
    assert kinds.total() > len(plays)
