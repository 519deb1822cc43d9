"""Support staff find a purchase in the real Web UI and understand it."""

import re
from datetime import timedelta

import pytest
from playwright.async_api import expect

from demo.runner import say, skip, start, until
from docs.browser import WebUI
from tests.purchases import FREELANCER, held, purchase, purchase_of
from tests.webui.conftest import Desk
from workflows.messages import Role

pytestmark = pytest.mark.browser


async def disputed(desk: Desk) -> str:
    """A purchase that a mediator has to decide."""
    handle = await held(desk.server)
    await say(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await say(handle, Role.CLIENT, "cancel")
    await say(handle, Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)
    await say(handle, Role.CLIENT, "open_dispute", reason="Nothing was delivered.")
    return purchase_of(handle)


async def test_the_list_is_filtered_by_stage_and_by_what_needs_attention(
    desk: Desk, ui: WebUI
) -> None:
    """Typed into the list's own search field; the search attributes are columns to choose."""
    waiting = await disputed(desk)
    failing = await held(desk.server, method="pm_sandbox_refund_fails")
    await say(failing, Role.FREELANCER, "give_refund")
    await skip(desk.server, failing, timedelta(days=4))
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


async def test_the_card_says_whose_turn_it_is_where_the_money_is_and_what_staff_may_do(
    desk: Desk, ui: WebUI
) -> None:
    """A disputed purchase, with the message that a mediator sends and a signal that was refused."""
    purchase_id = await disputed(desk)
    handle = desk.server.client.get_workflow_handle(f"purchase-{purchase_id}")
    await handle.signal("deliver", {"by": FREELANCER})
    await until(handle, lambda found: found.rejected_count == 1)

    await ui.purchase(purchase_id, "User Metadata")

    card = await ui.card()
    for words in (
        "In a dispute that a mediator decides",
        "Whose turn: a mediator, until ",
        "Silence until then: our staff is alerted; nothing is decided by silence",
        "Money: 250.00 USD held in escrow",
        'resolve_dispute with {"by": {"role": "mediator", "id": "your-id"}, "refund": 25000}',
        "Ana opened a dispute",
        "Refused signals: 1",
        "deliver by the freelancer (bo), NOT_ALLOWED_NOW",
    ):
        await expect(card).to_contain_text(words)
    await expect(ui.page.frame_locator("iframe").first.locator("main")).to_contain_text(
        "Logo design · 250.00 USD · ana → bo"
    )


async def test_every_open_deadline_is_a_timer_with_a_summary(desk: Desk, ui: WebUI) -> None:
    """The timeline says of each how long it is and what follows, and of each activity what for."""
    handle = await held(desk.server)
    await say(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await say(handle, Role.CLIENT, "cancel")

    await ui.purchase(purchase_of(handle))

    for words in (
        "24 h: freelancer may cancel, then the freelancer is committed to the project",
        "7 d: freelancer decides on the refund, then the client gets a full refund",
        "Charge 250.00 USD and hold it in escrow",
    ):
        await expect(ui.page.get_by_text(words)).to_be_visible()


async def test_an_activity_that_is_stuck_says_why_in_words(desk: Desk, ui: WebUI) -> None:
    """The payment provider is unreachable."""
    handle = await start(desk.server.client, bought := purchase("pm_sandbox_unreachable"))

    await ui.purchase(bought.purchase_id, "Pending Activities")

    failure = ui.page.get_by_text("The payment provider cannot be reached")
    await expect(failure.first).to_be_visible()
    await ui.purchase(bought.purchase_id, "User Metadata")
    await expect(await ui.card()).to_contain_text("250.00 USD is being charged")
    await handle.terminate("seen")


async def test_the_form_explains_every_message(desk: Desk, ui: WebUI) -> None:
    """Each signal and each update is in the form's list, with what to send."""
    handle = await held(desk.server)

    for kind, action in (("signal", "Send a Signal"), ("update", "Send an Update")):
        await ui.purchase(purchase_of(handle))
        await ui.press(action)
        await ui.dialog.get_by_test_id(f"{kind}-select-button").click()
        explained = ui.dialog.get_by_role("option", name=re.compile("^decide_refund"))
        await expect(explained).to_contain_text("The freelancer's answer to a refund request")
        await expect(explained).to_contain_text('"decision"')
