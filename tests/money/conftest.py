"""Fixtures: ledger and sandbox on disk, and a server with a worker that uses the fake Stripe."""

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
from tests.money.environment import Environment, opened
from tests.purchases import purchase_of
from tests.stripe.fake import FakeStripe
from worker import build_worker

HASTY_SECONDS = 0.5
SHOP = "shop"
"""The deployment whose payment provider is the fake Stripe."""


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    engine = create_engine(f"sqlite:///{folder}/ledger.db")
    migrate(engine)
    engine.dispose()
    return folder


@pytest.fixture
def folder(empty_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty_folder, tmp_path / "folder"))


@pytest.fixture
def environment(folder: Path) -> Iterator[Environment]:
    with opened(folder) as environment:
        yield environment


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
    """One world for all tests. The provider's timeout is short."""
    with FakeStripe() as fake:
        hasty = partial(StripeProvider, fake.api_key, api_base=fake.url, timeout=HASTY_SECONDS)
        chosen = replace(
            settings(tmp_path_factory.mktemp("stripe")), payments="stripe", deployment=SHOP
        )
        with pytest.MonkeyPatch.context() as patch:  # other tests have a Stripe of their own
            patch.setattr("activities.services.stripe_of", lambda given: hasty(given.deployment))
            opened = Services(chosen)
        async with embedded.server(skip_time=True) as server:
            with closing(opened) as services:
                async with build_worker(server.client, services, threads):
                    yield StripeWorld(server, fake, services)


@pytest.fixture
async def stripe(stripe_world: StripeWorld) -> StripeWorld:
    """The world, with a Stripe without faults."""
    stripe_world.stripe.plan(None)
    stripe_world.stripe.new_refunds("succeeded")
    return stripe_world
