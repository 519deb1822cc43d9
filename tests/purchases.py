"""Short words for the tests on a real server."""

import itertools
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from activities.requests import ErrorType
from demo.runner import Handle, start, until
from demo.scenarios import SCENARIOS
from temporal.purchases import PREFIX
from workflows.messages import PurchaseStart

CLIENT = {"role": "client", "id": "ana"}
FREELANCER = {"role": "freelancer", "id": "bo"}
OPERATOR = {"role": "operator", "id": "operator-1"}
PAYMENTS = {"role": "payments", "id": "sandbox"}
numbers = itertools.count(1)


def purchase(method: str = "pm_sandbox_ok", **changed: Any) -> PurchaseStart:
    """A purchase with an id of its own."""
    given = SCENARIOS[0].start(f"t-{next(numbers)}").model_dump(mode="json")
    return PurchaseStart.model_validate({**given, "payment_method": method, **changed})


def purchase_of(handle: Handle) -> str:
    """The purchase's id."""
    return handle.id.removeprefix(PREFIX)


async def held(server: WorkflowEnvironment, **changed: Any) -> Handle:
    """A purchase whose money is in escrow."""
    handle = await start(server.client, purchase(**changed))
    await until(handle, lambda found: found.payment == "held")
    return handle


async def rejection(handle: Handle, name: str, *payloads: Any) -> ApplicationError:
    """How an update is refused."""
    with pytest.raises(WorkflowUpdateFailedError) as failure:
        await handle.execute_update(name, args=list(payloads))
    assert isinstance(failure.value.cause, ApplicationError)
    return failure.value.cause


async def events(handle: Handle) -> int:
    """How long the history of the current run is."""
    return (await handle.describe()).history_length


def under_way(described: Any) -> bool:
    """Whether a step or a task is; a refund that is asked about tomorrow is not."""
    return described.HasField("pending_workflow_task") or any(
        step.last_failure.application_failure_info.type != ErrorType.REFUND_PENDING
        or not step.HasField("next_attempt_schedule_time")
        for step in described.pending_activities
    )
