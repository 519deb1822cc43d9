"""The audit: compares ledger, workflows and provider. It changes nothing.

It compares every purchase, or those about which there may be news: `WINDOW` says which.
The three are read one after the other while purchases continue. So a difference is reported only if
a second reading finds it too. Each purchase is judged by itself: what cannot be read of it is a
difference of its own.
"""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.comparison import (
    LOOK,
    NOT_ARRIVED,
    compare,
    decision_of,
    difference,
    is_settled_without_refund,
    restore_advice,
)
from activities.database import DatabaseUnreachable, SchemaMismatch
from activities.keys import purchase_of, workflow_id_of
from activities.ledger import AccountBalance, Ledger, Snapshot
from activities.moves import WITHDRAWN, is_dispute
from activities.news import too_late, unhandled
from activities.payments import PaymentProvider, ProviderUnreachable, Statement
from activities.records import PurchaseRecords, WorkflowStatus, records_of
from activities.requests import (
    AUDIT_LEDGER,
    AuditReport,
    AuditRequest,
    Difference,
    ErrorType,
    Total,
    WorkflowPostings,
)

MAX_LISTED = 500
"""Bounds the differences in the report of the daily audit, which must fit into the history of a
workflow. The command lists them all."""

TOTAL_OF_ACCOUNT = {
    "escrow": "held",
    "refunds-in-transit": "in_transit",
    "freelancer-balance": "released",
    "bank-disputes": "in_dispute",
    "platform-losses": "platform_losses",
    "freelancer-receivable": "freelancer_receivables",
    "provider-clearing": "provider",
}
"""By kind of account: the field of Total that sums its balances."""

WINDOW = timedelta(days=127)
"""An audit by windows compares the purchases that have money inside, are running, or have a posting
in this time, and those of which a charge, a refund or a dispute was made in it: the default
aftercare window of 120 days, and a week in which no audit may have run. All others were closed
before, and nothing was made at the provider since: the purchase takes no news about them."""

DECIDED = ("settling", "closed")
"""The stages after the decision about the money; the ledger may not have it yet."""

QUERIES_AT_ONCE = 10
"""Bounds the purchases that are asked at the same time: a worker may have to replay each. 50 that
do not answer within ten seconds take less than a minute."""

CHECKS_TAKE = 10.0
"""Seconds that purchases get to check their payment, before the second reading."""

UNREADABLE = "Nothing else about it was compared. Send this sentence to the developers."


class StatusUnavailable(Exception):
    """It cannot be read how one purchase stands. The message says why, `what_to_do` the remedy."""

    def __init__(self, why: str, what_to_do: str = LOOK) -> None:
        super().__init__(why)
        self.what_to_do = what_to_do


class PurchaseDirectory(Protocol):
    """What Temporal knows about purchases. Each method answers or raises within half a minute; any
    error but StatusUnavailable means that the server cannot be used at all."""

    async def running(self) -> Mapping[str, str | None]:
        """Return the stages of the running purchases, by id. The list may be seconds behind."""

    async def known(self) -> Collection[str]:
        """Return the ids of all purchases, also closed ones. The list may be seconds behind."""

    async def workflow_status(self, purchase_id: str) -> WorkflowStatus | None:
        """Return how this purchase's workflow stands now; None if there is none. Raises
        StatusUnavailable."""

    async def postings(self, purchase_id: str) -> WorkflowPostings:
        """Return the postings that a purchase has recorded. Raises StatusUnavailable."""

    async def check_payment_of(self, purchase_id: str) -> None:
        """Let a running purchase check its payment. Raises StatusUnavailable."""


Progress = Callable[[str], None]


