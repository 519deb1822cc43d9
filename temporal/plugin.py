"""`RecoursePlugin`: everything that a client, a worker or a replayer needs to run purchases.

plugin = RecoursePlugin(Services(Settings.from_environment(), seal_of()))
client = await Client.connect("localhost:7233", plugins=[plugin])
async with Worker(client, task_queue=TASK_QUEUE, workflows=[Yours], activities=[yours]):
    ...
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from temporalio.client import Client, ClientConfig
from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    PatchActivationInput,
    Worker,
    WorkerConfig,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.audit import AuditActivities
from activities.requests import NOTICE_QUEUE, TASK_QUEUE
from activities.services import Services, WrongSetting
from temporal.adoption import EndedPurchases
from temporal.aftercare import open_case
from temporal.client import data_converter, interceptors
from temporal.directory import TemporalPurchaseDirectory
from temporal.nexus_handler import AT_ONCE, ENDPOINTS, Endpoints, PurchasesHandler, read_endpoints
from temporal.runner import Runner, WritesCards
from workflows.acceptance import RULES_PATCH, AcceptanceActivities
from workflows.aftercare import PurchaseAftercare
from workflows.audit import LedgerAudit
from workflows.lifecycle.versions import ACTIVE
from workflows.notifying import PurchaseNotices
from workflows.purchase import ProjectPurchase

WORKFLOWS: tuple[type, ...] = (ProjectPurchase, PurchaseAftercare, PurchaseNotices, LedgerAudit)
ACTIVITY_THREADS = 20
OURS = ("activities", "temporal", "workflows")
"""Our packages that others import. The SDK's sandbox fails to import them anew: some packages in C
that they need cannot be loaded twice."""


class RecoursePlugin(SimplePlugin):
    """Gives a client our data converter and tracing, a worker our workflows and activities beside
    its own, and a replayer our workflows.

    Without `services` it is for clients and replayers. A worker has to serve the task queue of
    purchases, and also serves that of notices, unless `notices` is False. Its own workflows keep
    its own runner; a sandbox lets our packages through. Raises WrongSetting for a worker of another
    task queue, and WrongKeys.
    """

    def __init__(
        self,
        services: Services | None = None,
        *,
        rules_version: int = ACTIVE,
        notices: bool = True,
        nexus: Endpoints | None = None,
    ) -> None:
        """`rules_version`: the version of the rules that new purchases get. `nexus`: the endpoints
        whose calls a worker serves; None: those of RECOURSE_NEXUS_ENDPOINTS."""
        super().__init__("recourse", data_converter=data_converter())
        if nexus is None:
            nexus = read_endpoints(os.environ.get(ENDPOINTS, "")) if services else {}
        self._nexus = nexus
        self._services = services
        self._rules_version = rules_version
        self._notices = notices
        self._evict: Callable[[str], None] = lambda _run_id: None

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Set the data converter, and add tracing if the environment configures it."""
        config = super().configure_client(config)
        config["interceptors"] = [*config.get("interceptors", ()), *interceptors()]
        return config

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add our workflows and activities."""
        config = super().configure_worker(config)
        if others := config.get("workflow_runner"):
            others = config["workflow_runner"] = _with_ours(others)
        services = self._services
        if services is None or config.get("task_queue") == NOTICE_QUEUE:
            return config
        if (queue := config.get("task_queue")) != TASK_QUEUE:
            raise WrongSetting(
                f"The worker's task queue is {queue!r}: purchases are on {TASK_QUEUE!r}."
            )
        ours = activities_of(config["client"], services)
        config["activities"] = [*config.get("activities", ()), *ours]
        config["workflows"] = [*config.get("workflows", ()), *WORKFLOWS]
        if self._nexus:
            served = config.get("nexus_service_handlers", ())
            config["nexus_service_handlers"] = [*served, PurchasesHandler(self._nexus)]
            if config.get("max_concurrent_nexus_tasks") is None:
                config["max_concurrent_nexus_tasks"] = AT_ONCE
        config["interceptors"] = [*config.get("interceptors", ()), WritesCards()]
        runner = Runner(lambda run_id: self._evict(run_id))
        config["workflow_runner"] = _ByType(runner, others) if others else runner
        if config.get("activity_executor") is None:
            config["activity_executor"] = ThreadPoolExecutor(ACTIVITY_THREADS)
            config["max_concurrent_activities"] = ACTIVITY_THREADS
        theirs = config.get("patch_activation_callback")
        config["patch_activation_callback"] = partial(self._activates, theirs)
        return config

    def configure_replayer(self, config: Any) -> Any:
        """Add our workflows."""
        config = super().configure_replayer(config)
        config["workflows"] = [*config.get("workflows", ()), *WORKFLOWS]
        config["interceptors"] = [*config.get("interceptors", ()), WritesCards()]
        others = config.get("workflow_runner")
        config["workflow_runner"] = _ByType(Runner(), _with_ours(others)) if others else Runner()
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the worker, and one for notices: a slow mail server never delays a refund."""
        async with AsyncExitStack() as stack:
            if self._services and worker.task_queue == TASK_QUEUE:
                self._evict = partial(forget, worker)
                if self._notices:
                    own = notices_worker(worker.client, self._services)
                    await stack.enter_async_context(own)
            await next(worker)

    def _activates(
        self, theirs: Callable[[PatchActivationInput], bool] | None, patch: PatchActivationInput
    ) -> bool:
        """Whether a purchase that begins now gets the version of the rules that the patch names."""
        if not patch.patch_id.startswith(RULES_PATCH):
            return theirs(patch) if theirs else True
        return int(patch.patch_id.removeprefix(RULES_PATCH)) <= self._rules_version


def activities_of(client: Client, services: Services) -> Sequence[Callable[..., Any]]:
    """All activities of the queue of purchases."""
    saver = EndedPurchases(client, services.ledger, services.seal)
    audit = AuditActivities(
        services.ledger,
        services.provider,
        TemporalPurchaseDirectory(client),
        saver.save,
        partial(open_case, client),
    )
    acceptance = AcceptanceActivities(services.mail_problem, events=services.sends_events)
    return acceptance.accept_purchase, *services.activities, audit.audit_ledger


def notices_worker(client: Client, services: Services, **options: Any) -> Worker:
    """The worker of the queue of notices; not started."""
    return Worker(client, task_queue=NOTICE_QUEUE, activities=services.notice_activities, **options)


def forget(worker: Worker, run_id: str) -> None:
    """Evict a run from the worker's cache after its current task; the SDK has no public method
    for this."""
    worker._bridge_worker.request_workflow_eviction(run_id)


def _with_ours(others: WorkflowRunner) -> WorkflowRunner:
    """The runner; if it is the SDK's sandbox, one that lets our packages through."""
    if not isinstance(others, SandboxedWorkflowRunner):
        return others
    return replace(others, restrictions=others.restrictions.with_passthrough_modules(*OURS))


@dataclass(frozen=True)
class _ByType(WorkflowRunner):
    """Runs our workflows with our runner, and those of others with theirs."""

    ours: WorkflowRunner
    others: WorkflowRunner

    def prepare_workflow(self, defn: Any) -> None:
        self._of(defn).prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return self._of(det.defn).create_instance(det)

    def set_worker_level_failure_exception_types(
        self, types: Sequence[type[BaseException]]
    ) -> None:
        for runner in (self.ours, self.others):
            runner.set_worker_level_failure_exception_types(types)

    def _of(self, defn: Any) -> WorkflowRunner:
        return self.ours if defn.cls in WORKFLOWS else self.others
