"""`make histories`: runs every scenario and records its history, for all later releases to replay.

Records the histories that the release in `pyproject.toml` lacks. Never overwrites one, because the
running purchases of that release have the same history. Exit status 1: there is nothing to record.
"""

import asyncio
import json
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from temporalio.testing import WorkflowEnvironment

from activities.requests import TASK_QUEUE
from activities.services import Services
from demo.runner import Handle, ScenarioRunner, status, until
from demo.scenarios import SCENARIOS, Scenario
from temporal import embedded
from temporal.plugin import ACTIVITY_THREADS
from tests.conftest import settings
from tests.histories.borderline import BORDERLINE, Borderline
from worker import build_worker

HERE = Path(__file__).parent
RELEASE: str = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]

SHORT_HISTORY = 60
"""Events after which the server suggests continue-as-new while `CONTINUED` is recorded again."""
CONTINUED = "dispute_resolved"
"""The scenario that is recorded a second time with continue-as-new, one history per run."""


async def record() -> int:
    """Record what is missing; the exit status."""
    folder = HERE / RELEASE
    whole = [scenario for scenario in SCENARIOS if not (folder / f"{scenario.name}.json").exists()]
    short = [
        scenario
        for scenario in SCENARIOS
        if scenario.name == CONTINUED and not (folder / f"{scenario.name}-1.json").exists()
    ]
    borderline = [one for one in BORDERLINE if not (folder / f"{one.name}.json").exists()]
    if not whole and not short and not borderline:
        print(
            f"Release {RELEASE} already has its histories; they are never overwritten, because "
            f"running purchases have the same. Raise the version in pyproject.toml first. If no "
            f"purchase ever ran under {RELEASE}, delete {folder.relative_to(Path.cwd())} instead.",
            file=sys.stderr,
        )
        return 1
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    folder.mkdir(exist_ok=True)
    async with stage() as environment:
        await asyncio.gather(*(_keep(environment, scenario, folder) for scenario in whole))
        await asyncio.gather(*(_keep_borderline(environment, one, folder) for one in borderline))
    shorter = f"limit.historyCount.suggestContinueAsNew={SHORT_HISTORY}"
    async with stage("--dynamic-config-value", shorter) as environment:
        await asyncio.gather(
            *(_keep(environment, scenario, folder, runs=True) for scenario in short)
        )
    return 0


@asynccontextmanager
async def stage(*extra: str) -> AsyncIterator[WorkflowEnvironment]:
    """A server and the worker that production runs."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(ACTIVITY_THREADS) as threads:
        services = Services(settings(Path(folder)))
        async with (
            embedded.server(skip_time=True, extra=extra) as environment,
            build_worker(environment.client, services, threads),
        ):
            yield environment
        services.close()


async def _keep(
    environment: WorkflowEnvironment, scenario: Scenario, folder: Path, runs: bool = False
) -> None:
    """Run a scenario and write its history; with `runs`, one file per run."""
    await ScenarioRunner(environment).run(scenario, f"recorded-{scenario.name}")
    client, workflow_id = environment.client, f"purchase-recorded-{scenario.name}"
    found = [
        execution async for execution in client.list_workflows(f"WorkflowId = '{workflow_id}'")
    ]
    for number, execution in enumerate(sorted(found, key=lambda one: one.start_time), 1):
        handle = client.get_workflow_handle(workflow_id, run_id=execution.run_id)
        history = (await handle.fetch_history()).to_json_dict()
        path = folder / f"{scenario.name}{f'-{number}' if runs else ''}.json"
        path.write_text(written(history))
        print(f"recorded {path.relative_to(HERE)}, {len(history['events'])} events")


async def _keep_borderline(
    environment: WorkflowEnvironment, borderline: Borderline, folder: Path
) -> None:
    """Start a purchase as another system does, send its signals and write its history."""
    purchase_id = f"recorded-{borderline.name}"
    started = await environment.client.start_workflow(
        "ProjectPurchase",
        {"purchase_id": purchase_id, **borderline.start},
        id=f"purchase-{purchase_id}",
        task_queue=TASK_QUEUE,
    )
    handle: Handle = environment.client.get_workflow_handle(started.id)
    await until(handle, lambda found: found.payment == "held")
    for name, content in borderline.signals:
        await handle.signal(name, content)
        await status(handle)  # answers when the signal is handled
    history = (await handle.fetch_history()).to_json_dict()
    (folder / f"{borderline.name}.json").write_text(written(history))
    print(f"recorded {borderline.name}, {len(history['events'])} events")
    await started.terminate()


def written(history: dict[str, Any]) -> str:
    """A history as JSON with one event per line, without data of the recording machine."""
    events = ",\n".join(
        json.dumps(_anonymous(event), separators=(",", ":")) for event in history["events"]
    )
    return f'{{"events": [\n{events}\n]}}\n'


_REPLACEMENTS = {"identity": "recorder", "stackTrace": "where it was raised"}


def _anonymous(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: _REPLACEMENTS.get(key) or _anonymous(item)
                for key, item in value.items()
                if not (key == "name" and value.get("kind") == "TASK_QUEUE_KIND_STICKY")
            }
        case list():
            return [_anonymous(item) for item in value]
    return value


if __name__ == "__main__":
    sys.exit(asyncio.run(record()))