async def reconcile(
    ledger: Ledger,
    provider: PaymentProvider,
    directory: PurchaseDirectory,
    *,
    lets_check: bool = False,
    since: datetime | None = None,
    report_progress: Progress = lambda _: None,
) -> AuditReport:
    """Audit every purchase, or with `since` those that `WINDOW` describes, from that instant on;
    the ledger is always audited as a whole. `lets_check`: a running purchase whose provider has
    news that it does not know checks its payment, because a webhook may be lost. `report_progress`
    gets a line for people about what is being done.

    Raises DatabaseUnreachable, SchemaMismatch, ProviderUnreachable, and what `directory` raises.
    """
    reading = _Reading(ledger, provider, directory, since, report_progress)
    report = await _compare_all(reading)
    if lets_check and await _let_check(reading, report):
        await asyncio.sleep(CHECKS_TAKE)
    if not (report.differences or report.news):
        return report
    differing = {*(found.purchase_id for found in report.differences), *report.news}
    report_progress("Reading again, because some purchases differ")
    again = await _compare_all(reading, differing)
    lasting = tuple(found for found in again.differences if found in report.differences)
    news = tuple(each for each in again.news if each in report.news)
    return again.model_copy(update={"differences": lasting, "news": news})


@dataclass(frozen=True)
class _Reading:
    """What an audit reads, and how."""

    ledger: Ledger
    provider: PaymentProvider
    directory: PurchaseDirectory
    since: datetime | None
    report_progress: Progress

    async def read(self) -> tuple[Snapshot, Statement, Mapping[str, str | None], frozenset[str]]:
        """Return the ledger, the provider's records, the running purchases, and the ids of the
        purchases to be compared; with `since`, the records are theirs only."""
        watched: Mapping[str, str] = {}
        if self.since:
            ids = (await self.directory.running()).keys()
            watched = await asyncio.to_thread(self.ledger.watched, self.since, ids)
        # A refund is posted before it is sent. The provider is read before the ledger, so that a
        # refund sent between the two readings does not appear to lack its posting.
        what = f"made since {self.since:%Y-%m-%d}" if self.since else "of all charges"
        self.report_progress(f"Reading the provider's records {what}")
        statement = await asyncio.to_thread(self._statement, watched)
        self.report_progress("Reading the ledger")
        snapshot = await asyncio.to_thread(self.ledger.snapshot)
        running = await self.directory.running()
        found = {each.purchase_id for each in records_of(snapshot, statement)}
        if self.since:
            known = {each.purchase_id for each in snapshot.purchases}
            at_provider = {purchase_of(charge.key) for charge in statement.charges}
            found = (found - known) | watched.keys() | at_provider
        return snapshot, statement, running, frozenset(found | running.keys())

    def _statement(self, watched: Mapping[str, str]) -> Statement:
        """The provider's records. A hold of an early release has no reference of its charge."""
        charges = (
            self.provider.find_charge(f"{workflow_id_of(purchase_id)}/hold")
            for purchase_id, reference in watched.items()
            if not reference
        )
        also = {*watched.values(), *(charge.reference for charge in charges if charge)}
        return self.provider.statement(self.since, also - {""})


SaveEnded = Callable[[str], Awaitable[None]]
"""Saves the state of a purchase if its workflow was ended with money inside. It does not raise."""


OpenCase = Callable[[str], Awaitable[None]]
"""Opens the aftercare case of a closed purchase, unless one is open. It does not raise."""


