"""The delivery log: what was sent to whom. Its table is in the database of the ledger.

A notice is written down whole before its first attempt. Retries send what is written, so they
send the same bytes even after the templates have changed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    CheckConstraint,
    Column,
    Engine,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from activities.database.types import Instant

Status = Literal["pending", "sent", "failed", "undelivered"]

TRIED_FOR = timedelta(days=1)
"""So long a purchase retries a notice (`RULES.md`, Races)."""


@dataclass(frozen=True)
class Notice:
    """One notice to one reader through one channel.

    `sent` and `failed` are final; `pending` has not arrived yet, `last_error` says why.
    `undelivered` is never stored: `effective_status` derives it from a pending one after a day.
    `at` is the transition's time, `updated_at` the log's own.
    """

    purchase_id: str
    transition_id: str
    transition: str
    role: str
    address: str
    channel: str
    message_id: str
    at: datetime
    subject: str = ""
    text: str = ""
    html: str = ""
    status: Status = "pending"
    attempts: int = 0
    last_error: str = ""
    updated_at: datetime | None = None


def effective_status(notice: Notice, now: datetime) -> Notice:
    """The notice as it stands at `now`: nobody tries a pending one any more after its day."""
    given_up = notice.status == "pending" and now >= notice.at + TRIED_FOR
    return replace(notice, status="undelivered") if given_up else notice


_METADATA = MetaData()
_NOTICES = Table(
    "notices",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("purchase_id", Text, nullable=False),
    Column("transition_id", Text, nullable=False),
    Column("transition", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("message_id", Text, nullable=False, unique=True),
    Column("at", Instant, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
    UniqueConstraint("purchase_id", "transition_id", "role", "channel"),
    CheckConstraint("status IN ('pending', 'sent', 'failed')"),
    sqlite_strict=True,
)
# Built once: building a statement costs more than carrying it out.
_NAMES = ("purchase_id", "transition_id", "role", "channel")
_THIS = and_(*(_NOTICES.c[name] == bindparam(f"this_{name}") for name in _NAMES))
_FIND = select(_NOTICES).where(_THIS)
_OPEN = {
    "sqlite": sqlite.insert(_NOTICES).inline().on_conflict_do_nothing(),
    "postgresql": postgresql.insert(_NOTICES).inline().on_conflict_do_nothing(),
}
_RECORD = (
    update(_NOTICES)
    .where(_THIS, _NOTICES.c.status != "sent")
    .values(
        status=bindparam("new_status"),
        last_error=bindparam("error"),
        attempts=_NOTICES.c.attempts + 1,
        updated_at=bindparam("now"),
    )
)


class DeliveryLog:
    """Blocking; every call is one transaction. Raises SQLAlchemyError when it cannot be used."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, notices: Sequence[Notice]) -> tuple[Notice, ...]:
        """Write down those that are new and answer all as they are written, in the same order.

        What the log already holds for (purchase, transition, role, channel) wins.
        """
        now = datetime.now(UTC)
        rows = [asdict(notice) | {"updated_at": now} for notice in notices]
        with self._engine.begin() as connection:
            connection.execute(_OPEN[connection.dialect.name], rows)
            found = [connection.execute(_FIND, _this(notice)).one() for notice in notices]
        return tuple(map(_notice, found))

    def record(self, notice: Notice, status: Status, error: str = "") -> None:
        """Note one attempt. A notice that was sent stays sent, whatever a late attempt says."""
        given = {"new_status": status, "error": error, "now": datetime.now(UTC)}
        with self._engine.begin() as connection:
            connection.execute(_RECORD, given | _this(notice))

    def list(self, purchase_id: str) -> tuple[Notice, ...]:
        """All notices of a purchase, in the order in which they happened."""
        rows = (
            select(_NOTICES)
            .where(_NOTICES.c.purchase_id == purchase_id)
            .order_by(_NOTICES.c.at, _NOTICES.c.id)
        )
        with self._engine.connect() as connection:
            return tuple(_notice(row) for row in connection.execute(rows))

    def undelivered(self, since: datetime, now: datetime) -> dict[str, int]:
        """How many notices of transitions since then nobody will get any more, by channel."""
        given_up = or_(
            _NOTICES.c.status == "failed",
            and_(_NOTICES.c.status == "pending", _NOTICES.c.at <= now - TRIED_FOR),
        )
        counted = (
            select(_NOTICES.c.channel, func.count().label("lost"))
            .where(given_up, _NOTICES.c.status != "sent", _NOTICES.c.at >= since)
            .group_by(_NOTICES.c.channel)
        )
        with self._engine.connect() as connection:
            return {row.channel: row.lost for row in connection.execute(counted)}


def _this(notice: Notice) -> dict[str, str]:
    return {f"this_{name}": getattr(notice, name) for name in _NAMES}


def _notice(row: Row[Any]) -> Notice:
    values = dict(row._mapping)
    del values["id"]
    return Notice(**values)
