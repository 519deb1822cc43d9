"""Forgets the persons of a purchase that has ended: in the ledger and at the Temporal server.

The ledger keeps ids, amounts, times and policy. Names, addresses, texts and notices are encrypted
with the purchase's own key, which is destroyed; its histories are deleted.
"""

import asyncio
from datetime import datetime
from shlex import quote

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.keys import aftercare_id_of, workflow_id_of
from activities.ledger import Ledger, LedgerRejected
from activities.requests import Model
from temporal.aftercare import AftercareCase
from temporal.errors import Rejected
from temporal.executions import Execution, executions, literal, newest
from temporal.purchases import Purchase


class ForgottenPurchase(Model):
    """What was forgotten, or would be. `histories`: of the purchase, its aftercare and notices."""

    purchase_id: str
    forgotten: bool
    histories: int


async def forget(
    client: Client, ledger: Ledger, purchase_id: str, now: datetime, *, dry_run: bool
) -> ForgottenPurchase:
    """Forget the persons of a purchase. Repeated, it succeeds and changes nothing.

    Raises Failure: RUNNING, or the code with which the ledger rejects it.
    """
    for each in (Purchase(client, purchase_id), AftercareCase(client, purchase_id)):
        if await each.is_running():
            raise Rejected(
                "RUNNING", f"{each.workflow_id} is running: its parties still need its messages."
            )
    try:
        await asyncio.to_thread(ledger.forget, purchase_id, now, dry_run=True)
        found = await _histories(client, purchase_id)
        if not dry_run:
            await asyncio.to_thread(ledger.forget, purchase_id, now)
    except LedgerRejected as error:
        raise Rejected(error.code, error.text) from None
    if not dry_run:
        for run in found:
            await _delete(client, WorkflowExecution(workflow_id=run.id, run_id=run.run_id))
    return ForgottenPurchase(purchase_id=purchase_id, forgotten=not dry_run, histories=len(found))


async def _histories(client: Client, purchase_id: str) -> list[Execution]:
    """The runs of the purchase, its aftercare and its notices. Raises Rejected `RUNNING` if one of
    them still sends notices or events: they would be lost, and nothing would say so."""
    workflow, aftercare = workflow_id_of(purchase_id), aftercare_id_of(purchase_id)
    query = (
        f"WorkflowId IN ({literal(workflow)}, {literal(aftercare)}) OR WorkflowId STARTS_WITH "
        f"{literal(f'{workflow}/notices/')} OR WorkflowId STARTS_WITH "
        f"{literal(f'{aftercare}/notices/')}"
    )
    found = [each async for each in executions(client, query)]
    for each in found:
        # A list is a moment late; the run may have ended meanwhile.
        run = await newest(client, each.id, each.run_id) if each.is_open else None
        if run and run.is_open:
            raise Rejected(
                "RUNNING",
                f"{each.id} still sends notices or events, for three days at most. To see why they "
                f"wait: recourse notices {quote(purchase_id)}, recourse events "
                f"{quote(purchase_id)}. Forget it after that.",
            )
    return found


async def _delete(client: Client, run: WorkflowExecution) -> None:
    request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=run)
    try:
        await client.workflow_service.delete_workflow_execution(request, retry=True)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # it is deleted already
            raise
