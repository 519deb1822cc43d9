"""Helpers for tests that run purchases on a real server."""

import asyncio
import itertools
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    ResetWorkflowExecutionRequest,
)
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.keys import purchase_of_workflow, workflow_id_of
from activities.requests import ErrorType, Money
from activities.sealing import UNENCRYPTED
from activities.services import Services
from demo.runner import Handle, start, until
from demo.scenarios import SCENARIOS
from temporal.adoption import Adoption
from temporal.purchases import Purchase
from workflows.messages import PurchaseResult, PurchaseStart

CLIENT = {"role": "client", "id": "ana"}
FREELANCER = {"role": "freelancer", "id": "bo"}
OPERATOR = {"role": "operator", "id": "operator-1"}
PAYMENTS = {"role": "payments", "id": "sandbox"}
numbers = itertools.count(1)


def purchase(method: str = "pm_sandbox_ok", **changed: Any) -> PurchaseStart:
    """The start input of a purchase with a new id."""
    given = SCENARIOS[0].start(f"t-{next(numbers)}").model_dump(mode="json")
    return PurchaseStart.model_validate({**given, "payment_method": method, **changed})


def purchase_of(handle: Handle) -> str:
    """The id of a handle's purchase."""
    return purchase_of_workflow(handle.id)


async def held(server: WorkflowEnvironment, **changed: Any) -> Handle:
    """Start a purchase and wait until its money is in escrow."""
    handle = await start(server.client, purchase(**changed))
    await until(handle, lambda found: found.payment == "held")
    return handle


async def adopted(
    server: WorkflowEnvironment,
    services: Services,
    purchase_id: str,
    *,
    from_terms: bool = False,
    by: str = "",
) -> Handle:
    """Continue a purchase that was ended, as `recourse adopt` does; the handle of its new run."""

    def paid(purchase_id: str) -> Money | None:
        charge = services.provider.find_charge(f"{workflow_id_of(purchase_id)}/hold")
        return charge.charged if charge else None

    adoption = Adoption(server.client, services.ledger, UNENCRYPTED, paid, by)
    await adoption.adopt(purchase_id, from_terms=from_terms)
    return server.client.get_workflow_handle(
        workflow_id_of(purchase_id), result_type=PurchaseResult
    )


async def reset(server: WorkflowEnvironment, handle: Handle, task: int) -> None:
    """Reset the newest run to one of its completed workflow tasks, as an operator can."""
    client, run_id = server.client, (await handle.describe()).run_id
    history = await client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
    done = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    tasks = [event.event_id for event in history.events if event.event_type == done]
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=run_id),
            reason="a test",
            request_id=f"{run_id}-{task}",
            workflow_task_finish_event_id=tasks[task],
        )
    )


DELETES_SOON = (
    '--dynamic-config-value=history.transferProcessorUpdateAckInterval="500ms"',
    '--dynamic-config-value=history.visibilityProcessorUpdateAckInterval="500ms"',
)
"""A workflow is deleted when these queues have noted that it ended: by default every 30 s."""


async def deleted(server: WorkflowEnvironment, purchase_id: str) -> None:
    """Delete a purchase's history, as the server does after the retention period."""
    await server.client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=server.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id_of(purchase_id)),
        )
    )
    while await Purchase(server.client, purchase_id).newest():  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # the server deletes later, and reports nothing


async def input_error(handle: Handle) -> str:
    """The message of a purchase that failed because it could not begin."""
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == "INVALID_INPUT"
    return failure.value.cause.message


async def rejection(handle: Handle, name: str, *payloads: Any) -> ApplicationError:
    """Send an update that must be rejected; its error."""
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await handle.execute_update(name, args=list(payloads))
    assert isinstance(failure.value.cause, ApplicationError)
    return failure.value.cause


async def events(handle: Handle) -> int:
    """The number of history events of the current run."""
    return (await handle.describe()).history_length


def under_way(described: Any) -> bool:
    """Whether a purchase has a pending workflow task or a pending activity. An activity that waits
    for the next day's check of a refund does not count."""
    return described.HasField("pending_workflow_task") or any(
        pending.last_failure.application_failure_info.type != ErrorType.REFUND_PENDING
        or not pending.HasField("next_attempt_schedule_time")
        for pending in described.pending_activities
    )
