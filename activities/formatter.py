"""Fills in the texts of the rules, for one reader or in the third person.

A text is a template. It names people as `{client}`, `{freelancer}`, `{actor}` and `{other}` (the
other party), each also as `{Client}`, `{client's}` and `{Client's}`. To the person meant, these
read "you", "You", "your" and "Your", so verbs are in the past or with may, can, did. Amounts and
windows are those of the purchase, by name: `{escrow}`, `{refund}`, `{claim_window}`, … Whole
phrases: `{division}` (who gets what), `{offer}`, `{claimed}`, `{claim_division}`.
"""

from collections.abc import Callable, Mapping
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
        return text.format_map(_Placeholders(self, facts))

    def name(self, role: str) -> str:
        """That person or system, for the middle of a sentence."""
        if role not in PARTIES:
            return OTHERS.get(role, role)
        return "you" if role == self.you else getattr(self, role)

    def value(self, placeholder: str, facts: Facts) -> str:
        """What one placeholder stands for. Raises KeyError for an unknown one."""
        amounts, values, windows = facts.amounts or {}, facts.values or {}, facts.windows or {}
        if placeholder in amounts:
            return self.amount(amounts[placeholder])
        if placeholder in values:
            return values[placeholder]
        if placeholder in windows:
            return window_text(windows[placeholder])
        match placeholder:
            case "division":
                return self._division(amounts["refund"], amounts["release"], "goes")
            case "offer":
                offered = amounts["offer_refund"], amounts["offer_release"]
                return self._division(*offered, "would go")
            case "claim_division":
                return self._division(amounts["rest"], amounts["claim"], "goes")
            case "claimed":
                part = self.amount(amounts["claim"]) if amounts["rest"] else "all"
                return f"{part} of the {self.amount(amounts['escrow'])} in escrow"
        return self._person(placeholder, facts.actor)

    def _person(self, placeholder: str, actor: str) -> str:
        part = placeholder.removesuffix("'s")
        role = _role(part[:1].lower() + part[1:], actor)
        if role is None:
            raise KeyError(placeholder)
        name = self.name(role)
        is_you = role in PARTIES and role == self.you
        # People's names stay as they write them, also at the start of a sentence.
        is_name = role in PARTIES and not is_you and name not in BY_ROLE
        text = name if part == placeholder else "your" if is_you else f"{name}'s"
        return capitalized(text) if part[0].isupper() and not is_name else text

    def _division(self, refund: int, release: int, goes: str) -> str:
        back, paid = f"{goes} back to {self.name(CLIENT)}", f"{goes} to {self.name(FREELANCER)}"
        if refund and release:
            return f"{self.amount(refund)} {back} and {self.amount(release)} {paid}"
        return f"all of the money, {self.amount(refund + release)}, {back if refund else paid}"


class _Placeholders(dict[str, str]):
    """Looks up only what a text names: most texts name two of the forty placeholders."""

    def __init__(self, formatter: Formatter, facts: Facts) -> None:
        super().__init__()
        self._formatter, self._facts = formatter, facts

    def __missing__(self, placeholder: str) -> str:
        return self._formatter.value(placeholder, self._facts)


def _role(part: str, actor: str) -> str | None:
    """The role that a placeholder means."""
    if part in PARTIES:
        return part
    if part == "actor":
        return actor
    if part == "other" and actor in PARTIES:
        return FREELANCER if actor == CLIENT else CLIENT
    return None


def capitalized(text: str) -> str:
    """The text with a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def spaced(name: str | None) -> str:
    """A contract name with spaces instead of underscores; empty for None."""
    return (name or "").replace("_", " ")


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
