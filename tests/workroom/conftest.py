"""Fixtures: the workroom's web server, before the server and the worker of all tests."""

from collections.abc import Callable, Iterator

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.services import Services
from tests.stripe.serving import serving
from tests.workroom.callers import SECRET, Caller, token
from workroom.database import Database
from workroom.server import workroom
from workroom.settings import WorkroomSettings

ENVIRONMENT = {
    "RECOURSE_API_SECRET": SECRET,
    "RECOURSE_LINK_KEYS": f"k2:{SECRET}-2,k1:{SECRET}",
}
Call = Callable[[tuple[str, str]], Caller]


@pytest.fixture(scope="module")
def url(server: WorkflowEnvironment, worker: Worker, services: Services) -> Iterator[str]:
    """Where the workroom answers."""
    settings = WorkroomSettings.from_environment(ENVIRONMENT)
    database = Database(lambda: services.engine, services.seal)
    with serving(workroom(server.client, settings, database)) as url:
        yield url


@pytest.fixture
def call(url: str) -> Call:
    """Makes a caller of a person's role and id."""
    return lambda person: Caller(url, token(*person))
