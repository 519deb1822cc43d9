"""A purchase keeps the terms that it was accepted with, under every later release."""

from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from activities.requests import TASK_QUEUE
from demo.runner import Handle, send, status, until
from docs.samples import START
from temporal import embedded
from tests.operation.processes import working
from workflows.messages import Role

LEAST = {name: value for name, value in START.items() if name not in ("policy", "purchased_at")}


async def bought(server: WorkflowEnvironment, purchase_id: str, **changed: Any) -> Handle:
    """A purchase that another system's client started, without a policy or with a part of one."""
    given = {**LEAST, "purchase_id": purchase_id, **changed}
    handle = await server.client.start_workflow(
        "ProjectPurchase", given, id=f"purchase-{purchase_id}", task_queue=TASK_QUEUE
    )
    typed: Handle = server.client.get_workflow_handle(handle.id)
    await until(typed, lambda found: found.payment == "held")
    return typed


async def windows(handle: Handle) -> dict[str, float]:
    """Hours from the start to each deadline."""
    found = await status(handle)
    begun = (await handle.describe()).start_time
    return {each.name: (each.at - begun).total_seconds() / 3600 for each in found.deadlines}


async def test_changed_defaults_move_no_deadline_of_a_running_purchase(tmp_path: Path) -> None:
    """R-10, R-32: a release with other defaults comes while purchases run. Deadlines that are open
    stay, and so do the windows of those that start later; new purchases have the new defaults."""
    async with embedded.server() as server:
        async with working(server, tmp_path):
            without = await bought(server, "t-without")
            partly = await bought(server, "t-partly", policy={"requirements_window": "PT30H"})
            before = [await windows(without), await windows(partly)]
        async with working(server, tmp_path, "other_release", PYTHONPATH="tests"):
            after = [await windows(without), await windows(partly)]
            for handle in (without, partly):
                await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
                await send(handle, Role.CLIENT, "cancel")
            later = [await windows(without), await windows(partly)]
            new = await windows(await bought(server, "t-new"))

    assert [each["requirements"] for each in before] == [48, 30]
    assert after == before
    assert [round(each["refund_decision"] / 24) for each in later] == [7, 7]
    assert new["requirements"] == 60
