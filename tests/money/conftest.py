"""Books on disk and a worker's view of them; and a whole house whose provider is Stripe."""

import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.database import create_engine, migrate
from activities.payments.stripe import StripeProvider
from activities.requests import Difference
from activities.services import Services
from demo.runner import Handle
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from tests.conftest import settings
from tests.money.environment import House, opened
from tests.purchases import purchase_of
from tests.stripe.fake import FakeStripe
from worker import build_worker

HASTY_SECONDS = 0.5


@pytest.fixture(scope="module")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    engine = create_engine(f"sqlite:///{folder}/ledger.db")
    migrate(engine)
    engine.dispose()
    return folder


@pytest.fixture
def folder(empty_books: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty_books, tmp_path / "books"))


@pytest.fixture
def house(folder: Path) -> Iterator[House]:
    with opened(folder) as house:
        yield house


@dataclass(frozen=True)
class StripeWorld:
    """A server with a worker whose payment provider is the fake Stripe."""

    server: WorkflowEnvironment
    stripe: FakeStripe
    services: Services

    @property
    def client(self) -> Client:
        """A client of the server."""
        return self.server.client

    async def differences(self, *handles: Handle) -> list[Difference]:
        """Return what an audit of everything finds about these purchases or about no single one.

        Tests share this world, and some leave a difference behind on purpose.
        """
        directory = TemporalPurchaseDirectory(self.client)
        report = await reconcile(self.services.ledger, self.services.provider, directory)
        concerned = {None, *(purchase_of(handle) for handle in handles)}
        return [each for each in report.differences if each.purchase_id in concerned]


@pytest.fixture(scope="session")
async def stripe_world(
    tmp_path_factory: pytest.TempPathFactory, threads: ThreadPoolExecutor
) -> AsyncIterator[StripeWorld]:
    """One for all tests; silence of the provider is given up soon."""
    with FakeStripe() as fake, pytest.MonkeyPatch.context() as patch:
        hasty = partial(StripeProvider, fake.api_key, api_base=fake.url, timeout=HASTY_SECONDS)
        patch.setattr("activities.services.stripe_of", lambda _: hasty())
        folder = tmp_path_factory.mktemp("stripe")
        async with embedded.server(skip_time=True) as server:
            with closing(Services(replace(settings(folder), payments="stripe"))) as services:
                async with build_worker(server.client, services, threads):
                    yield StripeWorld(server, fake, services)


@pytest.fixture
async def stripe(stripe_world: StripeWorld) -> StripeWorld:
    """The world, with a Stripe that has no trouble."""
    stripe_world.stripe.plan(None)
    stripe_world.stripe.new_refunds("succeeded")
    return stripe_world
