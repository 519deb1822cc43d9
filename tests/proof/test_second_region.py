"""The drill of a second region: the first is lost, the standby of PostgreSQL is promoted, and
Temporal comes back from a copy that is a minute older than the ledger."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from activities.database import migrate
from demo.runner import send, skip, start, until
from tests.ledger.conftest import engine_of
from tests.proof.postgres_nodes import Pair, pair_of_nodes
from tests.proof.test_lost_ledger import Drill, at_rest, copy, drill_in, entries
from tests.purchases import adopted, held, purchase, purchase_of
from workflows.messages import Role


@dataclass
class Region:
    """Temporal on a file, workers, and the node of PostgreSQL that takes writes."""

    pair: Pair
    folder: Path
    threads: ThreadPoolExecutor

    @property
    def temporal(self) -> Path:
        return self.folder / "temporal.db"

    def running(self) -> AbstractAsyncContextManager[Drill]:
        url = self.pair.url("recourse")
        return drill_in(self.folder, self.threads, temporal=self.temporal, database_url=url)


@pytest.mark.timeout(285)
async def test_a_second_region_goes_on_from_a_newer_ledger_and_an_older_temporal(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """Within the lost minute one purchase was refunded, one by time, and one was bought; one
    waited. `restore` names the three and what to do: `adopt`, the same message, and the same
    deadline, which comes by itself. No money moves twice, and the one that waited never notices."""
    async with pair_of_nodes() as pair:
        with engine_of(pair.url("recourse")) as engine:
            migrate(engine)
        region = Region(pair, tmp_path, threads)
        async with region.running() as drill:
            begun = [await held(drill.server, method="pm_sandbox_at_once") for _ in range(3)]
            for handle in begun:
                await at_rest(handle)
        refunded, expired, waiting = map(purchase_of, begun)
        copy(region.temporal, older := tmp_path / "older.db")
        async with region.running() as drill:
            await send(drill.handle(refunded), Role.FREELANCER, "give_refund")
            await skip(drill.server, drill.handle(expired))
            for purchase_id in (refunded, expired):
                assert (await drill.handle(purchase_id).result()).refunded == 25000
            new = purchase("pm_sandbox_at_once")
            handle = await start(drill.server.client, new)
            await until(handle, lambda found: found.payment == "held")
            bought = new.purchase_id
            expected, statement = (
                entries(drill.services.ledger),
                drill.services.provider.statement(),
            )

        await pair.fail_over()
        copy(older, region.temporal)
        async with region.running() as drill:
            lost = {each.purchase_id: each for each in (await drill.restore()).differences}
            assert lost.keys() == {refunded, expired, bought}
            assert f"recourse adopt {bought} --from-terms" in lost[bought].what_to_do
            assert entries(drill.services.ledger) == expected

            await adopted(drill.server, drill.services, bought, from_terms=True)
            await send(drill.handle(refunded), Role.FREELANCER, "give_refund")
            await skip(drill.server, drill.handle(expired))
            for purchase_id in (refunded, expired):
                assert (await drill.handle(purchase_id).result()).refunded == 25000
            assert entries(drill.services.ledger) == expected
            assert drill.services.provider.statement() == statement
            assert await drill.audit() == ()
            assert (await drill.restore()).differences == ()

            for purchase_id in (bought, waiting):
                await send(drill.handle(purchase_id), Role.FREELANCER, "cancel")
                assert (await drill.handle(purchase_id).result()).refunded == 25000
            assert await drill.audit() == ()
