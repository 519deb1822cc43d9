"""The lost-ledger drill: the ledger's database is restored from an old backup, `restore` is run.

Every scenario is run once, all on one ledger. At every fourth event of each history the database is
copied. Then each copy is restored in turn.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.database import create_engine
from activities.ledger import AccountBalance, Ledger, PurchaseBalances, Transfer
from activities.requests import Difference, WorkflowPostings
from activities.restore import RestoreReport, restore
from activities.services import Services
from demo.runner import POLL_EVERY, Handle, ScenarioRunner, send, skip, start, status, until
from demo.scenarios import SCENARIOS, Scenario, Step
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from temporal.purchases import Purchase
from tests.conftest import settings
from tests.proof.counts import ALL, counted
from tests.purchases import adopted, held, purchase, purchase_of, under_way
from worker import build_worker
from workflows.messages import Role

APART = 4
"""Events between two backups in one history."""
LONG = [scenario for scenario in SCENARIOS if len(scenario.steps) >= (0 if ALL else 5)]
"""The scenarios in the middle of which the ledger is lost: those with the most steps."""


@dataclass(frozen=True)
class Entries:
    """Everything that the ledger has on record, without the order of different purchases."""

    transfers: dict[str, list[Transfer]]
    balances: dict[str, PurchaseBalances | None]
    accounts: list[AccountBalance]
    proofs: dict[str, str]


def entries(ledger: Ledger) -> Entries:
    """Read the ledger, which must be consistent in itself."""
    snapshot = ledger.snapshot()
    assert snapshot.differences == ()
    ids = [each.purchase_id for each in snapshot.purchases]
    return Entries(
        {each: ledger.transfers(each) for each in ids},
        {each: ledger.balances(each) for each in ids},
        ledger.accounts(),
        dict(snapshot.proofs),
    )


def copy(source: Path, target: Path) -> None:
    """Copy a SQLite database, also one that is in use, into a new or an existing file."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def mails(folder: Path) -> list[Path]:
    """The files of all notices that were delivered."""
    return sorted(folder.glob("mail/new/*"))


@contextmanager
def ledger_in(file: Path) -> Iterator[Ledger]:
    """The ledger in a restored file."""
    engine = create_engine(f"sqlite:///{file}")
    try:
        yield Ledger(engine)
    finally:
        engine.dispose()


