"""Texts of other people in the pages of the real Web UI: no link, no image, no request."""

from urllib.parse import quote

import pytest
from playwright.async_api import expect

from demo.runner import Handle, start, until
from docs.browser import WebUI
from tests.purchases import purchase, purchase_of
from tests.webui.conftest import WebUiServer
from workflows.messages import PurchaseStart

pytestmark = pytest.mark.browser

STRANGER = "stranger.example"
IMAGE = f"![x](https://{STRANGER}/x.png)"
LINK = f"[Pay](https://{STRANGER}/p)"
TEXT = (
    f"{IMAGE} {LINK} https://{STRANGER}/b <https://{STRANGER}/c> www.{STRANGER} ana@{STRANGER} "
    f"<img src=https://{STRANGER}/y.png> \u202eDSU 00.1\u2066"
)
FROM_A_STRANGER = f"a[href*='{STRANGER}']:not([href^='/namespaces/']), img[src*='{STRANGER}']"
"""Links and images from a text. The Web UI's own links have the purchase's id in their path."""


def hostile() -> PurchaseStart:
    """A purchase whose ids, names and title are links and images."""
    given = purchase().model_dump(mode="json")
    given |= {"title": TEXT[:200], "purchase_id": f"{given['purchase_id']}-{LINK}"}
    given["client"] |= {"id": IMAGE, "name": TEXT[:200]}
    given["freelancer"] |= {"id": LINK, "name": TEXT[-200:]}
    return PurchaseStart.model_validate(given)


async def disputed(web_ui: WebUiServer) -> Handle:
    """A hostile purchase with a dispute, an offer, a message and rejected signals."""
    handle = await start(web_ui.server.client, hostile())
    await until(handle, lambda found: found.payment == "held")
    client, freelancer = {"role": "client", "id": IMAGE}, {"role": "freelancer", "id": LINK}
    for message, fields in (
        ("submit_requirements", {"by": client, "requirements": TEXT}),
        ("cancel", {"by": client}),
        ("decide_refund", {"by": freelancer, "decision": "decline", "claim": 10_000}),
        ("open_dispute", {"by": client, "reason": TEXT}),
        ("send_message", {"by": freelancer, "text": TEXT}),
    ):
        await handle.execute_update(message, fields)
    await handle.signal(TEXT[:60], {"by": client})
    await handle.signal("deliver", {"by": {"role": "freelancer", "id": IMAGE}})
    await until(handle, lambda found: found.rejected_count == 2)
    return handle


async def test_texts_of_other_people_are_no_link_and_no_image_on_any_page(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """Summary, details, card, timeline and events show them as they were written, and the browser
    asks no foreign host for anything."""
    handle = await disputed(web_ui)
    asked: list[str] = []
    ui.page.on("request", lambda request: asked.append(request.url))

    for tab, shown in (
        ("Timeline", "send_notices"),
        ("Event History", "Workflow Task Completed"),
        ("Search Attributes", "PurchaseClient"),
        ("Memo", "250.00 USD"),
        ("User Metadata", "Current Details"),
    ):
        await ui.purchase(quote(purchase_of(handle), safe=""), tab)
        await expect(ui.page.get_by_text(shown).first).to_be_visible()
        if tab == "User Metadata":
            await expect(await ui.card()).to_contain_text("In a dispute that a mediator decides")
        for frame in ui.page.frames:
            await expect(frame.locator(FROM_A_STRANGER)).to_have_count(0)

    summary = ui.page.frame_locator("iframe").first.locator("main")
    await expect(summary).to_contain_text("![x](https")
    await expect(summary).to_contain_text("· 250.00 USD · ")
    assert not [url for url in asked if url.split("/")[2].endswith(STRANGER)]


async def test_names_from_right_to_left_leave_our_sentences_in_order(
    web_ui: WebUiServer, ui: WebUI
) -> None:
    """The price stays right of the title, as in every other summary."""
    given = purchase(title="\u05dc\u05d5\u05d2\u05d5 7").model_dump(mode="json")
    handle = await start(web_ui.server.client, PurchaseStart.model_validate(given))

    await ui.purchase(purchase_of(handle), "User Metadata")

    summary = ui.page.frame_locator("iframe").first.locator("main p")
    await expect(summary).to_contain_text("250.00 USD")
    price, title = await summary.evaluate(
        """(line) => {
            const text = line.firstChild
            const left = (part) => {
                const range = document.createRange()
                const at = text.data.indexOf(part)
                range.setStart(text, at)
                range.setEnd(text, at + part.length)
                return range.getBoundingClientRect().left
            }
            return [left("250.00"), left("\\u05dc\\u05d5")]
        }"""
    )
    assert title < price
