"""A changed rule is rolled out, and back, by worker deployment versions while purchases run."""

import asyncio
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import Handle, send, status, until
from demo.scenarios import PRICE
from temporal import embedded
from temporal.deployment import DEPLOYMENT, gets_no_tasks
from temporal.errors import Unreachable
from temporal.ports import free_port
from temporal.purchases import Purchase
from tests.conftest import settings
from tests.lifecycle.test_versions import a_second_version
from tests.operation.processes import working
from tests.operation.test_health import asked
from tests.purchases import FREELANCER, held, purchase, purchase_of, rejection
from worker import MONEY, NOTICES, WorkerConfig, build_worker
from workflows.lifecycle import versions
from workflows.lifecycle.versions import VERSIONS, newest
from workflows.messages import Role

OLD, NEW = "1.0", "2.0"


async def make_current(server: WorkflowEnvironment, build_id: str) -> None:
    """The operator's command, tried again until a worker of that build has shown up."""
    command = (
        *(embedded.binary(), "worker", "deployment", "set-current-version", "--yes"),
        *("--deployment-name", DEPLOYMENT, "--build-id", build_id),
        *("--address", embedded.address(server.client)),
    )
    while True:
        try:
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, timeout=20, check=False
            )
        except subprocess.TimeoutExpired:  # the server may lose such a request under load
            continue
        if done.returncode == 0:
            return


async def build_of(handle: Handle) -> str:
    """Which build did the purchase's last task."""
    described = (await handle.describe()).raw_description
    return described.workflow_execution_info.versioning_info.deployment_version.build_id


async def reviewed(server: WorkflowEnvironment) -> Handle:
    """A purchase that its freelancer may cancel, under the first version of the rules."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    return handle


async def test_a_changed_rule_is_rolled_out_and_back_while_purchases_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
) -> None:
    """The new build gets nothing until it is made current; then it has everything. What was bought
    before keeps its rules on it; what is bought from now on has the new ones. Rolled back, what was
    bought under the old rules goes on under the old build."""
    another = newest() + 1
    async with (
        embedded.server() as server,
        working(server, tmp_path, RECOURSE_BUILD_ID=OLD) as old_worker,
    ):
        await make_current(server, OLD)
        before = await reviewed(server)
        monkeypatch.setattr(versions, "VERSIONS", {**VERSIONS, another: a_second_version()})
        services = Services(settings(tmp_path))
        config = WorkerConfig(build_id=NEW, rules_version=another)
        async with build_worker(server.client, services, threads, config):
            still_old = await reviewed(server)
            builds = [await build_of(before), await build_of(still_old)]
            await make_current(server, NEW)
            after = await reviewed(server)
            rejected = await rejection(after, "cancel", {"by": FREELANCER})
            await send(before, Role.FREELANCER, "cancel")
            builds += [await build_of(after), await build_of(before)]
            await make_current(server, OLD)
        services.close()
        await send(still_old, Role.FREELANCER, "cancel")
        builds += [await build_of(still_old)]
        canceled = [(await status(handle)).reason for handle in (before, still_old)]
        assert old_worker.process.returncode is None

    assert rejected.type == "WRONG_ROLE"
    assert canceled == ["freelancer_cancelled", "freelancer_cancelled"]
    assert builds == [OLD, OLD, NEW, NEW, OLD]


async def test_new_rules_are_rolled_out_before_they_are_activated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
) -> None:
    """A build that knows another version is current everywhere, and purchases still begin under the
    one before, so rolling it back strands none of them. Once the new one is activated, new
    purchases have it, and those from before keep theirs."""
    another = newest() + 1
    async with (
        embedded.server() as server,
        working(server, tmp_path, RECOURSE_BUILD_ID=OLD),
    ):
        await make_current(server, OLD)
        monkeypatch.setattr(versions, "VERSIONS", {**VERSIONS, another: a_second_version()})
        services = Services(settings(tmp_path))
        inactive = WorkerConfig(build_id=NEW, rules_version=another - 1)
        async with build_worker(server.client, services, threads, inactive):
            await make_current(server, NEW)
            bought = [await reviewed(server) for _ in range(2)]
            builds = [await build_of(handle) for handle in bought]
            await make_current(server, OLD)
        await send(bought[0], Role.FREELANCER, "cancel")
        builds += [await build_of(bought[0])]
        activated = WorkerConfig(build_id=f"{NEW}-activated", rules_version=another)
        async with build_worker(server.client, services, threads, activated):
            await make_current(server, f"{NEW}-activated")
            after = await reviewed(server)
            rejected = await rejection(after, "cancel", {"by": FREELANCER})
            await send(bought[1], Role.FREELANCER, "cancel")
        services.close()

    assert builds == [NEW, NEW, OLD]
    assert rejected.type == "WRONG_ROLE"


async def test_workers_whose_version_is_not_current_say_so(tmp_path: Path) -> None:
    """They run and get no tasks: they are not ready, they log what to do, and so does a command
    that waits for an answer."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/readyz"
    given = {"RECOURSE_BUILD_ID": OLD, "RECOURSE_HEALTH": f"127.0.0.1:{port}"}
    async with embedded.server() as server, working(server, tmp_path, **given) as post:
        waiting = Purchase(server.client, "waits")
        await waiting.start(purchase(purchase_id="waits"))
        with pytest.raises(Unreachable) as unanswered:
            await waiting.status()
        unready = await asyncio.to_thread(asked, url)
        await post.until_said("version_gets_no_tasks")
        await make_current(server, OLD)
        answered = await waiting.status()
        ready = await asyncio.to_thread(asked, url)

    assert unready == (503, {"failing": ["version"]})
    assert unanswered.value.code == "NO_WORKER"
    assert unanswered.value.text.endswith(
        "Workers of version 1.0 run, but tasks go to workers without a version. Run: temporal "
        "worker deployment set-current-version --deployment-name recourse --build-id 1.0 --yes"
    )
    assert answered.purchase_id == "waits"
    assert ready == (200, {"failing": []})


async def test_workers_without_a_version_get_no_tasks_while_another_is_current(
    services: Services, threads: ThreadPoolExecutor
) -> None:
    config = WorkerConfig(build_id=OLD)
    async with (
        embedded.server() as server,
        build_worker(client := server.client, services, threads, config),
    ):
        await make_current(server, OLD)
        assert await gets_no_tasks(client, OLD) is None
        assert await gets_no_tasks(client, None) == (
            "Workers without a version get no tasks: those go to workers of version 1.0. Run: "
            "temporal worker deployment set-current-version --deployment-name recourse "
            "--unversioned --yes"
        )


async def test_workers_for_money_and_for_notices_share_the_work(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """With nobody there for notices a refund goes its way all the same; they are sent when somebody
    comes."""
    money, notices = WorkerConfig(frozenset({MONEY})), WorkerConfig(frozenset({NOTICES}))
    async with build_worker(bare_server.client, services, threads, money):
        handle = await held(bare_server, method="pm_sandbox_at_once")
        await send(handle, Role.FREELANCER, "cancel")
        await until(handle, lambda found: found.escrow.refunded == PRICE)
        purchase_id = purchase_of(handle)
        before = services.notices.list(purchase_id)
        async with build_worker(bare_server.client, services, threads, notices):
            await handle.result()

    assert before == ()
    statuses = {notice.transition: notice.status for notice in services.notices.list(purchase_id)}
    assert set(statuses.values()) == {"sent"}
    assert "freelancer_cancelled" in statuses