class Remembering(TemporalPurchaseDirectory):
    """Asks each purchase once: what a closed one has recorded does not change."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self._postings: dict[str, WorkflowPostings] = {}

    async def postings(self, purchase_id: str) -> WorkflowPostings:
        if purchase_id not in self._postings:
            self._postings[purchase_id] = await super().postings(purchase_id)
        return self._postings[purchase_id]


@dataclass
class Drill:
    """A server, a worker, and the folder with its ledger, provider and mail."""

    server: WorkflowEnvironment
    services: Services
    folder: Path
    directory: TemporalPurchaseDirectory
    backups: dict[str, list[Path]] = field(default_factory=dict)
    """By scenario, at every fourth event."""

    @property
    def database(self) -> Path:
        """The file of the ledger."""
        return self.folder / "recourse.db"

    async def restore(
        self, ledger: Ledger | None = None, purchase_id: str | None = None
    ) -> RestoreReport:
        """Run the remedy on a ledger."""
        given = ledger or self.services.ledger
        return await restore(given, self.services.provider, self.directory, purchase_id)

    async def audit(self, ledger: Ledger | None = None) -> tuple[Difference, ...]:
        """The differences that an audit finds."""
        given = ledger or self.services.ledger
        return (await reconcile(given, self.services.provider, self.directory)).differences

    async def untouched(self) -> tuple[object, ...]:
        """What the remedy must not change: the provider's records, the mail, and each purchase's
        history, deadlines and timeline."""
        handles = [self.handle(scenario.name) for scenario in SCENARIOS]
        return (
            self.services.provider.statement(),
            mails(self.folder),
            [(await handle.describe()).history_length for handle in handles],
            [await status(handle) for handle in handles],
        )

    def handle(self, purchase_id: str) -> Handle:
        """The workflow of a purchase."""
        return Purchase(self.server.client, purchase_id).handle

    async def back_up(self, name: str) -> None:
        """Copy the database at every fourth event of a history, until it ends."""
        self.backups[name] = []
        events = self.handle(name).fetch_history_events(wait_new_event=True)
        async for event in events:
            if event.event_id % APART == 0:
                file = self.folder / f"{name}-{event.event_id}.db"
                await asyncio.to_thread(copy, self.database, file)
                self.backups[name].append(file)


@asynccontextmanager
async def drill_in(
    folder: Path,
    threads: ThreadPoolExecutor,
    *,
    temporal: Path | None = None,
    database_url: str | None = None,
) -> AsyncIterator[Drill]:
    """A server and a worker in a new process. `temporal`: the server's file; by default it keeps
    nothing. `database_url`: where the ledger is, by default in the folder."""
    given = settings(folder)
    if database_url:
        given = replace(given, database_url=database_url)
    with closing(Services(given)) as services:
        async with (
            embedded.server(database=temporal, skip_time=True) as server,
            build_worker(server.client, services, threads),
        ):
            yield Drill(server, services, folder, TemporalPurchaseDirectory(server.client))


@pytest.fixture(scope="module")
async def drill(
    tmp_path_factory: pytest.TempPathFactory, threads: ThreadPoolExecutor
) -> AsyncIterator[Drill]:
    """A drill in which nothing was run yet."""
    async with drill_in(tmp_path_factory.mktemp("drill"), threads) as drill:
        yield drill


# --- the ledger is older than Temporal


@pytest.mark.timeout(120)
async def test_a_lost_ledger_is_rebuilt_whenever_the_backup_was_taken(
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    record_property: Callable[[str, object], None],
) -> None:
    """The ledger is as undisturbed: same transfers, keys, amounts and instants. Nothing else
    changes, and a second run of the remedy changes nothing at all."""
    async with drill_in(tmp_path, threads) as drill:
        await asyncio.gather(*(played(drill, scenario) for scenario in SCENARIOS))
        expected, before = entries(drill.services.ledger), await drill.untouched()
        drill.directory = Remembering(drill.server.client)
        counts: Counter[str] = Counter()
        for scenario in SCENARIOS:
            for backup in drill.backups[scenario.name]:
                counts += await restored(drill, scenario, backup, expected)
        assert await drill.untouched() == before
    record_property("proof", counted("old backups of the ledger restored", counts))
    assert counts["backups"] > 8 * len(SCENARIOS)
    assert counts["postings"] > 2 * len(SCENARIOS)


async def played(drill: Drill, scenario: Scenario) -> None:
    """Run a scenario to its end, with a backup at every fourth event."""
    await start(drill.server.client, scenario.start(scenario.name))
    runner = ScenarioRunner(drill.server)
    await asyncio.gather(runner.run(scenario, scenario.name), drill.back_up(scenario.name))


async def restored(
    drill: Drill, scenario: Scenario, backup: Path, expected: Entries
) -> Counter[str]:
    """Restore one purchase in an old file, then all of them; how much was missing."""
    name = scenario.name
    with ledger_in(backup) as ledger:
        own = await drill.restore(ledger, name)
        assert own.differences == ()
        assert ledger.transfers(name) == expected.transfers.get(name, [])
        if backup == drill.backups[name][-1]:
            others = await drill.restore(ledger)
            assert others.differences == ()
            assert entries(ledger) == expected
            again = await drill.restore(ledger)
            assert (again.rebuilt, len(again.agreed)) == ((), len(SCENARIOS))
            assert await drill.audit(ledger) == ()
    return Counter({"backups": 1, "postings": len(own.rebuilt)})


class Disturbed(ScenarioRunner):
    """Before each step of a scenario, an older database is put back, and the remedy is run."""

    def __init__(self, drill: Drill) -> None:
        super().__init__(drill.server)
        self.drill = drill
        self.lost = 0
        self.lock = asyncio.Lock()
        self.old = drill.folder / "old.db"
        copy(drill.database, self.old)

    async def _perform(self, scenario: Scenario, handle: Handle, act: Step) -> Handle:
        async with self.lock:
            await self.lose_and_restore()
        return await super()._perform(scenario, handle, act)

    async def lose_and_restore(self) -> None:
        """Lose what was posted since the time before the last one."""
        newer = self.drill.folder / "newer.db"
        await asyncio.to_thread(copy, self.drill.database, newer)
        await asyncio.to_thread(copy, self.old, self.drill.database)
        newer.replace(self.old)
        report = await self.drill.restore()
        assert report.differences == ()
        self.lost += len(report.rebuilt)


@pytest.mark.timeout(120)
async def test_purchases_go_on_while_their_ledger_is_lost_and_found(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """All at once, while workers run and effects are pending: they end as described."""
    async with drill_in(tmp_path, threads) as drill:
        runner = Disturbed(drill)
        results = await asyncio.gather(*(runner.run(scenario, scenario.name) for scenario in LONG))
        await runner.lose_and_restore()
        for scenario, result in zip(LONG, results, strict=True):
            ends = scenario.ends
            assert (result.outcome, result.reason) == (ends.outcome, ends.reason)
            balances = drill.services.ledger.balances(scenario.name)
            assert (balances.refunded if balances else 0) == ends.refunded
            assert (balances.released if balances else 0) == ends.released
            requested = await Purchase(drill.server.client, scenario.name).postings()
            postings = (requested.hold, requested.decision, requested.settlement)
            found = {(t.key, t.created_at) for t in drill.services.ledger.transfers(scenario.name)}
            assert found == {(each.key, each.at) for each in postings if each}
        assert await drill.audit() == ()
        assert runner.lost > len(LONG)
        refunds = drill.services.provider.statement().refunds
        assert sum(each.amount.amount for each in refunds) == sum(
            scenario.ends.refunded for scenario in LONG
        )


async def test_an_effect_that_the_old_ledger_rejects_succeeds_by_itself_after_the_remedy(
    drill: Drill,
) -> None:
    """The hold was lost; the decision is retried until it is back."""
    copy(drill.database, empty := drill.folder / "empty.db")
    handle = await held(drill.server)
    purchase_id = purchase_of(handle)
    copy(empty, drill.database)
    await send(handle, Role.FREELANCER, "give_refund")
    (alert,) = (await until(handle, lambda found: bool(found.attention))).attention
    assert "has no hold" in alert.text
    report = await drill.restore(purchase_id=purchase_id)
    assert [each.key for each in report.rebuilt] == [f"{handle.id}/hold"]
    await skip(drill.server, handle)
    assert (await handle.result()).refunded == 25000
    moved = [transfer.key for transfer in drill.services.ledger.transfers(purchase_id)]
    assert moved == [f"{handle.id}/{step}" for step in ("hold", "refund", "settled")]


async def test_a_reset_after_the_ledger_lost_a_refund_pays_nothing_twice(drill: Drill) -> None:
    """A reset forgets what was decided by time. The parties agree on something else, and the money
    stays where it is, because the provider shows the refund."""
    handle = await held(drill.server)
    purchase_id = purchase_of(handle)
    copy(drill.database, old := drill.folder / "old.db")
    await skip(drill.server, handle)
    assert (await handle.result()).reason == "requirements_timeout"
    copy(old, drill.database)
    assert advice(await drill.audit()) == {purchase_id: f"recourse restore {purchase_id}"}
    statement = drill.services.provider.statement()

    await reset_to_the_beginning(drill, handle)
    await until(handle, lambda found: found.payment == "held")
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.FREELANCER, "deliver")
    await send(handle, Role.CLIENT, "accept_delivery")
    (alert,) = (await until(handle, lambda found: bool(found.attention))).attention
    assert f"recourse restore {purchase_id}" in alert.text
    (found,) = (await drill.restore(purchase_id=purchase_id)).differences
    assert "the provider refunded 250.00 USD" in found.what
    balances = drill.services.ledger.balances(purchase_id)
    assert balances
    assert (balances.held, balances.released) == (25000, 0)
    assert drill.services.provider.statement() == statement
    await handle.terminate("seen")


def advice(differences: Iterable[Difference]) -> dict[str | None, str]:
    """By purchase, the command that an audit advises."""
    return {each.purchase_id: each.what_to_do.rpartition(": ")[2] for each in differences}


async def reset_to_the_beginning(drill: Drill, handle: Handle) -> None:
    """As an operator may do in the Web UI."""
    client = drill.server.client
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            break
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id),
            reason="a test",
            workflow_task_finish_event_id=event.event_id,
            request_id=str(uuid4()),
        )
    )


# --- Temporal is older than the ledger


class Twice:
    """One ledger, and a server whose file can be put back; each `running` is a new process."""

    def __init__(self, folder: Path, threads: ThreadPoolExecutor) -> None:
        self.folder, self.threads = folder, threads
        self.file = folder / "temporal.db"

    def running(self) -> AbstractAsyncContextManager[Drill]:
        """The server with its worker."""
        return drill_in(self.folder, self.threads, temporal=self.file)


@pytest.mark.timeout(120)
async def test_an_older_temporal_pays_nothing_twice_and_says_what_to_do(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """One purchase was decided after the backup of Temporal, another was bought after it."""
    world = Twice(tmp_path, threads)
    async with world.running() as drill:
        handle = await held(drill.server, method="pm_sandbox_at_once")
        decided = purchase_of(handle)
        await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
        await at_rest(handle)
    copy(world.file, backup := tmp_path / "backup.db")
    async with world.running() as drill:
        await send(drill.handle(decided), Role.FREELANCER, "give_refund")
        assert (await drill.handle(decided).result()).refunded == 25000
        bought = purchase()
        await until(await start(drill.server.client, bought), lambda found: found.payment == "held")
        expected, statement = entries(drill.services.ledger), drill.services.provider.statement()
    copy(backup, world.file)

    async with world.running() as drill:
        report = await drill.restore()
        assert report.rebuilt == ()
        found = {each.purchase_id: each for each in report.differences}
        assert set(found) == {decided, bought.purchase_id}
        assert "its workflow has none" in found[decided].what.lower()
        assert "Send the messages" in found[decided].what_to_do
        again = f"recourse adopt {bought.purchase_id} --from-terms"
        assert again in found[bought.purchase_id].what_to_do
        assert advice(await drill.audit()) == {each: f"recourse restore {each}" for each in found}
        assert entries(drill.services.ledger) == expected

        await adopted(drill.server, drill.services, bought.purchase_id, from_terms=True)
        await send(drill.handle(decided), Role.FREELANCER, "give_refund")
        assert (await drill.handle(decided).result()).refunded == 25000
        await until(drill.handle(bought.purchase_id), lambda found: found.payment == "held")
        assert entries(drill.services.ledger) == expected
        assert drill.services.provider.statement() == statement
        assert (await drill.restore()).differences == ()
        assert await drill.audit() == ()


@pytest.mark.timeout(285)
async def test_every_scenario_goes_on_from_an_older_temporal(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """Temporal is copied in the middle of every scenario and put back when all have ended. The
    same messages and the same time lead to the same end: the ledger and the provider's records stay
    as they are, and no notice goes out twice."""
    world = Twice(tmp_path, threads)
    async with world.running() as drill:
        await asyncio.gather(*(begun(drill, scenario) for scenario in SCENARIOS))
        await asyncio.gather(*(performed(drill, one, half(one)[0]) for one in SCENARIOS))
        await asyncio.gather(*(at_rest(drill.handle(one.name)) for one in SCENARIOS))
    copy(world.file, older := tmp_path / "older.db")
    async with world.running() as drill:
        ends = await asyncio.gather(*(ended(drill, scenario) for scenario in SCENARIOS))
        expected, statement = entries(drill.services.ledger), drill.services.provider.statement()
        mail = mails(tmp_path)
    copy(older, world.file)

    async with world.running() as drill:
        report = await drill.restore()
        assert report.rebuilt == ()
        assert len(report.differences) > len(SCENARIOS) / 2, "what a person has to look at"
        assert await asyncio.gather(*(ended(drill, scenario) for scenario in SCENARIOS)) == ends
        assert entries(drill.services.ledger) == expected
        assert drill.services.provider.statement() == statement
        assert mails(tmp_path) == mail
        assert (await drill.restore()).differences == ()
        assert await drill.audit() == ()


def half(scenario: Scenario) -> tuple[Sequence[Step], Sequence[Step]]:
    """The acts before and after the copy."""
    middle = len(scenario.steps) // 2
    return scenario.steps[:middle], scenario.steps[middle:]


async def begun(drill: Drill, scenario: Scenario) -> None:
    handle = await start(drill.server.client, scenario.start(scenario.name))
    await until(handle, lambda found: found.payment != "pending")


async def performed(drill: Drill, scenario: Scenario, acts: Sequence[Step]) -> None:
    runner, handle = ScenarioRunner(drill.server), drill.handle(scenario.name)
    for act in acts:
        await runner._perform(scenario, handle, act)


async def ended(drill: Drill, scenario: Scenario) -> tuple[str, str, int, int]:
    """Perform the second half; how the purchase ended."""
    await performed(drill, scenario, half(scenario)[1])
    result = await drill.handle(scenario.name).result()
    return result.outcome, result.reason, result.refunded, result.released


async def at_rest(handle: Handle) -> None:
    """Wait until a purchase has nothing to do, so that a copy of the server has all of it."""
    while under_way((await handle.describe()).raw_description):  # noqa: ASYNC110 - other process
        await asyncio.sleep(POLL_EVERY)
