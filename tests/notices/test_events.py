"""Events for other systems: signed CloudEvents, at least once, in order, and no notice waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.notices.activity import NoticeActivities
from activities.notices.channels import MaildirChannel
from activities.notices.events import PROBES, EventDelivery, consumers_from_urls
from activities.notices.failures import ChannelUrlError
from activities.notices.log import DeliveryLog, effective_status
from activities.notices.message import sender
from activities.requests import (
    CONSUMER,
    GIVE_UP_EVENTS_AFTER,
    ErrorType,
    EventRecord,
    EventsRequest,
    NoticeAnswer,
)
from activities.services import Settings
from starter.schema_examples import examples
from tests.notices.builders import OPERATORS, client, closed_port, request
from tests.notices.consumer import SECRET, Consumer

HOSTS = ("127.0.0.1", "localhost")
PURCHASE = "p-1001"
ORIGIN = sender("Recourse <notices@recourse.invalid>")


def record(number: int, at: datetime | None = None) -> EventRecord:
    """The event with this number."""
    data = {**examples()["event"]["data"], "sequence": number}
    return EventRecord(
        id=f"purchase-{PURCHASE}/{number}-split_proposed",
        type="recourse.purchase.split_proposed.v1",
        transition="split_proposed",
        at=at or datetime.now(UTC) + timedelta(seconds=number),
        data=data,
    )


def activities_for(log: DeliveryLog, *urls: str, folder: Path | None = None) -> NoticeActivities:
    """The activities with these consumers; mail goes to `folder`."""
    channels = [MaildirChannel(folder)] if folder else []
    consumers = consumers_from_urls(" ".join(urls))
    delivery = EventDelivery(log, consumers, "/recourse/test", ORIGIN) if urls else None
    return NoticeActivities(log, channels, operator_email=OPERATORS, events=delivery)


async def send(activities: NoticeActivities, *events: EventRecord) -> NoticeAnswer:
    asked = EventsRequest(purchase_id=PURCHASE, events=events)
    return await ActivityEnvironment().run(activities.send_events, asked)


async def delayed(activities: NoticeActivities, *events: EventRecord) -> str:
    with pytest.raises(ApplicationError) as caught:
        await send(activities, *events)
    assert caught.value.type == ErrorType.NOTICE_DELAYED
    return caught.value.message


@contextmanager
def two(first: Consumer, second: Consumer) -> Iterator[tuple[str, str]]:
    """Two consumers that listen."""
    with first.listening() as one, second.listening() as other:
        yield one, other


async def test_an_event_is_a_signed_cloud_event_and_rides_in_a_notice(
    log: DeliveryLog, tmp_path: Path
) -> None:
    consumer, event = Consumer(), record(1)
    asked = request(recipients=(client(),)).model_copy(update={"events": (event,)})
    with consumer.listening() as url:
        activities = activities_for(log, url, folder=tmp_path / "mail")
        answer = await ActivityEnvironment().run(activities.send_notices, asked)
    assert answer == NoticeAnswer(delivered=1)
    (sent,) = consumer.accepted
    assert sent == {
        "specversion": "1.0",
        "id": event.id,
        "source": "/recourse/test",
        "type": "recourse.purchase.split_proposed.v1",
        "subject": PURCHASE,
        "time": event.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": "urn:recourse:event:1#/$defs/EventData",
        "data": event.data,
    }
    assert [(one.role, one.status) for one in log.list(PURCHASE) if one.role == CONSUMER] == [
        (CONSUMER, "sent")
    ]


async def test_no_notice_waits_for_a_consumer(log: DeliveryLog, tmp_path: Path) -> None:
    """The notice is delivered and the answer says that the event is pending."""
    down = f"webhook+http://127.0.0.1:{closed_port()}/in?secret={SECRET}"
    activities = activities_for(log, down, folder=tmp_path / "mail")
    asked = request(recipients=(client(),)).model_copy(update={"events": (record(1),)})
    answer = await ActivityEnvironment().run(activities.send_notices, asked)
    assert answer == NoticeAnswer(delivered=1, events_pending=True)


async def test_events_arrive_in_order_when_the_consumer_is_back(log: DeliveryLog) -> None:
    """None overtakes one that could not be delivered."""
    consumer = Consumer(503, 503)
    with consumer.listening() as url:
        activities = activities_for(log, url)
        for number in (1, 2):
            assert (await send(activities, record(number))).events_pending
        assert await send(activities) == NoticeAnswer()
    assert consumer.numbers(PURCHASE) == [1, 2]
    assert [event["data"]["sequence"] for event in consumer.posts] == [1, 1, 1, 2]


async def test_a_call_without_events_is_retried_until_all_are_sent(log: DeliveryLog) -> None:
    consumer = Consumer(500, 500)
    with consumer.listening() as url:
        activities = activities_for(log, url)
        await send(activities, record(1))
        assert "retried" in await delayed(activities)
        assert await send(activities) == NoticeAnswer()


async def test_one_consumer_that_is_down_delays_no_other(log: DeliveryLog) -> None:
    down, up = Consumer(always=503), Consumer()
    with two(down, up) as urls:
        names = [url.replace("127.0.0.1", name) for url, name in zip(urls, HOSTS, strict=True)]
        activities = activities_for(log, *names)
        for number in (1, 2):
            assert (await send(activities, record(number))).events_pending
    assert up.numbers(PURCHASE) == [1, 2]
    assert down.accepted == []


@pytest.mark.parametrize("fault", ["cut", 500, 429])
async def test_a_duplicate_has_the_same_id_and_the_same_bytes(
    log: DeliveryLog, fault: int | str
) -> None:
    consumer = Consumer(fault)
    with consumer.listening() as url:
        activities = activities_for(log, url)
        await send(activities, record(1))
        await send(activities, record(1))
    first, again = consumer.bodies
    assert first == again
    assert len(consumer.accepted) == 1


async def test_a_transition_that_is_reported_again_is_sent_once(log: DeliveryLog) -> None:
    """After a reset its time is another; the consumer keeps what it has."""
    consumer, event = Consumer(), record(1)
    with consumer.listening() as url:
        activities = activities_for(log, url)
        await send(activities, event)
        later = event.model_copy(update={"at": event.at + timedelta(hours=1)})
        await send(activities, later)
    assert len(consumer.posts) == 1


async def test_a_rejected_event_is_given_up_and_the_next_one_goes(log: DeliveryLog) -> None:
    """Status, log and answer show it; the consumer sees the gap."""
    consumer = Consumer(422)
    with consumer.listening() as url:
        activities = activities_for(log, url)
        answer = await send(activities, record(1), record(2))
        (lost,) = answer.undelivered
        assert (lost.role, lost.why[-3:], answer.events_pending) == (CONSUMER, "422", False)
        assert (await send(activities, record(1))).undelivered == (lost,)
    assert consumer.numbers(PURCHASE) == [2]
    now = datetime.now(UTC)
    assert list(log.undelivered(now - timedelta(days=7), now).values()) == [1]


async def test_an_event_is_given_up_after_three_days(log: DeliveryLog) -> None:
    """Notices after one; until then it is pending."""
    long_ago = datetime.now(UTC) - GIVE_UP_EVENTS_AFTER
    down = f"webhook+http://127.0.0.1:{closed_port()}/in?secret={SECRET}"
    activities = activities_for(log, down)
    young, old = record(2, long_ago + timedelta(minutes=1)), record(1, long_ago)
    answer = await send(activities, young)
    assert answer.events_pending
    assert not answer.undelivered
    (pending,) = log.list(PURCHASE)
    assert effective_status(pending, datetime.now(UTC)).status == "pending"
    assert effective_status(replace(pending, at=old.at), datetime.now(UTC)).status == "undelivered"
    now = datetime.now(UTC)
    assert log.undelivered(now - timedelta(days=7), now) == {}
    answer = await send(activities, old)
    assert [lost.transition for lost in answer.undelivered] == ["split_proposed"]


async def test_without_the_log_events_are_retried(log: DeliveryLog) -> None:
    consumer = Consumer()
    with consumer.listening() as url:
        activities = activities_for(log, url)
        with log._engine.begin() as connection:
            connection.execute(text("ALTER TABLE notices RENAME TO away"))
        assert "delivery log" in await delayed(activities, record(1))
        assert consumer.posts == []
        with log._engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO notices"))
        assert await send(activities, record(1)) == NoticeAnswer()
    assert consumer.numbers(PURCHASE) == [1]


async def test_without_consumers_nothing_is_stored(log: DeliveryLog) -> None:
    """The setting was removed while purchases run that send events."""
    assert await send(activities_for(log), record(1)) == NoticeAnswer()
    assert log.list(PURCHASE) == ()


async def test_a_silent_consumer_takes_few_slots(log: DeliveryLog) -> None:
    """While it has failed to answer, at most PROBES posts at once wait for it."""
    consumer = Consumer(503, always="silent")
    with consumer.listening() as url:
        activities = activities_for(log, url)
        delivery = activities._events
        assert delivery
        await send(activities, record(1))
        name = next(iter(delivery._consumers))
        delivery._posting[name] = PROBES
        answer = await send(activities, record(2))
    assert answer.events_pending
    assert len(consumer.posts) == 1


def test_the_setting_takes_webhooks_only() -> None:
    settings = Settings.from_environment(
        {"RECOURSE_EVENTS_URL": "webhook+https://a.example/in webhook+https://b.example/in"}
    )
    assert SECRET not in repr(settings)
    assert [each.name for each in consumers_from_urls(settings.events_url, SECRET)] == [
        "webhook:a.example",
        "webhook:b.example",
    ]
    assert consumers_from_urls("") == ()
    for wrong in ("maildir:var/mail", "https://a.example", f"{settings.events_url} " * 2):
        with pytest.raises(ChannelUrlError) as caught:
            consumers_from_urls(wrong, SECRET)
        assert str(caught.value).endswith(".")


async def test_events_that_were_given_up_are_sent_again_in_order(log: DeliveryLog) -> None:
    """A consumer had a wrong secret; meanwhile others, and later events, had arrived."""
    consumer = Consumer(401, 401)
    with consumer.listening() as url:
        activities = activities_for(log, url)
        await send(activities, record(1), record(2))
        await send(activities, record(3))
        delivery = activities._events
        assert delivery
        found = log.given_up_events(datetime.now(UTC))
        assert await delivery.resend(found, lambda _: None) == []
        assert consumer.numbers(PURCHASE) == [3, 1, 2]
    assert log.given_up_events(datetime.now(UTC)) == ()
    assert all(one.status == "sent" for one in log.list(PURCHASE))


async def test_a_consumer_that_is_still_wrong_gets_its_events_later(log: DeliveryLog) -> None:
    """One that does not answer is asked once, not for each purchase."""
    consumer = Consumer(*[401] * 2, always=503)
    with consumer.listening() as url:
        activities = activities_for(log, url)
        await send(activities, record(1))
        other = EventsRequest(purchase_id="p-1002", events=(record(1),))
        await ActivityEnvironment().run(activities.send_events, other)
        delivery = activities._events
        assert delivery
        found = log.given_up_events(datetime.now(UTC))
        left = await delivery.resend(found, lambda _: None)
    assert [(one.purchase_id, one.last_error[-5:]) for one in left] == [
        (PURCHASE, ": 503"),
        ("p-1002", "sent."),
    ]
    assert len(consumer.posts) == 3
    assert log.given_up_events(datetime.now(UTC)) == found
