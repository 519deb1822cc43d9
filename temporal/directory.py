"""The purchases that Temporal knows, for the audit."""

from collections.abc import Collection, Mapping

from temporalio.client import Client

from activities.audit import StatusUnavailable, WorkflowStatus
from activities.requests import WorkflowPostings
from temporal.errors import Failure, Rejected
from temporal.purchases import Purchase, known, running


class TemporalPurchaseDirectory:
    """The PurchaseDirectory of audit and restore. Raises Failure if server or workers cannot be
    reached."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def running(self) -> Mapping[str, str | None]:
        return await running(self._client)

    async def known(self) -> Collection[str]:
        return await known(self._client)

    async def workflow_status(self, purchase_id: str) -> WorkflowStatus | None:
        found = await Purchase(self._client, purchase_id).newest()
        if found is None:
            return None
        if found.is_open:
            return "open"
        return "completed" if found.status == "completed" else "ended"

    async def postings(self, purchase_id: str) -> WorkflowPostings:
        try:
            return await Purchase(self._client, purchase_id).postings()
        except Failure as failure:
            if not isinstance(failure, Rejected):
                raise
            raise StatusUnavailable(failure.text) from None
