"""Notifies an open page when its purchase has changed, by server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from temporalio.service import RPCError

from temporal.executions import last_event_at
from temporal.purchases import Purchase

CHECK_EVERY, STREAM_LASTS = 3.0, 12.0
"""Seconds. A stream ends before the server's limit on a request; the browser opens it again."""
MOST_STREAMS = 50
"""Open streams in this process, which has 400 connections. People reload further pages by hand."""


class Live:
    """The streams of this process."""

    def __init__(self) -> None:
        self._open = 0

    def stream(self, request: Request, purchase: Purchase) -> Response:
        """An event with the time of the newest entry of the purchase's history, at once and
        whenever it changes. The browser repeats it when it opens the stream again."""
        if self._open >= MOST_STREAMS:
            return Response(status_code=204)  # the browser does not try again
        seen = request.headers.get("last-event-id", "")
        return StreamingResponse(
            self._events(purchase, seen),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _events(self, purchase: Purchase, seen: str) -> AsyncIterator[str]:
        self._open += 1
        try:
            yield "retry: 1000\n\n"
            ends = time.monotonic() + STREAM_LASTS
            while time.monotonic() < ends:
                at = await last_event_at(purchase.client, purchase.workflow_id)
                if at and at.isoformat() != seen:
                    seen = at.isoformat()
                    yield f"id: {seen}\ndata: changed\n\n"
                await asyncio.sleep(CHECK_EVERY)
        except RPCError:  # the browser asks again
            return
        finally:
            self._open -= 1
