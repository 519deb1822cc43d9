"""`adopt`: continue a purchase whose workflow was terminated with money in escrow.

The new run begins where the old run's history ends: with the same decisions, deadlines and answered
messages. Activity calls that were pending are made again. Every movement keeps its idempotency key,
so the ledger and the provider recognise what has already happened, and no money moves twice.
"""

import uuid

from rich.text import Text
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy

from activities.amounts import format_amount
from activities.keys import workflow_id_of
from activities.ledger import Ledger, PurchaseBalances
from activities.requests import Model, Money
from starter import show
from starter.books import opened, opened_provider
from starter.exits import command
from starter.options import Json, PurchaseId, read_id
from temporal.client import connect
from temporal.errors import Rejected
from temporal.executions import Execution
from temporal.purchases import Purchase


class Adopted(Model):
    """An adopted purchase."""

    purchase_id: str
    run_id: str
    what: str


@command
async def adopt(purchase_id: PurchaseId, as_json: Json = False) -> None:
    """Resume a purchase that was terminated with money in escrow; no money moves twice."""
    purchase_id = read_id(purchase_id, "PURCHASE")
    client = await connect()
    with opened() as engine:
        money = money_inside(Ledger(engine).balances(purchase_id)) or _paid(purchase_id)
    adopted = await resume(client, purchase_id, money)
    show.answer(adopted, Text(adopted.what), as_json=as_json)


async def resume(client: Client, purchase_id: str, money: str | None) -> Adopted:
    """Continue a purchase that has `money` in escrow.

    Raises Failure: NOT_FOUND, RUNNING, CLOSED, NO_MONEY.
    """
    purchase = Purchase(client, purchase_id)
    ended = await purchase.newest()
    if ended is None:
        raise Rejected(
            "NOT_FOUND",
            f"The server has no history of purchase {purchase_id}. If it was kept elsewhere, "
            "import it. Otherwise, settle the money with the payment provider directly.",
        )
    if ended.is_open:
        raise Rejected("RUNNING", f"Purchase {purchase_id} is running; it cannot be adopted.")
    if not ended.is_ended:
        raise Rejected("CLOSED", f"Purchase {purchase_id} completed; it cannot be adopted.")
    if money is None:
        raise Rejected(
            "NO_MONEY",
            f"Purchase {purchase_id} has no money in escrow: it was never paid, or it is settled. "
            "To buy again, start a new purchase.",
        )
    last = await _last_task(purchase)
    if last:
        run_id = await _reset(client, ended, last)
    else:
        run_id = await _begin(purchase)
    return Adopted(
        purchase_id=purchase_id,
        run_id=run_id,
        what=f"Purchase {purchase_id} continues where it was ended, with {money}.",
    )


def money_inside(balances: PurchaseBalances | None) -> str | None:
    """Describe the money in escrow and in transit; None if there is none."""
    if balances is None or not (balances.held or balances.in_transit):
        return None
    held = format_amount(balances.held, balances.currency)
    in_transit = format_amount(balances.in_transit, balances.currency)
    return f"{held} in escrow and {in_transit} in transit"


def _paid(purchase_id: str) -> str | None:
    """Describe a payment that the provider has and the ledger does not."""
    with opened_provider() as provider:
        charge = provider.find_charge(f"{workflow_id_of(purchase_id)}/hold")
    paid: Money | None = charge.charged if charge else None
    return f"{paid} at the payment provider" if paid else None


async def _last_task(purchase: Purchase) -> int | None:
    """Return the last event that the workflow acted on."""
    last = None
    async for event in purchase.handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            last = event.event_id
    return last


async def _reset(client: Client, ended: Execution, last: int) -> str:
    answer = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=ended.id, run_id=ended.run_id),
            reason="adopted: it was ended with money in escrow",
            workflow_task_finish_event_id=last,
            request_id=str(uuid.uuid4()),
            reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_ALL_ELIGIBLE,
        ),
        retry=True,
    )
    return answer.run_id


async def _begin(purchase: Purchase) -> str:
    """Start it again with its terms: it was ended before its first workflow task."""
    terms = await purchase.terms()
    await purchase.start(terms, reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY)
    begun = await purchase.newest()
    return begun.run_id if begun else ""
