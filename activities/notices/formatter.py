"""How a notice speaks to one reader: who is "you", and amounts and windows in words."""

from collections.abc import Iterator

from activities.notices.formats import Reader, window
from activities.requests import NoticeRequest, Party, Recipient
from activities.sanitize import isolated, one_line, unlinked

PARTIES = ("client", "freelancer")

_OTHERS = {
    "mediator": "the mediator",
    "operator": "our staff",
    "system": "our system",
    "payments": "the payment provider",
}
"""Who acts beside the parties."""


class Voice:
    """Fills in the sentences of `activities.notices.texts` for one reader.

    What it returns is safe to show: names of other people cannot become markup or links.
    """

    def __init__(self, request: NoticeRequest, recipient: Recipient, own: Reader) -> None:
        self._role = recipient.role
        self._request = request
        self._own = own
        self._words = dict(self._all())

    def say(self, sentence: str) -> str | None:
        """The sentence for this reader; None when it speaks of what this purchase has not."""
        try:
            return sentence.format_map(self._words)
        except KeyError:
            return None

    def name(self, role: str) -> str:
        """Who that is, for the middle of a sentence."""
        return self._words[role] if role in PARTIES else _OTHERS.get(role) or safe(role, 60)

    def theirs(self, text: str) -> str:
        """The text, with `the client's` and `the freelancer's` as this reader says it."""
        text = safe(text, 200)
        for role in PARTIES:
            text = text.replace(f"the {role}'s", self._words[f"{role}'s"])
        return text

    def _all(self) -> Iterator[tuple[str, str]]:
        request = self._request
        for role, party in zip(PARTIES, (request.client, request.freelancer), strict=True):
            yield from self._person(role, role, party)
            if request.actor in PARTIES:
                part = "actor" if request.actor == role else "other"
                yield from self._person(part, role, party)
        yield "settlement_window", "five business days"
        for clock, duration in request.windows.items():
            yield f"{clock}_window", window(duration)
        if request.rejected:
            name = safe(request.rejected.message, 64).replace("_", " ")
            yield "Message", f"Your message “{name}”"
        amounts = request.amounts
        for key, amount in amounts.items():
            yield key, self._money(amount)
        if "refund" in amounts:
            yield "division", self._division(amounts["refund"], amounts["release"], "goes")
        if "offer_refund" in amounts:
            offer = self._division(amounts["offer_refund"], amounts["offer_release"], "would go")
            yield "offer", offer
        if "claim" in amounts:
            yield "claim_division", self._division(amounts["rest"], amounts["claim"], "goes")
            part = self._money(amounts["claim"]) if amounts["rest"] else "all"
            yield "claimed", f"{part} of the {self._money(amounts['escrow'])} in escrow"

    def _person(self, part: str, role: str, party: Party) -> Iterator[tuple[str, str]]:
        if role == self._role:
            yield from zip(_cases(part), ("you", "You", "your", "Your"), strict=True)
        else:
            name = named(party)
            whose = f"{name}'s"
            yield from zip(_cases(part), (name, name, whose, whose), strict=True)

    def _division(self, refund: int, release: int, goes: str) -> str:
        """Who gets what of all the money."""
        client, freelancer = (
            "you" if role == self._role else named(party)
            for role, party in zip(
                PARTIES, (self._request.client, self._request.freelancer), strict=True
            )
        )
        back, paid = f"{goes} back to {client}", f"{goes} to {freelancer}"
        if refund and release:
            return f"{self._money(refund)} {back} and {self._money(release)} {paid}"
        return f"all of the money, {self._money(refund + release)}, {back if refund else paid}"

    def _money(self, amount: int) -> str:
        return self._own.amount(amount, self._request.price.currency)


def _cases(part: str) -> tuple[str, str, str, str]:
    big = part.capitalize()
    return part, big, f"{part}'s", f"{big}'s"


def named(party: Party) -> str:
    """A person's name, harmless; their id if the name has nothing to show."""
    return isolated(safe(party.name, 60) or safe(party.id, 60) or "there")


def safe(text: str, limit: int) -> str:
    """One line of somebody else's text, of which no mail program makes a link."""
    return unlinked(one_line(text, limit))
