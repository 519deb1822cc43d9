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

BOTH = "{refund} goes back to {client} and {release} goes to {freelancer}"
BACK = "all of the money, {all}, goes back to {client}"
PAID = "all of the money, {all}, goes to {freelancer}"
DIVISION = (BOTH, BACK, PAID)
"""Who gets what: if both get a part, if the client gets all, if the freelancer gets all."""
OFFER = tuple(text.replace(" goes ", " would go ") for text in DIVISION)
"""The same, of an offer."""
CLAIMED_PART, CLAIMED_ALL = CLAIMED = (
    "{claim} of the {escrow} in escrow",
    "all of the {escrow} in escrow",
)

UNITS = (
    ("{count} day", "{count} days", 86_400),
    ("{count} hour", "{count} hours", 3_600),
    ("{count} minute", "{count} minutes", 60),
    ("{count} second", "{count} seconds", 1),
)
"""Units of elapsed time: the singular, the plural and its seconds."""
BUSINESS_DAYS = ("{count} business day", "{count} business days")

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class TextValues:
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

    def format(self, text: str, given: TextValues) -> str:
        """The text with every placeholder filled in. Raises KeyError for an unknown one."""
        return text.format_map(_Placeholders(self, given))

    def name(self, role: str) -> str:
        """That person or system, for the middle of a sentence."""
        if role not in PARTIES:
            return OTHERS.get(role, role)
        return "you" if role == self.you else getattr(self, role)

    def value(self, placeholder: str, given: TextValues) -> str:
        """What one placeholder stands for. Raises KeyError for an unknown one."""
        amounts, values, windows = given.amounts or {}, given.values or {}, given.windows or {}
        if placeholder in amounts:
            return self.amount(amounts[placeholder])
        if placeholder in values:
            return values[placeholder]
        if placeholder in windows:
            return self.window(windows[placeholder])
        match placeholder:
            case "division":
                return self._division(amounts["refund"], amounts["release"], DIVISION)
            case "offer":
                return self._division(amounts["offer_refund"], amounts["offer_release"], OFFER)
            case "claim_division":
                return self._division(amounts["rest"], amounts["claim"], DIVISION)
            case "claimed":
                return self.format(CLAIMED_PART if amounts["rest"] else CLAIMED_ALL, given)
        return self._person(placeholder, given.actor)

    def window(self, window: timedelta | int) -> str:
        """How long a window is."""
        return window_text(window)

    def _person(self, placeholder: str, actor: str) -> str:
        part = placeholder.removesuffix("'s")
        role = role_of(part[:1].lower() + part[1:], actor)
        if role is None:
            raise KeyError(placeholder)
        name = self.name(role)
        is_you = role in PARTIES and role == self.you
        # People's names stay as they write them, also at the start of a sentence.
        is_name = role in PARTIES and not is_you and name not in BY_ROLE
        text = name if part == placeholder else "your" if is_you else f"{name}'s"
        return capitalized(text) if part[0].isupper() and not is_name else text

    def _division(self, refund: int, release: int, texts: tuple[str, ...]) -> str:
        both, back, paid = texts
        amounts = {"refund": refund, "release": release, "all": refund + release}
        text = both if refund and release else back if refund else paid
        return self.format(text, TextValues(amounts=amounts))


class _Placeholders(dict[str, str]):
    """Looks up only what a text names: most texts name two of the forty placeholders."""

    def __init__(self, formatter: Formatter, given: TextValues) -> None:
        super().__init__()
        self._formatter, self._text_values = formatter, given

    def __missing__(self, placeholder: str) -> str:
        return self._formatter.value(placeholder, self._text_values)


def role_of(part: str, actor: str) -> str | None:
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


Plural = Callable[[str, str, int], str]
"""Chooses between singular and plural, and fills in the count."""


def _english(one: str, many: str, count: int) -> str:
    spelled = (one, many) == BUSINESS_DAYS and count < len(_NUMBERS)
    return (one if count == 1 else many).format(count=_NUMBERS[count] if spelled else count)


def window_text(window: timedelta | int, plural: Plural = _english) -> str:
    """How long a window is: `48 hours`, `7 days`, `five business days`."""
    if isinstance(window, int):
        return plural(*BUSINESS_DAYS, window)
    left = round(window.total_seconds())
    parts = []
    for one, many, size in UNITS if window > timedelta(days=2) else UNITS[1:]:
        count, left = divmod(left, size)
        if count:
            parts.append(plural(one, many, count))
    if not parts:
        return "a moment" if plural is _english else plural(*UNITS[-1][:2], 0)
    return " ".join(parts)
