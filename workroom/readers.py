"""Who reads a page that shows no single purchase: in the language and formats of their newest
purchase, or of their browser before any is known."""

from collections import OrderedDict
from collections.abc import Sequence

from babel import Locale
from starlette.requests import Request
from temporalio.client import Client

from activities.languages.catalogue import LANGUAGES
from activities.locales import find_locale
from activities.notices.formats import Reader, reader
from temporal.access import is_party
from temporal.errors import Failure
from temporal.listing import Listed
from temporal.purchases import Purchase
from workflows.messages import Sender
from workroom.show import reader_of

SPOKEN = ("en", *LANGUAGES)
KEPT = 10_000
"""People of whom this is kept, so that a list reads the terms of no purchase."""


class Readers:
    """How people read, in this process."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: OrderedDict[Sender, Reader] = OrderedDict()

    async def of(self, sender: Sender, found: Sequence[Listed], request: Request) -> Reader:
        """How a person with these purchases reads; staff read en_US and UTC. The first time, the
        terms of one purchase are read."""
        if not is_party(sender) or not found:
            return self.before(sender, request)
        if sender not in self._known:
            try:
                terms = await Purchase(self._client, found[0].purchase_id).terms()
            except Failure:
                return self.before(sender, request)
            self.keep(sender, reader_of(sender, terms))
        return self._known[sender]

    def keep(self, sender: Sender, found: Reader) -> None:
        """Remember how a party reads."""
        self._known[sender] = found
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    def before(self, sender: Sender | None, request: Request) -> Reader:
        """Who reads a page when no purchase was read: what is known of the person, else what the
        browser asks for. Staff read English."""
        if sender and not is_party(sender):
            return reader(None)
        known = self._known.get(sender) if sender else None
        return known or asked_for(request)


def asked_for(request: Request) -> Reader:
    """The language that a browser prefers among ours (Accept-Language, RFC 9110)."""
    ranked = []
    for each in request.headers.get("accept-language", "")[:500].split(","):
        name, _, quality = each.partition(";")
        weight = quality.strip().removeprefix("q=") or "1"
        if weight.replace(".", "", 1).isdecimal() and (locale := find_locale(name.strip())):
            ranked.append((float(weight), locale))
    for _, locale in sorted(ranked, key=lambda item: -item[0]):
        if locale.language in SPOKEN:
            return _reading(locale)
    return reader(None)


def _reading(locale: Locale) -> Reader:
    english = reader(None)
    return Reader(locale, english.zone, english.zone_name)
