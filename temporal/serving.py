"""Serves HTTP: shared by webhooks, codec server, metrics and the worker's health checks."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from activities.logs import configure_logs
from activities.services import WrongSetting

log = structlog.get_logger()


async def _healthz(_: Request) -> JSONResponse:
    return JSONResponse({"result": "listening"})


LISTENS = Route("/healthz", _healthz)
"""The health check of a process that only serves HTTP."""


async def listen(app: Starlette, host: str, port: int, what: str) -> None:
    """Serve until a signal stops it; the log event `what` has the address. Raises WrongSetting."""
    configure_logs()
    with bound(host, port, what) as listener:
        await uvicorn.Server(_config(app)).serve(sockets=[listener])


async def listen_beside(app: Starlette, listener: socket.socket) -> None:
    """Serve until cancelled; the caller handles signals."""
    await _Beside(_config(app)).serve(sockets=[listener])


@contextmanager
def bound(host: str, port: int, what: str) -> Iterator[socket.socket]:
    """Open a listening socket. Raises WrongSetting if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise WrongSetting(
            f"Cannot listen at {host}:{port} ({error.strerror or error}). Give an address of "
            "this machine and a free port."
        ) from None
    with listener:
        log.info(what, address="{}:{}".format(*listener.getsockname()[:2]))
        yield listener


async def body_of(request: Request, at_most: int) -> bytes | None:
    """Return the raw body; None if it is larger than the limit in bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > at_most:
            return None
    return bytes(body)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")


class _Beside(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
