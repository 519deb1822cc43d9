"""Sending examples for docs/messages.md: the `temporal` command line, Python and TypeScript."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from activities.keys import workflow_id_of
from activities.requests import TASK_QUEUE
from docs.samples import PURCHASE, SAMPLES, START
from temporal.client import DEFAULT_ADDRESS
from temporal.runs import WORKFLOW_TYPE
from workflows.messages import PurchaseStart
from workflows.summary import summary

WORKFLOW = workflow_id_of(PURCHASE)
CANCEL = json.dumps(SAMPLES["cancel"])


def temporal_command(action: str, *lines: Mapping[str, str]) -> str:
    """A command of `temporal workflow`; each mapping of options is one line."""
    options = (
        " ".join(f"--{name} {shlex.quote(value)}" for name, value in line.items()) for line in lines
    )
    return f"temporal workflow {action} " + " \\\n    ".join(options)


def send_command(action: str, name: str, payload: Any) -> str:
    """The command that sends a message; `action` is `signal` or `update execute`."""
    target = {"workflow-id": WORKFLOW, "name": name}
    return temporal_command(action, target, {"input": json.dumps(payload)})


_START = {"workflow-id": WORKFLOW, "id-reuse-policy": "RejectDuplicate"}
_WORKFLOW = {"type": WORKFLOW_TYPE, "task-queue": TASK_QUEUE, "input-file": "start.json"}
SUMMARY = summary(PurchaseStart.model_validate(START))
_SHOWN = {"static-summary": SUMMARY}

CLI_SIGNAL_WITH_START = temporal_command(
    "signal-with-start",
    _START,
    _WORKFLOW,
    _SHOWN,
    {"signal-name": "submit_requirements", "signal-input-file": "requirements.json"},
)

CLI_UPDATE_WITH_START = temporal_command(
    "execute-update-with-start",
    {**_START, "id-conflict-policy": "UseExisting"},
    _WORKFLOW,
    _SHOWN,
    {"update-name": "submit_requirements", "update-input-file": "requirements.json"},
)

PYTHON = f"""\
import asyncio

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError


async def main() -> None:
    client = await Client.connect("{DEFAULT_ADDRESS}")
    purchase = client.get_workflow_handle("{WORKFLOW}")
    cancel = {CANCEL}

    await purchase.signal("cancel", cancel)  # fire and forget

    try:
        print(await purchase.execute_update("cancel", cancel))  # waits for the answer
    except WorkflowUpdateFailedError as failure:
        rejection = failure.cause
        assert isinstance(rejection, ApplicationError)
        print(rejection.type, rejection.message)


asyncio.run(main())
"""

TYPESCRIPT = f"""\
import {{ ApplicationFailure, Client, Connection, WorkflowUpdateFailedError }} from \
'@temporalio/client';

async function main() {{
  const connection = await Connection.connect({{ address: '{DEFAULT_ADDRESS}' }});
  const client = new Client({{ connection }});
  const purchase = client.workflow.getHandle('{WORKFLOW}');
  const cancel = {CANCEL};

  await purchase.signal('cancel', cancel); // fire and forget

  try {{
    console.log(await purchase.executeUpdate('cancel', {{ args: [cancel] }})); // waits
  }} catch (failure) {{
    if (!(failure instanceof WorkflowUpdateFailedError)) throw failure;
    const rejection = failure.cause as ApplicationFailure;
    console.log(rejection.type, rejection.message);
  }}
  await connection.close();
}}

main();
"""

PYTHON_WITH_START = f"""\
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

START = json.loads(Path("start.json").read_text(encoding="utf-8"))
REQUIREMENTS = json.loads(Path("requirements.json").read_text(encoding="utf-8"))
SUMMARY = "{SUMMARY}"


async def update_with_start(client: Client) -> Any:
    start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        "{WORKFLOW_TYPE}",
        START,
        id="{WORKFLOW}",
        task_queue="{TASK_QUEUE}",
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=SUMMARY,
    )
    return await client.execute_update_with_start_workflow(
        "submit_requirements", REQUIREMENTS, start_workflow_operation=start
    )


async def signal_with_start(client: Client) -> Any:
    return await client.start_workflow(
        "{WORKFLOW_TYPE}",
        START,
        id="{WORKFLOW}",
        task_queue="{TASK_QUEUE}",
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        static_summary=SUMMARY,
        start_signal="submit_requirements",
        start_signal_args=[REQUIREMENTS],
    )


async def main(start: Callable[[Client], Awaitable[Any]]) -> None:
    print(await start(await Client.connect("{DEFAULT_ADDRESS}")))


asyncio.run(main(update_with_start))
"""

TYPESCRIPT_WITH_START = f"""\
import {{ readFileSync }} from 'node:fs';
import {{ Client, Connection, WithStartWorkflowOperation }} from '@temporalio/client';

const start = JSON.parse(readFileSync('start.json', 'utf8'));
const requirements = JSON.parse(readFileSync('requirements.json', 'utf8'));
const once = {{
  workflowId: '{WORKFLOW}',
  taskQueue: '{TASK_QUEUE}',
  workflowIdReusePolicy: 'REJECT_DUPLICATE',
  staticSummary: '{SUMMARY}',
}} as const;

async function updateWithStart(client: Client) {{
  const startWorkflowOperation = new WithStartWorkflowOperation('{WORKFLOW_TYPE}', {{
    ...once,
    args: [start],
    workflowIdConflictPolicy: 'USE_EXISTING',
  }});
  return client.workflow.executeUpdateWithStart('submit_requirements', {{
    startWorkflowOperation,
    args: [requirements],
  }});
}}

async function signalWithStart(client: Client) {{
  return client.workflow.signalWithStart('{WORKFLOW_TYPE}', {{
    ...once,
    args: [start],
    signal: 'submit_requirements',
    signalArgs: [requirements],
  }});
}}

async function main(send: (client: Client) => Promise<unknown>) {{
  const connection = await Connection.connect({{ address: '{DEFAULT_ADDRESS}' }});
  console.log(await send(new Client({{ connection }})));
  await connection.close();
}}

main(updateWithStart);
"""
