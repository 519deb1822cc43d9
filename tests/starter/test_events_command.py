"""`recourse events`: what other systems did not get is found, and sent again."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine
from temporalio.testing import ActivityEnvironment

from activities.notices.log import DeliveryLog
from activities.requests import EventsRequest
from activities.services import Settings, open_database
from tests.notices.consumer import Consumer
from tests.notices.test_events import PURCHASE, activities_for, record
from tests.starter.conftest import Cli


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
        assert found["why"].endswith(": 401")
        assert (await cli("events", "p-9", "--json")).document == []
        assert "--resend sends them again" in (await cli("events", f"purchase-{PURCHASE}")).out
        assert (await cli("events", "--resend")).rejection == (2, "WRONG_SETTING")

        first = await cli("events", "--resend", RECOURSE_EVENTS_URL=url)
        assert (first.status, consumer.numbers(PURCHASE)) == (1, [2])
        assert "1 of 2 events were sent; these were not" in first.out
        assert "whsec" not in first.out
        second = await cli("events", "--resend", RECOURSE_EVENTS_URL=url)
    assert (second.status, second.out) == (0, "1 of 1 events were sent.\n")
    assert log.given_up_events(datetime.now(UTC)) == ()
    assert (await cli("events")).out == "No event was given up.\n"
