"""What a notice says to one reader: subject, plain text and HTML (RULES.md, Notices)."""

import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from activities.notices import wording
from activities.notices.formats import Reader, reader, utc
from activities.notices.words import header, lines, one_line, unlinked
from activities.requests import (
    Movement,
    NoticeDeadline,
    NoticeRequest,
    OperatorAlert,
    Party,
    Recipient,
)

_WIDTH = 72


@dataclass(frozen=True)
class Rendered:
    """A finished notice. The same request and recipient always give the same one."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Step:
    """One thing the reader can do now, with its command where no page offers it."""

    label: str
    command: str | None


@dataclass(frozen=True)
class Deadline:
    """The next deadline in words."""

    name: str
    local: str | None
    utc: str
    then: str


@dataclass(frozen=True)
class View:
    """Everything the templates print, already in words and safe but for HTML's own escaping."""

    terse: bool
    heading: str
    greeting: str
    what: str
    rule: str
    quoted_by: str
    quote: str | None
    advice: tuple[str, ...]
    movements: tuple[tuple[str, str], ...]
    refund: str | None
    deadline: Deadline | None
    steps: tuple[Step, ...]
    link: str | None
    title: str
    purchase_id: str
    price: str


def render(request: NoticeRequest, recipient: Recipient, base_url: str | None) -> Rendered:
    """Write `request` for `recipient`.

    With `base_url` the steps are found on `<base_url>/purchases/<id>`, without it each carries its
    command; operators always get the commands. Raises UnknownCurrency for a code that is none.
    """
    view = _view(request, recipient, base_url)
    title = header(request.title, 80)
    subject = f"{view.heading}: {title}" if title else view.heading
    if view.terse:
        subject = f"[{header(request.purchase_id, 80)}] {subject}"
    return Rendered(
        subject=subject,
        text=_TEXT.render(view=view),
        html=_HTML.render(view=view, subject=subject),
    )


def render_alert(alert: OperatorAlert) -> Rendered:
    """Write something for the operators that is of no single purchase."""
    rows = tuple(_safe(line, 600) for line in alert.lines)
    subject = header(f"[Recourse] {alert.subject}", 200)
    return Rendered(
        subject=subject,
        text=_ENVIRONMENT.get_template("alert.txt.jinja").render(rows=rows),
        html=_ENVIRONMENT.get_template("alert.html.jinja").render(subject=subject, rows=rows),
    )


def reader_of(request: NoticeRequest, recipient: Recipient) -> Party | None:
    """The person behind a recipient; operators are nobody in particular."""
    parties = {"client": request.client, "freelancer": request.freelancer}
    return recipient.party or parties.get(recipient.role)


def _view(request: NoticeRequest, recipient: Recipient, base_url: str | None) -> View:
    party = reader_of(request, recipient)
    own = reader(party)
    terse = recipient.role == "operator"
    page = quote(request.purchase_id, safe="")
    names = {"client": _name(request.client), "freelancer": _name(request.freelancer)}
    advice = wording.ADVICE.get((request.transition, recipient.role), ())
    return View(
        terse=terse,
        heading=_safe(wording.heading(request.transition), 80),
        greeting=f"Hello {_name(party)}," if party else "Hello,",
        what=_safe(request.what, 600),
        rule=_safe(request.rule, 600),
        quoted_by=(names | {recipient.role: "You"}).get(request.actor) or _safe(request.actor, 60),
        quote=unlinked(lines(request.words)) if request.words else None,
        advice=tuple(paragraph.format(**names) for paragraph in advice),
        movements=tuple(_movement(movement, recipient, own) for movement in request.movements),
        refund=_refund(request, recipient, own),
        deadline=_deadline(request.deadline, own) if request.deadline else None,
        steps=_steps(request, recipient, with_commands=terse or base_url is None),
        link=f"{base_url.rstrip('/')}/purchases/{page}" if base_url else None,
        title=_safe(request.title, 80),
        purchase_id=_safe(request.purchase_id, 80),
        price=own.money(request.price),
    )


def _safe(text: str, limit: int) -> str:
    return unlinked(one_line(text, limit))


def _name(party: Party) -> str:
    return _safe(party.name, 60) or _safe(party.id, 60) or "there"


def _movement(movement: Movement, recipient: Recipient, own: Reader) -> tuple[str, str]:
    """Amount and way; what belongs to the reader is called theirs."""
    route = f"From {_safe(movement.source, 80)} to {_safe(movement.target, 80)}"
    return own.money(movement.amount), route.replace(f"the {recipient.role}'s ", "your ")


def _refund(request: NoticeRequest, recipient: Recipient, own: Reader) -> str | None:
    """How long a refund takes. policy-article.txt: up to five business days."""
    latest = request.refund_by if request.refund_by and request.refund_by > request.at else None
    if request.transition in wording.NO_PROMISE:
        return None
    if latest is None and request.transition not in wording.FULL_REFUNDS:
        return None
    if recipient.role == "client":
        sentence = "Your refund may take up to five business days to be deposited to your account"
    else:
        sentence = "The client's refund may take up to five business days"
    if latest:
        return f"{sentence}: at the latest on {own.day(latest)}."
    return f"{sentence}."


def _deadline(deadline: NoticeDeadline, own: Reader) -> Deadline:
    return Deadline(
        name=_safe(wording.in_words(deadline.name), 60),
        local=own.moment(deadline.at) if own.zone_name != "UTC" else None,
        utc=utc(deadline.at),
        then=_safe(deadline.then, 300).rstrip(".") + ".",
    )


def _steps(
    request: NoticeRequest, recipient: Recipient, *, with_commands: bool
) -> tuple[Step, ...]:
    return tuple(
        Step(
            _safe(way.label, 80),
            _command(request, recipient, message, way) if with_commands else None,
        )
        for message in recipient.can
        for way in wording.ways(message)
    )


def _command(request: NoticeRequest, recipient: Recipient, message: str, way: wording.Way) -> str:
    party = reader_of(request, recipient)
    role = "mediator" if message == "resolve_dispute" else recipient.role
    words = (
        *("python", "-m", "starter", one_line(message).replace("_", "-")),
        one_line(request.purchase_id),
        "--as",
        # Not unlinked: a command must survive copying, and the id is the reader's own.
        f"{role}:{one_line(party.id) if party else 'YOUR-ID'}",
    )
    options = way.options.format(currency=request.price.currency)
    return f"{shlex.join(words)} {options}".rstrip()


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


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(("html.jinja",), default=False),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"wrapped": _wrapped, "quoted": _quoted}
_TEXT = _ENVIRONMENT.get_template("notice.txt.jinja")
_HTML = _ENVIRONMENT.get_template("notice.html.jinja")
