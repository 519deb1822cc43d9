"""What the pages show: texts of other people made safe, amounts and instants as the reader reads
them. Nothing in a template trusts its input."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from activities.formatter import TextValues, capitalized
from activities.languages.translated import Translated
from activities.notices.formats import Reader, display_name, reader
from activities.requests import Party
from activities.sanitize import isolated, lines, one_line
from temporal import ended
from temporal.access import is_party
from workflows import lifecycle
from workflows.lifecycle.state import Code, Stage
from workflows.lifecycle.texts import WHY_REJECTED
from workflows.messages import (
    Deadline,
    Permission,
    PurchaseStart,
    Role,
    Sender,
    Status,
    TimelineEntry,
)
from workroom.answers import division
from workroom.forms import FORMS, Form, same_as
from workroom.reasons import Reason, reasons
from workroom.retelling import Retelling
from workroom.rows import FROZEN, OFFER, Row, outcome_text, stage_text
from workroom.sessions import Session

BAR = 600
"""Units of the money bar's width."""
MONEY = {
    "held": "in escrow",
    "transit": "being refunded",
    "refunded": "refunded",
    "released": "paid out",
    "charged_back": "taken back by {client's} bank",
}
"""The parts of the money bar, and what follows each amount."""
REFUND = {"unsent": "not sent yet"}
"""The states of a refund that are called otherwise than in the contract."""
EXACT = (Code.INVALID_AMOUNT, Code.INVALID_MESSAGE)
"""Rejections whose exact answer says what to type instead."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Button:
    """A form that a role has, and whether it may be sent now. `offered`: it may, and no form before
    it does the same. `expected`: the stage waits for it."""

    form: Form
    allowed: bool
    why_not: str | None
    code: str | None
    until: datetime | None
    expected: bool = False
    offered: bool = False


class Part(NamedTuple):
    """A part of the money bar."""

    name: str
    label: str
    amount: str
    start: int
    width: int


def reader_of(sender: Sender, terms: PurchaseStart) -> Reader:
    """The formats of a reader; staff read en_US and UTC."""
    parties: dict[Role, Party] = {Role.CLIENT: terms.client, Role.FREELANCER: terms.freelancer}
    return reader(parties.get(sender.role))


def purchase_path(purchase_id: str) -> str:
    """The path of a purchase's page."""
    return f"/purchases/{quote(purchase_id, safe='')}"


