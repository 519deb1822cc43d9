"""`RecoursePlugin`: a team runs purchases in its own worker."""

from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from activities.requests import TASK_QUEUE
from activities.services import Services, WrongSetting
from demo.runner import Handle, skip, until
from demo.their_workflow import TheirWorkflow, double
from temporal import embedded
from temporal.plugin import RecoursePlugin
from temporal.purchases import Purchase
from tests.conftest import settings
from tests.histories.replay import HISTORIES, read
from tests.integration_page import blocks, run_program
from tests.purchases import purchase
from workflows.messages import GiveRefund, Role, Sender

FREELANCER = Sender(role=Role.FREELANCER, id="bo")


async def test_a_team_runs_purchases_in_its_own_worker(
    bare_server: WorkflowEnvironment, tmp_path: Path
) -> None:
    """Beside its own workflow: a purchase is paid, notified, refunded and closed."""
    services = Services(settings(tmp_path))
    plugin = RecoursePlugin(services)
    client = await Client.connect(embedded.address(bare_server.client), plugins=[plugin])
    async with Worker(
        client, task_queue=TASK_QUEUE, workflows=[TheirWorkflow], activities=[double]
    ):
        theirs = await client.execute_workflow(
            TheirWorkflow.run, 1, id=f"theirs-{tmp_path.name}", task_queue=TASK_QUEUE
        )
        terms = purchase("pm_sandbox_at_once")
        bought = Purchase(client, terms.purchase_id)
        await bought.start(terms)
        handle: Handle = bought.handle
        await until(handle, lambda found: found.payment == "held")
        await bought.send(GiveRefund(by=FREELANCER, message_id="m-1"))
        await skip(bare_server, handle)
        result = await handle.result()
    notified = {(each.role, each.status) for each in services.notices.list(bought.id)}
    services.close()
    assert theirs == 2
    assert result.refunded == 25_000
    assert notified == {("client", "sent"), ("freelancer", "sent")}


async def test_a_worker_of_another_queue_is_rejected(
    bare_server: WorkflowEnvironment, services: Services
) -> None:
    """No purchase would ever be run."""
    with pytest.raises(WrongSetting, match="task queue is 'mine'"):
        Worker(bare_server.client, task_queue="mine", plugins=[RecoursePlugin(services)])


async def test_a_replayer_with_the_plugin_replays_purchases() -> None:
    replayer = Replayer(workflows=[TheirWorkflow], plugins=[RecoursePlugin()])
    await replayer.replay_workflow(read(HISTORIES[0]))


async def test_the_worker_on_the_page_runs_beside_a_workflow_of_its_own(
    bare_server: WorkflowEnvironment, tmp_path: Path
) -> None:
    """Its file imports Recourse without passing it through the sandbox."""
    (program,) = (each for each in blocks("python") if "RecoursePlugin(services)" in each)
    status, said = await run_program(bare_server, program, tmp_path)
    assert status == 0, said
    assert said.splitlines()[-2:] == ["Reserved: Logo design", "awaiting_requirements"]


async def test_the_worker_on_the_page_runs_on_a_queue_of_its_own(
    server: WorkflowEnvironment, worker: object, tmp_path: Path
) -> None:
    """As the page says: without services, if another worker runs the purchases."""
    (program,) = (each for each in blocks("python") if "RecoursePlugin(services)" in each)
    program = program.replace("RecoursePlugin(services)", "RecoursePlugin()")
    program = program.replace("=TASK_QUEUE", "='team'")
    status, said = await run_program(server, program, tmp_path)
    assert status == 0, said
    assert said.splitlines()[-2:] == ["Reserved: Logo design", "awaiting_requirements"]
