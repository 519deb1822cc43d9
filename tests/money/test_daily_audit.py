"""The daily audit: scheduled by `setup`, reported to the operators."""

import asyncio
from html import unescape

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.payments.sandbox_events import SandboxEvent
from activities.requests import AuditReport
from activities.services import Services
from demo.runner import send, until
from temporal.aftercare import AftercareCase
from temporal.registration import AUDIT, register_schedules
from tests.money.test_aftercare import World
from tests.purchases import adopted, held, purchase_of
from workflows.audit import LISTED_AT_MOST
from workflows.messages import Role


async def audited(server: WorkflowEnvironment) -> AuditReport:
    """Return the report of the scheduled audit, triggered now."""
    schedule = server.client.get_schedule_handle(AUDIT)
    before = (await schedule.describe()).info
    await schedule.trigger()
    while (info := (await schedule.describe()).info).num_actions == before.num_actions:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    action = info.recent_actions[-1].action  # the server keeps the last ten
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
    await send(handle, Role.FREELANCER, "give_refund")
    await handle.result()
    World(server, services).happen(handle, SandboxEvent.REFUND_RETURNED)
    purchase_id = purchase_of(handle)

    report = await audited(server)

    assert purchase_id in report.news
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
    World(server, services).happen(handle, event)

    report = await audited(server)

    found = await until(
        handle, lambda status: found_as in {each.transition for each in status.timeline}
    )
    assert purchase_of(handle) not in {each.purchase_id for each in report.differences}
    if not found.outcome:
        await handle.terminate("seen")


@pytest.fixture
def looks_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit does not wait long for running purchases of other tests."""
    monkeypatch.setattr("activities.audit.CHECKS_TAKE", 0.2)


@pytest.mark.usefixtures("looks_are_short")
async def test_each_piece_of_news_about_a_closed_purchase_opens_one_case(
    server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    """What a case has handled is not found the next day, and the ledger remembers it when Temporal
    has forgotten the case. A new refund of the same charge opens a case again, and that case knows
    the first one."""
    await register_schedules(server.client)
    world = World(server, services)
    handle = await world.closed(refund=100_00)
    purchase_id, case = purchase_of(handle), AftercareCase(server.client, purchase_of(handle))

    for number, amount in ((1, 20_00), (2, 30_00)):
        world.happen(handle, SandboxEvent.REFUND_ELSEWHERE, amount)
        assert purchase_id in (await audited(server)).news
        found = await world.until(handle, lambda found: len(found.attention) > 1)
        assert [each.kind for each in found.attention] == ["aftercare", "refunded_elsewhere"]
        assert f"{amount / 100:.2f} USD were refunded elsewhere" in found.attention[1].text
        assert purchase_id not in (await audited(server)).news
        proof = {"action": "mark_settled", "reference": f"agreed {number}"}
        await send(case.handle, Role.OPERATOR, "resolve_attention", **proof)
        await case.handle.result()
        assert purchase_id not in (await audited(server)).news
        notified = [each.transition for each in services.notices.list(purchase_id)]
        assert notified.count("refunded_elsewhere_late") == number

    handled = services.ledger.handled_news(purchase_id)
    assert [(each.status, each.amount) for each in handled] == [("made", 20_00), ("made", 30_00)]


@pytest.mark.usefixtures("looks_are_short")
async def test_an_inquiry_whose_webhook_was_lost_reaches_the_operators_once(
    server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    """Nothing is wrong in the ledger, so it is no difference; but somebody has to answer the bank.
    When the bank then takes the money, that is news again."""
    await register_schedules(server.client)
    world = World(server, services)
    handle = await world.closed()
    purchase_id, case = purchase_of(handle), AftercareCase(server.client, purchase_of(handle))
    world.happen(handle, SandboxEvent.INQUIRY_OPENED)

    report = await audited(server)
    assert purchase_id in report.news
    assert purchase_id not in {each.purchase_id for each in report.differences}
    await case.handle.result()
    assert purchase_id not in (await audited(server)).news

    world.happen(handle, SandboxEvent.DISPUTE_OPENED)
    assert purchase_id in (await audited(server)).news
    await world.until(handle, lambda found: len(found.attention) > 1)
    while "bank_dispute_after_payout: operator" not in world.notices(handle):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    notified = [each.transition for each in services.notices.list(purchase_id)]
    assert notified.count("bank_inquiry") == 1
    await case.handle.terminate("seen")


@pytest.mark.usefixtures("looks_are_short")
async def test_what_a_purchase_knew_when_it_was_closed_is_no_news(
    server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    """The purchase records it at its end, like a case."""
    await register_schedules(server.client)
    handle = await held(server, payment_method="pm_sandbox_at_once")
    World(server, services).happen(handle, SandboxEvent.INQUIRY_OPENED)
    await send(handle, Role.OPERATOR, "check_payment")
    await until(
        handle, lambda found: "bank_inquiry" in {each.transition for each in found.timeline}
    )
    await send(handle, Role.FREELANCER, "give_refund")
    await handle.result()
    assert purchase_of(handle) not in (await audited(server)).news
    assert not await AftercareCase(server.client, purchase_of(handle)).newest()


@pytest.mark.usefixtures("looks_are_short")
@pytest.mark.parametrize("event", [SandboxEvent.INQUIRY_OPENED, SandboxEvent.REFUND_ELSEWHERE])
async def test_after_the_aftercare_window_news_is_only_a_finding(
    server: WorkflowEnvironment, worker: Worker, services: Services, event: SandboxEvent
) -> None:
    """No case is opened, on no day, and the audit says what there is."""
    await register_schedules(server.client)
    world = World(server, services)
    handle = await world.closed(refund=0, policy={"aftercare_window": "PT0.001S"})
    world.happen(handle, event)
    for _ in range(2):
        report = await audited(server)
        found = [each for each in report.differences if each.purchase_id == purchase_of(handle)]
        assert len(found) == 1
        assert purchase_of(handle) not in report.news
    assert not await AftercareCase(server.client, purchase_of(handle)).newest()
