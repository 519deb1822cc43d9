"""Finds translations in the catalogues."""

import gettext
import warnings
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from activities.languages.pattern import Pattern, parse

FOLDER = Path(__file__).parent
LANGUAGES = tuple(sorted(file.stem for file in FOLDER.glob("*.po")))
"""The languages with a catalogue, by their codes in CLDR."""


class MissingTranslation(ResourceWarning):
    """A text is shown in English, because the catalogue lacks it. Python ignores warnings of this
    kind unless they are switched on, as they are in the tests."""


class _Absent(gettext.NullTranslations):
    """Answers for what a catalogue lacks."""

    def gettext(self, message: str) -> str:
        return ""

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return ""

    def pgettext(self, context: str, message: str) -> str:
        return ""


@dataclass(frozen=True)
class Catalogue:
    """The translations into one language. Each is parsed once, when it is first needed."""

    language: str
    texts: gettext.NullTranslations
    _patterns: dict[tuple[str, str], Pattern | None] = field(default_factory=dict)

    def pattern(self, text: str, context: str = "") -> Pattern | None:
        """The translation of a text; None, with MissingTranslation, if there is none. `context`
        separates texts that are alike in English."""
        key = (context, text)
        if key not in self._patterns:
            found = self.texts.pgettext(context, text) if context else self.texts.gettext(text)
            if not found:
                # Not kept: texts of others would fill the memory.
                self._missing(text)
                return None
            self._patterns[key] = parse(found)
        return self._patterns[key]

    def has(self, text: str, context: str = "") -> bool:
        """Whether there is a translation, for texts that others may have written."""
        found = self.texts.pgettext(context, text) if context else self.texts.gettext(text)
        return bool(text and found)

    def plural(self, one: str, many: str, count: int) -> str:
        """The form for this count, with the count filled in."""
        found = self.texts.ngettext(one, many, count)
        if not found:
            self._missing(one)
        return (found or (one if count == 1 else many)).replace("{count}", str(count))

    def _missing(self, text: str) -> None:
        warnings.warn(f"{self.language}.po lacks: {text}", MissingTranslation, stacklevel=3)


def catalogue(locale: Locale | None) -> Catalogue | None:
    """The catalogue of a locale's language, in any country; None for English and others."""
    return _load(locale.language) if locale and locale.language in LANGUAGES else None


@cache
def _load(language: str) -> Catalogue:
    """Compiled in memory, once for each process: what is installed is what people edit."""
    compiled = BytesIO()
    with (FOLDER / f"{language}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    texts = gettext.GNUTranslations(compiled)
    texts.add_fallback(_Absent())
    return Catalogue(language, texts)
