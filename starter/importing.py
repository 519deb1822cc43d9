"""`import`: continues purchases here that already run elsewhere, from a file."""

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Group
from temporalio.client import Client

from activities.amounts import format_amount
from activities.fields import Identifier
from activities.keys import workflow_id_of
from activities.ledger import Ledger
from activities.payment_reference import why_not_payable
from activities.payments import PaymentProvider
from activities.requests import Money
from starter import batch, show
from starter.batch import Becomes, DryRun, Outcome, Rate, Report
from starter.database import opened, opened_provider
from starter.exits import ExitStatus, command
from starter.options import SHOWN, Json, Limit
from temporal.client import connect
from temporal.deployment import worker_missing
from temporal.errors import InvalidInput, Rejected, Unreachable
from temporal.purchases import Purchase
from temporal.terms import check
from workflows import view
from workflows.card import instant
from workflows.imported import check_deadlines
from workflows.lifecycle import newest
from workflows.lifecycle.state import DeadlineName
from workflows.messages import PurchaseStart
from workflows.receiving.parsing import explain
from workflows.workflow_state import AcceptedStart, WorkflowState

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A start input with `imported` on each line (JSON Lines), or a .csv whose columns are "
        "its fields, such as client.id and imported.deadlines.claim.",
    ),
]

NUMBERS = ("price.amount", "imported.claim")
"""The columns of a CSV file that are minor units."""

HELD_WITHIN = timedelta(seconds=60)
"""How long to wait until the money of one purchase is held."""

TOO_MANY_CELLS = (
    "it has more cells than line 1 has columns. Put a text with a comma in quotation marks."
)

POLL_INTERVAL = timedelta(milliseconds=200)


@dataclass(frozen=True)
class Line:
    """A line of the file: its purchase, or what is wrong with it."""

    number: int
    start: PurchaseStart | None
    problem: str = ""
    id: str = ""
    """The purchase's id, if it can be read."""

    @property
    def name(self) -> str:
        """The purchase's id, or the number of the line."""
        return self.id or f"line {self.number}"


class ImportReport(Report):
    """With what a dry run has found in all: how many purchases would be in each stage, and how much
    would be held in each currency, in minor units."""

    stages: dict[str, int]
    to_hold: dict[str, int]

    @classmethod
    def of(cls, report: Report) -> "ImportReport":
        """The report with these sums."""
        found = [each.becomes for each in report.purchases if each.becomes]
        to_hold: Counter[str] = Counter()
        for each in found:
            to_hold[each.price.currency] += each.price.amount
        stages = Counter(each.stage for each in found)
        return cls(**dict(report), stages=dict(stages), to_hold=dict(to_hold))


@command
async def import_(
    file: File,
    dry_run: DryRun = False,
    rate: Rate = 100,
    limit: Limit = SHOWN,
    as_json: Json = False,
) -> int:
    """Continue purchases here that already run elsewhere: their stage, deadlines and money.

    Nothing is charged: the provider's charge of each is found, claimed and held in escrow. No
    deadline begins anew, and nobody is notified. Repeated, it continues where it stopped, and what
    is imported already stays as it is. Exit 1 if a purchase could not be imported.
    """
    lines = list(_read(file))
    client = await connect()
    with opened() as engine, opened_provider() as provider:
        work = Import(client, Ledger(engine), provider, dry_run)
        report = await batch.run(lines, work.of, rate=rate, dry_run=dry_run)
    title = f"Import of {file.name}{' (dry run: nothing was changed)' if dry_run else ''}"
    found = ImportReport.of(report)
    # A reason names fields, which people copy: it gets no invisible spaces.
    shown = batch.shown(found, title, str, limit) if lines else "The file has no purchases."
    show.answer(found, Group(shown, *_sums(found)), as_json=as_json)
    return 0 if report.complete else ExitStatus.REJECTED


