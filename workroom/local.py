"""The workroom of `make run` and `make demo`: in the worker's process, on loopback."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from temporalio.client import Client

from activities.links import LINK_KEYS
from temporal.ports import free_port
from temporal.serving import bound, listen_beside
from workroom.database import Database
from workroom.server import workroom
from workroom.settings import ADDRESS, WorkroomSettings


def with_workroom(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment with what the workroom lacks: a free port, its address as the base of links,
    and a key that signs them during this run."""
    host, _, port = ADDRESS.rpartition(":")
    address = environment.get("RECOURSE_WORKROOM") or f"{host}:{free_port(int(port))}"
    given = {
        "RECOURSE_WORKROOM": address,
        "RECOURSE_BASE_URL": f"http://{address}",
        LINK_KEYS: f"run:{secrets.token_urlsafe(32)}",
    }
    return given | {name: text for name, text in environment.items() if text}


@asynccontextmanager
async def serve_workroom(
    client: Client, settings: WorkroomSettings, database: Database | None = None
) -> AsyncIterator[None]:
    """Serve the workroom until the block ends. Raises WrongSetting if its address is taken."""
    with bound(settings.host, settings.port, "workroom_listening") as listener:
        serving = asyncio.create_task(listen_beside(workroom(client, settings, database), listener))
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
