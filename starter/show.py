"""Output: cards and tables for people, times in UTC; one JSON document for programs.

Texts of other people are shown as plain text, without markup and control characters.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic_core import to_jsonable_python
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from activities.amounts import format_amount
from activities.formatter import spaced
from activities.sanitize import isolated, lines, one_line, plain_text, unlinked
from temporal.ended import BY
from temporal.executions import ENDED
from temporal.listing import Listed
from workflows.card import instant
from workflows.messages import Escrow, Permission, Receipt, Status, TimelineEntry

if TYPE_CHECKING:  # the database's library takes a while to load
    from activities.ledger import PurchaseBalances, Transfer
    from activities.notices.log import Notice

Row = Sequence[str | Text]

REFUND_TEXT = {
    "unsent": "not sent to the provider yet",
    "pending": "being sent by the provider",
    "sent": "sent by the provider",
    "settled": "settled",
    "failed": "failed",
    "returned": "returned by the client's bank",
}
"""What the status of a refund means."""

LONGEST_CELL = 1_000
WIDTH_OF_FILES = 140
"""Columns without a terminal."""


def answer(document: object, shown: RenderableType, *, as_json: bool) -> None:
    """Print the document for a program, or the card or table for a person."""
    if as_json:
        # ASCII only: text of other people must not reach a terminal unescaped.
        print(json.dumps(to_jsonable_python(document), indent=2))
    else:
        console().print(shown)


def console() -> Console:
    """Return the console for tables; texts are never read as markup."""
    width = None if sys.stdout.isatty() else WIDTH_OF_FILES
    return Console(markup=False, emoji=False, highlight=False, width=width)


def receipt(answer: Receipt) -> RenderableType:
    """The answer to a message."""
    rows = [("Stage", answer.stage)]
    if answer.next_deadline:
        rows.append(("Next deadline", instant(answer.next_deadline)))
    return Group(prose(answer.text), fields(rows))


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show progress in one line that is replaced; nothing without a terminal."""
    shown = Console(stderr=True, markup=False, emoji=False, highlight=False)
    with shown.status("") as line:
        yield line.update


def status(status: Status) -> RenderableType:
    """Show a purchase's status as a card."""
    items: Iterable[Row]
    rows: Iterable[Row]
    blocks: list[RenderableType] = [_headline(status), fields(_facts(status))]
    if status.attention:
        items = (
            (instant(item.since), item.kind, prose(item.text, status.purchase_id))
            for item in status.attention
        )
        blocks.append(table("Needs attention", ("since", "what", "why"), items))
    if status.deadlines:
        rows = ((instant(item.at), item.name, item.then) for item in status.deadlines)
        blocks.append(table("Deadlines", ("until", "what", "on expiry"), rows))
    rows = (
        (instant(entry.at), f"{entry.by} {entry.by_id or ''}".strip(), prose(_entry_text(entry)))
        for entry in status.timeline
    )
    blocks.append(table("Timeline", ("when", "by", "what"), rows))
    if status.rejected:
        items = (
            (instant(item.at), prose(item.name), prose(f"{item.code}: {item.text}"))
            for item in status.rejected
        )
        heading = f"Rejected signals ({status.rejected_count})"
        blocks.append(table(heading, ("when", "signal", "why"), items))
    if status.undelivered:
        rows = (
            (instant(item.at), f"{item.transition} to {item.role}", prose(item.why))
            for item in status.undelivered
        )
        blocks.append(table("Undelivered notices", ("when", "notice", "why"), rows))
    return Group(*blocks)


def actions(role: str, allowed: Iterable[Permission]) -> RenderableType:
    """Show what a role may do."""
    rows = (
        (
            action.message.replace("_", "-"),
            "yes" if action.allowed else "no",
            instant(action.until) if action.until else "",
            action.why_not or "",
        )
        for action in allowed
    )
    return table(f"What the {role} may do now", ("message", "allowed", "until", "why not"), rows)


def purchases(found: Sequence[Listed], has_more: bool = False) -> RenderableType:
    """A list of purchases; `has_more`: older ones are left out."""
    rows = (
        (
            item.purchase_id,
            _stage(item),
            item.outcome or "",
            instant(item.next_deadline) if item.next_deadline else "",
            # The reason names fields, which people copy: it gets no invisible spaces.
            item.why_not_started or prose(item.terms),
        )
        for item in found
    )
    columns = ("purchase", "stage (! needs attention)", "outcome", "next deadline", "summary")
    listed = table(f"{len(found)} purchase{'' if len(found) == 1 else 's'}", columns, rows)
    older = [f"There are older ones; a higher --limit than {len(found)} shows more."]
    return Group(listed, *older) if has_more else listed


def _stage(item: Listed) -> str:
    """Where a purchase is now, or what ended it: one that was ended keeps its stage."""
    mark = " !" if item.needs_attention else ""
    if item.workflow_status not in ENDED or item.outcome:
        return f"{item.stage or item.workflow_status}{mark}"
    if item.never_started:
        return "never started: invalid input"
    before = f", was {item.stage}" if item.stage else ""
    return f"ended by {BY[item.workflow_status]}{before}{mark}"


def ledger(balances: "PurchaseBalances", transfers: "Iterable[Transfer]") -> RenderableType:
    """Every movement of a purchase's money, and where it is."""
    rows = (
        (
            instant(item.created_at),
            item.debit_account,
            item.credit_account,
            format_amount(item.amount, item.currency),
            item.key,
        )
        for item in transfers
    )
    columns = ("when", "debit", "credit", "amount", "key")
    return Group(table("Transfers", columns, rows), fields([("Balances", _places(balances))]))


