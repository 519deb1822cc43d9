"""Do ledger, workflows and provider tell the same of every purchase? Reads, and changes nothing.

Purchases go on while they are audited, and the three are read one after the other. So what looks
wrong is looked at again, and only what is wrong both times is a difference.
"""

import asyncio
import shlex
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.amounts import format_amount
from activities.ledger import (
    AccountBalance,
    Ledger,
    LedgerUnreachable,
    PurchaseBalances,
    SchemaMismatch,
    Snapshot,
)
from activities.payments import (
    ChargeRecord,
    PaymentProvider,
    ProviderUnreachable,
    RefundRecord,
    Statement,
)
from activities.requests import (
    AUDIT_BOOKS,
    AuditReport,
    AuditRequest,
    Difference,
    ErrorType,
    Total,
)

PREFIX = "purchase-"

LISTED_AT_MOST = 500
"""Differences that the daily audit lists; the command lists them all."""

PLACES = {
    "escrow": "held",
    "refunds-in-transit": "in_transit",
    "freelancer-balance": "released",
    "provider-clearing": "provider",
}
"""The kinds of accounts, and what their balances are called in the totals."""


DECIDED = ("settling", "closed")
"""Stages in which a purchase's money is no longer in escrow."""


class NoAnswer(Exception):
    """A running purchase cannot say what it counts on; the sentence says why."""


class PurchaseDirectory(Protocol):
    """What Temporal knows of purchases."""

    async def running(self) -> Mapping[str, str | None]:
        """The stages of the purchases that are running, by id; it may be a moment behind."""
        ...

    async def is_running(self, purchase_id: str) -> bool:
        """Whether this one is running, as it is now."""
        ...

    async def counts_on(self, purchase_id: str) -> str | None:
        """What a running purchase believes to be in escrow, in words; None: nothing yet.

        Raises NoAnswer.
        """
        ...

    async def is_undecided(self, purchase_id: str) -> bool:
        """Whether a running purchase believes its money to be in escrow still. Raises NoAnswer."""
        ...


@dataclass(frozen=True)
class PurchaseRecords:
    """One purchase as the books, the provider and Temporal have it."""

    purchase_id: str
    running: bool
    books: PurchaseBalances | None = None
    proof: str | None = None
    charges: tuple[ChargeRecord, ...] = ()
    refunds: tuple[RefundRecord, ...] = ()


async def reconcile(
    ledger: Ledger, provider: PaymentProvider, directory: PurchaseDirectory
) -> AuditReport:
    """Audit everything. Raises LedgerUnreachable, SchemaMismatch, ProviderUnreachable, and what
    the census raises."""
    report = await _look(ledger, provider, directory)
    if not report.differences:
        return report
    again = await _look(ledger, provider, directory)
    lasting = tuple(found for found in again.differences if found in report.differences)
    return again.model_copy(update={"differences": lasting})


