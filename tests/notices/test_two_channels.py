"""Two channels at once, end to end: each notice is sent by mail and as a signed event."""

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from activities.services import Services
from demo.runner import ScenarioRunner
from demo.scenarios import SCENARIOS
from temporal import embedded
from tests.conftest import settings
from tests.stripe.serving import serving
from worker import build_worker

SECRET = "whsec_" + base64.b64encode(b"a secret of the receiver").decode()
DECLINED = next(scenario for scenario in SCENARIOS if scenario.ends.outcome == "payment_declined")


async def test_each_recipient_is_notified_through_each_channel(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """Every event is signed, and the log has one row per recipient and channel."""
    events: list[dict[str, object]] = []

    async def receive(request: Request) -> Response:
        events.append(Webhook(SECRET).verify(await request.body(), dict(request.headers)))
        return Response(status_code=204)

    given = settings(tmp_path)
    with serving(Starlette(routes=[Route("/", receive, methods=["POST"])])) as base:
        both = f"{given.mail_url} webhook+{base}/"
        given = replace(given, mail_url=both, webhook_secret=SECRET)
        with closing(Services(given)) as services:
            async with (
                embedded.server(skip_time=True) as server,
                build_worker(server.client, services, threads),
            ):
                await ScenarioRunner(server).run(DECLINED, "two-1")
            logged = await asyncio.to_thread(services.notices.list, "two-1")
    assert {notice.status for notice in logged} == {"sent"}
    assert len({notice.channel for notice in logged}) == 2
    assert len(logged) == 2 * len(events) == 2 * len(list((tmp_path / "mail" / "new").iterdir()))
