"""Takes the pictures of docs/pictures from the real Web UI, and those of notices:
`make screenshots`."""

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from datetime import timedelta

import structlog
from playwright.async_api import Locator
from temporalio.testing import WorkflowEnvironment

from activities.services import Services, Settings
from demo.runner import Handle, ScenarioRunner, say, skip, start, until
from demo.scenarios import BRIEF, CANCELS, DECLINES, SCENARIOS, Send, client, freelancer
from docs import notice_pictures
from docs.browser import WebUI, browser
from docs.notice_pictures import PICTURES
from temporal import embedded
from worker import ACTIVITY_THREADS, build_worker
from workflows.messages import PurchaseStart, Role
from workflows.view import SEARCH_ATTRIBUTES

FULL_STORY = "refund_approved"
HIDDEN = ("PurchaseFreelancer",)
"""Of our columns: it is the same in every row of the picture."""
MENU = 256
"""How wide the Web UI's own menu is."""


async def main() -> None:
    """Play what is to be seen, look at it, and keep the pictures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        services = stack.enter_context(closing(Services(_settings(folder))))
        port = embedded.free_port()
        server = await stack.enter_async_context(embedded.server(skip_time=True, ui_port=port))
        threads = stack.enter_context(ThreadPoolExecutor(ACTIVITY_THREADS))
        await stack.enter_async_context(build_worker(server.client, services, threads))
        await _play(server)
        chrome = await stack.enter_async_context(browser())
        await notice_pictures.take(chrome)
        await _take(await WebUI.open(chrome, f"http://127.0.0.1:{port}"))


def _settings(folder: str) -> Settings:
    return Settings(
        database_url=f"sqlite:///{folder}/recourse.db",
        mail_url=f"maildir:{folder}/mail",
        payments=f"sandbox:{folder}/sandbox.db",
    )


async def _play(server: WorkflowEnvironment) -> None:
    """A shop on an ordinary day."""
    runner = ScenarioRunner(server)
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    await runner.play(scenarios[FULL_STORY], "p-1001")
    await runner.play(scenarios["card_declined"], "p-1002")
    await _bought(server, "p-1003", "Song mix", client("send_message", text="Hello!"))
    await _bought(server, "p-1004", "Web shop", BRIEF)
    await _bought(server, "p-1005", "Translation", BRIEF, freelancer("deliver"))
    dispute = client("open_dispute", reason="Nothing was delivered.")
    await _bought(server, "p-1006", "Logo design", BRIEF, CANCELS, DECLINES, dispute)
    failed = await _bought(
        server, "p-1007", "Voice-over", freelancer("give_refund"), method="pm_sandbox_refund_fails"
    )
    await skip(server, failed, timedelta(days=4))
    await until(failed, lambda found: bool(found.attention))
    rejected = await _bought(server, "p-1008", "Book cover", BRIEF, CANCELS)
    await rejected.signal("deliver", {"by": {"role": Role.FREELANCER, "id": "bo"}})
    await rejected.signal("decide_refund", {"by": {"role": Role.CLIENT, "id": "ana"}})
    await until(rejected, lambda found: found.rejected_count == 2)


async def _bought(
    server: WorkflowEnvironment,
    purchase_id: str,
    title: str,
    *said: Send,
    method: str = "pm_sandbox_ok",
) -> Handle:
    given = SCENARIOS[0].start(purchase_id).model_dump(mode="json")
    terms = PurchaseStart.model_validate({**given, "title": title, "payment_method": method})
    handle = await start(server.client, terms)
    await until(handle, lambda found: found.payment == "held")
    for one in said:
        await say(handle, one.role, one.message, **one.fields)
    return handle


async def _take(ui: WebUI) -> None:
    await ui.page.set_viewport_size({"width": 1720, "height": 1600})
    await ui.list("WorkflowType = 'ProjectPurchase'")
    unwanted = ("Run ID", "Type", "Start", "End")
    await ui.show_columns(
        *(key.name for key in SEARCH_ATTRIBUTES if key.name not in HIDDEN), remove=unwanted
    )
    await ui.row("p-1008").wait_for()
    await _keep(ui, "list", height=580)

    await ui.page.set_viewport_size({"width": 1400, "height": 1800})
    await ui.purchase("p-1001")
    await ui.button("Descending").click()
    await ui.page.get_by_text("client and freelancer: refund settled").wait_for()
    await _keep(ui, "timeline", top=ui.page.get_by_role("heading", name="Timeline"), height=1060)

    for purchase_id, picture, beside in (("p-1006", "card", True), ("p-1008", "refused", False)):
        await ui.purchase(purchase_id, "User Metadata")
        card = await ui.card()
        await card.get_by_text("What happened last").wait_for()
        pane = await card.bounding_box()
        assert pane is not None
        await _keep(
            ui,
            picture,
            left=MENU if beside else pane["x"] - 16,
            top=ui.page.get_by_text("Summary"),
            height=pane["height"] + 100,
        )


async def _keep(
    ui: WebUI, name: str, *, left: float = MENU, top: Locator | None = None, height: float
) -> None:
    """Everything right of `left` and from `top` on, once it stands still."""
    above = await top.bounding_box() if top else None
    # The second frame after everything is there shows it.
    await ui.page.evaluate(
        "() => document.fonts.ready.then(() => new Promise(done =>"
        " requestAnimationFrame(() => requestAnimationFrame(done))))"
    )
    size = ui.page.viewport_size
    assert size is not None
    await ui.page.screenshot(
        path=PICTURES / f"{name}.png",
        clip={
            "x": left,
            "y": above["y"] - 20 if above else 0,
            "width": size["width"] - left,
            "height": height,
        },
        animations="disabled",
    )


if __name__ == "__main__":
    asyncio.run(main())
