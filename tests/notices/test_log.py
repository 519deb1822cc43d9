"""The delivery log, on SQLite and on PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace

import pytest
import sqlalchemy
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from activities.database import create_engine, migrate
from activities.notices.log import DeliveryLog, Notice, effective_status
from tests.notices.builders import at

NOTICE = Notice(
    purchase_id="p-1001",
    transition_id="1",
    transition="payment_held",
    role="client",
    address="ana@example.com",
    channel="maildir",
    message_id="<1@recourse.invalid>",
    at=at(2026, 11, 23, 18),
    subject="Payment is in escrow",
    text="Olá\n",
    html="<p>Olá</p>",
)
LATER = replace(NOTICE, transition_id="2", message_id="<2@x>", at=at(2026, 11, 24))


@pytest.fixture
def any_log(any_engine: Engine) -> DeliveryLog:
    migrate(any_engine)
    return DeliveryLog(any_engine)


def test_a_stored_notice_is_not_replaced(any_log: DeliveryLog) -> None:
    assert any_log.insert_if_absent([NOTICE]) == (NOTICE,)
    changed = replace(NOTICE, subject="Another", message_id="<other@example.com>")
    new, known = any_log.insert_if_absent([LATER, changed])
    assert new == LATER
    assert known == any_log.list("p-1001")[0]
    assert known == replace(NOTICE, updated_at=known.updated_at)
    assert known.updated_at, "somebody may have attempted it"


def test_the_list_is_in_order_and_frozen(any_log: DeliveryLog) -> None:
    any_log.insert_if_absent([LATER])
    any_log.insert_if_absent([NOTICE, replace(NOTICE, role="freelancer", message_id="<3@x>")])
    any_log.insert_if_absent([replace(NOTICE, purchase_id="p-2", message_id="<4@x>")])
    listed = any_log.list("p-1001")
    assert [(notice.transition_id, notice.role) for notice in listed] == [
        ("1", "client"),
        ("1", "freelancer"),
        ("2", "client"),
    ]
    with pytest.raises(FrozenInstanceError):
        listed[0].status = "sent"  # type: ignore[misc]


def test_attempts_are_counted_and_sent_stays_sent(any_log: DeliveryLog) -> None:
    any_log.insert_if_absent([NOTICE])
    any_log.record([replace(NOTICE, last_error="451 later")])
    (waiting,) = any_log.list("p-1001")
    assert (waiting.status, waiting.attempts, waiting.last_error) == ("pending", 1, "451 later")
    any_log.record([replace(NOTICE, status="sent")])
    any_log.record([replace(NOTICE, last_error="late")])
    (sent,) = any_log.list("p-1001")
    assert (sent.status, sent.attempts, sent.last_error) == ("sent", 2, "")


def test_a_notice_pending_for_a_day_is_undelivered() -> None:
    day_after = at(2026, 11, 24, 18)
    assert effective_status(NOTICE, at(2026, 11, 24, 17, 59)) == NOTICE
    assert effective_status(NOTICE, day_after) == replace(NOTICE, status="undelivered")
    for final in (replace(NOTICE, status="sent"), replace(NOTICE, status="failed")):
        assert effective_status(final, day_after) == final


def test_concurrent_migrations_and_inserts(any_engine: Engine) -> None:
    url = any_engine.url.render_as_string(hide_password=False)
    engines = [create_engine(url) for _ in range(6)]

    def start(engine: Engine) -> tuple[Notice, ...]:
        migrate(engine)
        return DeliveryLog(engine).insert_if_absent([NOTICE, LATER])

    with ThreadPoolExecutor(6) as pool:
        opened = list(pool.map(start, engines))
    for engine in engines:
        engine.dispose()
    assert sum(notice.updated_at is None for notice, _ in opened) == 1, "one of them stored it"
    assert {replace(notice, updated_at=None) for notice, _ in opened} == {NOTICE}


def test_the_table_rejects_an_unknown_status(any_log: DeliveryLog, any_engine: Engine) -> None:
    any_log.insert_if_absent([NOTICE])
    with pytest.raises(SQLAlchemyError), any_engine.begin() as connection:
        connection.execute(text("UPDATE notices SET status = 'lost'"))


def test_a_missing_database_is_an_error() -> None:
    log = DeliveryLog(sqlalchemy.create_engine("sqlite:////nowhere/at/all.db"))
    with pytest.raises(SQLAlchemyError):
        log.list("p-1001")
