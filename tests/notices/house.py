"""The whole house with a mailbox of the test's choice: real server, real worker, real books."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from activities.notices import Notice
from activities.parts import Parts
from starter import embedded
from starter.theatre import Handle
from tests.conftest import settings
from tests.purchases import purchase_of
from worker import ACTIVITY_THREADS, build_worker


@dataclass(frozen=True)
class House:
    """A server whose time can be skipped, and the parts behind its worker."""

    server: WorkflowEnvironment
    parts: Parts

    def told(self, handle: Handle) -> tuple[Notice, ...]:
        """The delivery log of a purchase."""
        return self.parts.notices.list(purchase_of(handle))


@asynccontextmanager
async def house(
    folder: Path, mail_url: str = "", *, extra: Sequence[str] = (), **changed: Any
) -> AsyncIterator[House]:
    """Everything anew under `folder`; without `mail_url` the mail is in `folder/mail`."""
    given = settings(folder)
    given = replace(given, mail_url=mail_url or given.mail_url, **changed)
    with closing(Parts(given)) as parts, ThreadPoolExecutor(ACTIVITY_THREADS) as threads:
        async with (
            embedded.server(skip_time=True, extra=extra) as server,
            build_worker(server.client, parts, threads),
        ):
            yield House(server, parts)
