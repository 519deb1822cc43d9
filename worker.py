"""The process that runs purchases: workflows and activities.

    python worker.py          against the Temporal server of the environment
    python worker.py --dev    with an embedded server and Web UI of its own

`RECOURSE_QUEUES` says which of its two task queues it serves (`money,notices`), `RECOURSE_BUILD_ID`
which version of the deployment `recourse` it is, `RECOURSE_METRICS` and `RECOURSE_HEALTH` where it
tells how it is. Stops gracefully on SIGTERM and SIGINT. Exit status 0; 2 for a wrong setting; 3
when the server or the database cannot be reached.
"""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import Runtime
from temporalio.worker import (
    PollerBehavior,
    PollerBehaviorSimpleMaximum,
    Worker,
    WorkerDeploymentConfig,
)

from activities.audit import AuditActivities
from activities.logs import configure_logs
from activities.requests import NOTICE_QUEUE
from activities.services import Services, Settings, Unavailable, WrongSetting
from temporal import embedded
from temporal.client import TASK_QUEUE, connect, register_search_attributes
from temporal.codec import WrongKeys
from temporal.directory import TemporalPurchaseDirectory
from temporal.errors import NotPermitted, ServerUnreachable
from temporal.health import HEALTH, Health, told
from temporal.process import exit_process
from temporal.runner import Runner, WritesCards
from temporal.telemetry import runtime
from workflows.audit import BooksAudit
from workflows.notifying import PurchaseNotices
from workflows.purchase import ProjectPurchase

ACTIVITY_THREADS = 20
CACHED_WORKFLOWS = 1000
"""Purchases that a worker keeps in memory between their tasks; others are replayed."""
POLLERS: PollerBehavior = PollerBehaviorSimpleMaximum(5)
"""Requests for tasks, of each kind, that wait at the server at a time."""
SHUTDOWN_GRACE = timedelta(seconds=30)
NOTICES_AT_ONCE = 20
NOTICES_GRACE = timedelta(seconds=10)
"""A notice may be cut short: it is sent again under the same Message-ID."""
MISSED_AFTER = timedelta(seconds=5)
"""A purchase whose worker has died is taken up by another one after so long."""
DEV_PORT, DEV_UI_PORT = 7233, 8233

GC_THRESHOLDS = (20_000, 1, 1)
"""Python looks for garbage among the newest objects after so many of them, among older ones after
so many such looks, and among all soon after. By default it spends a third of a task that brings
thousands of messages on looking in vain. Among all it has to look often: a purchase that leaves the
worker's memory is garbage in circles, and when they had piled up one look took more than the two
seconds after which the SDK gives up a workflow task."""

log = structlog.get_logger()


