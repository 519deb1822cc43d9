"""Fills in the texts of the rules, for one reader or in the third person.

A text is a template. It names people as `{client}`, `{freelancer}`, `{actor}` and `{other}` (the
other party), each also as `{Client}`, `{client's}` and `{Client's}`. To the person meant, these
read "you", "You", "your" and "Your", so verbs are in the past or with may, can, did. Amounts and
windows are those of the purchase, by name: `{escrow}`, `{refund}`, `{claim_window}`, … Whole
phrases: `{division}` (who gets what), `{offer}`, `{claimed}`, `{claim_division}`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

CLIENT, FREELANCER = PARTIES = ("client", "freelancer")

OTHERS = {
    "mediator": "the mediator",
    "operator": "our staff",
    "system": "our system",
    "payments": "the payment provider",
}
"""Actors other than the two parties."""

BY_ROLE = ("the client", "the freelancer")
"""The parties where no names are shown."""

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Facts:
    """What texts about one purchase can say: `amounts` in minor units by name, `windows` by policy
    field, `values` for anything else (already safe to show)."""

    actor: str = "system"
    amounts: Mapping[str, int] | None = None
    windows: Mapping[str, timedelta | int] | None = None
    values: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Formatter:
    """Writes texts for one reader. `client` and `freelancer` are names that are safe to show, `you`
    the role that is addressed (None: nobody), `amount` writes minor units with their currency."""

    client: str
    freelancer: str
    amount: Callable[[int], str]
    you: str | None = None

    def format(self, text: str, facts: Facts) -> str:
        """The text with every placeholder filled in. Raises KeyError for an unknown one."""
        return text.format_map(dict(self._placeholders(facts))) if "{" in text else text

    def name(self, role: str) -> str:
        """That person or system, for the middle of a sentence."""
        if role not in PARTIES:
            return OTHERS.get(role, role)
        return "you" if role == self.you else getattr(self, role)

    def _placeholders(self, facts: Facts) -> Iterator[tuple[str, str]]:
        yield from self._people(facts.actor)
        for field, window in (facts.windows or {}).items():
            yield field, window_text(window)
        yield from (facts.values or {}).items()
        amounts = facts.amounts or {}
        for name, minor in amounts.items():
            yield name, self.amount(minor)
        if "refund" in amounts:
            yield "division", self._division(amounts["refund"], amounts["release"], "goes")
        if "offer_refund" in amounts:
            offer = self._division(amounts["offer_refund"], amounts["offer_release"], "would go")
            yield "offer", offer
        if "claim" in amounts:
            yield "claim_division", self._division(amounts["rest"], amounts["claim"], "goes")
            part = self.amount(amounts["claim"]) if amounts["rest"] else "all"
            yield "claimed", f"{part} of the {self.amount(amounts['escrow'])} in escrow"

    def _people(self, actor: str) -> Iterator[tuple[str, str]]:
        for role in PARTIES:
            yield from self._cases(role, role)
        yield from self._cases("actor", actor)
        if actor in PARTIES:
            yield from self._cases("other", FREELANCER if actor == CLIENT else CLIENT)

    def _cases(self, part: str, role: str) -> Iterator[tuple[str, str]]:
        name = self.name(role)
        is_you = role in PARTIES and role == self.you
        whose = "your" if is_you else f"{name}'s"
        # People's names stay as they write them, also at the start of a sentence.
        is_name = role in PARTIES and not is_you and name not in BY_ROLE
        big = part.capitalize()
        yield part, name
        yield big, name if is_name else capitalized(name)
        yield f"{part}'s", whose
        yield f"{big}'s", whose if is_name else capitalized(whose)

    def _division(self, refund: int, release: int, goes: str) -> str:
        back, paid = f"{goes} back to {self.name(CLIENT)}", f"{goes} to {self.name(FREELANCER)}"
        if refund and release:
            return f"{self.amount(refund)} {back} and {self.amount(release)} {paid}"
        return f"all of the money, {self.amount(refund + release)}, {back if refund else paid}"


def capitalized(text: str) -> str:
    """The text with a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def window_text(window: timedelta | int) -> str:
    """How long a window is: `48 hours`, `7 days`, `five business days`."""
    if isinstance(window, int):
        number = _NUMBERS[window] if window < len(_NUMBERS) else str(window)
        return f"{number} business day{'' if window == 1 else 's'}"
    left = round(window.total_seconds())
    sizes = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    parts = []
    for unit, size in sizes if window > timedelta(days=2) else sizes[1:]:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts) or "a moment"
