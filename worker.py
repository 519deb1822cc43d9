"""The process that runs purchases: workflows and activities.

    python worker.py          against the Temporal server of the environment
    python worker.py --dev    with an embedded server and Web UI, whose ports are --port and
                              --ui-port, and with the workroom at RECOURSE_WORKROOM or a free port

`RECOURSE_QUEUES` says which of its two task queues it serves (`money,notices`), `RECOURSE_BUILD_ID`
which version of the deployment `recourse` it is, `RECOURSE_METRICS` and `RECOURSE_HEALTH` where it
serves its metrics and health checks. Stops gracefully on SIGTERM and SIGINT. After the SDK has lost
a workflow task it starts itself anew, in the same process. Exit status 0; 2 for a wrong setting; 3
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

from activities.logs import configure_logs
from activities.requests import TASK_QUEUE
from activities.services import Services, Settings, Unavailable, WrongSetting
from temporal import embedded
from temporal.client import connect, seal_of
from temporal.codec import WrongKeys
from temporal.deployment import DEPLOYMENT, gets_no_tasks
from temporal.errors import NotPermitted, ServerUnreachable
from temporal.health import HEALTH, Health, serve_health
from temporal.limits import missing_limits
from temporal.plugin import (
    ACTIVITY_THREADS,
    RecoursePlugin,
    notices_worker,
)
from temporal.ports import free_port
from temporal.process import exit_process, start_anew
from temporal.registration import register_search_attributes
from temporal.telemetry import runtime
from workflows.lifecycle.versions import ACTIVE, VERSIONS
from workflows.messages import Role, Sender

CACHED_WORKFLOWS = 1000
"""Purchases that a worker keeps in memory between workflow tasks; others are replayed."""
POLLERS: PollerBehavior = PollerBehaviorSimpleMaximum(5)
"""Concurrent polls for workflow tasks, and as many for activities."""
SHUTDOWN_GRACE = timedelta(seconds=30)
NOTICES_AT_ONCE = 20
NOTICES_GRACE = timedelta(seconds=10)
"""A notice may be interrupted: it is sent again under the same Message-ID."""
STOPPED_AFTER = SHUTDOWN_GRACE + timedelta(seconds=10)
"""A worker that has not stopped by then never will: the SDK has lost a task (`LOST_TASK`)."""
MISSED_AFTER = timedelta(seconds=5)
"""After this time another worker continues a purchase whose worker has died."""

GC_THRESHOLDS = (20_000, 1, 1)
"""Thresholds of the three generations. Python's defaults spend a third of a workflow task with
thousands of messages on young collections that free nothing. Full collections must stay frequent:
evicted workflow instances form reference cycles, and one collection of a large backlog took longer
than the two seconds after which the SDK fails a workflow task."""

log = structlog.get_logger()


MONEY, NOTICES = "money", "notices"


@dataclass(frozen=True)
class DevServer:
    """The ports of the embedded server; 0: any that is free."""

    port: int = 7233
    ui_port: int = 8233


@dataclass(frozen=True)
class WorkerConfig:
    """Which task queues a worker serves, and as which version of the deployment.

    Without a build id the server gives it any task. With one it gets tasks only while an operator
    has made its version current or ramping. Workflows are auto-upgraded to a new build: purchases
    live for weeks, and their rules are pinned by a version in their history, not by an old
    process. Each build replays the recorded purchases of every release.
    """

    queues: frozenset[str] = frozenset({MONEY, NOTICES})
    build_id: str | None = None
    rules_version: int = ACTIVE
    """The version of the rules that new purchases get; others that the build knows wait for it."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "WorkerConfig":
        """Raises WrongSetting."""
        build_id = environment.get("RECOURSE_BUILD_ID") or None
        version = _rules_version(environment.get("RECOURSE_RULES_VERSION"))
        named = environment.get("RECOURSE_QUEUES")
        if not named:
            return cls(build_id=build_id, rules_version=version)
        queues = frozenset(name.strip() for name in named.split(","))
        if not queues <= cls.queues:
            raise WrongSetting(
                f"RECOURSE_QUEUES is {named!r}; known are {MONEY} and {NOTICES}, both by default."
            )
        return cls(queues, build_id, version)

    @property
    def deployment(self) -> WorkerDeploymentConfig | None:
        """Return the SDK's deployment options."""
        if self.build_id is None:
            return None
        version = WorkerDeploymentVersion(DEPLOYMENT, self.build_id)
        return WorkerDeploymentConfig(
            version=version,
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )


def _rules_version(named: str | None) -> int:
    if not named:
        return ACTIVE
    known = {str(version): version for version in VERSIONS}
    if named not in known:
        raise WrongSetting(
            f"RECOURSE_RULES_VERSION is {named!r}; this build knows {', '.join(known)}."
        )
    return known[named]


@asynccontextmanager
async def build_worker(
    client: Client,
    services: Services,
    threads: ThreadPoolExecutor,
    config: WorkerConfig | None = None,
) -> AsyncIterator[Worker]:
    """Run the worker of this process until the block ends; the tests and the demo use it too.
    Yields the worker of the `money` queue, if it is served.

    Notices have their own slots, so that a slow mail server never delays a refund.
    """
    config = config or WorkerConfig.from_environment()
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
            try:
                async with asyncio.timeout(STOPPED_AFTER.total_seconds()):
                    await asyncio.gather(*(worker.shutdown() for worker in workers))
            except TimeoutError:
                stack.pop_all()  # which would wait for them


