"""A client that nobody here wrote: `@temporalio/client` sends every message, well and badly."""

import asyncio
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, until
from temporal import embedded
from temporal.client import TASK_QUEUE
from temporal.purchases import Purchase
from tests.purchases import held, purchase
from tests.signals.payloads import GOOD, code_of, failed_tasks, whole_history

pytestmark = pytest.mark.node

SOURCE = Path(__file__).parent / "typescript"
FILES = ("package.json", "package-lock.json", ".npmrc", "send.mjs")


def program(name: str) -> str:
    """Where a program of Node.js is."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"`{name}` is missing: install Node.js 20.3 or newer, which brings npm along.")
    return found


async def run(*command: str | Path, folder: Path, given: str = "") -> str:
    """What a program prints; fails with what it complained of."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaint = await process.communicate(given.encode())
    assert process.returncode == 0, complaint.decode()
    return out.decode()


@pytest.fixture(scope="module")
async def installed() -> Path:
    """A folder with the script and what it needs, kept beside this Python for the next time."""
    contents = b"".join((SOURCE / name).read_bytes() for name in FILES)
    ready = Path(sys.prefix) / f"typescript-{hashlib.sha256(contents).hexdigest()[:12]}"
    if not ready.exists():
        fresh = ready.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for name in FILES:
            shutil.copy(SOURCE / name, fresh)
        npm = program("npm")
        await run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=fresh)
        fresh.rename(ready)
    return ready


@pytest.fixture(scope="module")
async def target(server: WorkflowEnvironment, worker: object) -> Handle:
    """The purchase to which everything is sent."""
    return await held(server)


STARTS = (purchase(), purchase())
"""One purchase is started by signal-with-start, the other by update-with-start."""


@pytest.fixture(scope="module")
async def outcome(installed: Path, target: Handle, server: WorkflowEnvironment) -> dict[str, Any]:
    """What the script reports."""
    given = {
        "taskQueue": TASK_QUEUE,
        "target": target.id,
        "messages": GOOD,
        "starts": [terms.model_dump(mode="json") for terms in STARTS],
    }
    address = embedded.address(server.client)
    said = await run(
        program("node"), "send.mjs", address, folder=installed, given=json.dumps(given)
    )
    found: dict[str, Any] = json.loads(said)
    return found


def test_lock_names_versions_and_no_addresses() -> None:
    """Everybody installs the same packages, from whichever registry they use."""
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]

    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for path, package in packages.items() if path)


def test_bad_updates_are_refused_with_code_and_sentence(outcome: dict[str, Any]) -> None:
    """Every message with every mistake that client can make."""
    assert set(outcome["updates"]) == set(GOOD)
    for name, kinds in outcome["updates"].items():
        for answer in kinds.values():
            assert answer["code"] == code_of(name)
            assert answer["text"].endswith(".")


async def test_bad_signals_are_counted_and_good_ones_accepted(
    outcome: dict[str, Any], target: Handle, server: WorkflowEnvironment
) -> None:
    """The purchase has heard everything, and no task of its workflow failed."""
    found = await until(target, lambda found: found.rejected_count >= outcome["signals"])

    assert found.rejected_count == outcome["signals"]
    assert outcome["accepted"]["receipt"]["stage"] == found.stage == "freelancer_review"
    assert [entry.transition for entry in found.timeline].count("message_sent") == 1
    assert not failed_tasks(await whole_history(server.client, target))


async def test_requirements_come_along_with_the_start(
    outcome: dict[str, Any], server: WorkflowEnvironment
) -> None:
    """By signal-with-start and by update-with-start, which also answers."""
    assert outcome["updateWithStart"]["receipt"]["stage"] == "freelancer_review"
    for terms in STARTS:
        handle = Purchase(server.client, terms.purchase_id).handle
        found = await until(handle, lambda found: found.payment == "held")
        assert found.stage == "freelancer_review"
        assert found.requirements == GOOD["submit_requirements"]["requirements"]
        await handle.terminate("seen")