def notices(purchase_id: str, sent: "Iterable[Notice]") -> RenderableType:
    """The delivery log of a purchase."""
    rows = (
        (
            str(number),
            f"{notice.at:%Y-%m-%d %H:%M}",
            spaced(notice.transition),
            f"{notice.role} {notice.address}",
            notice.channel,
            _delivery(notice),
        )
        for number, notice in enumerate(sent, start=1)
    )
    title = f"Notices of purchase {one_line(purchase_id)} (--show # shows one)"
    return table(title, ("#", "when (UTC)", "notice", "to", "channel", "status"), rows)


def notice(notice: "Notice") -> RenderableType:
    """Show one notice as its recipient received it."""
    head = (
        ("To", f"{notice.role} {notice.address}"),
        ("When", instant(notice.at)),
        ("Status", f"{_delivery(notice)} ({notice.channel})"),
        ("Message-ID", notice.message_id),
        ("Subject", notice.subject),
    )
    return Group(fields(head), Text(), Text(lines(notice.text, limit=20_000, most=1_000)))


def _delivery(notice: "Notice") -> str:
    tried = f", tried {notice.attempts} times" if notice.attempts > 1 else ""
    why = f": {notice.last_error}" if notice.last_error else ""
    return f"{notice.status}{tried}{why}"


def _headline(status: Status) -> Text:
    title = plain_text(isolated(status.title), LONGEST_CELL)
    return Text(f"{title} · {isolated(status.purchase_id)}", style="bold")


def _facts(status: Status) -> list[tuple[str, str]]:
    currency = status.price.currency
    facts = [
        ("Stage", status.stage),
        ("Waiting for", status.waiting_for),
        ("Client", status.client),
        ("Freelancer", status.freelancer),
        ("Price", f"{status.price} (payment {status.payment})"),
        *([("Bought", instant(status.purchased_at))] if status.purchased_at else []),
        ("Money", _places(status.escrow)),
    ]
    if frozen := status.frozen:
        taken, since = format_amount(frozen.amount, currency), instant(frozen.since)
        text = f"since {since}: the client's bank has taken {taken} back ({frozen.reference})"
        facts.insert(1, ("Frozen", text))
    if status.confirm_url:
        facts.append(("Confirm", f"the client confirms the payment on {status.confirm_url}"))
    if status.outcome:
        facts.insert(1, ("Outcome", f"{status.outcome} ({status.reason})"))
    if refund := status.refund:
        amount = format_amount(refund.amount, currency)
        names = f"{refund.refund_id}, {refund.reference}" if refund.reference else refund.refund_id
        facts.append(("Refund", f"{amount}, {REFUND_TEXT[refund.status]} ({names})"))
    if elsewhere := _refunded_elsewhere(status):
        made = format_amount(elsewhere, currency)
        facts.append(("Elsewhere", f"{made} were refunded at the payment provider by others"))
    if status.claim is not None:
        facts.append(("Claim", format_amount(status.claim, currency)))
    if status.offer:
        back = format_amount(status.offer.refund, currency)
        release = format_amount(status.offer.release, currency)
        facts.append(("Offer", f"{status.offer.by}: {back} to client, {release} to freelancer"))
    return facts


def _refunded_elsewhere(status: Status) -> int:
    """The amount that others have refunded. Our own refund counts as refunded when it closes the
    purchase, and no longer if it came back."""
    refund, is_closed = status.refund, status.outcome in ("refunded", "split")
    ours = refund.amount if refund and is_closed and refund.status == "settled" else 0
    return max(0, status.escrow.refunded - ours)


def _places(money: "Escrow | PurchaseBalances") -> str:
    shown = [
        (money.held, "held in escrow"),
        (money.in_transit, "in transit"),
        (money.refunded, "refunded"),
        (money.released, "released"),
    ]
    if money.charged_back:
        shown.append((money.charged_back, "charged back"))
    return ", ".join(f"{format_amount(amount, money.currency)} {where}" for amount, where in shown)


def _entry_text(entry: TimelineEntry) -> str:
    note = f" “{entry.note}”" if entry.note else ""
    late = f" ({entry.late_by:g} s late)" if entry.late_by else ""
    return f"{entry.text}{note}{late}"


def fields(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Names and values, one a row."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, _cell(value))
    return grid


def prose(text: str, purchase_id: str = "") -> Text:
    """A sentence with text of other people, of which a terminal makes no link: it gets invisible
    spaces, which are copied with it. The id of the purchase that it is about gets none, so that a
    command with it can be copied."""
    shown = one_line(text, LONGEST_CELL)
    parts = shown.split(purchase_id) if purchase_id else [shown]
    return Text(purchase_id.join(unlinked(part) for part in parts))


def table(title: str, columns: Sequence[str], rows: Iterable[Row]) -> RenderableType:
    """A table whose cells are untrusted text, or `prose`."""
    shown = Table(title=Text(_cell(title)), title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else _cell(cell) for cell in row))
    return shown


def more(rows: int, limit: int) -> list[str]:
    """How many rows a table leaves out, and how to see them; nothing if it has all."""
    return [f"{rows - limit} more; --limit {rows} shows all."] if rows > limit else []


def _cell(text: str) -> str:
    return one_line(text, LONGEST_CELL)