def _money(
    client: Client, services: Services, threads: ThreadPoolExecutor, config: WorkerConfig
) -> Worker:
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        plugins=[RecoursePlugin(services, rules_version=config.rules_version, notices=False)],
        activity_executor=threads,
        max_concurrent_activities=ACTIVITY_THREADS,
        graceful_shutdown_timeout=SHUTDOWN_GRACE,
        sticky_queue_schedule_to_start_timeout=MISSED_AFTER,
        max_cached_workflows=CACHED_WORKFLOWS,
        workflow_task_poller_behavior=POLLERS,
        activity_task_poller_behavior=POLLERS,
        deployment_config=config.deployment,
    )


def _notices(client: Client, services: Services, config: WorkerConfig) -> Worker:
    return notices_worker(
        client,
        services,
        max_concurrent_activities=NOTICES_AT_ONCE,
        graceful_shutdown_timeout=NOTICES_GRACE,
        deployment_config=config.deployment,
    )


def tune_garbage_collection() -> None:
    """Set `GC_THRESHOLDS` and freeze the objects loaded so far, once per process. In a worker
    these are 150,000 objects, more than half of what a full collection would traverse."""
    gc.set_threshold(*GC_THRESHOLDS)
    gc.collect()
    gc.freeze()


async def run(dev: DevServer | None = None) -> bool:
    """Run until SIGTERM or SIGINT, with an embedded server if its ports are given. Return True if
    it has stopped because a task was lost, and has to start anew.

    Raises WrongSetting, Unavailable or ServerUnreachable.
    """
    loop, stop, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def end() -> None:
        ended.set()
        stop.set()

    def lose_task() -> None:
        log.error(
            "worker_lost_task", why="The SDK has lost a task; this worker starts itself anew."
        )
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, end)
    config = WorkerConfig.from_environment()
    environment = _with_workroom() if dev else os.environ
    async with AsyncExitStack() as stack:
        services = Services(Settings.from_environment(environment), seal_of())
        stack.callback(services.close)
        sdk = runtime(lambda: loop.call_soon_threadsafe(lose_task))
        client = await _client(stack, sdk, dev) if dev else await connect(sdk)
        await _register(client)
        if why := await missing_limits(client):
            log.warning("server_limits_missing", why=why)
        health = Health(client, services.engine, config.build_id)
        await stack.enter_async_context(serve_health(health, os.environ.get(HEALTH)))
        threads = stack.enter_context(ThreadPoolExecutor(ACTIVITY_THREADS))
        tune_garbage_collection()
        await stack.enter_async_context(build_worker(client, services, threads, config))
        if dev:
            await _serve_workroom(stack, client, services, environment)
        health.ready = True
        log.info(
            "worker_started",
            server=embedded.address(client),
            namespace=client.namespace,
            queues=sorted(config.queues),
            build_id=config.build_id,
            rules_version=config.rules_version,
        )
        if why := await gets_no_tasks(client, config.build_id):
            log.warning("version_gets_no_tasks", why=why)
        await stop.wait()
        health.ready = False
        log.info("worker_stopping", grace_seconds=SHUTDOWN_GRACE.total_seconds())
    log.info("worker_stopped")
    return not ended.is_set()


async def _register(client: Client) -> None:
    try:
        if new := await register_search_attributes(client):
            log.info("search_attributes_registered", names=new)
    except NotPermitted as error:  # on Temporal Cloud the account's owner registers them
        log.warning("search_attributes_not_checked", why=str(error))


async def _client(stack: AsyncExitStack, sdk: Runtime, dev: DevServer) -> Client:
    ui_port = dev.ui_port or free_port()
    try:
        environment = await stack.enter_async_context(
            embedded.server(
                database=Path("var/temporal.db"),
                port=dev.port or None,
                ui_port=ui_port,
                runtime=sdk,
            )
        )
    except (RuntimeError, FileNotFoundError) as error:
        raise ServerUnreachable(
            f"The embedded server cannot start ({' '.join(str(error).split())[:200]})."
        ) from None
    log.info("web_ui", address=f"http://localhost:{ui_port}")
    return environment.client


def _with_workroom() -> Mapping[str, str]:
    from workroom.local import with_workroom  # imports a web server

    return with_workroom()


async def _serve_workroom(
    stack: AsyncExitStack, client: Client, services: Services, environment: Mapping[str, str]
) -> None:
    from workroom.database import Database
    from workroom.local import serve_workroom
    from workroom.server import day_link
    from workroom.settings import WorkroomSettings

    settings = WorkroomSettings.from_environment(environment)
    database = Database(lambda: services.engine, services.seal)
    await stack.enter_async_context(serve_workroom(client, settings, database))
    operator = Sender(role=Role.OPERATOR, id="operator-1")
    log.info("workroom", address=settings.base_url, staff=day_link(settings, operator))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs purchases.")
    parser.add_argument(
        "--dev", action="store_true", help="with an embedded server and Web UI; data under var/"
    )
    for name, default in (("--port", DevServer.port), ("--ui-port", DevServer.ui_port)):
        parser.add_argument(name, type=int, default=default, help="with --dev; 0: any that is free")
    given = parser.parse_args()
    configure_logs()
    if given.dev:
        Path("var").mkdir(exist_ok=True)  # else ledger and mail would be in the checkout's
    try:
        if asyncio.run(run(DevServer(given.port, given.ui_port) if given.dev else None)):
            start_anew()
    except (WrongSetting, WrongKeys) as error:
        print(error, file=sys.stderr)
        return 2
    except (Unavailable, ServerUnreachable) as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    exit_process(main())
