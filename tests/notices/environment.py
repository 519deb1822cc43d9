"""The whole house with a mailbox of the test's choice: real server, real worker, real books."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from activities.notices import Notice
from activities.services import Services
from demo.runner import Handle
from temporal import embedded
from tests.conftest import settings
from tests.purchases import purchase_of
from worker import ACTIVITY_THREADS, build_worker


@dataclass(frozen=True)
class House:
    """A server whose time can be skipped, and the parts behind its worker."""

    server: WorkflowEnvironment
    services: Services

    def told(self, handle: Handle) -> tuple[Notice, ...]:
        """The delivery log of a purchase."""
        return self.services.notices.list(purchase_of(handle))


@asynccontextmanager
async def house(
    folder: Path, mail_url: str = "", *, extra: Sequence[str] = (), **changed: Any
) -> AsyncIterator[House]:
    """Everything anew under `folder`; without `mail_url` the mail is in `folder/mail`."""
    given = settings(folder)
    given = replace(given, mail_url=mail_url or given.mail_url, **changed)
    with closing(Services(given)) as services, ThreadPoolExecutor(ACTIVITY_THREADS) as threads:
        async with (
            embedded.server(skip_time=True, extra=extra) as server,
            build_worker(server.client, services, threads),
        ):
            yield House(server, services)
