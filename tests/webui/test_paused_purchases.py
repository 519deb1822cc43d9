"""A purchase that an operator has paused disturbs neither lists nor the audit."""

import pytest
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from demo.runner import Handle
from temporal.directory import TemporalPurchaseDirectory
from temporal.errors import Failure
from temporal.listing import find
from temporal.purchases import Purchase
from tests.purchases import held, purchase_of
from tests.webui.conftest import WebUiServer


async def paused(server: WorkflowEnvironment) -> Handle:
    """A paused purchase with money in escrow."""
    handle = await held(server)
    client = server.client
    await client.workflow_service.pause_workflow_execution(
        PauseWorkflowExecutionRequest(namespace=client.namespace, workflow_id=handle.id), retry=True
    )
    return handle


async def test_a_paused_purchase_is_listed(web_ui: WebUiServer) -> None:
    """The list includes it."""
    handle = await paused(web_ui.server)

    found = await find(web_ui.server.client, {})

    assert purchase_of(handle) in {item.purchase_id for item in found}


async def test_a_paused_purchase_is_no_difference_in_the_audit(web_ui: WebUiServer) -> None:
    """The audit finds its money accounted for."""
    handle = await paused(web_ui.server)

    directory = TemporalPurchaseDirectory(web_ui.server.client)
    found = await reconcile(web_ui.services.ledger, web_ui.services.provider, directory)

    assert purchase_of(handle) not in {item.purchase_id for item in found.differences}


async def test_the_status_of_a_paused_purchase_is_a_sentence(web_ui: WebUiServer) -> None:
    """A paused workflow answers no query, so the command reports that it is paused."""
    handle = await paused(web_ui.server)

    with pytest.raises(Failure, match="paused"):
        await Purchase(web_ui.server.client, purchase_of(handle)).status()
