"""Words, amounts and instants as the reader reads them."""

import copy
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Literal

from babel import Locale
from babel.dates import format_date, format_time, get_timezone, get_timezone_location

from activities.amounts import InvalidAmount, decimals, parse_amount
from activities.formatter import TextValues
from activities.languages.catalogue import Catalogue, catalogue
from activities.languages.translated import Translated
from activities.locales import find_locale, find_zone
from activities.requests import Party
from activities.sanitize import isolated, plain_text

# Babel omits the space that CLDR demands between digits and a currency in letters. We add it.
_UNSPACED = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")


@dataclass(frozen=True)
class Reader:
    """How one person reads words, dates and amounts. Defaults: en_US and UTC. `name`: the person's,
    safe to show; empty if it is not known."""

    locale: Locale
    zone: tzinfo
    zone_name: str
    name: str = ""

    @property
    def catalogue(self) -> Catalogue | None:
        """The translations for this person; None for English."""
        return catalogue(self.locale)

    @property
    def language(self) -> str:
        """The language of words, for browsers and mail programs."""
        return self.catalogue.language if self.catalogue else "en"

    @property
    def format_language(self) -> str:
        """The language of dates and amounts, for browsers."""
        return str(self.locale).replace("_", "-")

    def text(self, text: str, context: str = "", /, **values: object) -> str:
        """A text that names nobody, in the reader's language, with its placeholders filled in.
        `context` separates texts that are alike in English."""
        given = TextValues(values={name: str(value) for name, value in values.items()})
        return Translated("", "", str, catalogue=self.catalogue).format(text, given, context)

    def text_if_known(self, text: str) -> str:
        """One of our texts in the reader's language; a text of anybody else as it is."""
        known = self.catalogue and self.catalogue.has(text)
        return self.text(text) if known else text

    def formatter(self, client: str, freelancer: str, currency: str, you: str) -> Translated:
        """Writes texts about a purchase for this reader, whose role is `you`; the names are safe to
        show."""
        return Translated(
            client,
            freelancer,
            lambda minor: self.amount(minor, currency),
            you=you,
            catalogue=self.catalogue,
        )

    def amount(self, minor: int, currency: str) -> str:
        """The amount with its currency, with as many decimals as ISO 4217 gives the currency.

        Raises UnknownCurrency for an unknown code.
        """
        digits = decimals(currency)
        pattern = copy.copy(self.locale.currency_formats["standard"])
        # Babel's decimals differ from ISO 4217 for some currencies.
        pattern.frac_prec = (digits, digits)
        value = Decimal(minor).scaleb(-digits)
        text: str = pattern.apply(value, self.locale, currency=currency, currency_digits=False)
        return isolated(_UNSPACED.sub("\xa0", text))

    def amount_in(self, text: str, currency: str) -> str:
        """An amount that a workflow has written, such as `250.00 USD`, as the reader writes it; any
        other text as it is."""
        number, _, code = text.partition(" ")
        try:
            return (
                self.amount(parse_amount(number, currency), currency) if code == currency else text
            )
        except InvalidAmount:
            return text

    def moment(self, at: datetime) -> str:
        """Weekday, date and time in the reader's zone, with the zone and its offset at that time.

        Midnight is shown as the end of a day: many people read "Tuesday, 12:00 AM" as Tuesday
        night.
        """
        local = at.astimezone(self.zone)
        if local.time() == time.min:
            return self.text(
                "{day}, at the end of the day ({zone})", day=self.day(at), zone=self._zone(local)
            )
        shown = isolated(f"{self._date(local, 'full')}, {self._time(local)}")
        return f"{shown} ({self._zone(local)})"

    def short(self, at: datetime) -> str:
        """Date and time in the reader's zone, which the page names; midnight as in `moment`."""
        local = at.astimezone(self.zone)
        if local.time() == time.min:
            day = self._date(local - timedelta(microseconds=1), "medium")
            return self.text("{day}, end of the day", day=isolated(day))
        return isolated(f"{self._date(local, 'medium')}, {self._time(local)}")

    @property
    def place(self) -> str:
        """The city that the reader's zone is named after, in the reader's language."""
        if self.zone_name == "UTC":
            return "UTC"
        zone = get_timezone(self.zone)
        city = get_timezone_location(zone, locale=self.locale, return_city=True)
        return isolated(city.rpartition("/")[2])

    def _date(self, local: datetime, length: Literal["medium", "full"]) -> str:
        return format_date(local, length, locale=self.locale)

    def _time(self, local: datetime) -> str:
        # Few fonts have the narrow space that CLDR puts before AM and PM.
        return format_time(local, "short", locale=self.locale).replace("\u202f", "\xa0")

    def _zone(self, local: datetime) -> str:
        return "UTC" if self.zone_name == "UTC" else f"{self.zone_name}, UTC{_offset(local)}"

    def day(self, at: datetime) -> str:
        """The day in the reader's zone that contains `at`; midnight belongs to the day it ends."""
        local = (at - timedelta(microseconds=1)).astimezone(self.zone)
        return isolated(self._date(local, "full"))


def utc(at: datetime) -> str:
    """An instant in UTC, rounded down to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def reader(party: Party | None) -> Reader:
    """The formats of `party`; operators (None) read en_US and UTC. So does a party with an unknown
    locale or zone."""
    locale = find_locale(party.locale) if party else None
    zone = find_zone(party.timezone) if party else None
    name = party.timezone if party and zone else "UTC"
    own = display_name(party) if party else ""
    return Reader(locale or Locale("en", "US"), zone or UTC, name, own)


def display_name(party: Party) -> str:
    """A person's name, safe to show; the id if nothing of the name can be shown."""
    return isolated(plain_text(party.name, 60) or plain_text(party.id, 60) or "there")


def _offset(local: datetime) -> str:
    offset = local.strftime("%z").replace("-", "−")  # a line may break after a hyphen
    return f"{offset[:3]}:{offset[3:5]}"
