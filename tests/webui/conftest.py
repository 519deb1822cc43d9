"""Fixtures: one server with its Web UI, one worker and one browser for all tests of the Web UI."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from docs.browser import WebUI, browser
from temporal import embedded
from temporal.ports import free_port
from tests.conftest import settings
from worker import build_worker


@dataclass(frozen=True)
class WebUiServer:
    """A server with its Web UI at `address`, and the ledger, provider and mail in `folder`."""

    server: WorkflowEnvironment
    address: str
    services: Services
    folder: Path


@pytest.fixture(scope="session")
async def web_ui(
    tmp_path_factory: pytest.TempPathFactory, threads: ThreadPoolExecutor
) -> AsyncIterator[WebUiServer]:
    """A server with its Web UI and a worker. Pausing workflows is enabled, as newer servers do."""
    port = free_port()
    pauses = ("--dynamic-config-value", "frontend.WorkflowPauseEnabled=true")
    folder = tmp_path_factory.mktemp("web_ui")
    async with AsyncExitStack() as stack:
        services = stack.enter_context(closing(Services(settings(folder))))
        server = await stack.enter_async_context(
            embedded.server(skip_time=True, ui_port=port, extra=pauses)
        )
        await stack.enter_async_context(build_worker(server.client, services, threads))
        yield WebUiServer(server, f"http://127.0.0.1:{port}", services, folder)


@pytest.fixture(scope="session")
async def ui(web_ui: WebUiServer) -> AsyncIterator[WebUI]:
    """One browser window with the Web UI, shared because loading it takes seconds."""
    async with browser() as chrome:
        yield await WebUI.open(chrome, web_ui.address)
