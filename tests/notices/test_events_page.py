"""The consumer on the page about events works as printed."""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer
from typing import Any

import jwt
import pytest
import requests
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from activities.notices.events import EventDelivery, consumers_from_urls
from activities.notices.log import DeliveryLog
from docs.generate import HERE
from starter.schema_examples import examples
from tests.notices.consumer import SECRET
from tests.notices.test_events import ORIGIN, PURCHASE, record
from tests.stripe.serving import serving
from tests.workroom.callers import SECRET as API_SECRET
from workflows.messages import Role
from workroom.tokens import SharedSecret, Tokens

PROGRAM, OWN_TOKEN = re.findall(
    r"^```python\n(.*?)^```$",
    (HERE / "events.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)


class Status:
    """The workroom's status of the purchase: what it says, and how often it was read. Only the
    newest token of the issuer is valid, for `seconds`."""

    def __init__(self, seconds: int = 300) -> None:
        self.reads = 0
        self.tokens = 0
        self.seconds = seconds
        self.shown = {**examples()["status"], "stage": "closed", "sequence": 4}

    async def get(self, request: Request) -> Response:
        self.reads += 1
        assert request.headers["authorization"] == f"Bearer token-{self.tokens}"
        return JSONResponse(self.shown)

    async def issue(self, request: Request) -> Response:
        assert await request.body() == b"grant_type=client_credentials"
        assert request.headers["authorization"] == "Basic ZXJwOmEtc2VjcmV0"
        self.tokens += 1
        return JSONResponse({"access_token": f"token-{self.tokens}", "expires_in": self.seconds})


@contextmanager
def consumer(monkeypatch: pytest.MonkeyPatch, status: Status) -> Iterator[tuple[Any, str]]:
    """The program of the page, listening: its names, and its address."""
    routes = [
        Route("/api/purchases/{id}", status.get),
        Route("/token", status.issue, methods=["POST"]),
    ]
    with serving(Starlette(routes=routes)) as api:
        monkeypatch.setenv("EVENTS_SECRET", SECRET)
        monkeypatch.setenv("TOKEN_URL", f"{api}/token")
        monkeypatch.setenv("CLIENT_ID", "erp")
        monkeypatch.setenv("CLIENT_SECRET", "a-secret")
        monkeypatch.setenv("RECOURSE_API", api)
        names: dict[str, Any] = {"__name__": "consumer"}
        exec(compile(PROGRAM, "docs/events.md", "exec"), names)  # noqa: S102
        names["Consumer"].log_message = lambda *_: None
        server = HTTPServer(("127.0.0.1", 0), names["Consumer"])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield names, f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


async def test_the_consumer_keeps_the_stage_and_reads_the_status_after_a_gap(
    log: DeliveryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next number is processed, a known id is dropped, and after a gap the status is read."""
    status, stream = Status(), f"purchase-{PURCHASE}"
    with consumer(monkeypatch, status) as (names, url):
        (made,) = consumers_from_urls(f"webhook+{url}?secret={SECRET}")
        delivery = EventDelivery(log, [made], "/recourse/test", ORIGIN)
        await delivery.deliver(PURCHASE, [record(1), record(2)])
        assert (names["stages"][PURCHASE], names["newest"][stream]) == ("refund_requested", 2)
        assert status.reads == 0

        await delivery.deliver(PURCHASE, [record(4)])
        assert (names["stages"][PURCHASE], names["newest"][stream]) == ("closed", 4)
        assert status.reads == 1

        await delivery.deliver(PURCHASE, [record(3)])
        assert (names["stages"][PURCHASE], names["newest"][stream]) == ("closed", 4)
        assert len(names["known"]) == 4


@pytest.mark.parametrize(("seconds", "tokens"), [(300, 1), (30, 2)])
async def test_the_consumer_renews_its_token_before_it_expires(
    seconds: int, tokens: int, log: DeliveryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute before; until then it uses the one that it has."""
    status = Status(seconds)
    with consumer(monkeypatch, status) as (_, url):
        (made,) = consumers_from_urls(f"webhook+{url}?secret={SECRET}")
        delivery = EventDelivery(log, [made], "/recourse/test", ORIGIN)
        await delivery.deliver(PURCHASE, [record(2)])
        await delivery.deliver(PURCHASE, [record(4)])
    assert (status.reads, status.tokens) == (2, tokens)


async def test_a_consumer_without_an_issuer_makes_tokens_that_the_workroom_accepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECOURSE_API_SECRET", API_SECRET)
    names: dict[str, Any] = {"time": time, "jwt": jwt, "os": os}
    exec(compile(OWN_TOKEN, "docs/events.md", "exec"), names)  # noqa: S102
    sender = await Tokens(SharedSecret(API_SECRET), "recourse").sender(
        f"Bearer {names['bearer']()}"
    )
    assert (sender.role, sender.id) == (Role.OPERATOR, "erp")


@pytest.mark.parametrize("signature", ["v1,Zm9yZ2Vk", "v1,xx", "v1,\u00e9", "v1", ""])
def test_the_consumer_rejects_a_forged_event(
    signature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose signature is not base64. It changes nothing."""
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": signature,
    }
    body = json.dumps(examples()["event"])
    with consumer(monkeypatch, Status()) as (names, url):
        answer = requests.post(url, data=body, headers=headers, timeout=10)
        assert answer.status_code == 401
        assert names["stages"] == {}
