"""The purchases that Temporal knows, for the audit."""

from collections.abc import Mapping

from temporalio.client import Client

from activities.audit import StatusUnavailable
from temporal.errors import Failure, Rejected
from temporal.purchases import Purchase, running
from workflows.lifecycle.state import Payment
from workflows.messages import Status


class TemporalPurchaseDirectory:
    """The audit's PurchaseDirectory. Raises Failure if server or workers cannot be reached."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def running(self) -> Mapping[str, str | None]:
        return await running(self._client)

    async def is_running(self, purchase_id: str) -> bool:
        return await Purchase(self._client, purchase_id).is_running()

    async def expected_hold(self, purchase_id: str) -> str | None:
        status = await self._status(purchase_id)
        return str(status.price) if status.payment == Payment.HELD else None

    async def is_undecided(self, purchase_id: str) -> bool:
        return (await self._status(purchase_id)).escrow.held > 0

    async def _status(self, purchase_id: str) -> Status:
        try:
            return await Purchase(self._client, purchase_id).status()
        except Failure as failure:
            if not isinstance(failure, Rejected):
                raise
            raise StatusUnavailable(failure.text) from None
