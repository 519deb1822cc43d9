"""The delivery log: what was sent to whom. Its table is in the ledger's database.

A whole notice is stored before its first attempt. Retries send what is stored, so they send the
same bytes even after the templates have changed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from activities.database.personal import Forgotten, PersonalData
from activities.database.types import Instant
from activities.requests import CONSUMER, GIVE_UP_AFTER, GIVE_UP_EVENTS_AFTER

Status = Literal["pending", "sent", "failed", "undelivered"]


@dataclass(frozen=True)
class Notice:
    """One notice to one reader through one channel, or one event to one consumer: then `text` is
    its JSON.

    `sent` and `failed` are final, but mail that comes back makes `failed` of `sent`. `pending` has
    not been delivered yet; `last_error` says why.
    `undelivered` is never stored: `effective_status` derives it from `pending` when it is retried
    no longer. `at` is
    the time of the transition; `updated_at` is when the log last changed.
    """

    purchase_id: str
    transition_id: str
    transition: str
    role: str
    address: str
    at: datetime
    channel: str = ""
    message_id: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    status: Status = "pending"
    attempts: int = 0
    last_error: str = ""
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Delivery:
    """What became of a notice or an event, as the log says."""

    transition: str
    role: str
    channel: str
    at: datetime
    status: Status


def effective_status(notice: Notice, now: datetime) -> Notice:
    """The notice with its status at `now`: `undelivered` if it is pending and no longer retried."""
    given_up = notice.status == "pending" and now >= retried_until(notice)
    return replace(notice, status="undelivered") if given_up else notice


def retried_until(notice: Notice) -> datetime:
    """When a notice or an event that is still pending is given up."""
    return notice.at + (GIVE_UP_EVENTS_AFTER if notice.role == CONSUMER else GIVE_UP_AFTER)


PERSONAL = ("address", "subject", "text", "html")
"""The columns that are encrypted with the key of the purchase."""

FORGOTTEN = "(forgotten)"
"""What is read in them when the persons of the purchase were forgotten."""

_TYPES = {"at": Instant, "attempts": Integer, "updated_at": Instant}
_NOTICES = Table(
    "notices",
    MetaData(),
    Column("id", Integer, primary_key=True),
    *(Column(each.name, _TYPES.get(each.name, Text)) for each in fields(Notice)),
)
"""The table as queries see it. Its constraints are in the migrations only."""

# Statements are built once: building one takes longer than executing it.
_KEY = ("purchase_id", "transition_id", "role", "channel")
_SAME_KEY = and_(*(_NOTICES.c[name] == bindparam(f"key_{name}") for name in _KEY))
_OF_TRANSITION = select(_NOTICES).where(
    *(_NOTICES.c[name] == bindparam(f"key_{name}") for name in ("purchase_id", "transition_id"))
)
_INSERT = {
    "sqlite": sqlite.insert(_NOTICES).inline().on_conflict_do_nothing(),
    "postgresql": postgresql.insert(_NOTICES).inline().on_conflict_do_nothing(),
}
_RECORD = (
    update(_NOTICES)
    .where(_SAME_KEY, _NOTICES.c.status != "sent")
    .values(
        status=bindparam("new_status"),
        last_error=bindparam("error"),
        attempts=_NOTICES.c.attempts + 1,
        updated_at=bindparam("now"),
    )
)
_PENDING_EVENT = (_NOTICES.c.role == CONSUMER, _NOTICES.c.status == "pending")


class DeliveryLog:
    """The delivery log in a database. Every call blocks and is one transaction.

    Raises SQLAlchemyError if the database cannot be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def insert_if_absent(self, notices: Sequence[Notice]) -> tuple[Notice, ...]:
        """Store the notices that are new. Returns all as they are stored, in the same order.

        A stored notice with the same purchase, transition, role and channel is not replaced. A new
        one has no `updated_at`: nobody has attempted it.
        """
        now = datetime.now(UTC)
        rows = [asdict(notice) | {"updated_at": now} for notice in notices]
        transitions = {(notice.purchase_id, notice.transition_id) for notice in notices}
        with self._engine.begin() as connection:
            _seal(connection, rows)
            connection.execute(_INSERT[connection.dialect.name], rows)
            found = [
                row
                for purchase_id, transition_id in transitions
                for row in connection.execute(
                    _OF_TRANSITION,
                    {"key_purchase_id": purchase_id, "key_transition_id": transition_id},
                )
            ]
            stored = {_key(notice): notice for notice in _notices(connection, found)}
        return tuple(
            replace(notice, updated_at=None) if notice.updated_at == now else notice
            for notice in (stored[_key(given)] for given in notices)
        )

    def record(self, attempted: Sequence[Notice]) -> None:
        """Record one attempt of each notice, with its status and last error. A sent notice stays
        sent, also if a late attempt failed."""
        now = datetime.now(UTC)
        rows = [
            {"new_status": one.status, "error": one.last_error, "now": now}
            | {f"key_{name}": getattr(one, name) for name in _KEY}
            for one in attempted
        ]
        with self._engine.begin() as connection:
            connection.execute(_RECORD, rows)

    def pending_events(self, purchase_id: str) -> tuple[Notice, ...]:
        """The events of a purchase that are not sent and not given up, the oldest first."""
        rows = select(_NOTICES).where(_NOTICES.c.purchase_id == purchase_id, *_PENDING_EVENT)
        with self._engine.connect() as connection:
            found = _notices(connection, connection.execute(rows).all())
        return _in_order(found)

    def unsent_events(self, now: datetime, purchase_id: str | None = None) -> tuple[Notice, ...]:
        """The events that a consumer has not got, of this purchase or of all, the oldest first. The
        `pending` ones are retried, the others are not."""
        asked = select(_NOTICES).where(_NOTICES.c.role == CONSUMER, _NOTICES.c.status != "sent")
        if purchase_id is not None:
            asked = asked.where(_NOTICES.c.purchase_id == purchase_id)
        with self._engine.connect() as connection:
            found = _in_order(_notices(connection, connection.execute(asked).all()))
        return tuple(effective_status(event, now) for event in found)

    def given_up_events(self, now: datetime, purchase_id: str | None = None) -> tuple[Notice, ...]:
        """Those of them that are not retried."""
        found = self.unsent_events(now, purchase_id)
        return tuple(event for event in found if event.status != "pending")

    def deliveries(self, purchase_id: str) -> tuple[Delivery, ...]:
        """What became of each notice and event of a purchase, without its texts and addresses."""
        asked = select(*(_NOTICES.c[each.name] for each in fields(Delivery))).where(
            _NOTICES.c.purchase_id == purchase_id
        )
        with self._engine.connect() as connection:
            return tuple(Delivery(**row._mapping) for row in connection.execute(asked))

    def sent(self, message_id: str) -> Notice | None:
        """The sent notice with this Message-ID."""
        found = select(_NOTICES).where(
            _NOTICES.c.message_id == message_id, _NOTICES.c.status == "sent"
        )
        with self._engine.connect() as connection:
            return next(iter(_notices(connection, connection.execute(found).all())), None)

    def record_bounce(self, message_id: str, why: str) -> None:
        """Record that a sent notice came back."""
        values = {"status": "failed", "last_error": why, "updated_at": datetime.now(UTC)}
        with self._engine.begin() as connection:
            connection.execute(
                update(_NOTICES).where(_NOTICES.c.message_id == message_id).values(values)
            )

    def list(self, purchase_id: str) -> tuple[Notice, ...]:
        """All notices of a purchase, in the order of their transitions."""
        rows = (
            select(_NOTICES)
            .where(_NOTICES.c.purchase_id == purchase_id)
            .order_by(_NOTICES.c.at, _NOTICES.c.id)
        )
        with self._engine.connect() as connection:
            return _notices(connection, connection.execute(rows).all())

    def undelivered(self, since: datetime, now: datetime) -> dict[str, int]:
        """Counts by channel the notices of transitions after `since` that were given up."""
        counted = (
            select(_NOTICES.c.channel, func.count().label("given_up"))
            .where(*_given_up(now), _NOTICES.c.at >= since)
            .group_by(_NOTICES.c.channel)
        )
        with self._engine.connect() as connection:
            return {row.channel: row.given_up for row in connection.execute(counted)}


