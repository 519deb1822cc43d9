"""The real workflow on the real server does what the pure rules say, for generated scripts."""

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

from activities.payments.sandbox_events import SandboxEvent
from activities.payments.sandbox_methods import METHODS
from activities.services import Services
from temporal import embedded
from tests.conftest import CONTINUE_AS_NEW_SOON, settings
from tests.model.comparison import ComparisonServer, Mismatch, open_comparison_server
from tests.model.strategies import (
    SCRIPTS,
    Deadline,
    Happens,
    Script,
    Send,
    Sleep,
    WorkerReplaced,
)
from tests.proof.counts import counted

PARALLEL_SCRIPTS = 12
"""How many scripts run at a time."""
SEARCH_SECONDS = 75
"""How long scripts are generated in a normal run; `make soak` sets its own time."""
SOAK_MINUTES = float(os.environ.get("RECOURSE_SOAK_MINUTES", "0"))
ATTEMPT_TIMEOUT = timedelta(seconds=4)
SCRIPT_TIMEOUT = 120
"""Seconds after which a script is reported as stuck."""
SHRINK_SECONDS = 45
"""How long a failed script is shrunk."""


SETTLES_AT_ONCE = {name: replace(method, settles_on=0) for name, method in METHODS.items()}
"""Refunds settle or fail at once here. A time-skipping server retries a failed activity up to a day
too early and lets timers pass meanwhile, so the days in between are tested by the scenarios."""


@pytest.fixture(scope="module")
async def comparison_server(
    threads: ThreadPoolExecutor,
    services: Services,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[ComparisonServer]:
    """A server with a replaceable worker. Timeouts are short, so that activities of a stopped
    worker are retried soon: the server does not skip time while an activity is running."""
    with (
        closing(Services(settings(tmp_path_factory.mktemp("rules")))) as rules_services,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("activities.payments.sandbox_records.METHODS", SETTLES_AT_ONCE)
        patch.setattr("activities.payments.sandbox_records.FAILS_AFTER", timedelta(0))
        patch.setattr("worker.MISSED_AFTER", timedelta(milliseconds=500))
        patch.setattr("workflows.effects.ATTEMPT_TIMEOUT", ATTEMPT_TIMEOUT)
        patch.setattr("workflows.notifying.DELIVERY_TIMEOUT", ATTEMPT_TIMEOUT)
        async with (
            embedded.server(skip_time=True, extra=CONTINUE_AS_NEW_SOON) as server,
            open_comparison_server(server, services, threads, rules_services) as found,
        ):
            yield found


@pytest.mark.timeout(300 + SOAK_MINUTES * 70)
async def test_the_workflow_does_what_the_rules_say(
    comparison_server: ComparisonServer, record_property: Callable[[str, object], None]
) -> None:
    """After every step of every generated script, the purchase on the server is in the state that
    the rules give. A script that fails is shrunk and printed as code for `EARLIER_FAILURES`."""
    began, before = time.monotonic(), comparison_server.steps
    seconds = SOAK_MINUTES * 60 or SEARCH_SECONDS
    first = time.time_ns() if SOAK_MINUTES else 0
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(PARALLEL_SCRIPTS) as executor:
        found = await asyncio.gather(
            *(
                loop.run_in_executor(
                    executor, explore, comparison_server, loop, first + number, began + seconds
                )
                for number in range(PARALLEL_SCRIPTS)
            ),
            return_exceptions=True,  # the other threads still need this loop
        )
    for failed in filter(None, found):
        raise failed
    steps = comparison_server.steps - before
    counts = {
        "steps": steps,
        "purchases": comparison_server.scripts,
        "workers replaced": comparison_server.replaced,
    }
    title = "the server compared with the rules"
    record_property("proof", counted(title, counts, sample=not SOAK_MINUTES))
    print(f"seeds: {first} to {first + PARALLEL_SCRIPTS - 1}")
    assert steps > seconds, f"Only {steps} steps in {seconds} s: the server is too slow or stuck."


def explore(
    comparison_server: ComparisonServer, loop: asyncio.AbstractEventLoop, number: int, until: float
) -> None:
    """Generate and run scripts until this time. Raises Mismatch for the smallest that fails."""
    smallest: Mismatch | None = None

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
            raise TimeIsUp
        try:
            played = asyncio.wait_for(comparison_server.play(script), SCRIPT_TIMEOUT)
            asyncio.run_coroutine_threadsafe(played, loop).result()
        except Exception as error:
            if smallest is None:
                until = time.monotonic() + SHRINK_SECONDS
            smallest = mismatch(error, script)
            raise smallest from error

    try:
        plays()
    except TimeIsUp:
        if smallest:
            raise smallest from None


def mismatch(error: Exception, script: Script) -> Mismatch:
    """What is wrong with a script that ended with this error."""
    if isinstance(error, Mismatch):
        return error
    stuck = isinstance(error, TimeoutError)
    what = f"did not end in {SCRIPT_TIMEOUT} s" if stuck else f"raised {error!r}"
    return Mismatch(f"This script {what}:\n{script!r}")


class TimeIsUp(BaseException):
    """Ends the search of Hypothesis when its time is up."""


EARLIER_FAILURES = [
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
    Script(
        (
            Send("client", "submit_requirements", {"requirements": "x"}),
            Happens(SandboxEvent.DISPUTE_OPENED, 10_000),
            Sleep(170),
            Happens(SandboxEvent.REFUND_ELSEWHERE, 10_000),
            WorkerReplaced(),
            Happens(SandboxEvent.DISPUTE_WON),
            Happens(SandboxEvent.REFUND_ELSEWHERE_FAILED),
            Deadline(),
            Send("freelancer", "give_refund"),
        ),
    ),
    Script(
        (
            Send("freelancer", "give_refund"),
            Happens(SandboxEvent.DISPUTE_OPENED),
            Happens(SandboxEvent.REFUND_SENT),
            Happens(SandboxEvent.REFUND_RETURNED),
            WorkerReplaced(),
            Happens(SandboxEvent.DISPUTE_LOST),
        ),
        "pm_sandbox_refund_pending",
    ),
]


@pytest.mark.parametrize("script", EARLIER_FAILURES, ids=str)
async def test_earlier_failures_stay_fixed(
    script: Script, comparison_server: ComparisonServer
) -> None:
    """Scripts that once failed, and ones that random generation rarely reaches."""
    await comparison_server.play(script)
