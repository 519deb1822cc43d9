"""A server in a thread, whose application can reset connections."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

NO_LINGER = struct.pack("ii", 1, 0)


class CuttableProtocol(H11Protocol):
    """Passes the connection to the application, and logs no requests."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.access_log = False
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


async def gone(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def cut(scope: Scope, receive: Receive) -> None:
    """Reset the connection, so that the client does not know the outcome."""
    transport: asyncio.Transport = scope["state"]["transport"]
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()
    await gone(receive)


@contextmanager
def serving(application: ASGIApp) -> Iterator[str]:
    """Serve the application on a free port; yield its URL."""
    # Named as TCP, or asyncio leaves Nagle's algorithm on and each answer takes 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    config = uvicorn.Config(
        application,
        http=CuttableProtocol,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        ws="none",
    )
    server = uvicorn.Server(config)
    # Clients that come before the server is up wait in the listener's backlog.
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="fake-stripe", daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
