"""Runs scenarios on a server that can skip time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.keys import purchase_of_workflow, workflow_id_of
from activities.payments.sandbox import SandboxProvider
from activities.requests import Money
from demo.scenarios import (
    CURRENCY,
    PEOPLE,
    CancelWorkflow,
    Happens,
    Scenario,
    Send,
    Sleep,
    Step,
    UntilClosed,
)
from temporal.aftercare import AftercareCase, status_of
from temporal.executions import last_event_at
from temporal.purchases import Purchase
from workflows.messages import (
    CheckPayment,
    PurchaseResult,
    PurchaseStart,
    Receipt,
    Role,
    Sender,
    Status,
)

Handle = WorkflowHandle[Any, PurchaseResult]

POLL_EVERY = 0.05
"""Seconds between two queries of a status that will change."""


class Skips(Protocol):
    """A server that can skip each purchase's time, such as the SDK's environment."""

    @property
    def client(self) -> Client:
        """A client of the server."""

    async def fast_forward(
        self, handle: WorkflowHandle[Any, Any], duration: timedelta | float | None = None, /
    ) -> bool:
        """Skip `duration`, or until the purchase is closed."""


class UnexpectedOutcome(Exception):
    """A message or its answer was not as the scenario expects."""


async def start(client: Client, terms: PurchaseStart) -> Handle:
    """Start a purchase."""
    bought = Purchase(client, terms.purchase_id)
    await bought.start(terms)
    return bought.handle


async def send(handle: Handle, role: Role, message: str, **fields: Any) -> Receipt:
    """Send a message as an update and wait for its answer.

    Raises ApplicationError, whose type is the code, when it is rejected.
    """
    payload = {"by": {"role": role.value, "id": PEOPLE[role]}, **fields}
    try:
        receipt: Receipt = await handle.execute_update(message, payload, result_type=Receipt)
    except WorkflowUpdateFailedError as error:
        if isinstance(error.cause, ApplicationError):
            raise error.cause from None
        raise
    return receipt


async def status(handle: Handle) -> Status:
    """Everything about the purchase."""
    found: Status = await handle.query("status", result_type=Status)
    return found


async def until(handle: Handle, holds: Callable[[Status], bool]) -> Status:
    """Wait until the status fulfils a condition."""
    while not holds(found := await status(handle)):  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(POLL_EVERY)
    return found


async def skip(environment: Skips, handle: Handle, duration: timedelta | None = None) -> None:
    """Skip `duration` of the purchase's time, or until it is closed.

    Raises every error: without time skipping a purchase would wait for days.
    """
    skipping = asyncio.create_task(environment.fast_forward(handle, duration))
    closing = asyncio.create_task(handle.result())
    try:
        done, _ = await asyncio.wait({skipping, closing}, return_when=asyncio.FIRST_COMPLETED)
        if closing not in done:
            skipping.result()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # closed in the meantime
            raise
    finally:
        skipping.cancel()
        closing.cancel()
        await asyncio.gather(skipping, closing, return_exceptions=True)


async def happen(
    client: Client, provider: SandboxProvider, purchase_id: str, step: Happens
) -> Handle:
    """Let something happen at the provider, and wait until the purchase knows; for a closed one,
    until its aftercare case needs a person. Return the handle of the one that knows."""
    handle: Handle = client.get_workflow_handle(workflow_id_of(purchase_id))
    at = await last_event_at(client, handle.id)
    amount = step.amount and Money(amount=step.amount, currency=CURRENCY)
    provider.make_happen(step.event, f"{handle.id}/hold", amount or None, at or datetime.now(UTC))
    if await Purchase(client, purchase_id).is_running():
        await send(handle, Role.PAYMENTS, "check_payment")
        await until(handle, lambda found: found.timeline[-1].transition != "payment_checked")
        return handle
    case = AftercareCase(client, purchase_id)
    sender = Sender(role=Role.PAYMENTS, id=PEOPLE[Role.PAYMENTS])
    await case.open(CheckPayment(by=sender))
    while not (await status_of(Purchase(client, purchase_id))).attention[1:]:  # noqa: ASYNC110 - as above
        await asyncio.sleep(POLL_EVERY)
    return case.handle


@dataclass
class ScenarioRunner:
    """A server with a worker, a callback for progress, and the provider for what happens there."""

    environment: Skips
    report: Callable[[Scenario, str], None] = lambda _scenario, _line: None
    provider: SandboxProvider | None = None

    async def run(self, scenario: Scenario, purchase_id: str) -> PurchaseResult:
        """Run a scenario to its end. Raises UnexpectedOutcome if an answer is not as expected."""
        self.report(scenario, f"{scenario.title} ({workflow_id_of(purchase_id)})")
        handle = await start(self.environment.client, scenario.start(purchase_id))
        await until(handle, lambda found: found.payment != "pending")
        found = handle
        for step in scenario.steps:
            found = await self._perform(scenario, found, step)
        await found.result()
        return await handle.result()

    async def _perform(self, scenario: Scenario, handle: Handle, step: Step) -> Handle:
        """Perform a step; return the workflow that takes the next one."""
        match step:
            case Send():
                self.report(scenario, await _answer(handle, step))
            case Sleep(duration):
                await skip(self.environment, handle, duration)
                self.report(scenario, f"{duration / timedelta(hours=1):g} h later")
            case CancelWorkflow():
                await handle.cancel()
                self.report(scenario, "the platform cancels")
            case Happens(event):
                assert self.provider
                purchase_id = purchase_of_workflow(handle.id)
                self.report(scenario, f"at the provider: {event}")
                found = await happen(self.environment.client, self.provider, purchase_id, step)
                if found.id != handle.id:
                    self.report(scenario, f"the case {found.id} opens, and needs a person")
                return found
            case UntilClosed():
                self.report(scenario, "time passes")
                await skip(self.environment, handle)
        return handle


async def _answer(handle: Handle, step: Send) -> str:
    try:
        receipt = await send(handle, step.role, step.message, **step.fields)
    except ApplicationError as error:
        if error.type != step.rejected:
            raise UnexpectedOutcome(
                f"{step.message} was rejected: {error.type}, {error.message}"
            ) from None
        return f"{step.role} {step.message}: {error.type}. {error.message}"
    if step.rejected:
        raise UnexpectedOutcome(f"{step.message} was accepted, not rejected as {step.rejected}")
    return receipt.text
