"""Takes the pictures of the workroom in docs/pictures: `python -m docs.workroom_pictures`, or `make
screenshots` with all other pictures. The purchases are those that the demo leaves open."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import structlog
from playwright.async_api import Browser, Page

from activities.payments.sandbox import SandboxProvider
from activities.requests import TASK_QUEUE
from activities.services import Services, Settings
from demo.live import (
    LIVE,
    TO_CANCEL,
    TO_DECIDE,
    TO_MEDIATE,
    open_purchases,
)
from demo.scenarios import PEOPLE
from docs.browser import browser
from temporal import embedded
from temporal.plugin import ACTIVITY_THREADS
from worker import build_worker
from workflows.messages import Role, Sender
from workroom.local import serve_workroom, with_workroom
from workroom.server import day_link
from workroom.settings import WorkroomSettings

PICTURES = Path(__file__).parent / "pictures"
DESKTOP, PHONE = 1_000, 375
"""Pixels wide."""


class Photographer:
    """Opens pages in a browser of one person, and takes pictures of them."""

    def __init__(self, chrome: Browser, settings: WorkroomSettings, role: Role) -> None:
        self._chrome, self._settings = chrome, settings
        self._sender = Sender(role=role, id=PEOPLE[role])

    @asynccontextmanager
    async def at(
        self, path: str, width: int = DESKTOP, scheme: str = "light"
    ) -> AsyncIterator[Page]:
        """A window of this person at a page."""
        context = await self._chrome.new_context(
            viewport={"width": width, "height": 500},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        page = await context.new_page()
        await page.goto(day_link(self._settings, self._sender))
        await page.goto(f"{self._settings.base_url}{path}")
        yield page
        await context.close()


async def shoot(page: Page, name: str, height: int | None = None) -> None:
    """Save a picture of the whole page, or of its upper part."""
    if height and page.viewport_size:
        await page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
    await page.screenshot(
        path=PICTURES / f"{name}.png", full_page=height is None, animations="disabled"
    )


async def take(chrome: Browser, settings: WorkroomSettings) -> None:
    """Take all pictures."""
    ana, bo, mediator, operator = (
        Photographer(chrome, settings, role)
        for role in (Role.CLIENT, Role.FREELANCER, Role.MEDIATOR, Role.OPERATOR)
    )
    await ready(operator)
    cancel, decide, mediate = (
        f"/purchases/{each.purchase_id}" for each in (TO_CANCEL, TO_DECIDE, TO_MEDIATE)
    )
    async with ana.at("/") as page:
        await shoot(page, "workroom-jobs")
    async with ana.at("/", PHONE) as page:
        await shoot(page, "workroom-jobs-phone", 900)
    async with mediator.at(f"{mediate}/messages") as page:
        await shoot(page, "workroom-messages")
    async with operator.at("/staff") as page:
        await shoot(page, "workroom-staff")
    async with bo.at(f"{decide}/decline_refund", PHONE, "dark") as page:
        await page.get_by_label("How much do you claim?").fill("100.00")
        await page.get_by_label("Why?").fill("Half of it is done.")
        await shoot(page, "workroom-decline-phone")
        await page.get_by_role("button", name="Continue").click()
        await shoot(page, "workroom-decline-check-phone")
    async with ana.at(cancel, PHONE) as page:
        await shoot(page, "workroom-purchase-phone", 900)
    async with ana.at(cancel) as page:
        await shoot(page, "workroom-purchase")
        await page.get_by_role("link", name="Cancel Contract").click()
        await page.get_by_label("Why do you cancel?").fill("My plans have changed.")
        await shoot(page, "workroom-cancel")
        await page.get_by_role("button", name="Continue").click()
        await shoot(page, "workroom-cancel-check")
        await page.get_by_role("button", name="Send escrow refund request").click()
        await page.get_by_role("heading", name="What has happened").wait_for()
        await shoot(page, "workroom-cancelled")


async def ready(operator: Photographer) -> None:
    """Wait until the lists have every purchase."""
    async with operator.at("/") as page:
        for live in LIVE:
            while not await page.get_by_role("link", name=live.title).count():
                await page.reload()


@asynccontextmanager
async def served() -> AsyncIterator[WorkroomSettings]:
    """A workroom with a worker, and the purchases of the pictures."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        variables = with_workroom({})
        settings = replace(
            Settings.from_environment(variables),
            database_url=f"sqlite:///{folder}/recourse.db",
            mail_url=f"maildir:{folder}/mail",
            payments=f"sandbox:{folder}/sandbox.db",
        )
        services = stack.enter_context(closing(Services(settings)))
        server = await stack.enter_async_context(embedded.server(skip_time=True))
        threads = stack.enter_context(ThreadPoolExecutor(ACTIVITY_THREADS))
        await stack.enter_async_context(build_worker(server.client, services, threads))
        assert isinstance(services.provider, SandboxProvider)
        await open_purchases(server, services.provider)
        await server.client.execute_workflow(
            "LedgerAudit", id="audit-of-the-pictures", task_queue=TASK_QUEUE
        )
        room = WorkroomSettings.from_environment(variables)
        await stack.enter_async_context(serve_workroom(server.client, room))
        yield room


async def main() -> None:
    """Start everything and take all pictures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with browser() as chrome, served() as settings:
        await take(chrome, settings)


if __name__ == "__main__":
    asyncio.run(main())
