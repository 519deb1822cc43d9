"""Signed webhooks, posted to a real HTTP receiver and verified with the scheme's own library."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.notices.activity import NoticeActivities
from activities.notices.channels import channel_from_url, channels_from_urls
from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.log import DeliveryLog
from activities.notices.webhook import WebhookChannel
from activities.requests import NoticeAnswer, NoticeRequest, Party
from activities.services import Settings
from tests.notices.builders import ANA, OPERATORS, client, closed_port, request
from tests.notices.test_channels import outgoing
from tests.stripe.serving import cut, gone, serving

SECRET = "whsec_c2lnbmVkIGJ5IHJlY291cnNlISE+/w=="


class Receiver:
    """Replies to successive posts with `replies`, then 204; keeps events with a valid signature.

    "cut" keeps the event and closes the connection; "silent" never replies.
    """

    def __init__(self, *replies: int | str) -> None:
        self.replies = list(replies)
        self.bodies: list[bytes] = []
        self.ids: list[str] = []
        self.events: list[Any] = []

    async def post(self, request: Request) -> Response:
        body = await request.body()
        self.events.append(Webhook(SECRET).verify(body, dict(request.headers)))
        self.bodies.append(body)
        self.ids.append(request.headers["webhook-id"])
        reply = self.replies.pop(0) if self.replies else 204
        if reply == "cut":
            await cut(request.scope, request.receive)
        if reply == "silent":
            await gone(request.receive)
        elsewhere = {"location": str(request.url)}
        return Response(status_code=reply if isinstance(reply, int) else 204, headers=elsewhere)

    @contextmanager
    def listening(self, limit: float = 5) -> Iterator[WebhookChannel]:
        with serving(Starlette(routes=[Route("/hook", self.post, methods=["POST"])])) as base:
            made = channel_from_url(f"webhook+{base}/hook?secret={SECRET}")
            assert isinstance(made, WebhookChannel)
            yield WebhookChannel(made.name, made.url, made.secret, limit)


async def send(log: DeliveryLog, channel: WebhookChannel, asked: NoticeRequest) -> NoticeAnswer:
    activities = NoticeActivities(log, [channel], operator_email=OPERATORS)
    return await ActivityEnvironment().run(activities.send_notices, asked)


async def test_each_reader_makes_one_signed_event(log: DeliveryLog) -> None:
    receiver = Receiver()
    with receiver.listening() as channel:
        for _ in range(2):
            assert await send(log, channel, request()) == NoticeAnswer(delivered=2)
    assert len(set(receiver.ids)) == 2
    events = {event["data"]["role"]: event for event in receiver.events}
    assert sorted(events) == ["client", "freelancer"]
    written = {notice.role: notice for notice in log.list("p-1001")}
    assert events["client"] == {
        "type": "purchase.refund_declined",
        "timestamp": "2026-11-23T18:00:00Z",
        "data": {
            "purchase_id": "p-1001",
            "transition": "refund_declined",
            "transition_id": "7",
            "role": "client",
            "subject": written["client"].subject,
            "text": written["client"].text,
        },
    }
    assert not any(b"@example.com" in body for body in receiver.bodies)


async def test_an_event_needs_no_mail_address(log: DeliveryLog) -> None:
    nowhere = Party.model_construct(**(dict(ANA) | {"email": "nowhere"}))
    asked = request().model_copy(update={"client": nowhere})
    with Receiver().listening() as channel:
        assert (await send(log, channel, asked)).delivered == 2


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_success_is_delivered(status: int) -> None:
    with Receiver(status).listening() as channel:
        await channel.deliver(outgoing())


@pytest.mark.parametrize("status", [302, 307, 408, 425, 429, 500, 503])
async def test_transient_statuses_and_redirects_are_transient(status: int) -> None:
    receiver = Receiver(status)
    with receiver.listening() as channel, pytest.raises(TransientFailure, match=str(status)):
        await channel.deliver(outgoing())
    assert len(receiver.ids) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 410])
async def test_a_rejection_is_permanent(status: int) -> None:
    with (
        Receiver(status).listening() as channel,
        pytest.raises(PermanentFailure, match=str(status)),
    ):
        await channel.deliver(outgoing())


async def test_unreachable_slow_and_cut_are_transient_and_show_no_path() -> None:
    down = channel_from_url(f"webhook+http://127.0.0.1:{closed_port()}/hidden?secret={SECRET}")
    with pytest.raises(TransientFailure) as caught:
        await down.deliver(outgoing())
    assert "hidden" not in str(caught.value)
    with Receiver("silent").listening(limit=0.2) as channel, pytest.raises(TransientFailure):
        await channel.deliver(outgoing())
    with Receiver("cut").listening() as channel, pytest.raises(TransientFailure):
        await channel.deliver(outgoing())


async def test_receivers_that_hang_block_no_other_thread() -> None:
    with Receiver(*["silent"] * 16).listening(limit=1) as channel:
        waiting = [asyncio.create_task(channel.deliver(outgoing())) for _ in range(16)]
        await asyncio.to_thread(lambda: None)
        assert not any(task.done() for task in waiting)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(end, TransientFailure) for end in ends)


@pytest.mark.parametrize("fault", ["cut", 500, 429])
async def test_a_retry_after_a_lost_answer_sends_the_same_event(
    log: DeliveryLog, fault: int | str
) -> None:
    receiver = Receiver(fault)
    asked = request(recipients=(client(),))
    with receiver.listening() as channel:
        with pytest.raises(ApplicationError):
            await send(log, channel, asked)
        assert await send(log, channel, asked) == NoticeAnswer(delivered=1)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == len(set(receiver.bodies)) == 1


async def test_gone_is_undelivered_by_that_channel(log: DeliveryLog) -> None:
    with Receiver(410, 410).listening() as channel:
        answer = await send(log, channel, request())
        assert {missing.channel for missing in answer.undelivered} == {channel.name}
    assert {notice.status for notice in log.list("p-1001")} == {"failed"}


def test_the_address_names_the_channel_and_its_secret_may_be_a_setting() -> None:
    made = channel_from_url(f"webhook+https://hooks.example.com/in?a=b+c&secret={SECRET}")
    assert made == WebhookChannel(
        "webhook:hooks.example.com", "https://hooks.example.com/in?a=b%2Bc", SECRET
    )
    assert SECRET not in repr(made)
    settings = Settings.from_environment(
        {
            "RECOURSE_MAIL_URL": "maildir:var/mail webhook+https://hooks.example.com/in",
            "RECOURSE_WEBHOOK_SECRET": SECRET,
        }
    )
    assert SECRET not in repr(settings)
    _, other = channels_from_urls(settings.mail_url, settings.webhook_secret)
    assert isinstance(other, WebhookChannel)
    assert other.secret == SECRET


@pytest.mark.parametrize(
    "url",
    [
        "webhook+https:",
        "webhook+https://",
        "webhook+https://host:port/?secret=whsec_c2VjcmV0",
        "webhook+https://u:p@host/?secret=whsec_c2VjcmV0",
        "webhook+https://host/#part?secret=whsec_c2VjcmV0",
        "webhook+http://example.com/?secret=whsec_c2VjcmV0",
        "webhook+https://host/",
        "webhook+https://host/?secret=",
        "webhook+https://host/?secret=whsec_",
        "webhook+https://host/?secret=c2VjcmV0",
        "webhook+https://host/?secret=whsec_c2VjcmV0&secret=whsec_c2VjcmV0",
    ],
)
def test_wrong_webhook_addresses(url: str) -> None:
    with pytest.raises(ChannelUrlError) as caught:
        channel_from_url(url)
    assert str(caught.value).endswith(".")
    assert "c2VjcmV0" not in str(caught.value)
