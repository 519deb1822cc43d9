"""The recorded purchases replay under the SDK's sandbox, and with any order of sets."""

import os
import subprocess
import sys

import pytest
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from temporal.converter import DATA_CONVERTER
from tests.histories.replay import HISTORIES, read
from tests.test_house import HOUSE, MODULES
from workflows.purchase import ProjectPurchase

SHARED = "workflows.receiving.encrypted"
"""The data converter runs outside of the sandbox and recognises the class of a type hint in this
module. No other module of ours is shared: the sandbox loads them again for each workflow, and
rejects what it forbids."""

RUNNER = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(SHARED)
)


def test_the_sandbox_checks_our_modules() -> None:
    """A module that is passed through would not be checked."""
    passed = RUNNER.restrictions.passthrough_modules
    assert not RUNNER.restrictions.passthrough_all_modules
    ours = {name for name in MODULES if any(f"{name}.".startswith(f"{one}.") for one in passed)}
    assert ours == {SHARED}


async def test_recorded_purchases_replay_in_the_sandbox() -> None:
    """Every history of every release."""
    replayer = Replayer(
        workflows=[ProjectPurchase], workflow_runner=RUNNER, data_converter=DATA_CONVERTER
    )
    for path in HISTORIES:
        await replayer.replay_workflow(read(path))


@pytest.mark.parametrize("seed", ["1", "2"])
def test_recorded_purchases_replay_with_another_order_of_sets(seed: str) -> None:
    """The seed decides the hashes of texts, and so the order of sets of them."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(HOUSE)}
    subprocess.run(
        [sys.executable, "-m", "tests.histories.replay"], env=environment, check=True, cwd=HOUSE
    )
