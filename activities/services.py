"""The services behind the activities: database, payment provider and mail, from the environment.

- `RECOURSE_DEPLOYMENT`: the name of this deployment, `local` by default. Its database records it,
  and the payment provider gets it with each key.
- `RECOURSE_DATABASE_URL`: SQLite under `var/` by default: in the current folder, or else in the
  checkout that the program runs from.
- `RECOURSE_CLEARING_ACCOUNTS`: over how many clearing accounts the purchases of a currency are
  divided, 1 by default; more let more purchases be held at the same moment (`docs/growth.md`).
- `RECOURSE_PAYMENTS`: `sandbox` (its file is under `var/`), `sandbox:PATH`, or `stripe`, which
  reads `STRIPE_API_KEY`, `STRIPE_WEBHOOK_SECRET` and, behind a proxy, `STRIPE_API_BASE`.
- `RECOURSE_MAIL_URL`: `maildir:var/mail` by default; several URLs are separated by white space.
- `RECOURSE_EVENTS_URL`: where other systems receive the events of purchases that start from then
  on, such as `webhook+https://HOST/PATH?secret=whsec_…`; none by default.
- `RECOURSE_MAIL_FROM`, `RECOURSE_OPERATOR_EMAIL`, `RECOURSE_BASE_URL`, `RECOURSE_LINK_KEYS`,
  `RECOURSE_WEBHOOK_SECRET`: for notices; the last one also for events.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from activities import database
from activities.aftercare import AftercareActivities
from activities.calendar import business_deadline_activity
from activities.database import DatabaseUnreachable, SchemaMismatch
from activities.keys import DEPLOYMENT, LOCAL
from activities.ledger import Ledger
from activities.ledger.operations import clearing_accounts
from activities.links import LINK_KEYS, LinkKeys
from activities.money import MoneyActivities
from activities.notices.activity import SENDER, NoticeActivities
from activities.notices.channels import channels_from_urls, mail_problem
from activities.notices.events import EventDelivery, consumers_from_urls, source_of
from activities.notices.log import DeliveryLog
from activities.notices.message import mail_address, sender, web_address
from activities.payments import PaymentProvider, ProviderUnreachable
from activities.payments.sandbox import SandboxProvider
from activities.sealing import UNENCRYPTED, Seal

if TYPE_CHECKING:
    from activities.payments.stripe import StripeProvider

Parsed = TypeVar("Parsed")

CHECKOUT = Path(__file__).parents[1]
"""Where the program is, if it runs from a copy of its repository."""


def _data_folder() -> Path:
    """`var` in the current folder. From any other folder commands find that of the checkout, where
    `make run` has its data; an installed wheel has none."""
    here, shared = Path("var"), CHECKOUT / "var"
    is_checkout = (CHECKOUT / "pyproject.toml").exists()
    return shared if is_checkout and shared.exists() and not here.exists() else here


class WrongSetting(Exception):
    """A setting is invalid. The message names the setting and says what it must be."""


class Unavailable(Exception):
    """A database cannot be used now. The message says what to do."""


@dataclass(frozen=True)
class Settings:
    """The settings of the services."""

    deployment: str = LOCAL
    database_url: str = "sqlite:///var/recourse.db"
    clearing_accounts: str = "1"
    payments: str = "sandbox"
    mail_url: str = field(default="maildir:var/mail", repr=False)
    mail_from: str = SENDER
    events_url: str = field(default="", repr=False)
    operator_email: str = "operators@recourse.invalid"
    base_url: str | None = None
    link_keys: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)
    stripe_api_key: str = field(default="", repr=False)
    stripe_webhook_secret: str = field(default="", repr=False)
    stripe_api_base: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings from the environment; an empty variable counts as unset."""
        values = {
            each.name: environment[variable]
            for each in fields(cls)
            if environment.get(variable := _variable(each.name))
        }
        folder = _data_folder()
        values.setdefault("database_url", f"sqlite:///{folder}/recourse.db")
        values.setdefault("mail_url", f"maildir:{folder}/mail")
        return cls(**values)


def _variable(field: str) -> str:
    name = field.upper()
    return name if name.startswith("STRIPE_") else f"RECOURSE_{name}"


