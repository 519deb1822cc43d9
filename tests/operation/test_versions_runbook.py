"""The runbook's commands for worker versions, as docs/operations.md has them."""

import asyncio
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import send, status
from temporal import embedded
from temporal.deployment import MAKE_CURRENT
from tests.operation.test_deployment import NEW, OLD, build_of, make_current, reviewed
from tests.purchases import held
from worker import MONEY, NOTICES, WorkerConfig, build_worker
from workflows.messages import Role

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ONE_VERSION = ("--dynamic-config-value", "matching.maxVersionsInDeployment=1")


async def run(server: WorkflowEnvironment, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the page."""
    program, *arguments = shlex.split(command)
    assert program == "temporal"
    address = ("--address", embedded.address(server.client))
    return await asyncio.to_thread(
        subprocess.run,
        (embedded.binary(), *arguments, *address),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def until_accepted(server: WorkflowEnvironment, command: str) -> None:
    while (await run(server, command)).returncode:
        continue


async def until_refused(server: WorkflowEnvironment, command: str, sentence: str) -> None:
    """Wait until the command fails with the sentence that the page quotes."""
    while sentence not in (done := await run(server, command)).stderr:
        assert done.returncode, f"The command was accepted: {command}"


def quoted(beginning: str) -> str:
    """A sentence of the server that the page explains, up to what differs each time."""
    found = re.search(rf"`({beginning}[^`]*)`", PAGE.read_text())
    assert found, f"docs/operations.md does not explain: {beginning}"
    return found[1].partition("…")[0].strip(" (")


def pinning(workflow_id: str, build_id: str) -> tuple[str, str]:
    """The commands that move a purchase to a version, and that give it back."""
    (section,) = re.findall(
        r"### One purchase on another version\n(.+?)\n### ", PAGE.read_text(), re.DOTALL
    )
    there, back = (
        block.replace("\\\n", " ").replace("purchase-P", workflow_id).replace("1.2", build_id)
        for block in re.findall(r"```sh\n(.+?)\n```", section, re.DOTALL)
    )
    return there, back


async def test_one_purchase_is_moved_to_another_version_and_back(
    services: Services, threads: ThreadPoolExecutor
) -> None:
    """The others stay. It stays pinned when another version becomes current, until it is given
    back."""
    async with (
        embedded.server() as server,
        build_worker(server.client, services, threads, WorkerConfig(build_id=OLD)),
        build_worker(server.client, services, threads, WorkerConfig(build_id=NEW)),
    ):
        await make_current(server, OLD)
        stuck, other = await reviewed(server), await reviewed(server)
        there, back = pinning(stuck.id, NEW)
        await until_accepted(server, there)
        for handle in (stuck, other):
            await send(handle, Role.CLIENT, "send_message", text="Is it done?")
        moved = [await build_of(stuck), await build_of(other)]
        done = await run(server, back)
        assert done.returncode == 0, done.stderr
        await send(stuck, Role.FREELANCER, "cancel")
        given_back = await build_of(stuck)
        reason = (await status(stuck)).reason

    assert moved == [NEW, OLD]
    assert (given_back, reason) == (OLD, "freelancer_cancelled")


async def test_a_half_registered_version_does_not_become_current(
    services: Services, threads: ThreadPoolExecutor
) -> None:
    """The server refuses it while notices would wait, and takes it when its other workers run."""
    command = f"{MAKE_CURRENT} --build-id {NEW} --yes"
    money = WorkerConfig(frozenset({MONEY}), build_id=NEW)
    notices = WorkerConfig(frozenset({NOTICES}), build_id=NEW)
    async with (
        embedded.server() as server,
        build_worker(server.client, services, threads, WorkerConfig(build_id=OLD)),
    ):
        await make_current(server, OLD)
        await held(server)  # its notices are on the queue of the current version
        await until_refused(server, command, "not found in Worker Deployment")
        async with build_worker(server.client, services, threads, money):
            await until_refused(server, command, quoted("is missing active task queues"))
            async with build_worker(server.client, services, threads, notices):
                await until_accepted(server, command)


async def test_a_deployment_takes_no_version_over_its_limit_until_an_old_one_is_gone(
    services: Services, threads: ThreadPoolExecutor
) -> None:
    """The current version has workers, so the server deletes nothing: the new one stays unknown."""
    async with (
        embedded.server(extra=ONE_VERSION) as server,
        build_worker(server.client, services, threads, WorkerConfig(build_id=OLD)),
    ):
        await make_current(server, OLD)
        async with build_worker(server.client, services, threads, WorkerConfig(build_id=NEW)):
            command = f"{MAKE_CURRENT} --build-id {NEW} --yes"
            await until_refused(server, command, "not found in Worker Deployment")
            purchase = await reviewed(server)
            build = await build_of(purchase)
            listed = await run(server, "temporal worker deployment describe --name recourse")
    assert build == OLD
    assert OLD in listed.stdout
    assert NEW not in listed.stdout
