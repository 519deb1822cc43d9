"""The purchases that Temporal knows, for the audit."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.audit import StatusUnavailable
from activities.comparison import LOOK
from activities.records import WorkflowStatus
from activities.requests import WorkflowPostings
from activities.sanitize import one_line
from temporal.aftercare import AUDIT, current
from temporal.deployment import on_another_queue
from temporal.errors import Failure
from temporal.executions import task_failure
from temporal.listing import known, running
from temporal.purchases import Purchase
from workflows.messages import CheckPayment
from workflows.receiving.encrypted import SETTING, Undecipherable

OF_THE_SERVER = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.PERMISSION_DENIED,
)
"""With these the server answers for no purchase at all."""

LONGEST_REASON = 500


class TemporalPurchaseDirectory:
    """The PurchaseDirectory of audit and restore. Raises RPCError if the server cannot be used."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def running(self) -> Mapping[str, str | None]:
        return await running(self._client)

    async def known(self) -> Collection[str]:
        return await known(self._client)

    async def workflow_status(self, purchase_id: str) -> WorkflowStatus | None:
        async with self._of_one(purchase_id):
            runs = await (await current(Purchase(self._client, purchase_id))).last_runs()
        if runs is None:
            return None
        _, found = runs
        if found.is_open:
            return "open"
        return "completed" if found.status == "completed" else "ended"

    async def postings(self, purchase_id: str) -> WorkflowPostings:
        async with self._of_one(purchase_id):
            purchase = await current(Purchase(self._client, purchase_id))
            return await (await purchase.begun()).postings()

    async def check_payment_of(self, purchase_id: str) -> None:
        async with self._of_one(purchase_id):
            open_one = await current(Purchase(self._client, purchase_id))
            await open_one.signal(CheckPayment(by=AUDIT))

    @asynccontextmanager
    async def _of_one(self, purchase_id: str) -> AsyncIterator[None]:
        """Raise StatusUnavailable for everything that may be wrong with this purchase alone."""
        try:
            yield
        except (Failure, Undecipherable, ValueError, RPCError) as error:
            if isinstance(error, RPCError) and error.status in OF_THE_SERVER:
                raise
            raise await self._unavailable(purchase_id, error) from None

    async def _unavailable(self, purchase_id: str, error: Exception) -> StatusUnavailable:
        """Why the purchase does not answer, and what to do."""
        name, why = f"Purchase {purchase_id}", str(error)
        if isinstance(error, Failure) and error.code == "PAUSED":
            return StatusUnavailable(why, "Press Unpause in the Web UI, or ask who has paused it.")
        found = None
        if not isinstance(error, RPCError):
            found = await Purchase(self._client, purchase_id).newest()
        if found and (unserved := on_another_queue(purchase_id, found)):
            return StatusUnavailable(*unserved)
        advice = LOOK
        if found and found.task_attempt > 1:
            why = f"its workflow task fails. {await task_failure(self._client, found.id)}"
            advice = (
                "It continues when the cause is gone. Details: temporal workflow show "
                f"--workflow-id {found.id} --detailed"
            )
        if SETTING in why:
            advice = f"Give every worker every key in use, and also the audit: set {SETTING}."
        return StatusUnavailable(f"{name} does not answer: {one_line(why, LONGEST_REASON)}", advice)
