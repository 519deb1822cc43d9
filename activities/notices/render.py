"""Writes one notice for one reader: subject, plain text and HTML. The request has the texts."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from activities.formatter import PARTIES, TextValues, capitalized
from activities.links import LINK_LIVES, LinkKeys, Person, form_of, link
from activities.notices.commands import message_command, status_command
from activities.notices.formats import Reader, display_name, reader, utc
from activities.requests import (
    AllowedMessage,
    NoticeDeadline,
    NoticeRequest,
    OperatorAlert,
    Party,
    Recipient,
)
from activities.sanitize import header, isolated, lines, plain_text, unlinked

_WIDTH = 72
MAX_VALUE = 600
"""Characters of one of the request's `values`; more would bury the sentence that quotes it."""


ACCOUNT_CONTEXTS = ("from", "to")
"""In the catalogues: an account that money comes from, and one that it goes to."""
MESSAGE_CONTEXT = "message"
"""In the catalogues: the name of a message."""


@dataclass(frozen=True)
class Rendered:
    """A finished notice. The same request and recipient always give the same one."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Deadline:
    """A deadline as it is shown. `yours`: the reader is the one who has to act."""

    label: str
    at: str
    utc: str | None
    expiry: str
    yours: bool


@dataclass(frozen=True)
class Action:
    """A message that the reader can send now: its form for a party, its command for operators."""

    label: str
    command: str | None
    link: str | None


@dataclass(frozen=True)
class View:
    """Everything that the templates print. Safe except for HTML's own escaping."""

    terse: bool
    format_language: str
    heading: str
    greeting: str
    summary: str
    explanation: str
    quoted_by: str | None
    quote: str | None
    advice: tuple[str, ...]
    movements: tuple[tuple[str, str], ...]
    money_text: str | None
    deadlines: tuple[Deadline, ...]
    actions: tuple[Action, ...]
    confirm_url: str | None
    link: str | None
    command: str | None
    title: str
    purchase_id: str
    price: str


def render(
    request: NoticeRequest,
    recipient: Recipient,
    base_url: str | None,
    keys: LinkKeys | None = None,
) -> Rendered:
    """Write `request` for `recipient`.

    With `base_url` the notice links to `<base_url>/purchases/<id>`; with `keys` too, a party's
    links sign them in, and each allowed message links to its form. Without it a party reads where
    to sign in. Operators get each message's command. Raises UnknownCurrency for an unknown currency
    code, and KeyError for a text with a placeholder that the request cannot fill.
    """
    writer = _Writer(request, recipient, base_url, keys)
    view, words = writer.view(), {"_": writer.reader.text, "language": writer.reader.language}
    title = header(isolated(request.title), 80)
    heading = header(view.heading, 120)
    subject = f"{heading}: {title}" if title else heading
    if view.terse:
        subject = f"[{header(request.purchase_id, 80)}] {subject}"
    return Rendered(
        subject=subject,
        text=_TEXT.render(view=view, **words),
        html=_HTML.render(view=view, subject=subject, **words),
    )


def render_alert(alert: OperatorAlert) -> Rendered:
    """Write an alert to operators that is about no single purchase."""
    rows = tuple(plain_text(line, 600) for line in alert.lines)
    subject = header(f"[Recourse] {alert.subject}", 200)
    return Rendered(
        subject=subject,
        text=_ENVIRONMENT.get_template("alert.txt.jinja").render(rows=rows),
        html=_ENVIRONMENT.get_template("alert.html.jinja").render(
            language="en", subject=subject, heading=plain_text(alert.subject, 200), rows=rows
        ),
    )


def party_of(request: NoticeRequest, recipient: Recipient) -> Party | None:
    """The party that a recipient is; None for operators."""
    parties = {"client": request.client, "freelancer": request.freelancer}
    return parties.get(recipient.role)


