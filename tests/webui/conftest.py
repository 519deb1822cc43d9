"""A server with its Web UI, a worker and a browser: one of each for all browser tests."""

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
from tests.conftest import settings
from worker import build_worker


@dataclass(frozen=True)
class Desk:
    """Where support staff sit: a server with its Web UI at `address`, and the books in `folder`."""

    server: WorkflowEnvironment
    address: str
    services: Services
    folder: Path


@pytest.fixture(scope="session")
async def desk(
    tmp_path_factory: pytest.TempPathFactory, threads: ThreadPoolExecutor
) -> AsyncIterator[Desk]:
    """The server lets workflows be paused, too, as newer ones do."""
    port = embedded.free_port()
    pauses = ("--dynamic-config-value", "frontend.WorkflowPauseEnabled=true")
    folder = tmp_path_factory.mktemp("desk")
    async with AsyncExitStack() as stack:
        services = stack.enter_context(closing(Services(settings(folder))))
        server = await stack.enter_async_context(
            embedded.server(skip_time=True, ui_port=port, extra=pauses)
        )
        await stack.enter_async_context(build_worker(server.client, services, threads))
        yield Desk(server, f"http://127.0.0.1:{port}", services, folder)


@pytest.fixture(scope="session")
async def ui(desk: Desk) -> AsyncIterator[WebUI]:
    """One window on the Web UI: a second one would have to load everything again."""
    async with browser() as chrome:
        yield await WebUI.open(chrome, desk.address)