class AuditActivities:
    """The daily audit."""

    def __init__(
        self,
        ledger: Ledger,
        provider: PaymentProvider,
        directory: PurchaseDirectory,
        save_ended: SaveEnded,
        open_case: OpenCase,
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._directory = directory
        self._save_ended = save_ended
        self._open_case = open_case

    @activity.defn(name=AUDIT_LEDGER.name)
    async def audit_ledger(self, _request: AuditRequest) -> AuditReport:
        """Audit the purchases of the window, and save the state of those that were ended with money
        inside: Temporal deletes their histories after the retention period. Webhooks may be lost,
        so a purchase whose payment has news checks it, and news about a closed one opens an
        aftercare case.

        Raises a retryable ApplicationError if a service is unreachable.
        """
        try:
            report = await reconcile(
                self._ledger,
                self._provider,
                self._directory,
                lets_check=True,
                since=datetime.now(UTC) - WINDOW,
            )
            for purchase_id in {each.purchase_id for each in report.differences} - {None}:
                await self._save_ended(str(purchase_id))
            for purchase_id in report.news:
                await self._open_case(purchase_id)
        except (DatabaseUnreachable, SchemaMismatch) as error:
            raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
        except ProviderUnreachable as error:
            raise ApplicationError(
                f"The payment provider cannot be reached: {error}",
                type=ErrorType.PROVIDER_UNREACHABLE,
            ) from None
        listed = report.differences[:MAX_LISTED]
        more = len(report.differences) - len(listed)
        news = report.news[:MAX_LISTED]
        return report.model_copy(update={"differences": listed, "more": more, "news": news})


async def _compare_all(
    reading: _Reading, only: Collection[str | None] | None = None
) -> AuditReport:
    """Compare the purchases, or `only` these. The ledger's totals are always those of all."""
    snapshot, statement, running, ids = await reading.read()
    purchases = {each.purchase_id: each for each in records_of(snapshot, statement, running)}
    for purchase_id in running.keys() - purchases.keys():
        purchases[purchase_id] = PurchaseRecords(purchase_id, "open")
    slots = asyncio.Semaphore(QUERIES_AT_ONCE)
    wanted = sorted(ids if only is None else ids & {*only})
    done = itertools.count(1)
    news: list[str] = []

    async def one(records: PurchaseRecords) -> list[Difference]:
        async with slots:
            found = await _judge(reading.directory, records, running.get(records.purchase_id))
            what = "; ".join(unhandled(records))
            if what or any(each.is_news for each in found):
                ends = await asyncio.to_thread(reading.ledger.aftercare_ends, records.purchase_id)
                if ends and datetime.now(UTC) <= ends:
                    news.append(records.purchase_id)
                elif not found:
                    found = [too_late(records, what)]
            reading.report_progress(f"Comparing purchases: {next(done)} of {len(wanted)}")
            return found

    found = await asyncio.gather(*(one(purchases[purchase_id]) for purchase_id in wanted))
    return AuditReport(
        purchases=len(snapshot.purchases),
        compared=len(ids),
        totals=tuple(_totals(snapshot.accounts, None if reading.since else statement)),
        differences=(*snapshot.differences, *(each for some in found for each in some)),
        news=tuple(sorted(news)),
    )


async def _let_check(reading: _Reading, report: AuditReport) -> bool:
    """Let each running purchase check its payment that may have missed news about it; return
    whether one does. One that does not answer is a difference already."""
    differing = {each.purchase_id for each in report.differences}
    snapshot, statement, running, _ = await reading.read()
    checking = False
    for records in records_of(snapshot, statement, running):
        if records.workflow == "open" and records.has_moved_without_us:
            with suppress(StatusUnavailable):
                known = await reading.directory.postings(records.purchase_id)
                moved = (move.reference for move in known.moves)
                names = {*known.disputes, *known.elsewhere, *moved}
                if records.purchase_id in differing or records.made_by_others - names:
                    await reading.directory.check_payment_of(records.purchase_id)
                    checking = True
    return checking


async def _judge(
    directory: PurchaseDirectory, records: PurchaseRecords, stage: str | None
) -> list[Difference]:
    """The differences of one purchase. What cannot be read of it is one of them."""
    try:
        found = list(compare(records))
        if found and records.workflow is None:
            status = await directory.workflow_status(records.purchase_id)
            records = replace(records, workflow=status)
            found = list(compare(records))
        if not found and is_settled_without_refund(records):
            found = [each async for each in _compare_proof(directory, records)]
        if found and records.workflow and records.has_moved_without_us:
            workflow = await directory.postings(records.purchase_id)
            if any(move.key not in records.moves.keys for move in workflow.moves):
                what = f"The workflow of purchase {records.purchase_id} has recorded what moved at"
                what += " the provider; the ledger has not."
                return [difference(records, what, restore_advice(records))]
            posted = (move.reference for move in workflow.moves if is_dispute(move.kind))
            known = records.known_disputes.union(workflow.disputes, posted)
            found = list(compare(replace(records, known_disputes=known)))
    except StatusUnavailable as error:
        return [difference(records, str(error), error.what_to_do)]
    except ValueError as error:
        what = f"The records of purchase {records.purchase_id} cannot be read: {error}"
        return [difference(records, what, UNREADABLE)]
    if records.workflow != "open":
        return found
    try:
        return found + [each async for each in _compare_workflow(directory, records, stage)]
    except StatusUnavailable as error:
        return [*found, difference(records, str(error), error.what_to_do)]


async def _compare_proof(
    directory: PurchaseDirectory, records: PurchaseRecords
) -> AsyncIterator[Difference]:
    """A refund that the provider does not have may be settled by a person's proof. An answer by
    hand to the activity that sends it is none."""
    if await directory.workflow_status(records.purchase_id) is None:
        return  # its history was deleted after the retention period
    if any(move.kind == "refund_returned" for move in records.moves.posted):
        return  # it came back, and the settlement that the ledger shows is that of its aftercare
    workflow = await directory.postings(records.purchase_id)
    if workflow.settlement_posted and not workflow.proved_by_person:
        what = f"Purchase {records.purchase_id}: the ledger has its refund as settled "
        what += f"({records.proof}), but the provider has none, and no person has proved it."
        yield difference(records, what, NOT_ARRIVED)


async def _compare_workflow(
    directory: PurchaseDirectory, records: PurchaseRecords, stage: str | None
) -> AsyncIterator[Difference]:
    """Yield what either the ledger or the running workflow has not.

    A workflow decides before it posts. `stage`: by its search attributes, which say whether the
    money has left escrow. A workflow that agrees with the ledger by its stage is not asked; one
    without a stage has not begun, and may hide a run that was ended with the money.
    """
    balances, name = records.balances, f"purchase {records.purchase_id}"
    decided = stage in DECIDED
    agrees = balances is not None and bool(records.decided) == decided
    if agrees and stage:
        return
    workflow = await directory.postings(records.purchase_id)  # raises if it has not begun
    if agrees:
        return
    if balances is None:
        if workflow.hold and workflow.held:
            what = f"P{name[1:]} has recorded a hold of {workflow.hold.price}; the ledger has none."
            yield difference(records, what, restore_advice(records))
    elif decided and workflow.decision_posted:
        what = f"The workflow of {name} has recorded its decision as posted; the ledger has none."
        yield difference(records, what, restore_advice(records))
    elif not decided and workflow.decision is None:
        what = f"The ledger has a decision for {name}: {decision_of(records, balances)}."
        what += " Its workflow has none."
        yield difference(records, what, restore_advice(records))


def _totals(accounts: tuple[AccountBalance, ...], statement: Statement | None) -> Iterator[Total]:
    """The balances by currency. `statement`: of all charges, or None."""
    sums: Mapping[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for account in accounts:
        kind = account.account.partition(":")[0]
        if kind in TOTAL_OF_ACCOUNT:
            sums[account.currency][TOTAL_OF_ACCOUNT[kind]] += int(account.balance)
    for currency, amount in _kept(statement) if statement else ():
        sums[currency]["at_provider"] += amount
    for currency, places in sorted(sums.items()):
        at_provider = {"at_provider": places.get("at_provider", 0)} if statement else {}
        yield Total(currency=currency, **{**places, **at_provider})


def _kept(statement: Statement) -> Iterator[tuple[str, int]]:
    """What the provider has taken, and less what it has given back or banks have withdrawn."""
    for charge in statement.charges:
        yield charge.amount.currency, charge.amount.amount
        for dispute in charge.disputes:
            if dispute.status in WITHDRAWN:
                yield dispute.amount.currency, -dispute.amount.amount
    for refund in statement.refunds:
        if refund.status != "failed":
            yield refund.amount.currency, -refund.amount.amount
