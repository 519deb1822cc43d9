"""A client in another language, `@temporalio/client`, sends every message with good and bad
payloads."""

import asyncio
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.requests import TASK_QUEUE
from demo.runner import Handle, until
from temporal import embedded
from temporal.purchases import Purchase
from tests.purchases import held, purchase
from tests.signals.payloads import GOOD, code_of, failed_tasks, whole_history

pytestmark = pytest.mark.node

SOURCE = Path(__file__).parent / "typescript"
FILES = ("package.json", "package-lock.json", ".npmrc", "send.mjs")


def program(name: str) -> str:
    """The path of a program of Node.js."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"`{name}` is missing: install Node.js 20.3 or newer, which brings npm along.")
    return found


async def run(*command: str | Path, folder: Path, given: str = "") -> str:
    """Run a program; what it prints. Fails with its stderr."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate(given.encode())
    assert process.returncode == 0, errors.decode()
    return out.decode()


@pytest.fixture(scope="module")
async def installed() -> Path:
    """A folder with the script and its packages. It stays in this Python environment, so that later
    runs need not install again."""
    contents = b"".join((SOURCE / name).read_bytes() for name in FILES)
    ready = Path(sys.prefix) / f"typescript-{hashlib.sha256(contents).hexdigest()[:12]}"
    if not ready.exists():
        new_folder = ready.with_suffix(".new")
        shutil.rmtree(new_folder, ignore_errors=True)
        new_folder.mkdir()
        for name in FILES:
            shutil.copy(SOURCE / name, new_folder)
        npm = program("npm")
        await run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=new_folder)
        new_folder.rename(ready)
    return ready


@pytest.fixture(scope="module")
async def target(server: WorkflowEnvironment, worker: object) -> Handle:
    """The purchase that receives all messages."""
    return await held(server)


STARTS = (purchase(), purchase())
"""One purchase is started by signal-with-start, the other by update-with-start."""


@pytest.fixture(scope="module")
async def outcome(installed: Path, target: Handle, server: WorkflowEnvironment) -> dict[str, Any]:
    """What the script reports after it has sent everything."""
    given = {
        "taskQueue": TASK_QUEUE,
        "target": target.id,
        "messages": GOOD,
        "starts": [terms.model_dump(mode="json") for terms in STARTS],
    }
    address = embedded.address(server.client)
    output = await run(
        program("node"), "send.mjs", address, folder=installed, given=json.dumps(given)
    )
    found: dict[str, Any] = json.loads(output)
    return found


def test_the_npm_lock_names_versions_and_hashes_but_no_addresses() -> None:
    """Everybody installs the same packages, from any registry."""
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]

    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for path, package in packages.items() if path)


def test_bad_updates_from_typescript_are_rejected_with_a_code_and_a_sentence(
    outcome: dict[str, Any],
) -> None:
    """Every message with every kind of bad payload that this client can send."""
    assert set(outcome["updates"]) == set(GOOD)
    for name, kinds in outcome["updates"].items():
        for answer in kinds.values():
            assert answer["code"] == code_of(name)
            assert answer["text"].endswith(".")


async def test_bad_signals_from_typescript_are_counted_and_good_ones_accepted(
    outcome: dict[str, Any], target: Handle, server: WorkflowEnvironment
) -> None:
    """Every signal was processed, and no workflow task failed."""
    found = await until(target, lambda found: found.rejected_count >= outcome["signals"])

    assert found.rejected_count == outcome["signals"]
    assert outcome["accepted"]["receipt"]["stage"] == found.stage == "freelancer_review"
    assert [entry.transition for entry in found.timeline].count("message_sent") == 1
    assert not failed_tasks(await whole_history(server.client, target))


async def test_requirements_can_be_sent_with_the_start(
    outcome: dict[str, Any], server: WorkflowEnvironment
) -> None:
    """By signal-with-start, and by update-with-start, which returns a receipt."""
    assert outcome["updateWithStart"]["receipt"]["stage"] == "freelancer_review"
    for terms in STARTS:
        handle = Purchase(server.client, terms.purchase_id).handle
        found = await until(handle, lambda found: found.payment == "held")
        assert found.stage == "freelancer_review"
        assert found.requirements == GOOD["submit_requirements"]["requirements"]
        await handle.terminate("seen")
