"""Every action of support staff in the real Web UI keeps the money right."""

import asyncio
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from playwright.async_api import expect

from demo.runner import Handle, send, skip, start, until
from demo.scenarios import PRICE
from docs.browser import WebUI
from temporal import embedded
from tests.conftest import settings
from tests.purchases import CLIENT, FREELANCER, held, purchase, purchase_of
from tests.webui.conftest import WebUiServer
from workflows.messages import PurchaseResult, Role

pytestmark = pytest.mark.browser


def balances(web_ui: WebUiServer, handle: Handle) -> tuple[int, int, int, int]:
    """The purchase's balances: held, in transit, refunded, released."""
    found = web_ui.services.ledger.balances(purchase_of(handle))
    assert found is not None
    return found.held, found.in_transit, found.refunded, found.released


def notified_roles(web_ui: WebUiServer, handle: Handle, transition: str) -> set[str]:
    """The roles that were notified of a transition."""
    notices = web_ui.services.notices.list(purchase_of(handle))
    return {notice.role for notice in notices if notice.transition == transition}


async def test_cancel_as_a_signal_and_decide_refund_as_an_update_move_the_money(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """A purchase goes from escrow to a settled refund by the Web UI's forms alone."""
    handle = await held(web_ui.server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await ui.purchase(purchase_of(handle))

    await ui.send("signal", "cancel", {"by": CLIENT, "reason": "Plans have changed."})
    await until(handle, lambda found: found.stage == "refund_requested")
    assert balances(web_ui, handle) == (PRICE, 0, 0, 0)

    await ui.send("update", "decide_refund", {"by": FREELANCER, "decision": "approve"})
    await until(handle, lambda found: found.escrow.in_transit > 0)
    assert balances(web_ui, handle) == (0, PRICE, 0, 0)
    await skip(web_ui.server, handle)
    assert balances(web_ui, handle) == (0, 0, PRICE, 0)


async def test_a_rejected_update_shows_the_reason_in_the_form(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """The form shows the rejection and what could be sent instead."""
    handle = await held(web_ui.server)
    await ui.purchase(purchase_of(handle))

    await ui.send("update", "deliver", {"by": FREELANCER})

    await expect(ui.dialog).to_contain_text(
        "deliver is not possible while the purchase is waiting for requirements. "
        "The freelancer can now send: cancel"
    )


async def test_request_cancellation_refunds_the_client_and_notifies_both_parties(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """An operator's Request Cancellation counts as a cancellation by the platform."""
    handle = await held(web_ui.server)
    await ui.purchase(purchase_of(handle))

    await ui.press("Request Cancellation")
    await ui.confirm()
    await until(handle, lambda found: found.escrow.in_transit > 0)
    await skip(web_ui.server, handle)

    result = await handle.result()
    assert (result.outcome, result.reason) == ("refunded", "cancelled_by_platform")
    assert balances(web_ui, handle) == (0, 0, PRICE, 0)
    assert notified_roles(web_ui, handle, "cancelled_by_platform") == {"client", "freelancer"}


async def test_a_terminated_purchase_is_found_by_the_audit(web_ui: WebUiServer, ui: WebUI) -> None:
    """The workflow is terminated while its money is in escrow: the audit names it and exits with
    1."""
    handle = await held(web_ui.server)
    await ui.purchase(purchase_of(handle))

    await ui.press("Terminate")
    await ui.confirm()
    with pytest.raises(Exception, match="failed"):
        await handle.result()

    audit = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "starter", "audit"],
        env=environment(web_ui),
        capture_output=True,
        text=True,
    )
    assert audit.returncode == 1, audit.stderr
    assert purchase_of(handle) in audit.stdout
    assert "250.00 USD" in audit.stdout


def environment(web_ui: WebUiServer) -> dict[str, str]:
    """The environment of a command on this server and this ledger."""
    there = settings(web_ui.folder)
    return {
        **os.environ,
        "TEMPORAL_ADDRESS": embedded.address(web_ui.server.client),
        "RECOURSE_DATABASE_URL": there.database_url,
        "RECOURSE_PAYMENTS": there.payments,
        "RECOURSE_MAIL_URL": there.mail_url,
    }


async def test_a_paused_workflow_resumes_where_it_was(web_ui: WebUiServer, ui: WebUI) -> None:
    """A message sent during the pause counts, and the money moves once."""
    handle = await held(web_ui.server)
    await ui.purchase(purchase_of(handle))

    await ui.press("Pause Workflow")
    await ui.confirm()
    await expect(ui.button("Unpause Workflow")).to_be_visible()
    await handle.signal("give_refund", {"by": FREELANCER})
    assert balances(web_ui, handle) == (PRICE, 0, 0, 0)
    await ui.press("Unpause Workflow")
    await ui.confirm()
    await expect(ui.button("Unpause Workflow")).to_have_count(0)

    await until(handle, lambda found: found.escrow.in_transit > 0)
    await skip(web_ui.server, handle)
    assert balances(web_ui, handle) == (0, 0, PRICE, 0)


async def test_a_paused_activity_resumes_without_a_double_charge(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """A payment whose provider is unreachable is paused and resumed; nothing is charged."""
    bought = purchase("pm_sandbox_unreachable")
    handle = await start(web_ui.server.client, bought)
    await ui.purchase(bought.purchase_id, "Pending Activities")

    await ui.button("Pause").click()
    await ui.confirm()
    await ui.button("Unpause").click()
    await ui.confirm()
    await expect(ui.button("Pause")).to_be_visible()

    assert web_ui.services.ledger.balances(bought.purchase_id) is None
    await handle.terminate("seen")


async def test_a_reset_moves_no_money_twice_and_is_shown_on_the_card(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """A purchase with a refund in transit is reset to its first task."""
    handle = await held(web_ui.server)
    await send(handle, Role.FREELANCER, "give_refund")
    await until(handle, lambda found: found.escrow.in_transit > 0)
    before = web_ui.services.ledger.transfers(purchase_of(handle))
    await ui.purchase(purchase_of(handle))

    await ui.press("Reset")
    await ui.dialog.get_by_role("button", name=re.compile("Choose|^$")).last.click()
    await ui.dialog.get_by_role("option").first.click()
    await ui.confirm()

    newest = await again(web_ui, handle)
    await until(newest, lambda found: found.escrow.in_transit > 0)
    assert web_ui.services.ledger.transfers(purchase_of(handle)) == before
    await ui.purchase(purchase_of(handle), "User Metadata")
    await expect(await ui.card()).to_contain_text("This run was reset")
    await skip(web_ui.server, newest)
    assert balances(web_ui, handle) == (0, 0, PRICE, 0)


async def again(web_ui: WebUiServer, handle: Handle) -> Handle:
    """The new run after a reset, as soon as it exists."""
    client = web_ui.server.client
    newest: Any = client.get_workflow_handle(handle.id, result_type=PurchaseResult)
    first = (await newest.describe()).raw_description.workflow_execution_info.first_run_id
    while (await newest.describe()).run_id == first:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.05)
    found: Handle = newest
    return found
