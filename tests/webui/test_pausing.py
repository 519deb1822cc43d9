"""A purchase that an operator paused: everything else goes on around it."""

import pytest
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from demo.runner import Handle
from starter.failures import Failure
from temporal.directory import TemporalPurchaseDirectory
from temporal.purchases import Purchase, find
from tests.purchases import held, purchase_of
from tests.webui.conftest import Desk


async def paused(server: WorkflowEnvironment) -> Handle:
    """A purchase with money in escrow."""
    handle = await held(server)
    client = server.client
    await client.workflow_service.pause_workflow_execution(
        PauseWorkflowExecutionRequest(namespace=client.namespace, workflow_id=handle.id), retry=True
    )
    return handle


async def test_it_is_listed(desk: Desk) -> None:
    """With all the others."""
    handle = await paused(desk.server)

    found = await find(desk.server.client, {})

    assert purchase_of(handle) in {item.purchase_id for item in found}


async def test_it_is_no_difference_in_the_audit(desk: Desk) -> None:
    """Its money is looked after."""
    handle = await paused(desk.server)

    directory = TemporalPurchaseDirectory(desk.server.client)
    found = await reconcile(desk.services.ledger, desk.services.provider, directory)

    assert purchase_of(handle) not in {item.purchase_id for item in found.differences}


async def test_it_says_that_it_is_paused(desk: Desk) -> None:
    """Asked for its status, it has a sentence instead of a status."""
    handle = await paused(desk.server)

    with pytest.raises(Failure, match="paused"):
        await Purchase(desk.server.client, purchase_of(handle)).status()
