"""A purchase that another program starts is shown like ours, as far as the server allows."""

import asyncio

from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from activities.requests import TASK_QUEUE
from demo.runner import Handle, skip, until
from docs.samples import START
from temporal.converter import DATA_CONVERTER
from temporal.listing import find
from temporal.runner import Runner, WritesCards
from tests.purchases import numbers
from workflows import view
from workflows.purchase import ProjectPurchase


async def started(server: WorkflowEnvironment, client_id: str) -> Handle:
    """A purchase that was started with nothing but its input."""
    purchase_id = f"bare-{next(numbers)}"
    party = {**START["client"], "id": client_id}
    handle: Handle = await server.client.start_workflow(
        "ProjectPurchase",
        {**START, "purchase_id": purchase_id, "client": party},
        id=f"purchase-{purchase_id}",
        task_queue=TASK_QUEUE,
    )
    await until(handle, lambda found: found.payment == "held")
    return handle


async def test_lists_show_its_title_and_terms(server: WorkflowEnvironment, worker: Worker) -> None:
    await started(server, "bare-client")
    for _ in range(100):
        found = await find(server.client, {view.CLIENT: "bare-client"})
        if found and found[0].terms:
            break
        await asyncio.sleep(0.1)
    (listed,) = found
    assert listed.title == "Logo design"
    assert listed.terms == "Logo design · 250.00 USD · bare-client → bo"


async def test_its_history_replays(server: WorkflowEnvironment, worker: Worker) -> None:
    handle = await started(server, "bare-replayed")
    await handle.signal("cancel", {"by": {"role": "freelancer", "id": "bo"}})
    await skip(server, handle)
    history: WorkflowHistory = await handle.fetch_history()
    replayer = Replayer(
        workflows=[ProjectPurchase],
        workflow_runner=Runner(),
        interceptors=[WritesCards()],
        data_converter=DATA_CONVERTER,
    )
    await replayer.replay_workflow(history)
