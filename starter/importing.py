"""`import`: continues purchases here that already run elsewhere, from a file."""

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from temporalio.client import Client

from activities.keys import workflow_id_of
from activities.ledger import Ledger
from activities.payment_reference import why_not_payable
from activities.payments import PaymentProvider
from activities.requests import Money
from starter import batch, show
from starter.batch import DryRun, Outcome, Rate
from starter.database import opened, opened_provider
from starter.exits import ExitStatus, command
from starter.options import Json
from temporal.client import connect
from temporal.deployment import worker_missing
from temporal.errors import InvalidInput, Rejected, Unreachable
from temporal.purchases import Purchase
from temporal.terms import check
from workflows.imported import check_deadlines
from workflows.messages import PurchaseStart
from workflows.receiving.parsing import explain

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

POLL_INTERVAL = timedelta(milliseconds=200)


@dataclass(frozen=True)
class Line:
    """A line of the file: its purchase, or what is wrong with it."""

    number: int
    start: PurchaseStart | None
    problem: str = ""

    @property
    def name(self) -> str:
        """The purchase's id, or the number of the line."""
        return self.start.purchase_id if self.start else f"line {self.number}"


@command
async def import_(
    file: File, dry_run: DryRun = False, rate: Rate = 100, as_json: Json = False
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
    # A reason names fields, which people copy: it gets no invisible spaces.
    show.answer(report, batch.shown(report, title, str), as_json=as_json)
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
            return _outcome(line, "can_be_imported")
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


# --- the file


def _read(file: Path) -> Iterator[Line]:
    """The lines of the file. A purchase or a charge that comes twice is a problem of both lines."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened_file:
            documents = _rows(opened_file) if file.suffix == ".csv" else _objects(opened_file)
            lines = [_line(number, document) for number, document in documents]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"FILE: {file} cannot be read: {reason}.") from None
    starts = [line.start for line in lines if line.start]
    seen = Counter(name for start in starts for name in _unique(start))
    for line in lines:
        twice = [name for name in _unique(line.start) if seen[name] > 1] if line.start else []
        yield Line(line.number, None, f"{twice[0]} comes twice.") if twice else line


def _unique(start: PurchaseStart) -> tuple[str, str]:
    return f"The purchase {start.purchase_id}", f"The payment {start.payment_reference}"


def _objects(file: Any) -> Iterator[tuple[int, str]]:
    """The documents of JSON Lines; empty lines are left out."""
    return ((number, text) for number, text in enumerate(file, start=1) if text.strip())


def _rows(file: Any) -> Iterator[tuple[int, str]]:
    """The documents of a CSV file; a cell that is empty is left out."""
    reader = csv.DictReader(file)
    for row in reader:
        document: dict[str, Any] = {}
        for name, cell in row.items():
            if not cell or not name:
                continue
            *parents, field = name.split(".")
            place = document
            for parent in parents:
                place = place.setdefault(parent, {})
            place[field] = _value(name, cell)
        yield reader.line_num, json.dumps(document)


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
            return Line(number, None, "`imported` is missing: where does the purchase stand?")
        check(start)
    except ValidationError as error:
        return Line(number, None, explain(error))
    except InvalidInput as error:
        return Line(number, None, error.text)
    return Line(number, start)
