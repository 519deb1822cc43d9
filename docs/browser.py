"""Drives the Temporal Web UI in a headless Chromium, for browser tests and docs/pictures."""

import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from playwright.async_api import Browser, Locator, Page, ViewportSize, async_playwright

CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
)
TIMEOUT = 20_000
"""Milliseconds that the Web UI may take to show something; it is slow on a busy machine."""

SIZE: ViewportSize = {"width": 1400, "height": 900}


def chromium() -> str:
    """The path of Chromium: RECOURSE_CHROMIUM, or from PATH. Raises FileNotFoundError."""
    found = os.environ.get("RECOURSE_CHROMIUM") or shutil.which("chromium")
    if found is None:
        raise FileNotFoundError(
            "Chromium is missing. Install it (apt-get install chromium) or set RECOURSE_CHROMIUM."
        )
    return found


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with async_playwright() as playwright:
        chrome = await playwright.chromium.launch(
            executable_path=chromium(), args=list(CHROMIUM_ARGUMENTS)
        )
        yield chrome
        await chrome.close()


@dataclass(frozen=True)
class WebUI:
    """One browser window that shows the Web UI at `address`."""

    page: Page
    address: str

    @classmethod
    async def open(cls, chrome: Browser, address: str) -> "WebUI":
        """Open a new window without settings of an earlier one."""
        context = await chrome.new_context(viewport=SIZE, timezone_id="UTC")
        context.set_default_timeout(TIMEOUT)
        return cls(await context.new_page(), address)

    # --- the list

    async def list(self, query: str = "") -> None:
        """Show the list of purchases that a query finds."""
        await self.page.goto(f"{self.address}/namespaces/default/workflows?query={quote(query)}")
        await self.page.get_by_test_id("workflow-count").wait_for()

    async def search(self, query: str) -> None:
        """Type a query into the list's own search field."""
        field = self.page.get_by_test_id("workflow-manual-search-input")
        if not await field.is_visible():
            await self.page.get_by_test_id("toggle-manual-query").click()
        await field.fill(query)
        await field.press("Enter")

    def row(self, purchase_id: str) -> Locator:
        """The row of a purchase in the list."""
        return self.page.get_by_role("row").filter(
            has=self.page.get_by_role("link", name=f"purchase-{purchase_id}", exact=True)
        )

    async def show_columns(self, *add: str, remove: tuple[str, ...] = ()) -> None:
        """Add and remove columns of the list; the browser stores this setting."""
        await self.page.get_by_role("button", name="Configure Columns").click()
        for name in remove:
            await self.page.get_by_role("button", name=f"Remove {name} column").click()
        for name in add:
            await self.page.get_by_role("button", name=f"Add {name} column").click()
        await self.page.get_by_test_id("drawer-close-button").click()

    # --- one purchase

    async def purchase(self, purchase_id: str, tab: str = "Timeline") -> None:
        """Show a tab of a purchase."""
        await self.page.goto(f"{self.address}/namespaces/default/workflows/purchase-{purchase_id}")
        await self.page.get_by_text("Workflow SDK").first.wait_for()
        if tab != "Timeline":
            await self.page.get_by_role("tab", name=re.compile(f"^{tab}")).click()

    async def use_codec_server(self, address: str) -> None:
        """Set the codec server; the browser stores this setting."""
        await self.page.get_by_test_id("data-encoder-status").click()
        await self.page.get_by_test_id("use-local-endpoint-input").check(force=True)
        await self.page.get_by_label("Codec Server browser endpoint").fill(address)
        await self.page.get_by_test_id("confirm-modal-button").filter(visible=True).click()

    async def card(self) -> Locator:
        """The status card in the tab User Metadata."""
        await self.page.get_by_text("Current Details").wait_for()
        frame = self.page.frame_locator("iframe").last
        await frame.locator("h3").wait_for()
        return frame.locator("main")

    def button(self, name: str) -> Locator:
        """The visible button of this name."""
        return self.page.get_by_role("button", name=name, exact=True).filter(visible=True)

    async def press(self, action: str) -> None:
        """Choose an action for the workflow, such as Reset, without confirming it."""
        if await self.button(action).count():
            await self.button(action).click()
        else:
            await self.button("More Actions").click()
            item = self.page.get_by_role("menuitem", name=action, exact=True)
            await item.filter(visible=True).click()

    @property
    def dialog(self) -> Locator:
        """The open dialog."""
        return self.page.locator("dialog[open]").filter(visible=True)

    async def confirm(self) -> None:
        """Press the dialog's confirm button."""
        await self.dialog.get_by_test_id("confirm-modal-button").click()

    async def fill_in(
        self, kind: Literal["signal", "update"], name: str, payload: Mapping[str, Any]
    ) -> None:
        """Fill in the dialog for a signal or an update, with its name chosen from the list."""
        await self.press({"signal": "Send a Signal", "update": "Send an Update"}[kind])
        await self.dialog.get_by_test_id(f"{kind}-select-button").click()
        await self.dialog.get_by_role("option", name=re.compile(f"^{name}\\b")).click()
        data = self.dialog.get_by_role("textbox", name="Data")
        await data.fill(json.dumps(payload))
        await data.blur()  # on blur the form reformats the JSON, which moves its buttons

    async def send(
        self, kind: Literal["signal", "update"], name: str, payload: Mapping[str, Any]
    ) -> None:
        """Send a message with the dialog."""
        await self.fill_in(kind, name, payload)
        await self.confirm()
