"""Texts of a status as a party reads them: in their language, with "you" and their own formats.

A status has whole English sentences in the third person, because workflows write nothing else. Each
was made of a template of the rules; here the template and its values are found again, and written
for the reader.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from string import Formatter as Templates

from activities.amounts import format_amount
from activities.formatter import (
    BY_ROLE,
    CLAIMED,
    DIVISION,
    OFFER,
    PARTIES,
    Formatter,
    TextValues,
    role_of,
)
from activities.languages.translated import Translated
from activities.notices.formats import Reader
from activities.sanitize import isolated
from workflows.lifecycle import texts
from workflows.lifecycle.state import WINDOWS
from workflows.lifecycle.versions import VERSIONS
from workflows.messages import Deadline, PurchaseStart, TimelineEntry
from workflows.workflow_state import ADOPTED

_PHRASES = {"division": DIVISION, "claim_division": DIVISION, "offer": OFFER, "claimed": CLAIMED}
"""Placeholders that stand for a template of their own."""

_ROWS = [row for rules in VERSIONS.values() for row in rules.transitions]


@dataclass(frozen=True)
class Retelling:
    """Writes what happened to one purchase, and what will, for one reader. Staff read it with their
    own formats of amounts; everybody reads a text that comes from no template of these rules as it
    is."""

    terms: PurchaseStart
    reader: Reader
    formatter: Translated

    def event(self, entry: TimelineEntry) -> str:
        """An entry of the timeline."""
        summaries = [row.text.summary for row in _ROWS if row.name == entry.transition]
        if entry.transition == ADOPTED:
            summaries = [texts.ADOPTED, texts.BEGUN_AGAIN]
        names = isolated(self.terms.client.name), isolated(self.terms.freelancer.name)
        return self._retold(entry.text, summaries, names, entry.by)

    def expiry(self, deadline: Deadline) -> str:
        """What happens when a deadline ends, as the end of a sentence."""
        texts = [row.text.expiry for row in _ROWS if row.cause.deadline == deadline.name]
        return self._retold(deadline.then, texts, BY_ROLE, "system")

    def _retold(
        self, text: str, templates: Iterable[str], names: tuple[str, str], actor: str
    ) -> str:
        """The text, for the reader. `names`: what it calls client and freelancer."""
        if self.formatter.you not in PARTIES:
            return self._amounts(text)
        writer = Formatter(*names, self._written)
        found = (self._filled(text, template, writer, actor) for template in templates)
        return next((each for each in found if each is not None), text)

    def _filled(self, text: str, template: str, writer: Formatter, actor: str) -> str | None:
        """The template for the reader, with the values that `writer` has put into the text; None if
        the text does not come from it."""
        windows = {name: getattr(self.terms.policy, name) for name in WINDOWS}
        amount = _amount_in(self.terms.price.currency)
        given, pattern, seen = TextValues(actor, windows=windows), "", set()
        for literal, name, _, _ in Templates().parse(template):
            pattern += re.escape(literal)
            if name is None:
                continue
            if name in windows or role_of(name.lower().removesuffix("'s"), actor):
                pattern += re.escape(writer.value(name, given))
            else:
                # A value may be empty, but not one that is an amount.
                pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{amount}|.*?)"
                seen.add(name)
        if not (match := re.fullmatch(pattern, text, re.DOTALL)):
            return None
        values = {name: self._value(name, it, writer) for name, it in match.groupdict().items()}
        return self.formatter.format(template, TextValues(actor, windows=windows, values=values))

    def _value(self, name: str, text: str, writer: Formatter) -> str:
        """A value of a text: a phrase or an amount for the reader, anything else as it is."""
        for template in _PHRASES.get(name, ()):
            if (found := self._filled(text, template, writer, "system")) is not None:
                return found
        return self.reader.amount_in(text, self.terms.price.currency)

    def _amounts(self, text: str) -> str:
        """The text with its amounts as the reader writes them."""
        currency = self.terms.price.currency
        amount = _amount_in(currency)
        return re.sub(amount, lambda match: self.reader.amount_in(match[0], currency), text)

    def _written(self, minor: int) -> str:
        return format_amount(minor, self.terms.price.currency)


def _amount_in(currency: str) -> str:
    """The pattern of an amount that a workflow has written."""
    return rf"\b\d+(?:\.\d+)? {re.escape(currency)}\b"