@dataclass(frozen=True)
class View:
    """One purchase for one reader."""

    sender: Sender
    terms: PurchaseStart
    status: Status

    @cached_property
    def reader(self) -> Reader:
        """The formats of the reader."""
        return reader_of(self.sender, self.terms)

    @property
    def path(self) -> str:
        """The path of the purchase's page."""
        return purchase_path(self.status.purchase_id)

    @cached_property
    def formatter(self) -> Translated:
        """Writes sentences that address the reader."""
        return self.reader.formatter(
            display_name(self.terms.client),
            display_name(self.terms.freelancer),
            self.status.price.currency,
            self.sender.role.value,
        )

    def say(self, text: str, actor: str = "system", /, **values: str) -> str:
        """A text that may name the parties, in the reader's language."""
        return self.formatter.format(text, TextValues(actor, values=values))

    @property
    def standing(self) -> str:
        """Where the purchase is now, in English."""
        return FROZEN if self.status.frozen else stage_text(self.status.stage)

    @property
    def is_yours(self) -> bool:
        """Whether something waits for the reader."""
        offer = self.status.offer
        asked = is_party(self.sender) and offer is not None and offer.by != self.sender.role
        return asked or self.status.waiting_for == self.sender.role

    @property
    def offer(self) -> str:
        """Who has proposed a split; empty if no offer stands."""
        return self.say(OFFER, self.status.offer.by.value) if self.status.offer else ""

    @property
    def turn(self) -> str:
        """Whose turn it is; empty if nobody has to act."""
        who = self.status.waiting_for
        if who in ("nobody", "payments"):
            return ""
        return self.say("{Actor's} turn.", who)

    def name(self, role: str) -> str:
        """A role, or the person in it."""
        return self.say("{actor}", role)

    @cached_property
    def _retelling(self) -> Retelling:
        return Retelling(self.terms, self.reader, self.formatter)

    def event(self, entry: TimelineEntry) -> str:
        """An entry of the timeline."""
        return self._retelling.event(entry)

    def sender_of(self, entry: TimelineEntry) -> str:
        """Who sent the message that caused an entry, by role and id: for staff."""
        return f"{entry.by} {entry.by_id}" if entry.by_id and not is_party(self.sender) else ""

    def expiry(self, deadline: Deadline) -> str:
        """What happens when a deadline ends, as the end of a sentence."""
        return self._retelling.expiry(deadline)

    def amount(self, minor: int) -> str:
        """An amount of the purchase."""
        return self.reader.amount(minor, self.status.price.currency)

    def moment(self, at: datetime) -> str:
        """An instant in the reader's zone, with the zone's city."""
        return f"{self.short(at)} ({self.reader.place})"

    def short(self, at: datetime) -> str:
        """An instant in the reader's zone, which the page names once."""
        return self.reader.short(at)

    @property
    def awaits_confirmation(self) -> bool:
        """Whether the client has to confirm the payment to the bank."""
        asked = (each.transition == "payment_needs_client" for each in self.status.timeline)
        return self.status.payment == "pending" and any(asked)

    @property
    def next(self) -> Deadline | None:
        """The deadline to show first."""
        found = {each.name: each for each in self.status.deadlines}
        name = lifecycle.main_deadline(self.status.stage, found)
        return found[name] if name else None

    @cached_property
    def reasons(self) -> list[Reason]:
        """What both sides have written about what the stage is about."""
        return reasons(self.status)

    def left(self, at: datetime) -> str:
        """How long until an instant."""
        left = at - datetime.now(UTC)
        if left <= timedelta(0):
            return self.reader.text("now")
        size = 3600 if left > timedelta(days=2) else 60
        rounded = timedelta(seconds=max(left.total_seconds() // size * size, 60))
        return self.reader.text("in {window}", window=self.formatter.window(rounded))

    @property
    def money(self) -> list[Part]:
        """The parts of the money bar."""
        escrow = self.status.escrow
        amounts = (
            escrow.held,
            escrow.in_transit,
            escrow.refunded,
            escrow.released,
            escrow.charged_back,
        )
        whole, start, parts = max(self.status.price.amount, 1), 0, []
        for (name, label), minor in zip(MONEY.items(), amounts, strict=True):
            if minor:
                width = max(BAR * minor // whole, 2)
                parts.append(Part(name, self.say(label), self.amount(minor), start, width))
                start += width
        return parts

    def division(self, form: Form, fields: Mapping[str, str | int]) -> str:
        """Who gets what if the form is sent; empty if no money moves."""
        found = division(form, fields, self.status)
        if found is None:
            return ""
        if form.money == "request":
            amount = self.amount(found.refund)
            return self.reader.text("You ask for all of the money: {amount}", amount=amount)
        text = self._divided(found.refund, found.release)
        if not found.if_accepted:
            return capitalized(text)
        return self.say("If {other} accepts: {division}", self.sender.role.value, division=text)

    def offered(self) -> str:
        """What the standing offer divides."""
        assert self.status.offer is not None
        offer = self.status.offer
        return self._divided(offer.refund, offer.release)

    def _divided(self, refund: int, release: int) -> str:
        return self.formatter.value(
            "division", TextValues(amounts={"refund": refund, "release": release})
        )

    def buttons(self, permissions: Iterable[Permission]) -> list[Button]:
        """The reader's forms, the expected one first: none while the client has to confirm the
        payment. A worker of an earlier release has no permission for a message that it does not
        know: that is not possible now."""
        known = {each.message: each for each in permissions}
        found = [
            self._button(form, known.get(form.message) or _not_allowed(form.message))
            for form in FORMS
            if self.sender.role in form.roles
        ]
        possible = [each.form for each in found if each.allowed]
        confirms = self.awaits_confirmation and self.sender.role is Role.CLIENT
        stage = None if confirms else self.status.stage
        wanted = [form for form in possible if stage in form.expected_in]
        expected = min(wanted, key=lambda form: len(form.expected_in), default=None)
        offered = {same_as(form) or form.path: form for form in reversed(possible)}.values()
        shown = [
            replace(each, expected=each.form is expected, offered=each.form in offered)
            for each in found
        ]
        return sorted(shown, key=lambda each: not each.expected)

    def cancels(self, buttons: Iterable[Button]) -> bool:
        """Whether the page has the button Cancel Contract."""
        return any(each.offered and each.form.path == "cancel" for each in buttons)

    def impossible(self, buttons: Iterable[Button]) -> list[Button]:
        """The forms that are not possible now for a reason that a party can understand; for staff
        all of them."""
        usual = self.say(WHY_REJECTED[Code.NOT_ALLOWED_NOW])
        found = [each for each in buttons if not each.allowed]
        return [each for each in found if each.why_not not in (None, usual)]

    def why_not(self, code: str | None, answer: str | None) -> str | None:
        """Why something is not possible. Parties read a plain sentence; staff read the exact
        answer, which names messages."""
        if code == ended.CODE and is_party(self.sender):
            return self.reader.text("Nothing is possible right now. Our staff is looking into it.")
        plain = WHY_REJECTED.get(code or "")
        if not plain or not is_party(self.sender):
            return answer
        if code not in EXACT:
            return self.say(plain)
        return f"{self.say(plain)} ({answer})" if self.reader.catalogue and answer else answer

    def _button(self, form: Form, permission: Permission) -> Button:
        if form.path == "decline_refund" and self.status.stage == Stage.CONTESTED:
            declined = self.reader.text("You have declined and claimed already.")
            return Button(form, False, declined, "NOT_ALLOWED_NOW", None)
        why = self.why_not(permission.code, permission.why_not)
        return Button(form, permission.allowed, why, permission.code, permission.until)


def _not_allowed(message: str) -> Permission:
    return Permission(message=message, allowed=False)


def page(
    template: str,
    session: Session | None,
    reader: Reader,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    **values: Any,
) -> HTMLResponse:
    """A page for this reader; one without a session shows no navigation."""
    text = _TEMPLATES.get_template(f"{template}.html.jinja").render(
        session=session,
        reader=reader,
        is_party=session is not None and is_party(session.sender),
        _=reader.text,
        **values,
    )
    return HTMLResponse(text, status, HEADERS)


def _line(text: object, limit: int = 200) -> str:
    """One line of other people's text."""
    return isolated(one_line(str(text), limit))


def _lines(text: object) -> str:
    """Several lines of other people's text."""
    return "\n".join(isolated(each) for each in lines(str(text), 64_000, 2_000).split("\n"))


def _plain(value: object) -> str:
    """A value of a JSON document of other people: texts as they are, each of a list in a line."""
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return "\n".join(map(_plain, value))
    is_text = isinstance(value, str)
    return _lines(value if is_text else json.dumps(value, indent=2, ensure_ascii=False))


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_TEMPLATES.filters |= {
    "line": _line,
    "lines": _lines,
    "stage": stage_text,
    "outcome": outcome_text,
    "row": Row,
    "refund": lambda status: REFUND.get(status, status),
    "path": purchase_path,
    "plain": _plain,
    "first_upper": capitalized,
}
_TEMPLATES.globals |= {"STAGES": [each for each in Stage if each is not Stage.CLOSED]}
