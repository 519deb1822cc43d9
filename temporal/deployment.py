"""The worker deployment: which version of the workers gets tasks, and which versions run."""

from shlex import quote

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.requests import TASK_QUEUE
from temporal.executions import Execution

DEPLOYMENT = "recourse"
UNVERSIONED = ""
"""The version of workers without a build id."""
START_ONE = "Start one: python worker.py"
MAKE_CURRENT = f"temporal worker deployment set-current-version --deployment-name {DEPLOYMENT}"


async def versions_with_tasks(client: Client) -> set[str]:
    """The build ids whose workers get tasks: of the current and of the ramping version.

    Raises RPCError.
    """
    request = DescribeWorkerDeploymentRequest(
        namespace=client.namespace, deployment_name=DEPLOYMENT
    )
    try:
        answer = await client.workflow_service.describe_worker_deployment(request)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:  # no worker with a build id has ever run
            return {UNVERSIONED}
        raise
    routing = answer.worker_deployment_info.routing_config
    current = {routing.current_deployment_version.build_id}
    ramping = {routing.ramping_deployment_version.build_id}
    return current | ramping if routing.ramping_version_percentage else current


async def running_versions(client: Client) -> set[str]:
    """The build ids of the workers that have polled for workflow tasks in the last minutes.

    Raises RPCError.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=TASK_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await client.workflow_service.describe_task_queue(request)
    return {poller.deployment_options.build_id for poller in answer.pollers}


async def gets_no_tasks(client: Client, build_id: str | None) -> str | None:
    """Why workers of this version get no tasks, and what to do; None if they get some, or if the
    server does not let this client ask."""
    version = build_id or UNVERSIONED
    try:
        routed = await versions_with_tasks(client)
    except RPCError:
        return None
    if version in routed:
        return None
    return (
        f"{_named({version})} get no tasks: those go to {_named(routed, 'workers')}. "
        f"{_make_current(version)}"
    )


async def worker_missing(client: Client) -> str:
    """What to do when no worker answers."""
    try:
        routed, running = await versions_with_tasks(client), await running_versions(client)
    except RPCError:
        return START_ONE
    if running and not running & routed:
        return (
            f"{_named(running)} run, but tasks go to {_named(routed, 'workers')}. "
            f"{_make_current(max(running))}"
        )
    if UNVERSIONED in routed:
        return START_ONE
    return f"Start one of the current version: RECOURSE_BUILD_ID={min(routed)} python worker.py"


def on_another_queue(purchase_id: str, run: Execution) -> tuple[str, str] | None:
    """What is wrong with an open purchase that was started on another task queue than ours, and
    what to do; None for any other run."""
    if not run.is_open or run.task_queue == TASK_QUEUE:
        return None
    return (
        f"Purchase {purchase_id} waits on the task queue {run.task_queue!r}, which no worker "
        "serves.",
        "Terminate it, and start it again with `recourse purchase`, or from another client on "
        f"{TASK_QUEUE} with the workflow id reuse policy AllowDuplicateFailedOnly; if the ledger "
        f"has money of it, run instead: recourse adopt {quote(purchase_id)}",
    )


def _make_current(version: str) -> str:
    return f"Run: {MAKE_CURRENT} {f'--build-id {version}' if version else '--unversioned'} --yes"


def _named(versions: set[str], workers: str = "Workers") -> str:
    names = [f"of version {name}" if name else "without a version" for name in sorted(versions)]
    return f"{workers} {' and '.join(names)}"
