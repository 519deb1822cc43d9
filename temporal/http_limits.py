"""Limits of every HTTP server: what a slow, broken or hostile client can use up.

uvicorn limits the size of headers and the idle time of a connection. Its `limit_concurrency` counts
connections that have sent nothing and rejects everybody else, so connections are limited here.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

log = structlog.get_logger()


@dataclass(frozen=True)
class HttpLimits:
    """Sizes are bytes, times seconds. A body's limit belongs to its route: see `body_of`."""

    headers: int = 16_384
    """Request line and headers. Real ones have less than 4,000 bytes."""
    idle: int = 5
    """A kept connection without a request."""
    total: float = 30
    """From the opening of a connection, or the answer before, to the end of an answer. A webhook
    waits up to ten seconds for Temporal, and for the provider before that."""
    connections: int = 400
    """With those that are accepted meanwhile, fewer than the usual limit of 1,024 open files."""
    connections_per_address: int = 100
    """A proxy is one address: it must not need more at once."""
    lines: int = 60
    """Warnings and errors of one kind that are logged each minute."""


LIMITS = HttpLimits()
WAITING_FOR_ACCEPT = 100
"""asyncio accepts as many at once, before a limit applies: with 256, a flood of 3,000 connections
exceeded 1,024 files."""
MINUTE = 60.0


class LimitedConfig(uvicorn.Config):
    """uvicorn's settings with all limits."""

    def __init__(self, app: Starlette, limits: HttpLimits) -> None:
        super().__init__(
            _guarded(app, limits.headers),
            http=LimitedProtocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            backlog=WAITING_FOR_ACCEPT,
            timeout_keep_alive=limits.idle,
            h11_max_incomplete_event_size=limits.headers,
        )
        self.limits = limits


class LimitedProtocol(H11Protocol):
    """Closes a connection that takes too long. If there are too many connections, closes one that
    waits for its client: of the address with the most connections, the one that waits longest."""

    def __init__(self, config: LimitedConfig, *args: Any, **options: Any) -> None:
        super().__init__(config, *args, **options)
        self._limits = config.limits
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and make room for it."""
        super().connection_made(transport)
        self._start_timer()
        everyone = cast("set[LimitedProtocol]", self.connections)
        same = [each for each in everyone if each.address == self.address]
        if len(same) > self._limits.connections_per_address:
            self._make_room(same)
        elif len(everyone) > self._limits.connections:
            self._make_room(everyone)

    def on_response_complete(self) -> None:
        """The next request has the whole time again."""
        self._start_timer()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        super().connection_lost(exc)
        if self._timer:
            self._timer.cancel()

    @property
    def address(self) -> str:
        """The other end's address; a proxy's, if there is one."""
        return self.client[0] if self.client else ""

    @property
    def _is_waiting(self) -> bool:
        """Whether the client has to send something before there is anything to do."""
        return not self.cycle or self.cycle.response_complete or self.cycle.more_body

    def _start_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self._limits.total, self._close, "too slow")

    def _make_room(self, among: Collection["LimitedProtocol"]) -> None:
        held = Counter(each.address for each in among)
        waiting = (each for each in among if each is not self and each._is_waiting)
        first = min(waiting, key=lambda each: (-held[each.address], each._since), default=self)
        first._close("too many connections")

    def _close(self, why: str) -> None:
        """Close at once, with what was not sent yet: the client may never read it."""
        log.warning("connection_closed", why=why, address=self.address)
        self.connections.discard(self)  # `connection_lost` comes after other new connections
        self.transport.abort()


def _guarded(app: ASGIApp, most: int) -> ASGIApp:
    """The application with headers of at most `most` bytes, and one log line for each failure. h11
    counts only headers that arrive in several parts."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        fields = (len(name) + len(value) for name, value in scope["headers"])
        if len(scope["raw_path"]) + len(scope["query_string"]) + sum(fields) > most:
            await JSONResponse({"result": "headers_too_large"}, 431)(scope, receive, send)
            return
        try:
            await app(scope, receive, send)
        except ClientDisconnect:
            log.warning("client_disconnected", path=scope["path"][:100])
        except Exception:  # Starlette has answered 500
            log.exception("request_failed", path=scope["path"][:100])

    return guarded


class LineLimit(logging.Filter):
    """Drops the warnings and errors of one kind that exceed the limit, and counts them. The kind is
    the event of a structured line, else the place in the code."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._lines: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.levelno < logging.WARNING:
            return True
        event = record.msg.get("event") if isinstance(record.msg, dict) else record.lineno
        kind = (record.name, str(event))
        self._lines[kind] += 1
        return self._lines[kind] <= self._most

    def restart(self) -> None:
        """Begin the next minute: log how many lines were left out."""
        left_out = {
            f"{name}:{event}": count - self._most
            for (name, event), count in self._lines.items()
            if count > self._most
        }
        self._lines.clear()
        if left_out:
            log.warning("log_lines_left_out", lines=left_out)


@asynccontextmanager
async def lines_limited(
    most: int, *written: logging.Filterer, every: float = MINUTE
) -> AsyncIterator[None]:
    """Limit what these loggers or handlers write, until the block ends."""
    limit = LineLimit(most)

    async def restart() -> None:
        while True:
            await asyncio.sleep(every)
            limit.restart()

    for each in written:
        each.addFilter(limit)
    restarting = asyncio.create_task(restart())
    try:
        yield
    finally:
        restarting.cancel()
        limit.restart()
        for each in written:
            each.removeFilter(limit)
