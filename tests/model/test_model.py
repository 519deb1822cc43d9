"""The real workflow on the real server does what the pure rules say, whatever happens to it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as searching

from activities.payments.sandbox import METHODS
from activities.services import Services
from temporal import embedded
from tests.conftest import SOON_LONG, settings
from tests.model.play import Disagree, Troupe, troupe
from tests.model.script import SCRIPTS, Deadline, Script, Send, WorkerReplaced
from tests.proof.counts import counted

PLAYERS = 12
"""So many scripts are played at a time."""
SECONDS = 75
"""So long scripts are made up in an ordinary run; `make soak` has its own."""
SOAK_MINUTES = float(os.environ.get("RECOURSE_SOAK_MINUTES", "0"))
MISSED_AFTER = timedelta(seconds=4)
STUCK_AFTER = 120
"""Seconds for one script."""
SHRUNK_FOR = 45
"""Seconds in which one that failed is made smaller."""


FIRST_BATCH = {name: replace(method, settles_on=0) for name, method in METHODS.items()}
"""A server that skips time tries a failed activity again up to a day too early, and passes timers
by meanwhile. So refunds arrive or fail at once here; the stories wait for the days between."""


@pytest.fixture(scope="module")
async def company(
    threads: ThreadPoolExecutor,
    services: Services,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Troupe]:
    """A server of their own, with a worker that can be replaced. What was on its way to one that
    stopped is missed soon, so that no script waits for that: a clock is not skipped while an
    activity is under way."""
    with (
        closing(Services(settings(tmp_path_factory.mktemp("rules")))) as rules_parts,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("activities.payments.sandbox.METHODS", FIRST_BATCH)
        patch.setattr("activities.payments.sandbox.FAILS_AFTER", timedelta(0))
        patch.setattr("worker.MISSED_AFTER", timedelta(milliseconds=500))
        patch.setattr("workflows.effect_runner.ATTEMPT_TIMEOUT", MISSED_AFTER)
        patch.setattr("workflows.notifying.ONE_DELIVERY", MISSED_AFTER)
        async with (
            embedded.server(skip_time=True, extra=SOON_LONG) as server,
            troupe(server, services, threads, rules_parts) as found,
        ):
            yield found


@pytest.mark.timeout(300 + SOAK_MINUTES * 70)
async def test_the_machine_does_what_the_rules_say(
    company: Troupe, record_property: Callable[[str, object], None]
) -> None:
    """Scripts that Hypothesis makes up, many at a time. One that fails is shrunk, and shown so that
    it can be pasted below."""
    began, before = time.monotonic(), company.steps
    seconds = SOAK_MINUTES * 60 or SECONDS
    first = time.time_ns() if SOAK_MINUTES else 0
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(PLAYERS) as players:
        found = await asyncio.gather(
            *(
                loop.run_in_executor(
                    players, explore, company, loop, first + number, began + seconds
                )
                for number in range(PLAYERS)
            ),
            return_exceptions=True,  # the others need this loop to come to their end
        )
    for failed in filter(None, found):
        raise failed
    steps = company.steps - before
    counts = {
        "steps": steps,
        "purchases": company.scripts,
        "workers replaced": company.replaced,
    }
    title = "the server compared with the rules"
    record_property("proof", counted(title, counts, sample=not SOAK_MINUTES))
    print(f"made up from the seeds {first} and the {PLAYERS - 1} after it")
    assert steps > seconds, "hardly anything was played"


def explore(company: Troupe, loop: asyncio.AbstractEventLoop, number: int, until: float) -> None:
    """Make up scripts and play them, for so long; raises for the smallest that fails."""
    smallest: Disagree | None = None

    @seed(number)
    @searching(
        max_examples=1_000_000,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(SCRIPTS)
    def plays(script: Script) -> None:
        nonlocal smallest, until
        if time.monotonic() > until:
            raise Enough
        try:
            played = asyncio.wait_for(company.play(script), STUCK_AFTER)
            asyncio.run_coroutine_threadsafe(played, loop).result()
        except (TimeoutError, Disagree) as error:
            if smallest is None:
                until = time.monotonic() + SHRUNK_FOR
            stuck = Disagree(f"It is stuck:\n{script!r}")
            smallest = error if isinstance(error, Disagree) else stuck
            raise smallest from None

    try:
        plays()
    except Enough:
        if smallest:
            raise smallest from None


class Enough(BaseException):
    """The time is over."""


SCRIPTS_THAT_FAILED = [
    Script((WorkerReplaced(), Send("client", "cancel"), WorkerReplaced(), Deadline())),
    Script(
        (
            Send("client", "submit_requirements", {"requirements": "x"}),
            Send("client", "cancel", signal=True, twice=True),
            WorkerReplaced(),
            Send("freelancer", "decide_refund", {"decision": "approve"}, twice=True),
            Deadline(),
        ),
        "pm_sandbox_refund_fails_once",
    ),
]


@pytest.mark.parametrize("script", SCRIPTS_THAT_FAILED, ids=str)
async def test_scripts_that_failed(script: Script, company: Troupe) -> None:
    """What was once found, and what takes too long to be made up at random."""
    await company.play(script)
