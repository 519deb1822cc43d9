"""One real Temporal server for all tests, and a worker on it with real books and a real mailbox."""

import gc
import inspect
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.services import Services, Settings
from temporal import embedded
from tests.proof.counts import report_counts
from tests.time_limits import in_time, seconds_for
from worker import ACTIVITY_THREADS, GC_THRESHOLDS, build_worker, tune_garbage_collection

LONG_HISTORY = 400
SOON_LONG = (
    "--dynamic-config-value",
    f"limit.historyCount.suggestContinueAsNew={LONG_HISTORY}",
)
"""The server suggests a fresh history after so many events, so that tests see it happen."""


def settings(folder: Path, patience: float = 5.0) -> Settings:
    """Books and mail of their own under `folder`; a locked database is given up after `patience`
    seconds."""
    return Settings(
        database_url=f"sqlite:///{folder}/recourse.db?timeout={patience}",
        mail_url=f"maildir:{folder}/mail",
        payments=f"sandbox:{folder}/sandbox.db",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Nothing waits until the whole run is ended."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = in_time(item.obj, seconds_for(item))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the proofs counted."""
    report_counts(terminalreporter)


@pytest.fixture(scope="session", autouse=True)
def _garbage() -> None:
    """As in a worker, but seldom among all. All tests there are, and what they leave behind, is
    much: a look through all of it can take longer than the SDK lets a workflow task take."""
    tune_garbage_collection()
    newest, _, _ = GC_THRESHOLDS
    gc.set_threshold(newest, 5, 1)


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """A server on which each purchase's clock can be moved."""
    async with embedded.server(skip_time=True, extra=SOON_LONG) as environment:
        yield environment


@pytest.fixture(scope="module")
async def lonely() -> AsyncIterator[WorkflowEnvironment]:
    """A server with no worker but those that a test starts."""
    async with embedded.server(skip_time=True) as environment:
        yield environment


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Ledger, sandbox provider and mailbox."""
    services = Services(settings(tmp_path_factory.mktemp("parts")))
    yield services
    services.close()


@pytest.fixture(scope="session")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Where activities run."""
    with ThreadPoolExecutor(ACTIVITY_THREADS) as threads:
        yield threads


@pytest.fixture(scope="session")
async def worker(
    server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> AsyncIterator[Worker]:
    """The worker that production runs."""
    async with build_worker(server.client, services, threads) as worker:
        yield worker