MONEY, NOTICES = "money", "notices"
DEPLOYMENT = "recourse"


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is there for: which queues, as which version of the deployment.

    Without a build id the server gives it any task. With one it gets those of the versions that an
    operator made current or ramps up. All workflows move along to a new build: purchases live for
    weeks, and which rules they live under is pinned by a version in their own history, not by an
    old process; each build replays the recorded purchases of every release before it is one.
    """

    queues: frozenset[str] = frozenset({MONEY, NOTICES})
    build_id: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "WorkerConfig":
        """Raises WrongSetting with a sentence."""
        build_id = environment.get("RECOURSE_BUILD_ID") or None
        named = environment.get("RECOURSE_QUEUES")
        if not named:
            return cls(build_id=build_id)
        queues = frozenset(name.strip() for name in named.split(","))
        if not queues <= cls.queues:
            raise WrongSetting(
                f"RECOURSE_QUEUES is {named!r}; known are {MONEY} and {NOTICES}, both by default."
            )
        return cls(queues, build_id)

    @property
    def deployment(self) -> WorkerDeploymentConfig | None:
        """As the SDK wants it."""
        if self.build_id is None:
            return None
        version = WorkerDeploymentVersion(DEPLOYMENT, self.build_id)
        return WorkerDeploymentConfig(
            version=version,
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )


@asynccontextmanager
async def build_worker(
    client: Client,
    services: Services,
    threads: ThreadPoolExecutor,
    config: WorkerConfig | None = None,
) -> AsyncIterator[Worker]:
    """The worker of this process, for as long as the block lasts; the tests and the demo run the
    same one. Yields the part of it that runs purchases, if there is one.

    Notices have slots of their own: however many of them wait for a slow mail server, a refund
    does not.
    """
    config = config or WorkerConfig()
    workers = []
    if MONEY in config.queues:
        workers += [_money(client, services, threads, config)]
    if NOTICES in config.queues:
        workers += [_notices(client, services, config)]
    async with AsyncExitStack() as stack:
        for worker in workers:
            await stack.enter_async_context(worker)
        try:
            yield workers[0]
        finally:
            await asyncio.gather(*(worker.shutdown() for worker in workers))


def _money(
    client: Client, services: Services, threads: ThreadPoolExecutor, config: WorkerConfig
) -> Worker:
    audit = AuditActivities(services.ledger, services.provider, TemporalPurchaseDirectory(client))
    worker = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[ProjectPurchase, PurchaseNotices, BooksAudit],
        activities=[*services.activities, audit.audit_books],
        activity_executor=threads,
        max_concurrent_activities=ACTIVITY_THREADS,
        workflow_runner=Runner(lambda run_id: forget(worker, run_id)),
        interceptors=[WritesCards()],
        graceful_shutdown_timeout=SHUTDOWN_GRACE,
        sticky_queue_schedule_to_start_timeout=MISSED_AFTER,
        max_cached_workflows=CACHED_WORKFLOWS,
        workflow_task_poller_behavior=POLLERS,
        activity_task_poller_behavior=POLLERS,
        deployment_config=config.deployment,
    )
    return worker


def _notices(client: Client, services: Services, config: WorkerConfig) -> Worker:
    return Worker(
        client,
        task_queue=NOTICE_QUEUE,
        activities=services.notice_activities,
        max_concurrent_activities=NOTICES_AT_ONCE,
        graceful_shutdown_timeout=NOTICES_GRACE,
        deployment_config=config.deployment,
    )


def forget(worker: Worker, run_id: str) -> None:
    """Drop a run from the worker's cache after the task in hand; the SDK has no public word for
    it."""
    worker._bridge_worker.request_workflow_eviction(run_id)


def tune_garbage_collection() -> None:
    """For the whole process, once, when all that stays has been loaded: looks for garbage come
    after `GC_THRESHOLDS`, and pass over what is there now, which in a worker is 150,000 objects and
    more than half of what a look would see."""
    gc.set_threshold(*GC_THRESHOLDS)
    gc.collect()
    gc.freeze()


async def run(*, dev: bool) -> None:
    """Run until SIGTERM or SIGINT. Raises WrongSetting, Unavailable or ServerUnreachable."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    config = WorkerConfig.from_environment()
    async with AsyncExitStack() as stack:
        services = Services(Settings.from_environment())
        stack.callback(services.close)
        metrics = runtime()
        client = await _client(stack, metrics) if dev else await connect(metrics)
        await _register(client)
        health = Health(client, services.engine)
        await stack.enter_async_context(told(health, os.environ.get(HEALTH)))
        threads = stack.enter_context(ThreadPoolExecutor(ACTIVITY_THREADS))
        tune_garbage_collection()
        await stack.enter_async_context(build_worker(client, services, threads, config))
        health.ready = True
        log.info(
            "worker_started",
            server=embedded.address(client),
            namespace=client.namespace,
            queues=sorted(config.queues),
            build_id=config.build_id,
        )
        await stop.wait()
        health.ready = False
        log.info("worker_stopping", grace_seconds=SHUTDOWN_GRACE.total_seconds())
    log.info("worker_stopped")


async def _register(client: Client) -> None:
    try:
        if new := await register_search_attributes(client):
            log.info("search_attributes_registered", names=new)
    except NotPermitted as error:  # on Temporal Cloud, they are the account's to register
        log.warning("search_attributes_unseen", why=str(error))


async def _client(stack: AsyncExitStack, metrics: Runtime | None) -> Client:
    try:
        environment = await stack.enter_async_context(
            embedded.server(
                database=Path("var/temporal.db"),
                port=DEV_PORT,
                ui_port=DEV_UI_PORT,
                runtime=metrics,
            )
        )
    except (RuntimeError, FileNotFoundError) as error:
        raise ServerUnreachable(
            f"The embedded server cannot start on port {DEV_PORT}; is another one running? "
            f"({' '.join(str(error).split())[:200]})"
        ) from None
    log.info("web_ui", address=f"http://localhost:{DEV_UI_PORT}")
    return environment.client


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs purchases.")
    parser.add_argument(
        "--dev", action="store_true", help="with an embedded server and Web UI; data under var/"
    )
    dev = parser.parse_args().dev
    configure_logs()
    try:
        asyncio.run(run(dev=dev))
    except (WrongSetting, WrongKeys) as error:
        print(error, file=sys.stderr)
        return 2
    except (Unavailable, ServerUnreachable) as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    exit_process(main())
