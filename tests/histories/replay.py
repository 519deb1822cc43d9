"""A script that replays every recorded history. It needs no server and no package of the tests."""

import asyncio
import json
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from temporal.converter import DATA_CONVERTER
from temporal.process import exit_process
from temporal.runner import Runner, WritesCards
from workflows.purchase import ProjectPurchase

HISTORIES = sorted(Path(__file__).parent.glob("*/*.json"))


def read(path: Path) -> WorkflowHistory:
    """A recorded history."""
    recorded = json.loads(path.read_text())
    started = recorded["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], recorded)


async def main() -> None:
    """Replay them all; raises the first failure."""
    replayer = Replayer(
        workflows=[ProjectPurchase],
        workflow_runner=Runner(),
        interceptors=[WritesCards()],
        data_converter=DATA_CONVERTER,
    )
    for path in HISTORIES:
        await replayer.replay_workflow(read(path))
    print(f"{len(HISTORIES)} histories replay")


if __name__ == "__main__":
    asyncio.run(main())
    exit_process(0)
