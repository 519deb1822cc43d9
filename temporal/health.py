"""The worker's health checks: `RECOURSE_HEALTH=host:port` serves `/healthz` (the process is alive)
and `/readyz` (it takes work: 503 while it starts, drains, gets no tasks because another version of
the worker deployment does, or cannot reach Temporal or a database that takes writes)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client
from temporalio.service import RPCError

from activities.database import DatabaseUnreachable, SchemaMismatch
from activities.database.engine import check_writable
from activities.services import WrongSetting
from temporal.deployment import gets_no_tasks
from temporal.serving import bound, listen_beside

HEALTH = "RECOURSE_HEALTH"
LONGEST_WAIT = timedelta(seconds=2)

Checks = Mapping[str, Callable[[], Awaitable[object]]]


class Health:
    """Whether this process takes work: the worker sets `ready`, the checks ask its services."""

    def __init__(self, client: Client, engine: Engine, build_id: str | None = None) -> None:
        self.ready = False

        async def version() -> None:
            if why := await gets_no_tasks(client, build_id):
                raise RuntimeError(why)

        self._checks: Checks = {
            "temporal": lambda: client.service_client.check_health(timeout=LONGEST_WAIT),
            "version": version,
            "ledger": lambda: asyncio.to_thread(check_writable, engine),
        }

    async def failing(self) -> list[str]:
        """Return the names of the checks that fail."""
        answers = await asyncio.gather(*(_passes(check) for check in self._checks.values()))
        failed = [name for name, good in zip(self._checks, answers, strict=True) if not good]
        return failed if self.ready else ["worker", *failed]


@asynccontextmanager
async def serve_health(health: Health, address: str | None) -> AsyncIterator[None]:
    """Serve `health` until the block ends; do nothing without an address. Raises WrongSetting."""
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 65_536):
        raise WrongSetting(f"{HEALTH} is {address!r}; give host:port, such as 0.0.0.0:8090.")
    with bound(host, int(port), "health_listening") as listener:
        serving = asyncio.create_task(listen_beside(_server(health), listener))
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def _server(health: Health) -> Starlette:
    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"result": "alive"})

    async def readyz(_: Request) -> JSONResponse:
        failing = await health.failing()
        return JSONResponse({"failing": failing}, 503 if failing else 200)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz)])


async def _passes(check: Callable[[], Awaitable[object]]) -> bool:
    try:
        async with asyncio.timeout(LONGEST_WAIT.total_seconds()):
            await check()
    except (
        *(RPCError, RuntimeError, TimeoutError),
        *(DatabaseUnreachable, SchemaMismatch, SQLAlchemyError),
    ):
        return False
    return True
