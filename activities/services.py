"""The real parts behind the activities, as the environment asks for them.

`RECOURSE_DATABASE_URL` (default SQLite under `var/`), `RECOURSE_PAYMENTS` (`sandbox`, its books
under `var/`, `sandbox:PATH`, or `stripe` with the provider's own `STRIPE_API_KEY`,
`STRIPE_WEBHOOK_SECRET` and, behind a proxy, `STRIPE_API_BASE`), `RECOURSE_MAIL_URL` (default
`maildir:var/mail`; several are separated by white space), and for notices
`RECOURSE_MAIL_FROM`, `RECOURSE_OPERATOR_EMAIL`, `RECOURSE_BASE_URL` and `RECOURSE_WEBHOOK_SECRET`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from activities import ledger
from activities.calendar import business_deadline_activity
from activities.ledger import Ledger, LedgerUnreachable, SchemaMismatch
from activities.money import MoneyActivities
from activities.notices import (
    SENDER,
    ChannelUrlError,
    DeliveryLog,
    NoticeActivities,
    channels_from_urls,
    mail_address,
    sender,
    web_address,
)
from activities.payments import PaymentProvider, ProviderUnreachable
from activities.payments.sandbox import SandboxProvider

if TYPE_CHECKING:
    from activities.payments.stripe import StripeProvider

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
    mail_url: str = field(default="maildir:var/mail", repr=False)
    mail_from: str = SENDER
    operator_email: str = "operators@recourse.invalid"
    base_url: str | None = None
    webhook_secret: str = field(default="", repr=False)
    stripe_api_key: str = field(default="", repr=False)
    stripe_webhook_secret: str = field(default="", repr=False)
    stripe_api_base: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings as the environment has them."""
        names = {
            "database_url": "RECOURSE_DATABASE_URL",
            "payments": "RECOURSE_PAYMENTS",
            "mail_url": "RECOURSE_MAIL_URL",
            "mail_from": "RECOURSE_MAIL_FROM",
            "operator_email": "RECOURSE_OPERATOR_EMAIL",
            "base_url": "RECOURSE_BASE_URL",
            "webhook_secret": "RECOURSE_WEBHOOK_SECRET",
            "stripe_api_key": "STRIPE_API_KEY",
            "stripe_webhook_secret": "STRIPE_WEBHOOK_SECRET",
            "stripe_api_base": "STRIPE_API_BASE",
        }
        given = {field: environment[name] for field, name in names.items() if environment.get(name)}
        return cls(**given)


class Services:
    """Ledger, payment provider and mail, opened; close it when done.

    Raises WrongSetting or Unavailable with a sentence.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            channels = channels_from_urls(settings.mail_url, settings.webhook_secret)
        except ChannelUrlError as error:
            raise WrongSetting(f"RECOURSE_MAIL_URL: {error}") from None
        _check("RECOURSE_MAIL_FROM", sender, settings.mail_from)
        _check("RECOURSE_OPERATOR_EMAIL", mail_address, settings.operator_email)
        if settings.base_url:
            _check("RECOURSE_BASE_URL", web_address, settings.base_url)
        self.provider = provider_of(settings)
        self.engine = open_database(settings)
        self.ledger = Ledger(self.engine)
        self.notices = DeliveryLog(self.engine)
        self._money = MoneyActivities(self.ledger, self.provider)
        self._telling = NoticeActivities(
            self.notices,
            channels,
            operator_email=settings.operator_email,
            base_url=settings.base_url,
            sender_address=settings.mail_from,
        )

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """What moves money or finds a date."""
        money = self._money
        return (
            money.take_payment,
            money.void_payment,
            money.post_decision,
            money.send_refund,
            money.check_refund,
            money.post_settlement,
            business_deadline_activity,
        )

    @property
    def notice_activities(self) -> Sequence[Callable[..., Any]]:
        """What tells people."""
        return self._telling.send_notices, self._telling.alert_operators

    def close(self) -> None:
        """Close every connection."""
        self.provider.close()
        self.engine.dispose()


def _check(name: str, reads: Callable[[str], object], value: str) -> None:
    try:
        reads(value)
    except ValueError as error:
        raise WrongSetting(f"{name}: {error}") from None


def provider_of(settings: Settings) -> PaymentProvider:
    """The payment provider. Raises WrongSetting or Unavailable."""
    name, _, path = settings.payments.partition(":")
    match name:
        case "sandbox":
            try:
                return SandboxProvider(Path(path or SANDBOX_BOOKS))
            except (ProviderUnreachable, OSError) as error:
                raise Unavailable(f"The sandbox's books cannot be opened: {error}") from None
        case "stripe":
            return stripe_of(settings)
    raise WrongSetting(f"RECOURSE_PAYMENTS is {name!r}; known are: sandbox, stripe.")


def stripe_of(settings: Settings) -> "StripeProvider":
    """Stripe. Raises WrongSetting without its key."""
    if not settings.stripe_api_key:
        raise WrongSetting("RECOURSE_PAYMENTS is 'stripe', which needs STRIPE_API_KEY.")
    from activities.payments.stripe import StripeProvider  # a second to load, and not for all

    return StripeProvider(settings.stripe_api_key, api_base=settings.stripe_api_base)


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
            ledger.migrate(engine)
        ledger.check_schema(engine)
    except (LedgerUnreachable, SchemaMismatch) as error:
        engine.dispose()
        raise Unavailable(str(error)) from None
    return engine
