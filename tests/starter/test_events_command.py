"""`recourse events`: what other systems did not get is found, and sent again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from temporalio.testing import ActivityEnvironment

from activities.notices.log import Delivery, DeliveryLog
from activities.requests import NOTICE_CAME_BACK, EventsRequest, Undelivered
from activities.services import Settings, open_database
from demo.runner import until
from temporal.purchases import Purchase
from temporal.undelivered import without_arrived
from tests.notices.consumer import Consumer
from tests.notices.test_events import PURCHASE, activities_for, record
from tests.starter.conftest import Cli
from workflows.notifying import TAKEN_OVER


async def test_events_that_were_given_up_are_listed_and_sent_again(
    tmp_path: Path, cli_environment: dict[str, str]
) -> None:
    """Exit status 1 as long as some are left; the consumer's secret stays unseen."""
    database = f"sqlite:///{tmp_path}/recourse.db"
    open_database(Settings(database_url=database)).dispose()
    log = DeliveryLog(create_engine(database))
    consumer = Consumer(401, 401, 401)
    with consumer.listening() as url:
        asked = EventsRequest(purchase_id=PURCHASE, events=(record(1), record(2)))
        await ActivityEnvironment().run(activities_for(log, url).send_events, asked)
        cli = Cli({**cli_environment, "RECOURSE_DATABASE_URL": database})

        listed = await cli("events", "--json")
        (found,) = listed.document
        assert (listed.status, found["purchase_id"], found["events"]) == (0, PURCHASE, 2)
        assert found["state"] == "given_up"
        assert found["why"] == "The receiver of webhooks rejects the event: 401"
        assert "--resend sends them again" in (await cli("events", f"purchase-{PURCHASE}")).out
        assert (await cli("events", "--resend")).rejection == (2, "WRONG_SETTING")

        first = await cli("events", "--resend", RECOURSE_EVENTS_URL=url)
        assert (first.status, consumer.numbers(PURCHASE)) == (1, [2])
        assert "1 of 2 events were sent; 1 was not." in first.out
        assert "whsec" not in first.out
        second = await cli("events", "--resend", RECOURSE_EVENTS_URL=url)
    assert (second.status, second.out) == (0, "1 of 1 event was sent.\n")
    assert log.given_up_events(datetime.now(UTC)) == ()
    assert (await cli("events")).out == "Every event was delivered.\n"


async def test_events_that_wait_for_a_consumer_are_listed(
    tmp_path: Path, cli_environment: dict[str, str]
) -> None:
    """A consumer that has stopped is seen before its events are given up; nothing is sent twice."""
    database = f"sqlite:///{tmp_path}/recourse.db"
    open_database(Settings(database_url=database)).dispose()
    log = DeliveryLog(create_engine(database))
    consumer = Consumer(always=503)
    with consumer.listening() as url:
        asked = EventsRequest(purchase_id=PURCHASE, events=(record(1), record(2)))
        await ActivityEnvironment().run(activities_for(log, url).send_events, asked)
        other = EventsRequest(purchase_id="p-2", events=(record(1),))
        await ActivityEnvironment().run(activities_for(log, url).send_events, other)
        cli = Cli({**cli_environment, "RECOURSE_DATABASE_URL": database})

        listed = (await cli("events", "--json")).document
        first, second = await cli("events"), await cli("events", "--limit", "1")
        posts = len(consumer.posts)
        again = await cli("events", "--resend", RECOURSE_EVENTS_URL=url)

    assert [(each["purchase_id"], each["state"], each["events"]) for each in listed] == [
        (PURCHASE, "waiting", 2),
        ("p-2", "waiting", 1),
    ]
    assert listed[0]["why"].endswith(": 503")
    assert "3 events wait for a consumer and are retried" in first.out
    assert "1 more; --limit 2 shows all" in second.out
    assert (again.status, len(consumer.posts)) == (0, posts)


async def test_events_of_an_unknown_purchase(cli: Cli, cli_purchase: Purchase) -> None:
    """Exit status 1, as for other commands; a purchase that has no events is known."""
    assert (await cli("events", "p-none")).rejection == (1, "NOT_FOUND")
    assert (await cli("events", "p-none", "--resend")).rejection == (1, "NOT_FOUND")
    assert (await cli("events", cli_purchase.id)).out == "Every event was delivered.\n"


async def test_an_event_that_was_sent_again_is_not_undelivered_any_more(
    cli: Cli, cli_environment: dict[str, str], cli_purchase: Purchase
) -> None:
    """By the delivery log: the purchase itself does not learn of it, and may be closed."""
    log = DeliveryLog(create_engine(cli_environment["RECOURSE_DATABASE_URL"]))
    consumer, event = Consumer(401), record(1)
    with consumer.listening() as url:
        asked = EventsRequest(purchase_id=cli_purchase.id, events=(event,))
        answer = await ActivityEnvironment().run(activities_for(log, url).send_events, asked)
        (lost,) = answer.undelivered
        await cli_purchase.handle.signal(NOTICE_CAME_BACK, lost)
        await until(cli_purchase.handle, lambda found: bool(found.undelivered))
        before = (await cli("status", cli_purchase.id, "--json")).document["undelivered"]
        assert [each["transition"] for each in before] == ["split_proposed"]

        sent = await cli("events", cli_purchase.id, "--resend", RECOURSE_EVENTS_URL=url)

    assert (sent.status, sent.out) == (0, "1 of 1 event was sent.\n")
    assert (await cli("status", cli_purchase.id, "--json")).document["undelivered"] == []
    away = {"RECOURSE_DATABASE_URL": "sqlite:////nowhere/recourse.db"}
    without = await cli("status", cli_purchase.id, "--json", **away)
    assert without.document["undelivered"] == before


NOW = datetime(2026, 11, 30, tzinfo=UTC)
BOTH = [Delivery("cancelled", "client", each, NOW, "sent") for each in ("smtp", "maildir")]


@pytest.mark.parametrize(
    ("channel", "why", "log", "left"),
    [
        ("smtp", "550", BOTH, 0),
        ("smtp", "550", [replace(BOTH[0], status="failed"), BOTH[1]], 1),
        ("smtp", "550", [], 1),
        ("smtp", "550", [replace(BOTH[0], at=NOW + timedelta(seconds=1))], 1),
        ("any", TAKEN_OVER, BOTH, 0),
        ("any", TAKEN_OVER, [BOTH[0], replace(BOTH[1], status="pending")], 1),
        ("any", "too many notices were waiting", BOTH, 1),
    ],
)
async def test_only_what_the_log_has_as_sent_has_arrived(
    channel: str, why: str, log: list[Delivery], left: int, cli_purchase: Purchase
) -> None:
    """What was given up before it was stored stays undelivered, also if a notice like it was
    sent."""
    lost = Undelivered(transition="cancelled", role="client", channel=channel, at=NOW, why=why)
    status = (await cli_purchase.status()).model_copy(update={"undelivered": (lost,)})
    assert len(without_arrived(status, log).undelivered) == left
