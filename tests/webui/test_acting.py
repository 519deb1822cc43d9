"""Support staff act in the real Web UI, and no money is lost by it."""

import asyncio
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from playwright.async_api import expect

from demo.runner import Handle, say, skip, start, until
from demo.scenarios import PRICE
from docs.browser import WebUI
from temporal import embedded
from tests.conftest import settings
from tests.purchases import CLIENT, FREELANCER, held, purchase, purchase_of
from tests.webui.conftest import Desk
from workflows.messages import PurchaseResult, Role

pytestmark = pytest.mark.browser


def books(desk: Desk, handle: Handle) -> tuple[int, int, int, int]:
    """Held, in transit, refunded, released."""
    found = desk.services.ledger.balances(purchase_of(handle))
    assert found is not None
    return found.held, found.in_transit, found.refunded, found.released


def told(desk: Desk, handle: Handle, transition: str) -> set[str]:
    """Who was told of a transition."""
    notices = desk.services.notices.list(purchase_of(handle))
    return {notice.role for notice in notices if notice.transition == transition}


async def test_cancel_as_a_signal_and_decide_refund_as_an_update_move_the_money(
    desk: Desk, ui: WebUI
) -> None:
    """By the forms alone, from escrow to the client."""
    handle = await held(desk.server)
    await say(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await ui.purchase(purchase_of(handle))

    await ui.send("signal", "cancel", {"by": CLIENT, "reason": "Plans have changed."})
    await until(handle, lambda found: found.stage == "refund_requested")
    assert books(desk, handle) == (PRICE, 0, 0, 0)

    await ui.send("update", "decide_refund", {"by": FREELANCER, "decision": "approve"})
    await until(handle, lambda found: found.escrow.in_transit > 0)
    assert books(desk, handle) == (0, PRICE, 0, 0)
    await skip(desk.server, handle)
    assert books(desk, handle) == (0, 0, PRICE, 0)


async def test_an_update_that_is_refused_says_why_in_the_form(desk: Desk, ui: WebUI) -> None:
    """A sentence that says what could be done instead; nothing has happened."""
    handle = await held(desk.server)
    await ui.purchase(purchase_of(handle))

    await ui.send("update", "deliver", {"by": FREELANCER})

    await expect(ui.dialog).to_contain_text(
        "deliver is not possible while the purchase is waiting for the client's requirements. "
        "The freelancer can now send: cancel"
    )


async def test_request_cancellation_refunds_and_tells_both(desk: Desk, ui: WebUI) -> None:
    """An operator's cancellation is the platform's."""
    handle = await held(desk.server)
    await ui.purchase(purchase_of(handle))

    await ui.press("Request Cancellation")
    await ui.confirm()
    await until(handle, lambda found: found.escrow.in_transit > 0)
    await skip(desk.server, handle)

    result = await handle.result()
    assert (result.outcome, result.reason) == ("refunded", "cancelled_by_platform")
    assert books(desk, handle) == (0, 0, PRICE, 0)
    assert told(desk, handle, "cancelled_by_platform") == {"client", "freelancer"}


async def test_terminate_is_found_by_the_audit(desk: Desk, ui: WebUI) -> None:
    """The workflow is gone and its money is in escrow: the audit exits with 1 and names it."""
    handle = await held(desk.server)
    await ui.purchase(purchase_of(handle))

    await ui.press("Terminate")
    await ui.confirm()
    with pytest.raises(Exception, match="failed"):
        await handle.result()

    audit = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "starter", "audit"],
        env=environment(desk),
        capture_output=True,
        text=True,
    )
    assert audit.returncode == 1, audit.stderr
    assert purchase_of(handle) in audit.stdout
    assert "250.00 USD" in audit.stdout


def environment(desk: Desk) -> dict[str, str]:
    """For a command on the desk's server and books."""
    there = settings(desk.folder)
    return {
        **os.environ,
        "TEMPORAL_ADDRESS": embedded.address(desk.server.client),
        "RECOURSE_DATABASE_URL": there.database_url,
        "RECOURSE_PAYMENTS": there.payments,
        "RECOURSE_MAIL_URL": there.mail_url,
    }


async def test_a_paused_workflow_goes_on_where_it_was(desk: Desk, ui: WebUI) -> None:
    """What was sent meanwhile counts; the money moves once."""
    handle = await held(desk.server)
    await ui.purchase(purchase_of(handle))

    await ui.press("Pause Workflow")
    await ui.confirm()
    await expect(ui.button("Unpause Workflow")).to_be_visible()
    await handle.signal("give_refund", {"by": FREELANCER})
    assert books(desk, handle) == (PRICE, 0, 0, 0)
    await ui.press("Unpause Workflow")
    await ui.confirm()
    await expect(ui.button("Unpause Workflow")).to_have_count(0)

    await until(handle, lambda found: found.escrow.in_transit > 0)
    await skip(desk.server, handle)
    assert books(desk, handle) == (0, 0, PRICE, 0)


async def test_a_paused_activity_does_no_harm(desk: Desk, ui: WebUI) -> None:
    """A payment that cannot be made is paused and goes on; nothing is paid twice or lost."""
    bought = purchase("pm_sandbox_unreachable")
    handle = await start(desk.server.client, bought)
    await ui.purchase(bought.purchase_id, "Pending Activities")

    await ui.button("Pause").click()
    await ui.confirm()
    await ui.button("Unpause").click()
    await ui.confirm()
    await expect(ui.button("Pause")).to_be_visible()

    assert desk.services.ledger.balances(bought.purchase_id) is None
    await handle.terminate("seen")


async def test_a_reset_moves_no_money_twice_and_says_so(desk: Desk, ui: WebUI) -> None:
    """To the very beginning, with all that was sent left out but what is sent again."""
    handle = await held(desk.server)
    await say(handle, Role.FREELANCER, "give_refund")
    await until(handle, lambda found: found.escrow.in_transit > 0)
    before = desk.services.ledger.transfers(purchase_of(handle))
    await ui.purchase(purchase_of(handle))

    await ui.press("Reset")
    await ui.dialog.get_by_role("button", name=re.compile("Choose|^$")).last.click()
    await ui.dialog.get_by_role("option").first.click()
    await ui.confirm()

    newest = await again(desk, handle)
    await until(newest, lambda found: found.escrow.in_transit > 0)
    assert desk.services.ledger.transfers(purchase_of(handle)) == before
    await ui.purchase(purchase_of(handle), "User Metadata")
    await expect(await ui.card()).to_contain_text("This run was reset")
    await skip(desk.server, newest)
    assert books(desk, handle) == (0, 0, PRICE, 0)


async def again(desk: Desk, handle: Handle) -> Handle:
    """The run that goes on after a reset, as soon as it is there."""
    client = desk.server.client
    newest: Any = client.get_workflow_handle(handle.id, result_type=PurchaseResult)
    first = (await newest.describe()).raw_description.workflow_execution_info.first_run_id
    while (await newest.describe()).run_id == first:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.05)
    found: Handle = newest
    return found