class Services:
    """The opened ledger, payment provider and mail. The caller closes it.

    Raises WrongSetting or Unavailable.
    """

    def __init__(self, settings: Settings, seal: Seal = UNENCRYPTED) -> None:
        """`seal`: for personal data in the database; by default it is stored unencrypted."""
        urls = (settings.mail_url, settings.webhook_secret)
        channels = _parsed("RECOURSE_MAIL_URL", channels_from_urls, *urls)
        events = event_delivery(settings)
        _parsed("RECOURSE_OPERATOR_EMAIL", mail_address, settings.operator_email)
        if settings.base_url:
            _parsed("RECOURSE_BASE_URL", web_address, settings.base_url)
        links = (
            _parsed(LINK_KEYS, LinkKeys.parse, settings.link_keys) if settings.link_keys else None
        )
        parts = _parsed("RECOURSE_CLEARING_ACCOUNTS", clearing_accounts, settings.clearing_accounts)
        self.provider = provider_of(settings)
        self.engine = open_database(settings)
        try:
            check_account(self.engine, self.provider)
        except (WrongSetting, Unavailable):
            self.close()
            raise
        self.ledger = Ledger(self.engine, settings.deployment, clearing_accounts=parts)
        self.notices = DeliveryLog(self.engine)
        self.mail_problem = partial(mail_problem, channels)
        self.sends_events = events is not None
        self.seal = seal
        self._money = MoneyActivities(self.ledger, self.provider, seal)
        self._notifying = NoticeActivities(
            self.notices,
            channels,
            operator_email=settings.operator_email,
            base_url=settings.base_url,
            keys=links,
            sender_address=settings.mail_from,
            events=events and events(self.notices),
        )

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """The activities that move money or compute a date."""
        money = self._money
        aftercare = AftercareActivities(self.ledger, self.provider, self.seal)
        return (
            money.load_saved_state,
            money.take_payment,
            money.void_payment,
            money.post_decision,
            money.send_refund,
            money.check_refund,
            money.check_payment,
            money.post_settlement,
            money.post_provider_move,
            aftercare.load_closed_purchase,
            aftercare.record_news,
            business_deadline_activity,
        )

    @property
    def notice_activities(self) -> Sequence[Callable[..., Any]]:
        """The activities that send notices and events."""
        notifying = self._notifying
        return notifying.send_notices, notifying.send_events, notifying.alert_operators

    def close(self) -> None:
        """Close every connection."""
        self.provider.close()
        self.engine.dispose()


def event_delivery(settings: Settings) -> Callable[[DeliveryLog], EventDelivery] | None:
    """Makes what sends the events of a log to other systems; None if there are none. Raises
    WrongSetting."""
    urls = (settings.events_url, settings.webhook_secret)
    consumers = _parsed("RECOURSE_EVENTS_URL", consumers_from_urls, *urls)
    origin = _parsed("RECOURSE_MAIL_FROM", sender, settings.mail_from)
    source = source_of(settings.deployment)
    if not consumers:
        return None
    return partial(EventDelivery, consumers=consumers, source=source, origin=origin)


def _parsed(name: str, parse: Callable[..., Parsed], *values: str) -> Parsed:
    try:
        return parse(*values)
    except ValueError as error:
        raise WrongSetting(f"{name}: {error}") from None


def provider_of(settings: Settings) -> PaymentProvider:
    """Open the payment provider. Raises WrongSetting or Unavailable."""
    name = settings.payments.partition(":")[0]
    match name:
        case "sandbox":
            try:
                return SandboxProvider(
                    sandbox_file(settings) or _data_folder() / "sandbox.db", settings.deployment
                )
            except (ProviderUnreachable, OSError) as error:
                raise Unavailable(f"The sandbox's file cannot be opened: {error}") from None
        case "stripe":
            return stripe_of(settings)
    raise WrongSetting(f"RECOURSE_PAYMENTS is {name!r}: it must be sandbox or stripe.")


def sandbox_file(settings: Settings) -> Path | None:
    """The sandbox's file; None for another provider."""
    name, _, path = settings.payments.partition(":")
    return Path(path or _data_folder() / "sandbox.db") if name == "sandbox" else None


def stripe_of(settings: Settings) -> "StripeProvider":
    """Open Stripe. Raises WrongSetting if there is no API key or no name of the deployment."""
    if not settings.stripe_api_key:
        raise WrongSetting("RECOURSE_PAYMENTS is 'stripe': set STRIPE_API_KEY.")
    _check_name(settings)
    from activities.payments.stripe import StripeProvider  # takes a second to load

    return StripeProvider(
        settings.stripe_api_key,
        settings.deployment,
        api_base=settings.stripe_api_base,
        base_url=settings.base_url,
    )


