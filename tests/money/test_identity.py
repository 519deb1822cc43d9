"""An id stands for one purchase, with or without Temporal's memory of the first one."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyType
from temporalio.api.workflowservice.v1 import (
    ResetWorkflowExecutionRequest,
)
from temporalio.common import WorkflowIDReusePolicy
from temporalio.testing import WorkflowEnvironment

from activities.database import create_engine, migrate
from activities.keys import workflow_id_of
from activities.ledger import Ledger
from activities.requests import TASK_QUEUE
from activities.restore import restore
from activities.services import Services
from demo.runner import Handle, send, skip, start, status, until
from temporal.directory import TemporalPurchaseDirectory
from temporal.purchases import Purchase
from tests.purchases import adopted, deleted, held, input_error, purchase, purchase_of
from workflows.acceptance import ADOPTED_RUN
from workflows.messages import PurchaseStart, Role

pytestmark = pytest.mark.usefixtures("worker")

OTHERS = {
    "another client": {"client": {"id": "eve", "name": "Eve", "email": "eve@example.com"}},
    "another price": {"price": {"amount": 1, "currency": "USD"}},
    "a declined card": {"payment_method": "pm_sandbox_declined"},
    "the same terms": {},
}


async def bought(server: WorkflowEnvironment, terms: PurchaseStart) -> Handle:
    """Start it as any client does: under the default policy for workflow ids."""
    purchase = Purchase(server.client, terms.purchase_id)
    await purchase.start(terms, reuse=WorkflowIDReusePolicy.ALLOW_DUPLICATE)
    return purchase.handle


async def rejection(handle: Handle) -> str:
    """Why a purchase that can never begin failed; it must not have shown any money."""
    why = await input_error(handle)
    found = await status(handle)
    assert (found.payment, found.escrow.held) == ("pending", 0)
    return why


async def refunded(server: WorkflowEnvironment, terms: PurchaseStart) -> None:
    """Buy, give the money back, and wait until the purchase is closed."""
    handle = await start(server.client, terms)
    await until(handle, lambda found: found.payment == "held")
    await send(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle)
    assert (await handle.result()).outcome == "refunded"


def moved(services: Services, purchase_id: str) -> tuple[object, ...]:
    """Everything that ledger and provider have on record about a purchase."""
    key, statement = workflow_id_of(purchase_id), services.provider.statement()
    return (
        services.ledger.transfers(purchase_id),
        [each for each in statement.charges if each.key.startswith(f"{key}/")],
        [each for each in statement.refunds if each.refund_id.startswith(f"{key}/")],
    )


@pytest.mark.parametrize("changed", OTHERS.values(), ids=OTHERS)
async def test_the_id_of_a_closed_purchase_is_never_used_again(
    server: WorkflowEnvironment, services: Services, changed: dict[str, Any]
) -> None:
    """The second one fails in words that name the first, before any money moves."""
    first = purchase()
    await refunded(server, first)
    before = moved(services, first.purchase_id)

    second = PurchaseStart.model_validate(first.model_dump(mode="json") | changed)
    why = await rejection(await bought(server, second))

    assert f"Purchase {first.purchase_id} was bought before, by ana from bo for 250.00 USD" in why
    assert "start it with a new id" in why
    assert moved(services, first.purchase_id) == before
    assert services.ledger.audit() == []


async def test_the_id_stays_used_when_temporal_has_forgotten_the_purchase(
    server: WorkflowEnvironment, services: Services
) -> None:
    """After a deletion, and as after the retention, no history is left."""
    first = purchase()
    await refunded(server, first)
    await deleted(server, first.purchase_id)
    again = await bought(server, first)
    assert "was bought before, by ana from bo" in await rejection(again)


async def test_the_id_of_a_purchase_whose_card_was_declined_is_used_too(
    server: WorkflowEnvironment, services: Services
) -> None:
    """Its charge has the key under which another one would be made."""
    first = purchase("pm_sandbox_declined")
    await (await start(server.client, first)).result()
    second = first.model_copy(update={"payment_method": "pm_sandbox_ok"})
    assert "was bought before" in await rejection(await bought(server, second))
    assert moved(services, first.purchase_id) == ([], [], [])


async def test_a_purchase_that_cannot_be_paid_burns_no_id(
    server: WorkflowEnvironment, services: Services
) -> None:
    """An unknown calendar is found before anything is registered: corrected, it is bought."""
    terms = purchase(policy={"calendar": "XX"})
    assert "XX" in await rejection(await bought(server, terms))
    corrected = terms.model_copy(update={"policy": purchase().policy})
    handle = await bought(server, corrected)
    await until(handle, lambda found: found.payment == "held")


@pytest.mark.parametrize("terminated", [False, True], ids=["running", "terminated"])
async def test_a_reset_to_its_first_task_is_the_same_purchase(
    server: WorkflowEnvironment, services: Services, *, terminated: bool
) -> None:
    """The payment is asked for again, and found."""
    handle = await held(server)
    before = moved(services, purchase_of(handle))
    if terminated:
        await handle.terminate("by mistake")
    await reset(server, handle)
    handle = server.client.get_workflow_handle(handle.id)
    await until(handle, lambda found: found.payment == "held")
    assert moved(services, purchase_of(handle)) == before


async def test_an_adopted_purchase_may_be_reset_too(
    server: WorkflowEnvironment, services: Services
) -> None:
    """`adopt` begins a new first run, and every reset keeps it."""
    handle = await held(server)
    await handle.terminate("by mistake")
    handle = await adopted(server, services, purchase_of(handle))
    await until(handle, lambda found: found.payment == "held")
    await reset(server, handle)
    while not await Purchase(server.client, purchase_of(handle)).saved_state():  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # it loads its state again
    assert (await status(handle)).payment == "held"


async def reset(server: WorkflowEnvironment, handle: Handle) -> None:
    """Reset to the first workflow task, as `--type FirstWorkflowTask` does."""
    found = await server.client.get_workflow_handle(handle.id).describe()
    await server.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=server.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=found.run_id),
            reason="a test",
            workflow_task_finish_event_id=4,
            request_id=str(uuid.uuid4()),
            reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_ALL_ELIGIBLE,
        )
    )


async def test_a_purchase_with_money_inside_is_not_started_again_but_adopted(
    server: WorkflowEnvironment, services: Services
) -> None:
    """Another system repeats its start after a purchase was terminated: a new run would forget the
    delivery, and give the client the money back after 48 h."""
    terms = purchase()
    handle = await start(server.client, terms)
    await until(handle, lambda found: found.payment == "held")
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.FREELANCER, "deliver")
    was = await status(handle)
    await handle.terminate("by mistake")
    before = moved(services, terms.purchase_id)

    why = await rejection(await bought(server, terms))
    assert f"run recourse adopt {terms.purchase_id}" in why
    assert "new id" not in why
    assert "Send the corrected input" not in why
    assert moved(services, terms.purchase_id) == before

    handle = await adopted(server, services, terms.purchase_id)
    found = await status(handle)
    assert (found.stage, found.deadlines) == (was.stage, was.deadlines)


async def test_nobody_begins_a_registered_purchase_again_by_a_memo(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The name under which the ledger keeps its terms is known to everybody."""
    terms = purchase()
    await refunded(server, terms)
    forged = await server.client.start_workflow(
        "ProjectPurchase",
        terms,
        id=workflow_id_of(terms.purchase_id),
        task_queue=TASK_QUEUE,
        memo={ADOPTED_RUN: "terms"},
    )
    assert "The ledger has no state" in await input_error(forged)


async def test_a_restored_purchase_keeps_its_id(
    server: WorkflowEnvironment, services: Services, tmp_path: Path
) -> None:
    """The ledger has lost what was bought, too: restore registers it again, with its terms."""
    terms = purchase()
    await refunded(server, terms)
    engine = create_engine(f"sqlite:///{tmp_path}/older.db")
    migrate(engine)
    older, directory = Ledger(engine), TemporalPurchaseDirectory(server.client)
    report = await restore(older, services.provider, directory, terms.purchase_id)
    assert len(report.rebuilt) == 3
    assert terms.purchase_id in older.snapshot().registered
    assert older.find_state(terms.purchase_id) == services.ledger.find_state(terms.purchase_id)
    engine.dispose()