class Import:
    """Imports the purchases of a file, or checks whether it could."""

    def __init__(
        self, client: Client, ledger: Ledger, provider: PaymentProvider, dry_run: bool
    ) -> None:
        self._client, self._ledger, self._provider = client, ledger, provider
        self._dry_run = dry_run

    async def of(self, line: Line) -> Outcome:
        """Import one. Raises Unreachable."""
        if line.start is None:
            return _outcome(line, "rejected", f"Line {line.number}: {line.problem}")
        purchase = Purchase(self._client, line.start.purchase_id)
        try:
            return await self._import(line, line.start, purchase)
        except (Rejected, InvalidInput) as error:
            return _outcome(line, "rejected", error.text)

    async def _import(self, line: Line, start: PurchaseStart, purchase: Purchase) -> Outcome:
        if await asyncio.to_thread(self._is_held, start.purchase_id):
            return await self._known(line, start, purchase)
        if problem := await asyncio.to_thread(self._problem, start):
            return _outcome(line, "rejected", problem)
        if self._dry_run:
            return _possible(line, start)
        await purchase.start(start)
        return await self._held(line, purchase)

    async def _known(self, line: Line, start: PurchaseStart, purchase: Purchase) -> Outcome:
        """One whose money is held already: the same purchase, or another one under its id."""
        if await purchase.newest() is None or await (await purchase.begun()).terms() == start:
            return _outcome(line, "already_imported")
        return _outcome(line, "rejected", f"Purchase {start.purchase_id} is another one here.")

    def _is_held(self, purchase_id: str) -> bool:
        return self._ledger.balances(purchase_id) is not None

    def _problem(self, start: PurchaseStart) -> str:
        """Why it cannot be imported now; empty if it can."""
        assert start.imported is not None
        assert start.payment_reference is not None
        assert start.purchased_at is not None
        try:
            check_deadlines(start.imported, datetime.now(UTC))
        except ValueError as error:
            return str(error)
        payment = self._provider.payment(start.payment_reference, start.purchased_at)
        key = f"{workflow_id_of(start.purchase_id)}/hold"
        price = Money(amount=start.price.amount, currency=start.price.currency)
        return why_not_payable(self._ledger, payment, key, price)

    async def _held(self, line: Line, purchase: Purchase) -> Outcome:
        """Wait until its money is held. Raises Unreachable if no worker does it."""
        ends = asyncio.get_running_loop().time() + HELD_WITHIN.total_seconds()
        while asyncio.get_running_loop().time() < ends:
            if await asyncio.to_thread(self._is_held, purchase.id):
                return _outcome(line, "imported")
            found = await purchase.newest()
            if found and not found.is_open:
                why = await purchase.input_error() or "Its payment was declined; see its status."
                return _outcome(line, "rejected", why)
            await asyncio.sleep(POLL_INTERVAL.total_seconds())
        raise Unreachable(
            "NO_WORKER",
            f"The money of {purchase.id} was not held within {HELD_WITHIN.seconds} s. "
            f"{await worker_missing(self._client)}",
        )


def _outcome(line: Line, result: str, text: str = "") -> Outcome:
    return Outcome(purchase_id=line.name, result=result, done=result != "rejected", text=text)


def _possible(line: Line, start: PurchaseStart) -> Outcome:
    """One that can be imported, with the state that its workflow would begin with."""
    now = datetime.now(UTC)
    state = WorkflowState.begin(AcceptedStart.of(start, now), now, newest())
    found = view.status(state)
    becomes = Becomes(
        stage=found.stage,
        price=found.price,
        claim=found.claim,
        # The payment is found at once: it is made already.
        deadlines=tuple(each for each in found.deadlines if each.name != DeadlineName.PAYMENT),
    )
    return _outcome(line, "can_be_imported", _text(becomes)).model_copy(update={"becomes": becomes})