def engine_of(settings: Settings) -> Engine:
    """Open the database without a check of its schema. Raises WrongSetting or Unavailable."""
    try:
        return database.create_engine(settings.database_url)
    except (SQLAlchemyError, ValueError, ImportError) as error:
        raise WrongSetting(f"RECOURSE_DATABASE_URL cannot be used: {error}") from None
    except DatabaseUnreachable as error:
        raise Unavailable(str(error)) from None


def open_database(settings: Settings) -> Engine:
    """Open the database; check its schema and that it belongs to this deployment.

    SQLite is migrated here, PostgreSQL only by `recourse setup`. Raises WrongSetting, Unavailable.
    """
    engine = engine_of(settings)
    try:
        if engine.dialect.name == "sqlite":
            migrate(engine, settings)
        database.check_schema(engine)
        check_deployment(engine, settings)
    except (DatabaseUnreachable, SchemaMismatch) as error:
        engine.dispose()
        raise Unavailable(str(error)) from None
    except WrongSetting:
        engine.dispose()
        raise
    return engine


def open_existing(settings: Settings) -> Engine:
    """The same for a process that only reads: it creates no database, because in the wrong folder
    it would see an empty ledger."""
    check_exists(_database_file(settings), "database", "RECOURSE_DATABASE_URL")
    return open_database(settings)


def _database_file(settings: Settings) -> Path | None:
    """The file of a SQLite database."""
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        return None  # opening it says what is wrong
    is_file = url.get_backend_name() == "sqlite" and url.database
    return Path(url.database or "") if is_file else None


def check_exists(file: Path | None, what: str, setting: str) -> None:
    """Raise Unavailable if a file is not there."""
    if file is not None and not file.exists():
        raise Unavailable(
            f"There is no {what} at {file.absolute()}. Run the command in the worker's folder, or "
            f"set {setting} to the worker's {what}. A worker or `recourse setup` makes a new one."
        )


def migrate(engine: Engine, settings: Settings) -> bool:
    """Migrate the database, unless it belongs to another deployment.

    Returns whether the schema changed. Raises WrongSetting, DatabaseUnreachable, SchemaMismatch.
    """
    with suppress(SchemaMismatch):  # a new database has no tables
        check_deployment(engine, settings)
    migrated = database.migrate(engine)
    check_deployment(engine, settings)
    return migrated


def check_deployment(engine: Engine, settings: Settings) -> None:
    """Check that the database belongs to this deployment; a new database does from now on.

    A copy or a backup of another deployment's database is rejected: with its purchases, this one
    would move money that is the other's. Raises WrongSetting, DatabaseUnreachable, SchemaMismatch.
    """
    _check_name(settings)
    name = settings.deployment
    owner = database.claim(engine, "deployment", name)
    if owner != name:
        raise WrongSetting(
            f"The database belongs to the deployment {owner!r}, and RECOURSE_DEPLOYMENT is"
            f" {name!r}: set RECOURSE_DATABASE_URL to a database of {name!r}; a copy of another"
            " deployment's database cannot be used."
        )


def _check_name(settings: Settings) -> None:
    if not DEPLOYMENT.fullmatch(settings.deployment):
        raise WrongSetting(
            f"RECOURSE_DEPLOYMENT is {settings.deployment!r}: it must be 1 to 32 of the characters"
            " a-z, 0-9 and -."
        )
    if settings.payments.startswith("stripe") and settings.deployment == LOCAL:
        # Two deployments without names would take each other's payments for their own.
        raise WrongSetting(
            "RECOURSE_PAYMENTS is 'stripe': set RECOURSE_DEPLOYMENT to the name of this"
            " deployment, such as production."
        )


def check_account(engine: Engine, provider: PaymentProvider) -> None:
    """Check that the database's purchases were paid at this account of the payment provider; those
    of a new database will be. Raises WrongSetting, Unavailable."""
    try:
        account = provider.account()
        owner = database.claim(engine, "provider_account", account)
    except ProviderUnreachable as error:
        raise Unavailable(f"The payment provider cannot be reached: {error}") from None
    except (DatabaseUnreachable, SchemaMismatch) as error:
        raise Unavailable(str(error)) from None
    if owner != account:
        raise WrongSetting(
            f"The purchases in the database were paid at the payment provider's account {owner!r},"
            f" and RECOURSE_PAYMENTS leads to {account!r}: give the settings of {owner!r}, or"
            " another database with RECOURSE_DATABASE_URL."
        )
