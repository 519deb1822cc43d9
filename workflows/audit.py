"""`LedgerAudit`: compares ledger, workflows and provider once a day, and alerts operators."""

from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

from activities.requests import (
    ALERT_OPERATORS,
    AUDIT_LEDGER,
    NOTICE_QUEUE,
    AuditReport,
    AuditRequest,
    Difference,
    OperatorAlert,
)
from workflows import priorities

AUDIT_TIMEOUT = timedelta(hours=2)
GIVE_UP_AFTER = timedelta(days=1)
LISTED_AT_MOST = 50
"""Differences listed in the alert; the workflow's result has them all."""

RETRY = RetryPolicy(initial_interval=timedelta(seconds=10), maximum_interval=timedelta(minutes=15))


@workflow.defn(name="LedgerAudit")
class LedgerAudit:
    """One audit. Always completes with its report; a schedule starts it daily."""

    @workflow.run
    async def run(self, *_: RawValue) -> AuditReport:
        """Audit, and alert operators of differences."""
        report: AuditReport = await workflow.execute_activity(
            AUDIT_LEDGER.name,
            AuditRequest(),
            result_type=AuditReport,
            start_to_close_timeout=AUDIT_TIMEOUT,
            schedule_to_close_timeout=GIVE_UP_AFTER,
            retry_policy=RETRY,
            summary="Compare ledger, workflows and payment provider",
            priority=priorities.AUDIT,
        )
        if report.differences:
            await self._alert(report)
        return report

    async def _alert(self, report: AuditReport) -> None:
        found = len(report.differences) + report.more
        alert = OperatorAlert(
            alert_id=f"audit-{workflow.info().run_id}",
            at=workflow.now(),
            subject=f"The audit found {found} difference{'' if found == 1 else 's'}",
            lines=tuple(_lines(report.differences, found)),
        )
        try:
            await workflow.execute_activity(
                ALERT_OPERATORS.name,
                alert,
                task_queue=NOTICE_QUEUE,
                start_to_close_timeout=timedelta(minutes=2),
                schedule_to_close_timeout=GIVE_UP_AFTER,
                retry_policy=RETRY,
                summary=f"Alert operators of {found} differences",
            )
        except ActivityError:
            workflow.logger.error("audit_alert_undelivered", extra={"differences": found})


def _lines(differences: Sequence[Difference], found: int) -> list[str]:
    listed = [f"{each.what} {each.what_to_do}" for each in differences[:LISTED_AT_MOST]]
    if found > len(listed):
        listed.append(f"And {found - len(listed)} more: recourse audit")
    return listed
