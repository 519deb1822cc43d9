"""A purchase that an operator reset, to any point: no money moves twice, and it says so."""

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
from demo.runner import Handle, say, skip, until
from demo.scenarios import PRICE
from temporal.directory import TemporalPurchaseDirectory
from tests.proof.count import counted
from tests.purchases import PAYMENTS, held
from workflows.messages import PurchaseResult, Role

pytestmark = pytest.mark.usefixtures("worker")

TASK_DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
EVERY_MESSAGE = (
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
)


@dataclass(frozen=True)
class Told:
    """A purchase that was refunded and is closed; `tasks` are the events at which the workflow had
    done a task, `last` is the last event of all."""

    server: WorkflowEnvironment
    handle: Handle
    purchase_id: str
    run_id: str
    tasks: list[int]
    last: int

    async def reset(self, event_id: int, leave_out: tuple[Any, ...] = ()) -> bool:
        """Go back to just before an event. False if the server does not: it can only begin again
        where a task of the workflow was written down by itself."""
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


async def refunded(server: WorkflowEnvironment, *, named: bool = True) -> Told:
    """Requirements, cancel, approved, and the provider reports that the money has arrived, by its
    own name for the refund or without one."""
    handle = await held(server)
    await say(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await say(handle, Role.CLIENT, "cancel")
    await say(handle, Role.FREELANCER, "decide_refund", decision="approve")
    found = await until(handle, lambda found: bool(found.refund and found.refund.reference))
    assert found.refund is not None
    report = {"by": PAYMENTS, "refund_id": found.refund.refund_id, "status": "settled"}
    name = {"reference": found.refund.reference} if named else {}
    await handle.signal("settlement_update", report | name)
    await handle.result()
    run_id = (await handle.describe()).run_id
    events = (await handle.fetch_history()).events
    tasks = [event.event_id for event in events if event.event_type == TASK_DONE]
    return Told(server, handle, found.purchase_id, run_id, tasks, events[-1].event_id)


async def card(handle: Handle) -> str:
    """The status card as the Web UI asks for it."""
    metadata: WorkflowMetadata = await handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return metadata.current_details


def check(told: Told, result: PurchaseResult, services: Services) -> None:
    """It ended as it had ended before, and the provider was asked for one refund."""
    assert (result.outcome, result.reason) == ("refunded", "refund_approved")
    assert (result.refunded, result.released) == (PRICE, 0)
    assert [leg.key for leg in services.ledger.transfers(told.purchase_id)] == [
        f"{told.handle.id}/{step}" for step in ("hold", "refund", "settled")
    ]
    sent = [refund.refund_id for refund in services.provider.statement().refunds]
    assert [key for key in sent if key.startswith(f"{told.handle.id}/")] == [
        f"{told.handle.id}/refund"
    ]


async def test_a_reset_at_every_event_moves_no_money(
    server: WorkflowEnvironment, services: Services, record_property: Callable[[str, object], None]
) -> None:
    """One after the other, each wherever the one before it has come to; the last run ends as the
    first one did, and the books agree with the server."""
    told = await refunded(server)
    before = services.ledger.transfers(told.purchase_id)

    done = [event_id for event_id in range(1, told.last + 1) if await told.reset(event_id)]
    await skip(server, told.again)

    assert len(done) > len(told.tasks) / 2
    check(told, await told.again.result(), services)
    assert services.ledger.transfers(told.purchase_id) == before
    found = await reconcile(
        services.ledger, services.provider, TemporalPurchaseDirectory(server.client)
    )
    assert told.purchase_id not in {item.purchase_id for item in found.differences}
    record_property("proof", counted("a finished refund reset", {"resets": len(done)}))


async def test_a_purchase_that_was_reset_ends_as_before_and_says_so(
    server: WorkflowEnvironment, services: Services
) -> None:
    """From each of its tasks on, each with a purchase of its own."""
    first = await refunded(server)

    async def at(number: int) -> bool:
        told = await refunded(server)
        before = services.ledger.transfers(told.purchase_id)
        if not await told.reset(told.tasks[min(number, len(told.tasks) - 1)]):
            return False
        await skip(server, told.again)
        check(told, await told.again.result(), services)
        assert services.ledger.transfers(told.purchase_id) == before
        assert "This run was reset" in await card(told.again)
        return True

    reset = await asyncio.gather(*(at(number) for number in range(len(first.tasks))))

    assert sum(reset) > len(reset) / 2


async def test_a_settlement_that_is_found_out_otherwise_after_a_reset_is_the_same(
    server: WorkflowEnvironment, services: Services
) -> None:
    """First the provider reported it without a reference; after the reset its report comes too
    early, and the purchase asks and gets the reference: one settlement all the same."""
    told = await refunded(server, named=False)
    before = services.ledger.transfers(told.purchase_id)

    assert await told.reset(told.tasks[0])
    skipping = asyncio.create_task(skip(server, told.again))
    found = await until(told.again, lambda found: bool(found.attention) or found.stage == "closed")
    skipping.cancel()

    assert not found.attention
    assert services.ledger.transfers(told.purchase_id) == before


async def test_another_decision_after_a_reset_is_refused_by_the_ledger(
    server: WorkflowEnvironment, services: Services
) -> None:
    """The messages are left out, and the freelancer now declines: the money has gone to the client,
    so that the ledger refuses to move it again, and a person is asked for."""
    told = await refunded(server)
    before = services.ledger.transfers(told.purchase_id)

    assert await told.reset(told.tasks[0], EVERY_MESSAGE)
    again = told.again
    await until(again, lambda found: found.payment == "held")
    await say(again, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await say(again, Role.CLIENT, "cancel")
    await say(again, Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)
    await say(again, Role.CLIENT, "accept_claim")
    found = await until(again, lambda found: bool(found.attention))

    assert "The ledger rejected the operation" in found.attention[0].text
    assert "its one decision about money already" in found.attention[0].text
    assert services.ledger.transfers(told.purchase_id) == before
    shown = await card(again)
    assert "This run was reset" in shown
    assert "Needs attention" in shown
    await again.terminate("seen")