def _text(becomes: Becomes) -> str:
    currency = becomes.price.currency
    claim = [f"claim of {format_amount(becomes.claim, currency)}"] if becomes.claim else []
    deadlines = [f"{each.name} until {instant(each.at)}" for each in becomes.deadlines]
    return ", ".join([becomes.stage, *claim, f"{becomes.price} in escrow", *deadlines])


def _sums(found: ImportReport) -> list[str]:
    if not found.stages:
        return []
    stages = ", ".join(f"{number} {stage}" for stage, number in found.stages.items())
    held = ", ".join(format_amount(amount, of) for of, amount in found.to_hold.items())
    return [f"By stage: {stages}.", f"{held} would be held in escrow."]


# --- the file


def _read(file: Path) -> Iterator[Line]:
    """The lines of the file. A purchase or a charge that comes twice is a problem of both lines."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened_file:
            lines = list((_rows if file.suffix == ".csv" else _objects)(opened_file))
    except UnicodeDecodeError:
        raise InvalidInput(f"FILE: {file} is not UTF-8: save it with this encoding.") from None
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"FILE: {file} cannot be read: {reason}.") from None
    starts = [line.start for line in lines if line.start]
    seen = Counter(name for start in starts for name in _unique(start))
    for line in lines:
        twice = [name for name in _unique(line.start) if seen[name] > 1] if line.start else []
        yield replace(line, start=None, problem=f"{twice[0]} comes twice.") if twice else line


def _unique(start: PurchaseStart) -> tuple[str, str]:
    return f"The purchase {start.purchase_id}", f"The payment {start.payment_reference}"


def _objects(file: TextIO) -> Iterator[Line]:
    """The lines of JSON Lines; empty ones are left out."""
    return (_line(number, text.strip()) for number, text in enumerate(file, 1) if text.strip())


def _rows(file: TextIO) -> Iterator[Line]:
    """The lines of a CSV file; a cell that is empty is left out. Raises InvalidInput."""
    reader = csv.DictReader(file)
    if reader.fieldnames and "purchase_id" not in reader.fieldnames:
        raise InvalidInput(
            f"FILE: line 1 of {file.name} names no column purchase_id. It must have the names of "
            "the fields, separated by commas, such as purchase_id,title,client.id."
        )
    for row in reader:
        line = _line(reader.line_num, json.dumps(_document(row)))
        yield replace(line, start=None, problem=TOO_MANY_CELLS) if None in row else line


def _document(row: Mapping[str | None, Any]) -> dict[str, Any]:
    """The document that the cells of a row make."""
    document: dict[str, Any] = {}
    for name, cell in row.items():
        if not cell or not name:
            continue
        *parents, field = name.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        place[field] = _value(name, cell)
    return document


def _value(name: str, cell: str) -> object:
    if name in NUMBERS and cell.isascii() and cell.isdigit():
        return int(cell)
    if name == "requirements_needed" and cell in ("true", "false"):
        return cell == "true"
    return cell


def _line(number: int, document: str) -> Line:
    try:
        start = PurchaseStart.model_validate_json(document)
        if start.imported is None:
            problem = "`imported` is missing: where does the purchase stand?"
            return Line(number, None, problem, start.purchase_id)
        check(start)
    except ValidationError as error:
        return Line(number, None, _problem(error), _id_in(document))
    except InvalidInput as error:
        return Line(number, None, error.text, _id_in(document))
    return Line(number, start, id=start.purchase_id)


def _problem(error: ValidationError) -> str:
    (first, *_) = error.errors(include_url=False, include_input=False)
    if first["type"] != "json_invalid":
        return explain(error)
    return f"this is not JSON: {first['ctx']['error']}.".replace(" at line 1 ", " at ")


class _WithId(BaseModel):
    """What can be read of a line that is no start input."""

    purchase_id: Identifier


def _id_in(document: str) -> str:
    try:
        return _WithId.model_validate_json(document).purchase_id
    except ValidationError:
        return ""
