"""Fills in the texts of the rules in the reader's language."""

from dataclasses import dataclass
from datetime import timedelta

from activities.formatter import Formatter, TextValues, role_of, window_text
from activities.languages.catalogue import Catalogue
from activities.languages.pattern import write


@dataclass(frozen=True)
class Translated(Formatter):
    """A Formatter that writes in the language of a catalogue (None: English), and in English what
    the catalogue lacks."""

    catalogue: Catalogue | None = None

    def format(self, text: str, given: TextValues, context: str = "") -> str:
        """The text in the reader's language. Raises KeyError for an unknown placeholder."""
        pattern = self.catalogue.pattern(text, context) if self.catalogue else None
        if pattern is None:
            return Formatter(self.client, self.freelancer, self.amount, self.you).format(
                text, given
            )
        return write(
            pattern,
            lambda placeholder: self.value(placeholder, given),
            lambda placeholder: self._case(placeholder, given),
        )

    def window(self, window: timedelta | int) -> str:
        """How long a window is."""
        return (
            window_text(window, self.catalogue.plural) if self.catalogue else super().window(window)
        )

    def _case(self, placeholder: str, given: TextValues) -> str:
        """Which case of a select applies: `you`, or a role."""
        role = role_of(placeholder, given.actor) or ""
        return "you" if role == self.you else role
