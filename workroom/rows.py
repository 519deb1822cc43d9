"""One purchase in a list as its reader sees it. No worker is asked: lists have search attributes
and the memo."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from activities.formatter import BY_ROLE, OTHERS, PARTIES, TextValues, spaced
from activities.languages.translated import Translated
from activities.notices.formats import Reader
from activities.sanitize import isolated, plain_text
from temporal.listing import Listed
from workflows.lifecycle.rejections import STAGE_TEXT
from workflows.lifecycle.state import Stage
from workflows.lifecycle.versions import newest_rules
from workflows.messages import Role

STARTING = "starting"
"""The text of a purchase that has no stage yet."""
NEVER_STARTED = "never started"
"""The text of a purchase whose start input was invalid."""
FROZEN = "frozen: the bank is looking into the payment"
"""The text of a purchase whose payment a bank has taken back for now, in place of its stage."""
STAFF = "staff"
YOU = "you"
WAITED_FOR = dict(zip(PARTIES, BY_ROLE, strict=True)) | {
    "mediator": OTHERS["mediator"],
    "payments": OTHERS["payments"],
    STAFF: OTHERS["operator"],
}
"""For whom a purchase may wait, where no name is known."""
OTHER = "the other side"
"""The other party, in a list that does not know the name."""
OFFER = "{Actor} proposed a split, and {other} can accept it."
"""What follows the stage while an offer stands; its actor made it."""


OUTCOME_TEXT = {
    "refunded": "refunded",
    "released": "paid out",
    "split": "split",
    "charged_back": "charged back",
    "payment_declined": "payment declined",
    "payment_failed": "payment failed",
}
"""How a purchase has ended."""


def outcome_text(outcome: str) -> str:
    """The text of an outcome, in English."""
    return OUTCOME_TEXT.get(outcome, spaced(outcome))


def stage_text(stage: str | None) -> str:
    """The text of a stage, in English."""
    return STAGE_TEXT[Stage(stage)] if stage else STARTING


@dataclass(frozen=True)
class Row:
    """One purchase in a list of this reader, who has this role."""

    item: Listed
    reader: Reader
    role: Role

    @property
    def title(self) -> str:
        """Its title; its id if the title is not known."""
        return self.item.title or self.item.purchase_id

    @property
    def terms(self) -> str:
        """The price and the other side, or both sides for staff, as far as the list knows them."""
        client, freelancer = self._names
        other = {Role.CLIENT: freelancer, Role.FREELANCER: client}.get(self.role)
        people = other if other is not None else " → ".join(filter(None, self._names))
        return " · ".join(filter(None, (self._price, people)))

    @property
    def standing(self) -> str:
        """Where it is now, in English."""
        if self.item.never_started:
            return NEVER_STARTED
        return FROZEN if self.item.frozen else stage_text(self.item.stage)

    @property
    def stage_before(self) -> str:
        """The stage in which a bank dispute has stopped it, in English; else empty."""
        return stage_text(self.item.stage) if self.item.frozen else ""

    @property
    def offer(self) -> str:
        """Who has proposed a split; empty if no offer stands."""
        if self.item.offer is None:
            return ""
        return self._formatter.format(OFFER, TextValues(self.item.offer.value))

    @property
    def is_yours(self) -> bool:
        """Whether the reader has to act."""
        return self._waiting_for == self.role

    @property
    def waiting_for(self) -> str:
        """Who has to act; empty if nobody has to."""
        who = self._waiting_for
        name = dict(zip(PARTIES, self._names, strict=True)).get(who)
        if name and who != self.role:
            return name
        said = YOU if who == self.role else WAITED_FOR.get(who, who)
        return self.reader.text(said, "turn") if said else ""

    @property
    def waits(self) -> bool:
        """Whether somebody has to act, or a deadline is open."""
        return bool(self._waiting_for or self.due)

    @property
    def _waiting_for(self) -> str:
        if self.item.needs_attention and self.item.stage != Stage.DISPUTED:
            return STAFF
        if self.item.never_started or self.item.frozen:
            return ""
        rules = newest_rules().deadlines
        governs = (each for each in rules if self.item.stage and each.governs == self.item.stage)
        return next((each.waiting_for for each in governs), "")

    @property
    def due(self) -> datetime | None:
        """The deadline of its stage."""
        return self.item.due

    @property
    def expiry(self) -> str:
        """What happens when that deadline ends, as the end of a sentence; empty if this release
        does not know the row."""
        rows = newest_rules().transitions
        row = next((row for row in rows if row.id == self.item.due_row), None)
        if row is None or not row.text.listed_expiry:
            return ""
        return self._formatter.format(row.text.listed_expiry, TextValues())

    @property
    def _price(self) -> str:
        price, currency = self.item.price, self.item.price.rpartition(" ")[2]
        return self.reader.amount_in(price, currency) if currency else ""

    @cached_property
    def _names(self) -> tuple[str, str]:
        """The names of client and freelancer, safe to show; empty if the list has none."""
        client, freelancer = (
            isolated(plain_text(each, 60)) if each else ""
            for each in (self.item.client_name, self.item.freelancer_name)
        )
        return client, freelancer

    @cached_property
    def _formatter(self) -> Translated:
        unknown = [self.reader.text(OTHER)] * 2 if self.role in PARTIES else BY_ROLE
        client, freelancer = (name or text for name, text in zip(self._names, unknown, strict=True))
        currency = self.item.price.rpartition(" ")[2]
        return self.reader.formatter(client, freelancer, currency, self.role.value)