class AuditActivities:
    """The daily audit."""

    def __init__(
        self, ledger: Ledger, provider: PaymentProvider, directory: PurchaseDirectory
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._census = directory

    @activity.defn(name=AUDIT_BOOKS.name)
    async def audit_books(self, _request: AuditRequest) -> AuditReport:
        """Everything that does not agree. Retryable ApplicationError where something is away."""
        try:
            report = await reconcile(self._ledger, self._provider, self._census)
        except (LedgerUnreachable, SchemaMismatch) as error:
            raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
        except ProviderUnreachable as error:
            raise ApplicationError(
                f"The payment provider cannot be reached: {error}",
                type=ErrorType.PROVIDER_UNREACHABLE,
            ) from None
        listed = report.differences[:LISTED_AT_MOST]
        more = len(report.differences) - len(listed)
        return report.model_copy(update={"differences": listed, "more": more})


async def _look(
    ledger: Ledger, provider: PaymentProvider, directory: PurchaseDirectory
) -> AuditReport:
    # A refund is posted before it is sent: read in this order, none can seem to lack its posting.
    statement = await asyncio.to_thread(provider.statement)
    books = await asyncio.to_thread(ledger.snapshot)
    running = await directory.running()
    differences = [Difference(**asdict(each)) for each in books.differences]
    for records in _purchases(books, statement, running):
        if (
            list(compare(records))
            and not records.running
            and await directory.is_running(records.purchase_id)
        ):
            records = replace(records, running=True)
        differences += compare(records)
        if records.running and running.get(records.purchase_id) not in DECIDED:
            differences += await _forgotten(directory, records)
    for purchase_id in sorted(running.keys() - {each.purchase_id for each in books.purchases}):
        differences += await _without_hold(ledger, directory, purchase_id)
    return AuditReport(
        purchases=len(books.purchases),
        totals=tuple(_totals(books.accounts, statement)),
        differences=tuple(differences),
    )


def compare(records: PurchaseRecords) -> Iterator[Difference]:
    """What is wrong with one purchase, each in a sentence with what to do."""
    name = f"Purchase {records.purchase_id}"
    books, charged = records.books, sum(each.amount.amount for each in records.charges)
    if books is None:
        if charged and not records.running:
            paid = records.charges[0].amount
            what = f"{name} was paid ({paid}), but the books have no hold of it."
            yield _difference(records, what, f"{_adopt(records)}{_OR_BY_HAND}")
        elif records.refunds:
            yield _difference(records, f"{name} was refunded without a posting.", _COMPARE)
        return
    held = _in(books, books.held + books.in_transit + books.refunded + books.released)
    if (books.held or books.in_transit) and not records.running:
        what = (
            f"{name} has {_in(books, books.held)} in escrow and {_in(books, books.in_transit)} in "
            "transit, but no workflow of it is running."
        )
        yield _difference(records, what, _adopt(records))
    if [str(each.amount) for each in records.charges] != [held]:
        taken = ", ".join(str(each.amount) for each in records.charges) or "nothing"
        yield _difference(
            records, f"{name} was held at {held}; the provider charged {taken}.", _COMPARE
        )
    yield from _compare_refunds(records, books)


def _compare_refunds(records: PurchaseRecords, books: PurchaseBalances) -> Iterator[Difference]:
    name = f"Purchase {records.purchase_id}"
    alive = [each for each in records.refunds if each.status != "failed"]
    sent = sum(each.amount.amount for each in alive)
    decided = books.in_transit + books.refunded
    if sent not in (0, decided) or any(each.amount.currency != books.currency for each in alive):
        amounts = " + ".join(str(each.amount) for each in alive)
        yield _difference(
            records,
            f"{name}: the provider sent back {amounts}; the books decided {_in(books, decided)}.",
            "Find out at the provider who sent the other refund. The books stay as they are: "
            "settle the difference with the client, or with the freelancer whose money it was.",
        )
    elif books.refunded and _is_by_provider(records):
        arrived = sum(each.amount.amount for each in alive if each.status == "settled")
        if arrived < books.refunded:
            states = ", ".join(sorted({each.status for each in records.refunds})) or "unknown"
            yield _difference(
                records,
                f"{name}: the refund of {_in(books, books.refunded)} is booked as arrived "
                f"({records.proof}), but at the provider it is {states}.",
                "The client may not have the money. Look the refund up at the provider and send "
                "the money another way; keep the proof, the books stay as they are.",
            )


def _is_by_provider(records: PurchaseRecords) -> bool:
    """Whether the arrival was booked on the provider's word, not on a proof that a person gave."""
    names = {name for each in records.refunds for name in (each.refund_id, each.reference)}
    ours = records.proof is not None and records.proof.startswith(
        f"{PREFIX}{records.purchase_id}/refund"
    )
    return records.proof in names or ours


def _purchases(
    books: Snapshot, statement: Statement, running: Container[str]
) -> Iterator[PurchaseRecords]:
    balances = {each.purchase_id: each for each in books.purchases}
    charges: dict[str, list[ChargeRecord]] = defaultdict(list)
    refunds: dict[str, list[RefundRecord]] = defaultdict(list)
    for charge in statement.charges:
        charges[_owner(charge.key)].append(charge)
    for refund in statement.refunds:
        refunds[_owner(refund.refund_id)].append(refund)
    for purchase_id in sorted(balances.keys() | charges.keys() | refunds.keys()):
        yield PurchaseRecords(
            purchase_id,
            purchase_id in running,
            balances.get(purchase_id),
            books.proofs.get(purchase_id),
            tuple(charges[purchase_id]),
            tuple(refunds[purchase_id]),
        )


def _owner(key: str) -> str:
    """The purchase of `<workflow id>/<step>`."""
    return key.rpartition("/")[0].removeprefix(PREFIX)


async def _forgotten(directory: PurchaseDirectory, records: PurchaseRecords) -> list[Difference]:
    """A decision that the books have and the workflow does not: it decides before it posts."""
    books = records.books
    if books is None or books.held:
        return []
    try:
        if not await directory.is_undecided(records.purchase_id):
            return []
    except NoAnswer as why:
        return [_difference(records, str(why), _LOOK)]
    back, released = _in(books, books.in_transit + books.refunded), _in(books, books.released)
    what = (
        f"The books have decided purchase {records.purchase_id}: {back} back, {released} released. "
        "Its workflow knows of no decision."
    )
    return [_difference(records, what, _AGAIN)]


async def _without_hold(
    ledger: Ledger, directory: PurchaseDirectory, purchase_id: str
) -> list[Difference]:
    """A purchase that counts on money, while the books know of none."""
    try:
        counted = await directory.counts_on(purchase_id)
    except NoAnswer as why:
        return [Difference(purchase_id=purchase_id, what=str(why), what_to_do=_LOOK)]
    if counted is None:
        return []
    if await asyncio.to_thread(ledger.balances, purchase_id) is not None:
        return []
    what = f"Purchase {purchase_id} counts on {counted} in escrow; the books have no hold."
    return [Difference(purchase_id=purchase_id, what=what, what_to_do=_COMPARE)]


_COMPARE = "Compare with the payment provider's records before any more money moves."
_LOOK = "Look at its workflow in the Web UI."
_AGAIN = (
    "Temporal was restored from an older state. Send the messages that led there again; another "
    "decision is refused by the ledger."
)
_OR_BY_HAND = " If it has come to its own end, send the payment back at the provider."


def _adopt(records: PurchaseRecords) -> str:
    return (
        "Resume it; its money then goes where the rules say: "
        f"python -m starter adopt {shlex.quote(records.purchase_id)}"
    )


def _difference(records: PurchaseRecords, what: str, what_to_do: str) -> Difference:
    return Difference(purchase_id=records.purchase_id, what=what, what_to_do=what_to_do)


def _in(books: PurchaseBalances, amount: int) -> str:
    return format_amount(amount, books.currency)


def _totals(accounts: tuple[AccountBalance, ...], statement: Statement) -> Iterator[Total]:
    sums: Mapping[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for account in accounts:
        sums[account.currency][PLACES[account.account.partition(":")[0]]] += int(account.balance)
    for charge in statement.charges:
        sums[charge.amount.currency]["at_provider"] += charge.amount.amount
    for refund in statement.refunds:
        if refund.status != "failed":
            sums[refund.amount.currency]["at_provider"] -= refund.amount.amount
    for currency, places in sorted(sums.items()):
        yield Total(currency=currency, **places)
