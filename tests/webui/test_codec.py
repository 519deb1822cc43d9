"""Encrypted data in the Web UI: ciphertext by itself, plaintext with the codec server and a
token."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from playwright.async_api import Route, expect
from temporalio.client import Client

from activities.services import Services
from demo.runner import start, until
from docs.browser import WebUI, browser
from temporal import embedded
from temporal.client import data_converter
from temporal.ports import free_port
from tests.conftest import settings
from tests.purchases import purchase, purchase_of
from tests.security.codec_process import TOKEN, codec_server
from tests.security.keys import NEW
from worker import build_worker
from workflows.receiving.encrypted import SETTING

pytestmark = pytest.mark.browser


@pytest.fixture
async def window(
    threads: ThreadPoolExecutor, tmp_path: Path
) -> AsyncIterator[tuple[WebUI, Client]]:
    """A browser window on a server whose worker encrypts."""
    port = free_port()
    async with embedded.server(ui_port=port) as server, browser() as chrome:
        client = await Client.connect(
            embedded.address(server.client), data_converter=data_converter({SETTING: NEW})
        )
        with closing(Services(settings(tmp_path))) as services:
            async with build_worker(client, services, threads):
                yield await WebUI.open(chrome, f"http://127.0.0.1:{port}"), client


async def test_the_web_ui_shows_ciphertext_without_the_codec_server_and_plaintext_with_it(
    window: tuple[WebUI, Client],
) -> None:
    """The input and the card of a purchase. The token is added to each request, as a proxy with
    sign-in in front of the Web UI does."""
    ui, client = window
    handle = await start(client, purchase())
    await until(handle, lambda found: found.payment == "held")
    purchase_id = purchase_of(handle)

    await ui.purchase(purchase_id)
    await _check_page(ui, plaintext=False)

    async with codec_server(NEW, ui.address) as codec:

        async def add_token(route: Route) -> None:
            headers = {**route.request.headers, "authorization": f"Bearer {TOKEN}"}
            await route.continue_(headers=headers)

        await ui.use_codec_server(codec.url)
        await ui.page.reload()
        await _check_page(ui, plaintext=False)

        await ui.page.route(f"{codec.url}/**", add_token)
        await ui.page.reload()
        await _check_page(ui, plaintext=True)
        await ui.purchase(purchase_id, "User Metadata")
        await expect((await ui.card()).get_by_text("Waiting for:")).to_be_visible()


async def _check_page(ui: WebUI, *, plaintext: bool) -> None:
    """Check that input and summaries are shown in plaintext, or are not."""
    await ui.page.get_by_text("take_payment").first.wait_for()
    for text in ("ana@example.com", "Charge 250.00 USD"):
        found = ui.page.get_by_text(text)
        if plaintext:
            await expect(found.first).to_be_visible()
        else:
            await expect(found).to_have_count(0)
