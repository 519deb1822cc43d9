"""A client in another language, `@temporalio/client`, sends every message with good and bad
payloads."""

import asyncio
import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook
from temporalio.testing import WorkflowEnvironment

from activities.requests import TASK_QUEUE
from demo.runner import Handle, until
from docs.generate import HERE
from starter.schema_examples import examples
from temporal import embedded
from temporal.purchases import Purchase
from tests.node import program, run
from tests.notices.consumer import SECRET
from tests.purchases import held, purchase, purchase_of
from tests.signals.payloads import GOOD, code_of, failed_tasks, whole_history
from tests.signals.typescript_types import SOURCE, TYPES, installed_types, types

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder with the scripts and their packages."""
    return installed_types()


@pytest.fixture(scope="module")
async def target(server: WorkflowEnvironment, worker: object) -> Handle:
    """The purchase that receives all messages."""
    return await held(server)


STARTS = (purchase(), purchase())
"""One purchase is started by signal-with-start, the other by update-with-start."""


@pytest.fixture(scope="module")
async def outcome(packages: Path, target: Handle, server: WorkflowEnvironment) -> dict[str, Any]:
    """What the script reports after it has sent everything."""
    given = {
        "taskQueue": TASK_QUEUE,
        "target": target.id,
        "messages": GOOD,
        "starts": [terms.model_dump(mode="json") for terms in STARTS],
    }
    address = embedded.address(server.client)
    output = await run(
        program("node"), "send.mjs", address, folder=packages, given=json.dumps(given)
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


# --- types


async def test_the_types_say_what_the_schemas_say(packages: Path) -> None:
    """`python -m tests.signals.typescript_types` writes them anew."""
    assert await types(packages) == TYPES.read_text(encoding="utf-8")


async def test_the_typed_example_sends_reads_and_receives(
    packages: Path, tmp_path: Path, server: WorkflowEnvironment, worker: object
) -> None:
    """The one on the page about events, checked by `tsc --strict` with the types that are checked
    in. It rejects a forged event."""
    handle = await held(server)
    folder = tmp_path / "example"
    folder.mkdir()
    page = (HERE / "events.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```ts\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (folder / "example.ts").write_text(example.replace("p-1001", purchase_of(handle)))
    shutil.copy(TYPES, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(packages / "node_modules")
    # The types of @temporalio/common need some of another package that has none.
    options = (
        "--strict",
        "--skipLibCheck",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--types",
        "node",
    )
    tsc = packages / "node_modules" / ".bin" / "tsc"
    await run(tsc, *options, "example.ts", folder=folder)

    process = await asyncio.create_subprocess_exec(
        program("node"),
        "example.js",
        cwd=folder,
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": embedded.address(server.client),
            "PORT": "0",
            "EVENTS_SECRET": SECRET,
        },
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        stage, port = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
        assert stage == "refund_requested"
        body = json.dumps(examples()["event"]).encode()
        url = f"http://127.0.0.1:{port}/"
        good = await asyncio.to_thread(requests.post, url, body, headers=signed(body), timeout=10)
        forged = {**signed(body), "webhook-signature": "v1,Zm9yZ2Vk"}
        bad = await asyncio.to_thread(requests.post, url, body, headers=forged, timeout=10)
        assert (good.status_code, bad.status_code) == (204, 401)
        assert (await process.stdout.readline()).decode().split() == [
            "refund_requested",
            "USD",
            "25000",
        ]
    finally:
        process.kill()
        await process.wait()
        await handle.terminate("seen")


def signed(body: bytes) -> dict[str, str]:
    """The headers of a signed event."""
    now = datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", now, body.decode()),
    }
