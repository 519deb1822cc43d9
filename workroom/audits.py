"""The result of the last daily audit, for the staff page."""

from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client

from activities.requests import AuditReport
from temporal.executions import page

LAST = "WorkflowType = 'LedgerAudit' AND ExecutionStatus = 'Completed'"


@dataclass(frozen=True)
class LastAudit:
    """The report of the last audit that has ended, and when it ended."""

    at: datetime
    report: AuditReport


class Audits:
    """Finds the last audit. Its report is read once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: tuple[str, LastAudit] | None = None

    async def last(self) -> LastAudit | None:
        """The last audit; None if none has ended, or its report is not kept any more. Raises
        RPCError."""
        found, _ = await page(self._client, LAST, size=1)
        if not found:
            return None
        run = found[0]
        if self._known is None or self._known[0] != run.run_id:
            assert run.closed_at, "a completed run has ended"
            handle = self._client.get_workflow_handle(
                run.id, run_id=run.run_id, result_type=AuditReport
            )
            self._known = run.run_id, LastAudit(run.closed_at, await handle.result())
        return self._known[1]
