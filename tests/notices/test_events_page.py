"""The consumer on the page about events works as printed."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer
from typing import Any

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


class Status:
    """The workroom's status of the purchase: what it says, and how often it was read."""

    def __init__(self) -> None:
        self.reads = 0
        self.shown = {**examples()["status"], "stage": "closed", "sequence": 4}

    async def get(self, request: Request) -> Response:
        self.reads += 1
        assert request.headers["authorization"] == "Bearer a-token"
        return JSONResponse(self.shown)


@contextmanager
def consumer(monkeypatch: pytest.MonkeyPatch, status: Status) -> Iterator[tuple[Any, str]]:
    """The program of the page, listening: its names, and its address."""
    (program,) = re.findall(
        r"^```python\n(.*?)^```$",
        (HERE / "events.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    route = Route("/api/purchases/{id}", status.get)
    with serving(Starlette(routes=[route])) as api:
        monkeypatch.setenv("EVENTS_SECRET", SECRET)
        monkeypatch.setenv("RECOURSE_TOKEN", "a-token")
        monkeypatch.setenv("RECOURSE_API", api)
        names: dict[str, Any] = {"__name__": "consumer"}
        exec(compile(program, "docs/events.md", "exec"), names)  # noqa: S102
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


def test_the_consumer_rejects_a_forged_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes nothing."""
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1",
        "webhook-signature": "v1,Zm9yZ2Vk",
    }
    body = json.dumps(examples()["event"])
    with consumer(monkeypatch, Status()) as (names, url):
        answer = requests.post(url, data=body, headers=headers, timeout=10)
        assert answer.status_code == 401
        assert names["stages"] == {}
