"""Fixtures: one real Temporal server for all tests, with a worker, a ledger and a mailbox."""

import gc
import inspect
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypothesis
import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.services import Services, Settings
from temporal import embedded
from temporal.plugin import ACTIVITY_THREADS
from tests.patience import Patience
from tests.proof.counts import report_counts
from tests.purchases import DELETES_SOON
from tests.time_limits import seconds_for, with_time_limit
from worker import GC_THRESHOLDS, build_worker, tune_garbage_collection
from workflows.lifecycle import newest

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

LONG_HISTORY = 400
CONTINUE_AS_NEW_SOON = (
    "--dynamic-config-value",
    f"limit.historyCount.suggestContinueAsNew={LONG_HISTORY}",
)
"""Makes the server suggest continue-as-new after few events, so that tests reach it."""

SLOW = tuple(f"tests/{folder}/" for folder in ("model", "proof", "money", "operation", "notices"))


def settings(folder: Path, patience: float = 5.0) -> Settings:
    """Settings with a ledger, a provider and mail under `folder`. An operation on a locked database
    fails after `patience` seconds."""
    return Settings(
        database_url=f"sqlite:///{folder}/recourse.db?timeout={patience}",
        mail_url=f"maildir:{folder}/mail",
        payments=f"sandbox:{folder}/sandbox.db",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: several processes then end at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give every async test a time limit below pytest-timeout's, which would end the whole run."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = with_time_limit(item.obj, seconds_for(item))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report what the proofs have counted."""
    report_counts(terminalreporter)


@pytest.fixture(scope="session", autouse=True)
def _newest_rules() -> Iterator[None]:
    """Let every worker activate the newest rules, of which docs, rehearsals and pages speak. What a
    release does before it activates them is in `tests/operation/test_deployment.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECOURSE_RULES_VERSION", str(newest()))
        yield


@pytest.fixture(scope="session", autouse=True)
def _garbage() -> None:
    """Collect garbage as a worker does, but run full collections rarely. With all the objects of
    the tests a full collection can take longer than the SDK allows for a workflow task (2 s)."""
    tune_garbage_collection()
    newest, _, _ = GC_THRESHOLDS
    gc.set_threshold(newest, 5, 1)


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[WorkflowEnvironment]:
    """A server on which the clock of each purchase can be moved."""
    extra = (*CONTINUE_AS_NEW_SOON, *DELETES_SOON)
    async with embedded.server(
        skip_time=True, extra=extra, interceptors=[Patience()]
    ) as environment:
        yield environment


@pytest.fixture(scope="module")
async def bare_server() -> AsyncIterator[WorkflowEnvironment]:
    """A server without a worker; tests start their own."""
    async with embedded.server(skip_time=True) as environment:
        yield environment


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A ledger, the sandbox provider and a mailbox."""
    services = Services(settings(tmp_path_factory.mktemp("parts")))
    yield services
    services.close()


@pytest.fixture(scope="session")
def threads() -> Iterator[ThreadPoolExecutor]:
    """The threads that run activities."""
    with ThreadPoolExecutor(ACTIVITY_THREADS) as threads:
        yield threads


@pytest.fixture(scope="session")
async def worker(
    server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> AsyncIterator[Worker]:
    """The worker that production runs."""
    async with build_worker(server.client, services, threads) as worker:
        yield worker
