"""A day of operation: purchases of every scenario, while database, mail server and payment provider
fail, builds are deployed and the encryption key changes.

`make day` plays 150 purchases of a seed; in the suite it is one of each scenario.
"""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.database import migrate
from activities.payments.sandbox import SandboxProvider
from activities.services import Services, Settings
from demo.runner import ScenarioRunner
from demo.scenarios import Ending
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from temporal.runs import RUNNING
from tests.conftest import settings
from tests.ledger.conftest import engine_of
from tests.notices.builders import listening
from tests.operation.day import STORIES, Entry, Incident, plan_of
from tests.operation.processes import Post, working
from tests.operation.test_deployment import make_current
from tests.proof.counts import counted
from tests.proof.postgres_nodes import Pair, pair_of_nodes
from tests.proof.test_mail_and_provider_outages import Connection, MailServer
from tests.test_crashes import locked
from workflows.messages import PurchaseResult

KEYS = "RECOURSE_ENCRYPTION_KEYS"
SEED = int(os.environ.get("RECOURSE_DAY_SEED", "1"))
PURCHASES = int(os.environ.get("RECOURSE_DAY_PURCHASES", len(STORIES)))
RECORD = 150
AT_ONCE = 5
"""Purchases under way while the next entries of the plan begin."""
OUTAGE_SECONDS = 1.5

pytestmark = pytest.mark.timeout(PURCHASES * 20 + 285)


def test_the_same_seed_gives_the_same_day() -> None:
    assert plan_of(1, 40) == plan_of(1, 40)
    assert plan_of(1, 40) != plan_of(2, 40)


def test_every_day_has_every_scenario_and_every_incident() -> None:
    for seed in range(20):
        planned = {entry.what for entry in plan_of(seed, len(STORIES))}
        assert planned == {*STORIES, *Incident}


@dataclass
class Day:
    """Plays a plan. Workers come and go in `staff`; `post` is the newest."""

    server: WorkflowEnvironment
    pair: Pair
    mail: MailServer
    runner: ScenarioRunner
    folder: Path
    environment: dict[str, str]
    keys: list[str]
    results: dict[str, PurchaseResult] = field(default_factory=dict)
    build: int = 0
    post: Post | None = None

    async def play(self, plan: tuple[Entry, ...]) -> None:
        """Return when every purchase is closed."""
        room = asyncio.Semaphore(AT_ONCE)
        async with AsyncExitStack() as staff, asyncio.TaskGroup() as purchases:
            await self.deploy(staff)
            for entry in plan:
                print(entry)
                if isinstance(entry.what, Incident):
                    await self.meet(entry.what, staff)
                else:
                    await room.acquire()
                    task = purchases.create_task(self.purchase(entry))
                    task.add_done_callback(lambda _: room.release())

    async def purchase(self, entry: Entry) -> None:
        result = await self.runner.run(STORIES[entry.what], entry.purchase_id)
        self.results[entry.purchase_id] = result

    async def meet(self, incident: Incident, staff: AsyncExitStack) -> None:
        """Let it happen, and repair it."""
        match incident:
            case Incident.FAILOVER:
                await self.pair.fail_over()
            case Incident.SWITCHOVER:
                await self.pair.switch_over()
            case Incident.RESTART:
                await self.pair.restart()
            case Incident.DEPLOY:
                await self.deploy(staff)
            case Incident.ROTATION:
                self.keys.insert(0, self.keys.pop())
                await self.deploy(staff)
            case Incident.MAIL:
                self.mail.go_down()
                await asyncio.sleep(OUTAGE_SECONDS)
                self.mail.is_open = True
            case Incident.PROVIDER:
                with locked(self.folder / "sandbox.db"):
                    await asyncio.sleep(OUTAGE_SECONDS)

    async def deploy(self, staff: AsyncExitStack) -> None:
        """A worker of a new build takes over; the one before ends when it has no tasks left. Each
        knows all keys and encrypts with the first."""
        old, self.build = self.post, self.build + 1
        given = {
            **self.environment,
            KEYS: ",".join(self.keys),
            "RECOURSE_BUILD_ID": str(self.build),
        }
        self.post = await staff.enter_async_context(working(self.server, self.folder, **given))
        await make_current(self.server, str(self.build))
        if old:
            old.process.terminate()
            assert await old.process.wait() == 0


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with pair_of_nodes() as pair:
        with engine_of(pair.url("recourse")) as engine:
            migrate(engine)
        yield pair


def key(number: int) -> str:
    return f"key-{number}:{base64.b64encode(os.urandom(32)).decode()}"


def endings(plan: tuple[Entry, ...]) -> dict[str, Ending]:
    """How each purchase must end."""
    return {each.purchase_id: STORIES[each.what].ends for each in plan if each.purchase_id}


def ending(result: PurchaseResult, expected: Ending) -> Ending:
    """How a purchase has ended. The result does not say what a bank has taken."""
    found = Ending(result.outcome, result.reason, result.refunded, result.released)
    return replace(found, charged_back=expected.charged_back)


async def test_a_day_of_operation_ends_with_every_purchase_accounted_for(
    pair: Pair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """Each ends as its scenario does without incidents; none runs on; the audit finds nothing."""
    plan = plan_of(SEED, PURCHASES)
    expected = endings(plan)
    rotations = sum(entry.what is Incident.ROTATION for entry in plan)
    keys = [key(number) for number in range(rotations + 1)]
    monkeypatch.setenv(KEYS, ",".join(keys))
    given = replace(settings(tmp_path), database_url=pair.url("recourse"))
    mail = MailServer(tmp_path)
    services = Services(given)
    provider = services.provider
    assert isinstance(provider, SandboxProvider)
    async with (
        listening(lambda: Connection(mail)) as port,
        embedded.server(database=tmp_path / "temporal.db", skip_time=True) as server,
    ):
        environment = environment_of(given, port)
        runner = ScenarioRunner(server, provider=provider)
        day = Day(server, pair, mail, runner, tmp_path, environment, keys)
        await day.play(plan)
        running = await server.client.count_workflows(RUNNING)
        report = await reconcile(
            services.ledger, provider, TemporalPurchaseDirectory(server.client)
        )
    services.close()

    assert day.results.keys() == expected.keys()
    found = {name: ending(result, expected[name]) for name, result in day.results.items()}
    assert found == expected
    assert running.count == 0
    held = [each for each in expected.values() if each.outcome != "payment_declined"]
    assert (report.differences, report.purchases) == ((), len(held))
    record_property(
        "proof",
        counted(
            "a day of operation with failovers, deploys, key rotations and outages",
            {"purchases": len(expected), "incidents": len(plan) - len(expected)},
            sample=PURCHASES < RECORD,
        ),
    )


def environment_of(given: Settings, mail_port: int) -> dict[str, str]:
    """The settings of every worker of the day."""
    return {
        "RECOURSE_DATABASE_URL": given.database_url,
        "RECOURSE_PAYMENTS": given.payments,
        "RECOURSE_MAIL_URL": f"smtp://127.0.0.1:{mail_port}",
    }
