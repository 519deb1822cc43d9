"""A system that receives the events of purchases, behind a real HTTP server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.schemas import schema_of, validator_of
from tests.stripe.serving import cut, gone, serving

SECRET = "whsec_c2lnbmVkIGJ5IHJlY291cnNlISE+/w=="
SCHEMA: dict[str, Any] = schema_of("event")

VALIDATOR = validator_of(SCHEMA)


class Consumer:
    """Replies to successive posts with `replies`, then with `always`, and keeps each event that it
    was sent. "cut" keeps the event and closes the connection; "silent" never replies.

    Every post must be signed, a CloudEvent, and as the schema says.
    """

    def __init__(self, *replies: int | str, always: int | str = 204) -> None:
        self.replies = list(replies)
        self.always = always
        self.posts: list[dict[str, Any]] = []
        self.accepted: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        headers = dict(request.headers)
        event = Webhook(SECRET).verify(body, headers)
        VALIDATOR.validate(event)
        assert from_http_event(HTTPMessage(headers, body)).get_id() == event["id"]
        self.posts.append(event)
        self.bodies.append(body)
        reply = self.replies.pop(0) if self.replies else self.always
        if reply == "cut":
            await cut(request.scope, request.receive)
        if reply == "silent":
            await gone(request.receive)
        if reply == 204:
            self.accepted.append(event)
        return Response(status_code=reply if isinstance(reply, int) else 500)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Yields the value of RECOURSE_EVENTS_URL."""
        with serving(Starlette(routes=[Route("/in", self._post, methods=["POST"])])) as base:
            yield f"webhook+{base}/in?secret={SECRET}"

    def of(self, purchase_id: str) -> list[dict[str, Any]]:
        """The events of a purchase that it has accepted, in the order of their first arrival."""
        first = {event["id"]: event for event in reversed(self.accepted)}
        order = dict.fromkeys(event["id"] for event in self.accepted)
        return [first[number] for number in order if first[number]["subject"] == purchase_id]

    def numbers(self, purchase_id: str) -> list[int]:
        """The numbers of these events."""
        return [event["data"]["sequence"] for event in self.of(purchase_id)]
