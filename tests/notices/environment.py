"""A real server, worker and ledger, with the mail channel that a test chooses."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from activities.notices.log import Notice
from activities.services import Services
from demo.runner import Handle
from temporal import embedded
from temporal.plugin import ACTIVITY_THREADS
from tests.conftest import settings
from tests.purchases import purchase_of
from worker import build_worker


@dataclass(frozen=True)
class Environment:
    """A server whose time can be skipped, and the services of its worker."""

    server: WorkflowEnvironment
    services: Services

    def notices(self, handle: Handle) -> tuple[Notice, ...]:
        """The notices of a purchase in the delivery log."""
        return self.services.notices.list(purchase_of(handle))


@asynccontextmanager
async def environment(
    folder: Path, mail_url: str = "", *, extra: Sequence[str] = (), **changed: Any
) -> AsyncIterator[Environment]:
    """A new environment whose data is in `folder`; without `mail_url` the mail is in
    `folder/mail`."""
    chosen = settings(folder)
    chosen = replace(chosen, mail_url=mail_url or chosen.mail_url, **changed)
    with closing(Services(chosen)) as services, ThreadPoolExecutor(ACTIVITY_THREADS) as threads:
        async with (
            embedded.server(skip_time=True, extra=extra) as server,
            build_worker(server.client, services, threads),
        ):
            yield Environment(server, services)
