"""Every demo scenario, with a worker that crashes at every call that moves money."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from temporalio.common import RetryPolicy

from activities.audit import reconcile
from activities.money import MoneyActivities
from activities.services import Services, Settings
from demo.runner import ScenarioRunner
from demo.scenarios import SCENARIOS
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from tests.conftest import settings
from tests.money.test_crashes import Crash
from tests.proof.counts import counted
from worker import build_worker

FIRST_BATCH = RetryPolicy(initial_interval=timedelta(milliseconds=10), backoff_coefficient=1.0)


@dataclass
class Crashes:
    """Crashes each key's calls once before the call, before its commit and after it."""

    met: set[tuple[str, str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    under_way: threading.local = field(default_factory=threading.local)

    def at(self, point: str) -> None:
        """Crash here, unless it happened here before."""
        call = getattr(self.under_way, "call", None)
        if call is None:
            return
        with self.lock:
            if (*call, point) in self.met:
                return
            self.met.add((*call, point))
        raise Crash

    def wrap(self, real: Any) -> Any:
        """Return `real` with crashes around its calls."""
        return Deadly(real, self)


@dataclass(frozen=True)
class Deadly:
    real: Any
    crashes: Crashes

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.crashes.under_way.call = (name, named.get("key") or args[0])
            try:
                self.crashes.at("before")
                answer = getattr(self.real, name)(*args, **named)
                self.crashes.at("after")
                return answer
            finally:
                self.crashes.under_way.call = None

        return call


class CrashingServices(Services):
    """Services whose money activities crash at the points of `crashes`."""

    def __init__(self, given: Settings, crashes: Crashes) -> None:
        super().__init__(given)
        self._money = MoneyActivities(crashes.wrap(self.ledger), crashes.wrap(self.provider))
        event.listen(self.engine, "commit", lambda _: crashes.at("before commit"))


LATE = "settlement_late"
"""After a crash during a status check, a server that skips time may skip days of checks, so this
notice may be sent in any scenario."""


async def played(services: Services, threads: ThreadPoolExecutor) -> dict[str, Any]:
    """Run all scenarios at once; return each result with all records of ledger and provider."""
    async with (
        embedded.server(skip_time=True) as server,
        build_worker(server.client, services, threads),
    ):
        runner = ScenarioRunner(server)
        plays = (runner.run(scenario, scenario.name) for scenario in SCENARIOS)
        results = await asyncio.gather(*plays)
        report = await reconcile(
            services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
        )
        assert report.differences == ()
    statement = services.provider.statement()
    ends: dict[str, Any] = {}
    for scenario, result in zip(SCENARIOS, results, strict=True):
        transfers = services.ledger.transfers(scenario.name)
        workflow_id = f"purchase-{scenario.name}/"
        ends[scenario.name] = (
            (result.outcome, result.reason, result.refunded, result.released),
            services.ledger.balances(scenario.name),
            [(t.key, t.leg, t.debit_account, t.credit_account, t.amount) for t in transfers],
            [(c.key, c.amount) for c in statement.charges if c.key.startswith(workflow_id)],
            [
                (r.refund_id, r.amount, r.status)
                for r in statement.refunds
                if r.refund_id.startswith(workflow_id)
            ],
            sorted(
                (notice.transition, notice.role, notice.status)
                for notice in services.notices.list(scenario.name)
                if notice.transition not in {LATE} - {scenario.name}
            ),
        )
    return ends


@pytest.mark.timeout(400)  # twelve scenarios, twice
async def test_a_worker_that_dies_at_every_money_call_leaves_the_same_records(
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """It crashes before, between and after calls to ledger and provider."""
    monkeypatch.setattr("workflows.activity_calls.RETRY", FIRST_BATCH)
    crashes = Crashes()
    with (
        closing(Services(settings(tmp_path / "without_crashes"))) as without_crashes,
        closing(CrashingServices(settings(tmp_path / "with_crashes"), crashes)) as with_crashes,
    ):
        expected, ended = await asyncio.gather(
            played(without_crashes, threads), played(with_crashes, threads)
        )
    for scenario in SCENARIOS:
        assert ended[scenario.name] == expected[scenario.name], scenario.name
    points = {(call, point) for call, _, point in crashes.met}
    for call in ("charge", "find_charge", "refund", "find_refund", "hold", "decide", "settle"):
        assert {(call, "before"), (call, "after")} <= points
    for call in ("hold", "decide", "settle"):
        assert (call, "before commit") in points
    counts = Counter(point for _, _, point in crashes.met)
    record_property("proof", counted("a worker gone around a call that moves money", counts))
    assert len(crashes.met) > 10 * len(SCENARIOS), f"only {len(crashes.met)} crashes"
