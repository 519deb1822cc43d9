"""What the workroom reads in the ledger's database: the index of persons and the delivery log.

It only reads, and without the database everything else works. A role of the database needs SELECT
on `person`, `notices`, `owner` and `alembic_version`.
"""

import asyncio
from collections.abc import Callable
from threading import Lock

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from activities.database import DatabaseUnreachable, SchemaMismatch
from activities.ledger import Ledger
from activities.notices.log import DeliveryLog
from activities.people import fingerprints_for
from activities.sealing import Seal
from activities.services import Settings, Unavailable, WrongSetting, open_existing
from temporal.client import seal_of
from temporal.errors import Rejected, Unreachable
from temporal.listing import MOST_OF_PERSON, too_many
from temporal.undelivered import without_arrived
from workflows.messages import Status

UNREADABLE = (Unavailable, WrongSetting, DatabaseUnreachable, SchemaMismatch, SQLAlchemyError)


class Database:
    """The database, opened at the first question. `open_engine` raises one of `UNREADABLE`."""

    def __init__(self, open_engine: Callable[[], Engine], seal: Seal) -> None:
        self._open, self._seal = open_engine, seal
        self._engine: Engine | None = None
        self._opening = Lock()

    @classmethod
    def from_environment(cls) -> "Database":
        """The database of the environment. Raises WrongKeys."""
        return cls(lambda: open_existing(Settings.from_environment()), seal_of())

    async def purchases_of(self, person: str) -> list[str]:
        """The ids of the purchases that have a party with this mail address, name or word of a
        name. Raises Unreachable, and Rejected `TOO_MANY`."""
        fingerprints = fingerprints_for(person, self._seal)
        try:
            found = await asyncio.to_thread(
                lambda: Ledger(self._opened()).purchases_of(fingerprints)
            )
        except UNREADABLE:
            text = "Names and mail addresses cannot be searched now: the database does not answer."
            raise Unreachable("DATABASE_UNREACHABLE", text) from None
        if len(found) > MOST_OF_PERSON:
            raise Rejected("TOO_MANY", too_many(found))
        return found

    async def without_arrived(self, status: Status) -> Status:
        """The status without what has arrived since it was given up; as it is if the database does
        not answer."""
        if not status.undelivered:
            return status
        try:
            log = await asyncio.to_thread(
                lambda: DeliveryLog(self._opened()).deliveries(status.purchase_id)
            )
        except UNREADABLE:
            return status
        return without_arrived(status, log)

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None:
                self._engine = self._open()
            return self._engine
