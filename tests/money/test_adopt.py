"""`adopt` resumes a terminated purchase where it was, and no money moves twice."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.requests import Difference
from activities.services import Services
from demo.runner import Handle, say, skip, start, status, until
from temporal.directory import TemporalPurchaseDirectory
from temporal.errors import Failure
from temporal.purchases import Purchase, find
from tests.money.environment import NOW
from tests.purchases import adopted, held, purchase, purchase_of
from workflows.messages import PurchaseStart, Role

DAY = timedelta(days=1)

pytestmark = pytest.mark.usefixtures("worker")


async def in_escrow(_: WorkflowEnvironment, handle: Handle) -> None:
    """The money is in escrow."""


async def cancelled(server: WorkflowEnvironment, handle: Handle) -> None:
    """The client cancelled two days ago."""
    await say(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await say(handle, Role.CLIENT, "cancel")
    await skip(server, handle, 2 * DAY)


async def decided(server: WorkflowEnvironment, handle: Handle) -> None:
    """The refund is pending."""
    await cancelled(server, handle)
    await say(handle, Role.FREELANCER, "decide_refund", decision="approve")
    await until(handle, lambda found: found.escrow.in_transit > 0)


Before = Callable[[WorkflowEnvironment, Handle], Awaitable[None]]


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (in_escrow, "requirements_timeout"),
        (cancelled, "freelancer_silent"),
        (decided, "refund_approved"),
    ],
    ids=["in escrow", "refund cancelled for", "refund in transit"],
)
async def test_a_terminated_purchase_is_found_adopted_and_completed(
    server: WorkflowEnvironment, services: Services, before: Before, reason: str
) -> None:
    """Audit, then adopt: one charge, one refund, the same outcome, and a clean audit."""
    handle = await held(server)
    await before(server, handle)
    purchase_id = purchase_of(handle)
    was = await status(handle)
    await handle.terminate("by mistake")

    (found,) = await differences(server, services, purchase_id)
    assert "its workflow is not running" in found.what
    assert f"adopt {purchase_id}" in found.what_to_do

    handle = await adopted(server, services, purchase_id)
    resumed = await status(handle)
    assert (resumed.stage, resumed.escrow) == (was.stage, was.escrow)
    assert [(each.name, each.at) for each in resumed.deadlines] == [
        (each.name, each.at) for each in was.deadlines
    ]
    assert await differences(server, services, purchase_id) == []
    listed = [each for each in await find(server.client, {}) if each.purchase_id == purchase_id]
    assert [each.workflow_status for each in listed] == ["running"]

    await skip(server, handle)
    result = await handle.result()
    assert (result.outcome, result.reason, result.refunded) == ("refunded", reason, 25000)
    moved = [transfer.key for transfer in services.ledger.transfers(purchase_id)]
    assert moved == [f"{handle.id}/{step}" for step in ("hold", "refund", "settled")]
    statement = services.provider.statement()
    assert [each.key for each in statement.charges].count(f"{handle.id}/hold") == 1
    assert [each.refund_id for each in statement.refunds].count(f"{handle.id}/refund") == 1
    assert await differences(server, services, purchase_id) == []


async def differences(
    server: WorkflowEnvironment, services: Services, purchase_id: str
) -> list[Difference]:
    report = await reconcile(
        services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
    )
    return [each for each in report.differences if each.purchase_id == purchase_id]


async def test_concurrent_adoptions_leave_one_run(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The second is rejected, because the purchase is running."""
    handle = await held(server)
    purchase_id = purchase_of(handle)
    await handle.terminate("by mistake")
    both = await asyncio.gather(
        *(adopted(server, services, purchase_id) for _ in range(2)), return_exceptions=True
    )
    assert [each.code for each in both if isinstance(each, Failure)] == ["RUNNING"]
    handle = server.client.get_workflow_handle(handle.id)
    assert (await status(handle)).stage == "awaiting_requirements"
    await say(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle)
    moved = [transfer.key for transfer in services.ledger.transfers(purchase_id)]
    assert moved == [f"{handle.id}/{step}" for step in ("hold", "refund", "settled")]


async def test_only_an_ended_purchase_with_money_can_be_adopted(
    server: WorkflowEnvironment, services: Services
) -> None:
    """Each rejection has its code."""
    running = await held(server)
    assert await rejected(server, services, running) == "RUNNING"
    assert await rejected(server, services, server.client.get_workflow_handle("purchase-none")) == (
        "NOT_FOUND"
    )
    closed = await start(server.client, purchase("pm_sandbox_declined"))
    await closed.result()
    assert await rejected(server, services, closed) == "CLOSED"
    unpaid = await start(server.client, purchase("pm_sandbox_unreachable"))
    await status(unpaid)
    await unpaid.terminate("by mistake")
    assert await rejected(server, services, unpaid) == "NO_MONEY"


async def rejected(server: WorkflowEnvironment, services: Services, handle: Handle) -> str:
    with pytest.raises(Failure) as failure:
        await adopted(server, services, purchase_of(handle))
    return failure.value.code


async def test_a_purchase_ended_before_its_first_task_starts_with_its_terms(
    server: WorkflowEnvironment, services: Services
) -> None:
    """It was charged but not held: the charge is found, not made again."""
    terms = PurchaseStart.model_validate(purchase().model_dump(mode="json"))
    bought = Purchase(server.client, terms.purchase_id)
    key = f"{bought.workflow_id}/hold"
    services.provider.charge(key, terms.price, terms.payment_method, terms.purchased_at or NOW)
    await bought.start(terms)
    await bought.handle.terminate("at once")
    await adopted(server, services, bought.id)
    await until(bought.handle, lambda found: found.payment == "held")
    assert [each.key for each in services.provider.statement().charges].count(key) == 1
