"""Serves HTTP: shared by webhooks, codec server, metrics and the worker's health checks."""

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from activities.logs import configure_logs
from activities.services import WrongSetting
from temporal.http_limits import LIMITS, HttpLimits, LimitedConfig, lines_limited

log = structlog.get_logger()


async def _healthz(_: Request) -> JSONResponse:
    return JSONResponse({"result": "listening"})


LISTENS = Route("/healthz", _healthz)
"""The health check of a process that only serves HTTP."""


async def listen(
    app: Starlette, host: str, port: int, what: str, limits: HttpLimits = LIMITS
) -> None:
    """Serve until a signal stops it; the log event `what` has the address. Raises WrongSetting."""
    configure_logs()
    with bound(host, port, what) as listener:
        written = logging.getLogger().handlers
        await _Server(LimitedConfig(app, limits), written).serve(sockets=[listener])


async def listen_beside(
    app: Starlette, listener: socket.socket, limits: HttpLimits = LIMITS
) -> None:
    """Serve until cancelled; the caller handles signals. Only the server's own log lines are
    limited."""
    written = [logging.getLogger(name) for name in ("uvicorn.error", "temporal.http_limits")]
    server = _Beside(LimitedConfig(app, limits), written)
    try:
        await server.serve(sockets=[listener])
    finally:  # uvicorn leaves the event loop listening if it is cancelled
        for each in server.servers if server.started else ():
            each.close()


@contextmanager
def bound(host: str, port: int, what: str) -> Iterator[socket.socket]:
    """Open a listening socket. Raises WrongSetting if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while ")[0]  # the address follows
        raise WrongSetting(
            f"Cannot listen at {host}:{port} ({reason}). Give an address of this machine and a "
            "free port."
        ) from None
    with listener:
        # Its connections inherit this. asyncio would set it only if their protocol were given.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        log.info(what, address="{}:{}".format(*listener.getsockname()[:2]))
        yield listener


async def body_of(request: Request, at_most: int) -> bytes | None:
    """Return the raw body; None if it is larger than the limit in bytes."""
    if int(request.headers.get("content-length", "0")) > at_most:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > at_most:
            return None
    return bytes(body)


class _Server(uvicorn.Server):
    """Limits what these loggers or handlers write while it serves."""

    def __init__(self, config: LimitedConfig, written: Sequence[logging.Filterer]) -> None:
        super().__init__(config)
        self._lines = lines_limited(config.limits.lines, *written)

    async def main_loop(self) -> None:
        async with self._lines:
            await super().main_loop()


class _Beside(_Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