def _given_up(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Which notices and events are retried no longer. The index of those that are not sent finds
    them."""
    is_event, at = _NOTICES.c.role == CONSUMER, _NOTICES.c.at
    too_old = or_(
        and_(~is_event, at <= now - GIVE_UP_AFTER),
        and_(is_event, at <= now - GIVE_UP_EVENTS_AFTER),
    )
    over = or_(_NOTICES.c.status == "failed", and_(_NOTICES.c.status == "pending", too_old))
    return over, _NOTICES.c.status != "sent"


def _in_order(events: Sequence[Notice]) -> tuple[Notice, ...]:
    """The events that can still be read, the oldest first."""
    readable = (event for event in events if event.text != FORGOTTEN)
    return tuple(sorted(readable, key=lambda event: (event.at, _number(event))))


def _number(event: Notice) -> int:
    """The number of an event in its stream, which its id has. Two of one workflow task have the
    same time, and may be stored in any order."""
    return int(event.transition_id.rpartition("/")[2].partition("-")[0])


def _key(notice: Notice) -> tuple[str, ...]:
    return tuple(getattr(notice, name) for name in _KEY)


def _seal(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Encrypt what is about persons; an alert about no purchase names none."""
    ids = {row["purchase_id"] for row in rows} - {""}
    keys = {purchase_id: PersonalData(connection, purchase_id) for purchase_id in ids}
    for row in rows:
        if personal := keys.get(row["purchase_id"]):
            row.update({name: personal.seal_text(row[name]) for name in PERSONAL})


def _notices(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Notice, ...]:
    """The notices in these rows; each purchase's key is read once."""
    keys = {row.purchase_id: PersonalData(connection, row.purchase_id) for row in rows}
    return tuple(_notice(row, keys[row.purchase_id]) for row in rows)


def _notice(row: Row[Any], personal: PersonalData) -> Notice:
    values = dict(row._mapping)
    del values["id"]
    try:
        values.update({name: personal.unseal_text(values[name]) for name in PERSONAL})
    except Forgotten:
        values.update(dict.fromkeys(PERSONAL, FORGOTTEN), last_error="")
    return Notice(**values)