class _Writer:
    """Writes one request for one reader."""

    def __init__(
        self,
        request: NoticeRequest,
        recipient: Recipient,
        base_url: str | None,
        keys: LinkKeys | None,
    ) -> None:
        self._request = request
        self._recipient = recipient
        self._base_url, self._keys = base_url, keys
        self._party = party_of(request, recipient)
        self.reader: Reader = reader(self._party)
        self._formatter = self.reader.formatter(
            display_name(request.client),
            display_name(request.freelancer),
            request.price.currency,
            recipient.role,
        )
        values = self._values().items()
        self._text_values = TextValues(
            plain_text(request.actor, 60),
            request.amounts,
            request.windows,
            {name: _value(text) for name, text in values},
        )

    def view(self) -> View:
        request = self._request
        text, terse = request.text, self._recipient.role == "operator"
        advice = text.advice.get(self._recipient.role, ())
        return View(
            terse=terse,
            format_language=self.reader.format_language,
            heading=self._format(text.heading),
            greeting=self._greeting(),
            summary=self._format(text.summary),
            explanation=self._format(text.explanation),
            quoted_by=self._format("{Actor} wrote:") if request.note else None,
            quote=unlinked(lines(request.note)) if request.note else None,
            advice=tuple(self._format(paragraph) for paragraph in advice),
            movements=tuple(
                (self._formatter.amount(move.amount), self._route(move.source, move.target))
                for move in request.movements
            ),
            money_text=self._money_text(),
            deadlines=tuple(
                self._deadline(each) for each in request.deadlines if terse or not each.staff_only
            ),
            actions=tuple(self._action(each, terse) for each in self._recipient.allowed),
            confirm_url=self._confirm_url(),
            link=self._link(),
            command=None if self._base_url or not terse else status_command(request),
            title=plain_text(isolated(request.title), 80),
            purchase_id=plain_text(request.purchase_id, 80),
            price=self._formatter.amount(request.price.amount),
        )

    def _confirm_url(self) -> str | None:
        """The provider's page, for the client only."""
        url = self._request.confirm_url
        is_page = url.startswith("https://") and url.isascii() and " " not in url
        return url if is_page and self._recipient.role == "client" else None

    def _format(self, text: str) -> str:
        return self._formatter.format(text, self._text_values)

    def _route(self, source: str, target: str) -> str:
        return self.reader.text(
            "From {source} to {target}",
            source=self._account(source, "from"),
            target=self._account(target, "to"),
        )

    def _account(self, name: str, context: str) -> str:
        """Where money comes from or goes to; `context` is one of ACCOUNT_CONTEXTS."""
        text, own = account_template(name), self.reader.catalogue
        if own and own.has(text, context):
            return self._formatter.format(text, self._text_values, context)
        shown = plain_text(name, 200)
        for role in PARTIES:
            shown = shown.replace(f"the {role}'s", self._format(f"{{{role}'s}}"))
        return shown

    def _values(self) -> dict[str, str]:
        """The values that texts quote, as the reader reads amounts and the names of messages."""
        request, own = self._request, self.reader.catalogue
        values = dict(request.values)
        if "debt" in values:
            values["debt"] = self.reader.amount_in(values["debt"], request.price.currency)
        name = values.get("message", "")
        if own and own.has(name, MESSAGE_CONTEXT):
            values["message"] = self._formatter.format(name, TextValues(), MESSAGE_CONTEXT)
        return values

    def _greeting(self) -> str:
        if self._party is None:
            return self.reader.text("Hello,")
        return self.reader.text("Hello {name},", name=display_name(self._party))

    def _money_text(self) -> str | None:
        """When the money moves, with the latest date where it is known."""
        if self._request.money_text is None:
            return None
        sentence, by = self._format(self._request.money_text), self._request.refund_by
        if by and by > self._request.at:
            return self.reader.text(
                "{sentence}: at the latest on {day}.", sentence=sentence, day=self.reader.day(by)
            )
        return f"{sentence}."

    def _deadline(self, deadline: NoticeDeadline) -> Deadline:
        own, then = self.reader, self._format(deadline.expiry_text)
        return Deadline(
            label=capitalized(self._format(deadline.label)),
            at=own.moment(deadline.at),
            utc=utc(deadline.at) if own.zone_name != "UTC" else None,
            expiry=own.text("If nobody acts by then: {expiry}.", expiry=then),
            yours=deadline.waiting_for == self._recipient.role,
        )

    def _action(self, allowed: AllowedMessage, terse: bool) -> Action:
        sender = self._party.id if self._party else "YOUR-ID"
        command = message_command(self._request, self._recipient, allowed, sender)
        form = form_of(allowed.message, allowed.fields)
        return Action(
            self._format(allowed.label),
            command=command if terse else None,
            link=self._link(form) if self._keys and not terse else None,
        )

    def _link(self, form: str = "") -> str | None:
        """The page of the purchase, or one of its forms; it signs a party in."""
        request, base_url = self._request, self._base_url
        if base_url is None:
            return None
        if self._party is None or self._keys is None:
            return f"{base_url.rstrip('/')}/purchases/{quote(request.purchase_id, safe='')}"
        person = Person(self._recipient.role, self._party.id)
        until = request.at + LINK_LIVES
        return link(self._keys, base_url, person, until, request.purchase_id, form)


def account_template(account: str) -> str:
    """The template for an account, such as `{client's} bank` for `the client's bank`."""
    return re.sub(r"the (client|freelancer)'s", r"{\1's}", account)


def _value(text: str) -> str:
    """A value, safe to show. A space before it stays: ` (the reason)` follows a word."""
    space = " " if text.startswith(" ") else ""
    return space + isolated(plain_text(text, MAX_VALUE))


def _wrapped(text: str, indent: int = 0, hang: int | None = None) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent if hang is None else hang),
        break_on_hyphens=False,
    )


def _quoted(text: str) -> str:
    rows: list[str] = []
    for row in text.split("\n"):
        rows += textwrap.wrap(row, _WIDTH - 2, break_on_hyphens=False) or [""]
    return "\n".join(f"> {row}".rstrip() for row in rows)


def _pieces(command: str) -> list[str]:
    """The parts of a command between which a line may break: never between option and value."""
    first, *options = command.split(" --")
    return [*first.split(" "), *(f"--{option}" for option in options)]


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(("html.jinja",), default=False),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    auto_reload=False,
)
_ENVIRONMENT.filters |= {"wrapped": _wrapped, "quoted": _quoted, "pieces": _pieces}
_TEXT = _ENVIRONMENT.get_template("notice.txt.jinja")
_HTML = _ENVIRONMENT.get_template("notice.html.jinja")
