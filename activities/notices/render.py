"""What a notice says to one reader: subject, plain text and HTML (RULES.md, Notices)."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from activities.notices import headings, texts
from activities.notices.action_labels import Step, status_command, steps
from activities.notices.formats import Reader, reader, utc
from activities.notices.formatter import Voice, named, safe
from activities.requests import (
    NoticeDeadline,
    NoticeRequest,
    OperatorAlert,
    Party,
    Recipient,
)
from activities.sanitize import header, lines, one_line, unlinked

_WIDTH = 72


@dataclass(frozen=True)
class Rendered:
    """A finished notice. The same request and recipient always give the same one."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Deadline:
    """A deadline in words."""

    name: str
    at: str
    utc: str | None
    then: str
    yours: bool


@dataclass(frozen=True)
class View:
    """Everything the templates print, already in words and safe but for HTML's own escaping."""

    terse: bool
    language: str
    heading: str
    greeting: str
    what: str
    rule: str
    quoted_by: str
    quote: str | None
    advice: tuple[str, ...]
    movements: tuple[tuple[str, str], ...]
    refund: str | None
    deadlines: tuple[Deadline, ...]
    steps: tuple[Step, ...]
    link: str | None
    command: str | None
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
    heading = header(view.heading, 120)
    subject = f"{heading}: {title}" if title else heading
    if view.terse:
        subject = f"[{header(request.purchase_id, 80)}] {subject}"
    return Rendered(
        subject=subject,
        text=_TEXT.render(view=view),
        html=_HTML.render(view=view, subject=subject),
    )


def render_alert(alert: OperatorAlert) -> Rendered:
    """Write something for the operators that is of no single purchase."""
    rows = tuple(safe(line, 600) for line in alert.lines)
    subject = header(f"[Recourse] {alert.subject}", 200)
    return Rendered(
        subject=subject,
        text=_ENVIRONMENT.get_template("alert.txt.jinja").render(rows=rows),
        html=_ENVIRONMENT.get_template("alert.html.jinja").render(
            subject=subject, heading=safe(alert.subject, 200), rows=rows
        ),
    )


def reader_of(request: NoticeRequest, recipient: Recipient) -> Party | None:
    """The person behind a recipient; operators are nobody in particular."""
    parties = {"client": request.client, "freelancer": request.freelancer}
    return recipient.party or parties.get(recipient.role)


def _view(request: NoticeRequest, recipient: Recipient, base_url: str | None) -> View:
    party = reader_of(request, recipient)
    own = reader(party)
    formatter = Voice(request, recipient, own)
    terse = recipient.role == "operator"
    what, rule = _sentences(request, recipient, formatter)
    clock = request.deadline.name if request.deadline else ""
    heading = headings.heading(request.transition, clock)
    advice = headings.ADVICE.get((request.transition, recipient.role), ())
    open_ones = _open_ones(request, recipient)
    page = quote(request.purchase_id, safe="")
    other = "freelancer" if recipient.role == "client" else "client"
    return View(
        terse=terse,
        language=str(own.locale).replace("_", "-"),
        heading=safe(formatter.say(heading) or heading, 120),
        greeting=f"Hello {named(party)}," if party else "Hello,",
        what=what,
        rule=rule,
        quoted_by=_capital(formatter.name(request.actor)),
        quote=unlinked(lines(request.words)) if request.words else None,
        advice=tuple(formatter.say(paragraph) or "" for paragraph in advice),
        movements=tuple(
            (own.money(move.amount), formatter.theirs(f"From {move.source} to {move.target}"))
            for move in request.movements
        ),
        refund=_refund(request, formatter, own),
        deadlines=tuple(_deadline(each, recipient, formatter, own) for each in open_ones),
        steps=steps(
            request,
            recipient,
            reader=one_line(party.id) if party else "YOUR-ID",
            other=formatter.name(other),
            with_commands=terse or base_url is None,
        ),
        link=f"{base_url.rstrip('/')}/purchases/{page}" if base_url else None,
        command=None if base_url else status_command(request),
        title=safe(request.title, 80),
        purchase_id=safe(request.purchase_id, 80),
        price=own.money(request.price),
    )


def _sentences(request: NoticeRequest, recipient: Recipient, formatter: Voice) -> tuple[str, str]:
    """What happened, and the rule: in the parties' own words where there are any. Operators read
    the exact sentences, and so does everybody whose request an older release has written."""
    what = rule = None
    if recipient.role == "operator":
        pass
    elif request.rejected:
        why = texts.REFUSALS.get(request.rejected.code, "")
        what = formatter.say(f"{{Message}} was not accepted. {why}".rstrip())
        rule = f"The exact answer: {request.rejected.code}. {safe(request.rule, 600)}"
    elif request.transition == "reminder" and request.deadline:
        what = formatter.say(texts.REMINDERS.get(request.deadline.name, ""))
        rule = texts.REMINDER_RULE
    elif own := texts.TRANSITIONS.get(request.transition):
        what, rule = formatter.say(own.what), formatter.say(f"The rule: {own.rule}")
    if what and rule:
        return what, rule
    return safe(request.what, 600), f"The rule: {safe(request.rule, 600)}" if request.rule else ""


def _refund(request: NoticeRequest, formatter: Voice, own: Reader) -> str | None:
    """How long a refund takes. policy-article.txt: up to five business days."""
    back = any(move.target.startswith("the client's") for move in request.movements)
    if request.transition in headings.NO_PROMISE:
        return None
    if not back and request.transition not in headings.FULL_REFUNDS:
        return None
    sentence = formatter.say(texts.REFUND_TAKES)
    if request.refund_by and request.refund_by > request.at:
        return f"{sentence}: at the latest on {own.day(request.refund_by)}."
    return f"{sentence}."


def _open_ones(request: NoticeRequest, recipient: Recipient) -> tuple[NoticeDeadline, ...]:
    """The deadlines to show. Who reads that staff looks into a refund is not told when it will."""
    found = (request.deadline, *request.later) if request.deadline else ()
    known = request.transition in headings.NO_PROMISE and recipient.role != "operator"
    return tuple(each for each in found if not (known and each.silence == "settlement_late"))


def _deadline(
    deadline: NoticeDeadline, recipient: Recipient, formatter: Voice, own: Reader
) -> Deadline:
    then = safe(deadline.then, 300).rstrip(".")
    return Deadline(
        name=formatter.say(texts.DEADLINES.get(deadline.name, ""))
        or _capital(safe(headings.in_words(deadline.name), 60)),
        at=own.moment(deadline.at),
        utc=utc(deadline.at) if own.zone_name != "UTC" else None,
        then=formatter.say(texts.SILENCE.get(deadline.silence, ""))
        or f"If nobody acts until then: {then}.",
        yours=texts.TURNS.get(deadline.name) == recipient.role,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


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
    """Where a command may be broken: between words, but not between an option and its value."""
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
