"""A purchase that an operator resets to any point moves no money twice and shows the reset."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.services import Services
from demo.runner import Handle, send, skip, until
from demo.scenarios import PRICE
from temporal.directory import TemporalPurchaseDirectory
from tests.proof.counts import counted
from tests.purchases import PAYMENTS, held
from workflows.messages import PurchaseResult, Role

pytestmark = pytest.mark.usefixtures("worker")

TASK_DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
ALL_MESSAGES = (
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
)


@dataclass(frozen=True)
class RefundedPurchase:
    """A refunded, closed purchase. `tasks` are the ids of its WorkflowTaskCompleted events, `last`
    is the id of its last event."""

    server: WorkflowEnvironment
    handle: Handle
    purchase_id: str
    run_id: str
    tasks: list[int]
    last: int

    async def reset(self, event_id: int, leave_out: tuple[Any, ...] = ()) -> bool:
        """Reset to just before an event. False if the server rejects that: it can reset only to a
        workflow task."""
        try:
            await self.server.client.workflow_service.reset_workflow_execution(
                ResetWorkflowExecutionRequest(
                    namespace=self.server.client.namespace,
                    workflow_execution=WorkflowExecution(
                        workflow_id=self.handle.id, run_id=self.run_id
                    ),
                    reason="a test",
                    request_id=f"{self.run_id}-{event_id}",
                    workflow_task_finish_event_id=event_id,
                    reset_reapply_exclude_types=leave_out,
                ),
                retry=True,
            )
        except RPCError as rejection:
            if rejection.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            return False
        return True

    @property
    def again(self) -> Handle:
        """The newest run."""
        client = self.server.client
        return client.get_workflow_handle(self.handle.id, result_type=PurchaseResult)


async def refunded(server: WorkflowEnvironment, *, named: bool = True) -> RefundedPurchase:
    """A purchase whose refund was approved and settled. With `named`, the provider's report of the
    settlement carries the provider's reference."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.CLIENT, "cancel")
    await send(handle, Role.FREELANCER, "decide_refund", decision="approve")
    found = await until(handle, lambda found: bool(found.refund and found.refund.reference))
    assert found.refund is not None
    report = {"by": PAYMENTS, "refund_id": found.refund.refund_id, "status": "settled"}
    name = {"reference": found.refund.reference} if named else {}
    await handle.signal("settlement_update", report | name)
    await handle.result()
    run_id = (await handle.describe()).run_id
    events = (await handle.fetch_history()).events
    tasks = [event.event_id for event in events if event.event_type == TASK_DONE]
    return RefundedPurchase(server, handle, found.purchase_id, run_id, tasks, events[-1].event_id)


async def card(handle: Handle) -> str:
    """The status card, queried as the Web UI does."""
    metadata: WorkflowMetadata = await handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return metadata.current_details


def check(purchase: RefundedPurchase, result: PurchaseResult, services: Services) -> None:
    """Check that the purchase ended as before the reset, and that there is one refund."""
    assert (result.outcome, result.reason) == ("refunded", "refund_approved")
    assert (result.refunded, result.released) == (PRICE, 0)
    assert [leg.key for leg in services.ledger.transfers(purchase.purchase_id)] == [
        f"{purchase.handle.id}/{step}" for step in ("hold", "refund", "settled")
    ]
    sent = [refund.refund_id for refund in services.provider.statement().refunds]
    assert [key for key in sent if key.startswith(f"{purchase.handle.id}/")] == [
        f"{purchase.handle.id}/refund"
    ]


async def test_a_reset_at_every_event_moves_no_money(
    server: WorkflowEnvironment, services: Services, record_property: Callable[[str, object], None]
) -> None:
    """The purchase is reset once per event, without waiting for the run before. The last run ends
    as the first one did, and the audit finds no difference."""
    purchase = await refunded(server)
    before = services.ledger.transfers(purchase.purchase_id)

    done = [event_id for event_id in range(1, purchase.last + 1) if await purchase.reset(event_id)]
    await skip(server, purchase.again)

    assert len(done) > len(purchase.tasks) / 2
    check(purchase, await purchase.again.result(), services)
    assert services.ledger.transfers(purchase.purchase_id) == before
    found = await reconcile(
        services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
    )
    assert purchase.purchase_id not in {item.purchase_id for item in found.differences}
    record_property("proof", counted("a finished refund reset", {"resets": len(done)}))


async def test_a_reset_purchase_ends_as_before_and_is_marked_on_the_card(
    server: WorkflowEnvironment, services: Services
) -> None:
    """One purchase per workflow task is reset to that task."""
    first = await refunded(server)

    async def at(number: int) -> bool:
        purchase = await refunded(server)
        before = services.ledger.transfers(purchase.purchase_id)
        if not await purchase.reset(purchase.tasks[min(number, len(purchase.tasks) - 1)]):
            return False
        await skip(server, purchase.again)
        check(purchase, await purchase.again.result(), services)
        assert services.ledger.transfers(purchase.purchase_id) == before
        assert "This run was reset" in await card(purchase.again)
        return True

    reset = await asyncio.gather(*(at(number) for number in range(len(first.tasks))))

    assert sum(reset) > len(reset) / 2


async def test_a_settlement_reported_in_another_way_after_a_reset_is_recorded_once(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The provider reported the settlement without a reference. After the reset that report comes
    too early, so the purchase asks the provider and gets a reference: the ledger keeps one
    settlement."""
    purchase = await refunded(server, named=False)
    before = services.ledger.transfers(purchase.purchase_id)

    assert await purchase.reset(purchase.tasks[0])
    skipping = asyncio.create_task(skip(server, purchase.again))
    found = await until(
        purchase.again, lambda found: bool(found.attention) or found.stage == "closed"
    )
    skipping.cancel()

    assert not found.attention
    assert services.ledger.transfers(purchase.purchase_id) == before


async def test_another_decision_after_a_reset_is_rejected_by_the_ledger(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A reset drops the messages, and this time the freelancer declines. The refund was already
    posted, so the ledger rejects another decision and the purchase asks for attention."""
    purchase = await refunded(server)
    before = services.ledger.transfers(purchase.purchase_id)

    assert await purchase.reset(purchase.tasks[0], ALL_MESSAGES)
    again = purchase.again
    await until(again, lambda found: found.payment == "held")
    await send(again, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(again, Role.CLIENT, "cancel")
    await send(again, Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)
    await send(again, Role.CLIENT, "accept_claim")
    found = await until(again, lambda found: bool(found.attention))

    assert "The ledger rejected the operation" in found.attention[0].text
    assert "has a decision already" in found.attention[0].text
    assert services.ledger.transfers(purchase.purchase_id) == before
    shown = await card(again)
    assert "This run was reset" in shown
    assert "Needs attention" in shown
    await again.terminate("seen")
