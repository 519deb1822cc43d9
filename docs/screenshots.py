"""Takes the pictures in docs/pictures: of the Web UI, notices and workroom (`make screenshots`)."""

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from datetime import timedelta

import structlog
from playwright.async_api import Locator
from temporalio.testing import WorkflowEnvironment

from activities.services import Services, Settings
from demo.live import open_purchase
from demo.runner import Handle, ScenarioRunner, send, skip, until
from demo.scenarios import BRIEF, CANCELS, DECLINES, SCENARIOS, Send, client, freelancer
from docs import notice_pictures, workroom_pictures
from docs.browser import WebUI, browser
from docs.notice_pictures import PICTURES
from temporal import embedded
from temporal.plugin import ACTIVITY_THREADS
from temporal.ports import free_port
from worker import build_worker
from workflows.messages import Role
from workflows.view import SEARCH_ATTRIBUTES

FULL_SCENARIO = "refund_approved"
HIDDEN = ("PurchaseFreelancer",)
"""Search attributes without a column: every row of the picture would show the same value."""
MENU = 256
"""The width of the Web UI's menu in pixels, which the pictures leave out."""


async def main() -> None:
    """Run the purchases of the pictures on a server, and take the pictures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        services = stack.enter_context(closing(Services(_settings(folder))))
        port = free_port()
        server = await stack.enter_async_context(embedded.server(skip_time=True, ui_port=port))
        threads = stack.enter_context(ThreadPoolExecutor(ACTIVITY_THREADS))
        await stack.enter_async_context(build_worker(server.client, services, threads))
        await _run_purchases(server)
        chrome = await stack.enter_async_context(browser())
        await notice_pictures.take(chrome)
        async with workroom_pictures.served() as room:
            await workroom_pictures.take(chrome, room)
        await _take_pictures(await WebUI.open(chrome, f"http://127.0.0.1:{port}"))


def _settings(folder: str) -> Settings:
    return Settings(
        database_url=f"sqlite:///{folder}/recourse.db",
        mail_url=f"maildir:{folder}/mail",
        payments=f"sandbox:{folder}/sandbox.db",
    )


async def _run_purchases(server: WorkflowEnvironment) -> None:
    """A typical mix of open and closed purchases."""
    runner = ScenarioRunner(server)
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    await runner.run(scenarios[FULL_SCENARIO], "p-1001")
    await runner.run(scenarios["card_declined"], "p-1002")
    await _purchase(server, "p-1003", "Song mix", client("send_message", text="Hello!"))
    await _purchase(server, "p-1004", "Web shop", BRIEF)
    await _purchase(server, "p-1005", "Translation", BRIEF, freelancer("deliver"))
    dispute = client("open_dispute", reason="Nothing was delivered.")
    await _purchase(server, "p-1006", "Logo design", BRIEF, CANCELS, DECLINES, dispute)
    failed = await _purchase(server, "p-1007", "Voice-over", freelancer("give_refund"), fails=True)
    await skip(server, failed, timedelta(days=4))
    await until(failed, lambda found: bool(found.attention))
    rejected = await _purchase(server, "p-1008", "Book cover", BRIEF, CANCELS)
    await rejected.signal("deliver", {"by": {"role": Role.FREELANCER, "id": "bo"}})
    await rejected.signal("decide_refund", {"by": {"role": Role.CLIENT, "id": "ana"}})
    await until(rejected, lambda found: found.rejected_count == 2)


async def _purchase(
    server: WorkflowEnvironment,
    purchase_id: str,
    title: str,
    *messages: Send,
    fails: bool = False,
) -> Handle:
    handle = await open_purchase(server, purchase_id, title, fails=fails)
    for message in messages:
        await send(handle, message.role, message.message, **message.fields)
    return handle


async def _take_pictures(ui: WebUI) -> None:
    await ui.page.set_viewport_size({"width": 1720, "height": 1600})
    await ui.list("WorkflowType = 'ProjectPurchase'")
    removed = ("Run ID", "Type", "Start", "End")
    await ui.show_columns(
        *(key.name for key in SEARCH_ATTRIBUTES if key.name not in HIDDEN), remove=removed
    )
    await ui.row("p-1008").wait_for()
    await _save(ui, "list", height=580)

    await ui.page.set_viewport_size({"width": 1400, "height": 1800})
    await ui.purchase("p-1001")
    await ui.button("Descending").click()
    await ui.page.get_by_text("client and freelancer: refund settled").wait_for()
    await _save(ui, "timeline", top=ui.page.get_by_role("heading", name="Timeline"), height=1060)

    for purchase_id, picture, with_page in (
        ("p-1006", "card", True),
        ("p-1008", "rejected", False),
    ):
        await ui.purchase(purchase_id, "User Metadata")
        card = await ui.card()
        await card.get_by_text("The last events").wait_for()
        pane = await card.bounding_box()
        assert pane is not None
        await _save(
            ui,
            picture,
            left=MENU if with_page else pane["x"] - 16,
            top=ui.page.get_by_text("Summary"),
            height=pane["height"] + 100,
        )


async def _save(
    ui: WebUI, name: str, *, left: float = MENU, top: Locator | None = None, height: float
) -> None:
    """Save a picture of what is right of `left` and below `top`, when the page is stable."""
    top_box = await top.bounding_box() if top else None
    # Wait for fonts and two frames: the second frame shows the complete page.
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
            "y": top_box["y"] - 20 if top_box else 0,
            "width": size["width"] - left,
            "height": height,
        },
        animations="disabled",
    )


if __name__ == "__main__":
    asyncio.run(main())
