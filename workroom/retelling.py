"""Texts of a status in the reader's language.

A status has whole English sentences, because workflows write no other language. Each was made of a
template of the rules; here the template and its values are found again, and written for the reader.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from string import Formatter as Templates

from activities.amounts import InvalidAmount, format_amount, parse_amount
from activities.formatter import BY_ROLE, CLAIMED, DIVISION, OFFER, Facts, Formatter, role_of
from activities.languages.translated import Translated
from activities.sanitize import isolated
from workflows.lifecycle.state import WINDOWS
from workflows.lifecycle.versions import VERSIONS
from workflows.messages import Deadline, PurchaseStart, TimelineEntry

_PHRASES = {"division": DIVISION, "claim_division": DIVISION, "offer": OFFER, "claimed": CLAIMED}
"""Placeholders that stand for a template of their own."""


@dataclass(frozen=True)
class Retelling:
    """Writes what happened to one purchase, and what will, for one reader. A text that comes from
    no template of these rules, or that the catalogue lacks, stays English."""

    terms: PurchaseStart
    formatter: Translated

    def event(self, entry: TimelineEntry) -> str:
        """An entry of the timeline."""
        rows = (row for rules in VERSIONS.values() for row in rules.transitions)
        summaries = (row.text.summary for row in rows if row.name == entry.transition)
        names = isolated(self.terms.client.name), isolated(self.terms.freelancer.name)
        return self._retold(entry.text, summaries, names, entry.by)

    def expiry(self, deadline: Deadline) -> str:
        """What happens when a deadline ends, as the end of a sentence."""
        rows = (row for rules in VERSIONS.values() for row in rules.transitions)
        texts = (row.text.expiry for row in rows if row.cause.deadline == deadline.name)
        return self._retold(deadline.then, texts, BY_ROLE, "system")

    def _retold(
        self, text: str, templates: Iterable[str], names: tuple[str, str], actor: str
    ) -> str:
        """The text, for the reader. `names`: what it calls client and freelancer."""
        if self.formatter.catalogue is None:
            return text
        writer = Formatter(*names, self._written)
        for template in templates:
            if (found := self._filled(text, template, writer, actor)) is not None:
                return found
        return text

    def _filled(self, text: str, template: str, writer: Formatter, actor: str) -> str | None:
        """The template for the reader, with the values that `writer` has put into the text; None if
        the text does not come from it."""
        windows = {name: getattr(self.terms.policy, name) for name in WINDOWS}
        pattern = ""
        for literal, name, _, _ in Templates().parse(template):
            pattern += re.escape(literal)
            if name is None:
                continue
            if name in windows or role_of(name.lower().removesuffix("'s"), actor):
                pattern += re.escape(writer.value(name, Facts(actor, windows=windows)))
            else:
                pattern += f"(?P={name})" if f"(?P<{name}>" in pattern else f"(?P<{name}>.*?)"
        if not (match := re.fullmatch(pattern, text, re.DOTALL)):
            return None
        values = {name: self._value(name, it, writer) for name, it in match.groupdict().items()}
        return self.formatter.format(template, Facts(actor, windows=windows, values=values))

    def _value(self, name: str, text: str, writer: Formatter) -> str:
        """A value of a text: a phrase or an amount for the reader, anything else as it is."""
        for template in _PHRASES.get(name, ()):
            if (found := self._filled(text, template, writer, "system")) is not None:
                return found
        number, _, currency = text.partition(" ")
        try:
            if currency == self.terms.price.currency:
                return self.formatter.amount(parse_amount(number, currency))
        except InvalidAmount:
            pass
        return text

    def _written(self, minor: int) -> str:
        return format_amount(minor, self.terms.price.currency)
