"""The daily audit: scheduled by `setup`, reported to the operators."""

import asyncio
from datetime import UTC, datetime
from html import unescape

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import AuditReport
from activities.services import Services
from demo.runner import say, until
from temporal.aftercare import AftercareCase
from temporal.registration import AUDIT, register_schedules
from tests.purchases import adopted, held, purchase_of
from workflows.audit import LISTED_AT_MOST
from workflows.messages import Role


async def audited(server: WorkflowEnvironment) -> AuditReport:
    """Return the report of the scheduled audit, triggered now."""
    schedule = server.client.get_schedule_handle(AUDIT)
    before = len((await schedule.describe()).info.recent_actions)
    await schedule.trigger()
    while len((await schedule.describe()).info.recent_actions) == before:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    action = (await schedule.describe()).info.recent_actions[-1].action
    handle = server.client.get_workflow_handle(
        action.workflow_id,  # type: ignore[attr-defined]
        run_id=action.first_execution_run_id,  # type: ignore[attr-defined]
        result_type=AuditReport,
    )
    report: AuditReport = await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    return report


async def test_the_daily_audit_notifies_operators_of_differences(
    server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    """After a Terminate, operators get a notice with the command that resumes the purchase."""
    assert await register_schedules(server.client) == [AUDIT]
    assert await register_schedules(server.client) == []
    handle = await held(server)
    purchase_id = purchase_of(handle)
    await handle.terminate("by mistake")

    report = await audited(server)
    (found,) = (each for each in report.differences if each.purchase_id == purchase_id)
    notice = services.notices.list("")[-1]
    assert (notice.status, notice.role) == ("sent", "operator")
    assert notice.subject.startswith("[Recourse] The audit found")
    assert f"adopt {purchase_id}" in found.what_to_do
    for content in (notice.text, notice.html):
        for listed in report.differences[:LISTED_AT_MOST]:
            assert listed.what in " ".join(unescape(content).split())

    await adopted(server, services, purchase_id)
    again = await audited(server)
    assert purchase_id not in {each.purchase_id for each in again.differences}


async def test_the_daily_audit_opens_the_case_of_a_refund_that_came_back(
    server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    """Also if its webhook was lost; the next audit finds money in transit with an open case."""
    await register_schedules(server.client)
    handle = await held(server, payment_method="pm_sandbox_at_once")
    await say(handle, Role.FREELANCER, "give_refund")
    await handle.result()
    assert isinstance(services.provider, SandboxProvider)
    services.provider.make_happen(
        SandboxEvent.REFUND_RETURNED, f"{handle.id}/hold", None, datetime.now(UTC)
    )
    purchase_id = purchase_of(handle)

    report = await audited(server)

    (found,) = (each for each in report.differences if each.purchase_id == purchase_id)
    assert found.is_news
    case = AftercareCase(server.client, purchase_id)
    while (balances := services.ledger.balances(purchase_id)) and not balances.in_transit:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert await case.is_running()
    again = await audited(server)
    assert purchase_id not in {each.purchase_id for each in again.differences}


@pytest.mark.parametrize(
    ("event", "found_as"),
    [
        (SandboxEvent.DISPUTE_OPENED, "bank_dispute_opened"),
        (SandboxEvent.INQUIRY_OPENED, "bank_inquiry"),
        (SandboxEvent.REFUND_ELSEWHERE, "refunded_elsewhere"),
    ],
)
async def test_a_lost_webhook_is_found_within_a_day_without_a_person(
    server: WorkflowEnvironment,
    worker: Worker,
    services: Services,
    event: SandboxEvent,
    found_as: str,
) -> None:
    """The daily audit lets the purchase look at its payment, and what it then knows is no
    difference any more."""
    await register_schedules(server.client)
    handle = await held(server)
    assert isinstance(services.provider, SandboxProvider)
    services.provider.make_happen(event, f"{handle.id}/hold", None, datetime.now(UTC))

    report = await audited(server)

    found = await until(
        handle, lambda status: found_as in {each.transition for each in status.timeline}
    )
    assert purchase_of(handle) not in {each.purchase_id for each in report.differences}
    if not found.outcome:
        await handle.terminate("seen")
