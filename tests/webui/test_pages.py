"""The pages of the real Web UI show support staff what they need to know about a purchase."""

import re
from datetime import timedelta

import pytest
from playwright.async_api import expect

from demo.runner import send, skip, start, until
from docs.browser import WebUI
from tests.purchases import FREELANCER, held, purchase, purchase_of
from tests.webui.conftest import WebUiServer
from workflows.messages import Role

pytestmark = pytest.mark.browser


async def disputed(web_ui: WebUiServer) -> str:
    """A purchase that a mediator has to decide."""
    handle = await held(web_ui.server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.CLIENT, "cancel")
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)
    await send(handle, Role.CLIENT, "open_dispute", reason="Nothing was delivered.")
    return purchase_of(handle)


async def test_the_list_can_be_filtered_by_stage_and_by_attention(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """Staff type a query into the list's search field and choose search attributes as columns."""
    waiting = await disputed(web_ui)
    failing = await held(web_ui.server, method="pm_sandbox_refund_fails")
    await send(failing, Role.FREELANCER, "give_refund")
    await skip(web_ui.server, failing, timedelta(days=4))
    await until(failing, lambda found: bool(found.attention))
    failed = purchase_of(failing)
    await ui.list()
    await ui.show_columns("PurchaseStage", "PurchaseClient", remove=("Run ID", "Type"))

    await ui.search("PurchaseStage = 'disputed'")
    await expect(ui.row(failed)).to_have_count(0)
    await expect(ui.row(waiting)).to_contain_text("disputed")
    await expect(ui.row(waiting)).to_contain_text("ana")

    await ui.search("PurchaseNeedsAttention = true")
    await expect(ui.row(waiting)).to_have_count(0)
    await expect(ui.row(failed)).to_contain_text("settling")


async def test_the_card_shows_who_acts_next_where_the_money_is_and_what_staff_may_do(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """The card of a disputed purchase shows the mediator's message and a rejected signal."""
    purchase_id = await disputed(web_ui)
    handle = web_ui.server.client.get_workflow_handle(f"purchase-{purchase_id}")
    await handle.signal("deliver", {"by": FREELANCER})
    await until(handle, lambda found: found.rejected_count == 1)

    await ui.purchase(purchase_id, "User Metadata")

    card = await ui.card()
    for text in (
        "In a dispute that a mediator decides",
        "Waiting for: a mediator, until ",
        "If nobody acts by then: our staff looks into it; the money stays in escrow",
        "Money: 250.00 USD held in escrow",
        'resolve_dispute with {"by": {"role": "mediator", "id": "your-id"}, "refund": "AMOUNT"}',
        "Ana opened a dispute",
        "Rejected signals: 1",
        "deliver by the freelancer (bo), NOT_ALLOWED_NOW",
    ):
        await expect(card).to_contain_text(text)
    await expect(ui.page.frame_locator("iframe").first.locator("main")).to_contain_text(
        "Logo design · 250.00 USD · ana → bo"
    )


async def test_every_open_deadline_is_a_timer_with_a_summary(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """The timeline shows each timer's length and what follows it, and each activity's purpose."""
    handle = await held(web_ui.server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.CLIENT, "cancel")

    await ui.purchase(purchase_of(handle))

    for text in (
        "The freelancer's time to cancel ends in 24 hours. If nobody acts: the freelancer can no "
        "longer cancel, only give the money back",
        "The freelancer's answer to the refund request is due in 7 days. If nobody acts: all of "
        "the money goes back to the client",
        "Charge 250.00 USD and hold it in escrow",
    ):
        await expect(ui.page.get_by_text(text)).to_be_visible()


async def test_an_activity_that_is_retried_shows_the_reason(web_ui: WebUiServer, ui: WebUI) -> None:
    """While the payment provider is unreachable, the failure and the card say so in plain words."""
    handle = await start(web_ui.server.client, bought := purchase("pm_sandbox_unreachable"))

    await ui.purchase(bought.purchase_id, "Pending Activities")

    failure = ui.page.get_by_text("The payment provider cannot be reached")
    await expect(failure.first).to_be_visible()
    await ui.purchase(bought.purchase_id, "User Metadata")
    await expect(await ui.card()).to_contain_text("250.00 USD is being charged")
    await handle.terminate("seen")


async def test_the_form_explains_every_message(web_ui: WebUiServer, ui: WebUI) -> None:
    """The forms list each signal and update with the payload to send."""
    handle = await held(web_ui.server)

    for kind, action in (("signal", "Send a Signal"), ("update", "Send an Update")):
        await ui.purchase(purchase_of(handle))
        await ui.press(action)
        await ui.dialog.get_by_test_id(f"{kind}-select-button").click()
        explained = ui.dialog.get_by_role("option", name=re.compile("^decide_refund"))
        await expect(explained).to_contain_text("The freelancer's answer to a refund request")
        await expect(explained).to_contain_text('"decision"')
