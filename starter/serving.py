"""Listening for HTTP: what the receivers of webhooks and of the Web UI's questions share."""

import asyncio

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request

log = structlog.get_logger()


async def listen(app: Starlette, host: str, port: int, what: str) -> None:
    """Serve until stopped; one log line `what` says where, once it listens."""
    config = uvicorn.Config(app, host, port, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    for listener in server.servers:
        for socket in listener.sockets:
            log.info(what, address="{}:{}".format(*socket.getsockname()[:2]))
    await serving


async def body_of(request: Request, at_most: int) -> bytes | None:
    """The raw body; None if it is larger than so many bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > at_most:
            return None
    return bytes(body)
