"""The real parts behind the activities, as the environment asks for them.

`RECOURSE_DATABASE_URL` (default SQLite under `var/`), `RECOURSE_PAYMENTS` (`sandbox`, its books
under `var/`, or `sandbox:PATH`), `RECOURSE_MAIL_URL` (default `maildir:var/mail`), and for notices
`RECOURSE_OPERATOR_EMAIL` and `RECOURSE_BASE_URL`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from activities import ledger
from activities.calendar import business_deadline_activity
from activities.ledger import Ledger, LedgerUnreachable, SchemaMismatch
from activities.money import MoneyActivities
from activities.notices import ChannelUrlError, DeliveryLog, NoticeActivities, channel_from_url
from activities.payments import ProviderUnreachable
from activities.payments.sandbox import SandboxProvider

SANDBOX_BOOKS = "var/sandbox.db"


class WrongSetting(Exception):
    """A setting that cannot be used; the sentence names it and says what it may be."""


class Unavailable(Exception):
    """A database that cannot be used now; the sentence says what to do."""


@dataclass(frozen=True)
class Settings:
    """Where the parts are."""

    database_url: str = "sqlite:///var/recourse.db"
    payments: str = "sandbox"
    mail_url: str = "maildir:var/mail"
    operator_email: str = "operators@recourse.invalid"
    base_url: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings as the environment has them."""
        names = {
            "database_url": "RECOURSE_DATABASE_URL",
            "payments": "RECOURSE_PAYMENTS",
            "mail_url": "RECOURSE_MAIL_URL",
            "operator_email": "RECOURSE_OPERATOR_EMAIL",
            "base_url": "RECOURSE_BASE_URL",
        }
        given = {field: environment[name] for field, name in names.items() if environment.get(name)}
        return cls(**given)


class Parts:
    """Ledger, payment provider and mail, opened; close it when done.

    Raises WrongSetting or Unavailable with a sentence.
    """

    def __init__(self, settings: Settings) -> None:
        provider, _, path = settings.payments.partition(":")
        if provider != "sandbox":
            raise WrongSetting(f"RECOURSE_PAYMENTS is {provider!r}; known is: sandbox.")
        try:
            channel = channel_from_url(settings.mail_url)
        except ChannelUrlError as error:
            raise WrongSetting(f"RECOURSE_MAIL_URL: {error}") from None
        self.engine = open_database(settings)
        self.ledger = Ledger(self.engine)
        self.notices = DeliveryLog(self.engine)
        try:
            self.provider = SandboxProvider(Path(path or SANDBOX_BOOKS))
        except (ProviderUnreachable, OSError) as error:
            raise Unavailable(f"The sandbox provider's books cannot be opened: {error}") from None
        self._money = MoneyActivities(self.ledger, self.provider)
        self._telling = NoticeActivities(
            self.notices,
            channel,
            operator_email=settings.operator_email,
            base_url=settings.base_url,
        )

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """Everything a worker registers."""
        money = self._money
        return (
            money.take_payment,
            money.call_off_payment,
            money.post_decision,
            money.send_refund,
            money.check_refund,
            money.post_settlement,
            business_deadline_activity,
            self._telling.send_notices,
        )

    def close(self) -> None:
        """Close every connection."""
        self.provider.close()
        self.engine.dispose()


def engine_of(settings: Settings) -> Engine:
    """The database as it is, nothing checked. Raises WrongSetting or Unavailable."""
    try:
        return ledger.create_engine(settings.database_url)
    except (SQLAlchemyError, ValueError, ImportError) as error:
        raise WrongSetting(f"RECOURSE_DATABASE_URL cannot be used: {error}") from None
    except LedgerUnreachable as error:
        raise Unavailable(str(error)) from None


def open_database(settings: Settings) -> Engine:
    """The database, its schema checked. Embedded SQLite is migrated at once; PostgreSQL only by
    `python -m starter setup`."""
    engine = engine_of(settings)
    try:
        if engine.dialect.name == "sqlite":
            migrate(engine)
        ledger.check_schema(engine)
    except (LedgerUnreachable, SchemaMismatch) as error:
        engine.dispose()
        raise Unavailable(str(error)) from None
    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema up to date; safe to repeat. Raises LedgerUnreachable."""
    ledger.migrate(engine)
    DeliveryLog(engine).create()
