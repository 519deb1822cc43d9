"""The audit: compares ledger, workflows and provider for every purchase. It changes nothing.

The three are read one after the other while purchases continue. So a difference is reported only if
a second reading finds it too.
"""

import asyncio
import shlex
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.amounts import format_amount
from activities.database import DatabaseUnreachable, SchemaMismatch
from activities.keys import purchase_of, workflow_id_of
from activities.ledger import AccountBalance, Ledger, PurchaseBalances, Snapshot
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
    Money,
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
    "provider-clearing": "provider",
}
"""By kind of account: the field of Total that sums its balances."""

DECIDED = ("settling", "closed")
"""The stages of a purchase whose money has left escrow."""


WorkflowStatus = Literal["open", "completed", "ended"]
"""`ended`: from outside, for example terminated; `adopt` continues it."""


class StatusUnavailable(Exception):
    """A purchase does not answer a query. The message says why."""


class PurchaseDirectory(Protocol):
    """What Temporal knows about purchases."""

    async def running(self) -> Mapping[str, str | None]:
        """Return the stages of the running purchases, by id. The list may be seconds behind."""

    async def known(self) -> Collection[str]:
        """Return the ids of all purchases, also closed ones. The list may be seconds behind."""

    async def workflow_status(self, purchase_id: str) -> WorkflowStatus | None:
        """Return how this purchase's workflow stands now; None if there is none."""

    async def postings(self, purchase_id: str) -> WorkflowPostings:
        """Return the postings that a purchase has recorded. Raises StatusUnavailable."""


@dataclass(frozen=True)
class PurchaseRecords:
    """What ledger, provider and Temporal have on record about one purchase."""

    purchase_id: str
    workflow: WorkflowStatus | None = None
    balances: PurchaseBalances | None = None
    proof: str | None = None
    charges: tuple[ChargeRecord, ...] = ()
    refunds: tuple[RefundRecord, ...] = ()


async def reconcile(
    ledger: Ledger, provider: PaymentProvider, directory: PurchaseDirectory
) -> AuditReport:
    """Audit every purchase.

    Raises DatabaseUnreachable, SchemaMismatch, ProviderUnreachable, and what `directory` raises.
    """
    report = await _compare_all(ledger, provider, directory)
    if not report.differences:
        return report
    again = await _compare_all(ledger, provider, directory)
    lasting = tuple(found for found in again.differences if found in report.differences)
    return again.model_copy(update={"differences": lasting})


SaveEnded = Callable[[str], Awaitable[None]]
"""Saves the state of a purchase if its workflow was ended with money inside. It does not raise."""


class AuditActivities:
    """The daily audit."""

    def __init__(
        self,
        ledger: Ledger,
        provider: PaymentProvider,
        directory: PurchaseDirectory,
        save_ended: SaveEnded,
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._directory = directory
        self._save_ended = save_ended

    @activity.defn(name=AUDIT_BOOKS.name)
    async def audit_books(self, _request: AuditRequest) -> AuditReport:
        """Audit every purchase, and save the state of those that were ended with money inside:
        Temporal deletes their histories after the retention period.

        Raises a retryable ApplicationError if a service is unreachable.
        """
        try:
            report = await reconcile(self._ledger, self._provider, self._directory)
            for purchase_id in {each.purchase_id for each in report.differences} - {None}:
                await self._save_ended(str(purchase_id))
        except (DatabaseUnreachable, SchemaMismatch) as error:
            raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
        except ProviderUnreachable as error:
            raise ApplicationError(
                f"The payment provider cannot be reached: {error}",
                type=ErrorType.PROVIDER_UNREACHABLE,
            ) from None
        listed = report.differences[:MAX_LISTED]
        more = len(report.differences) - len(listed)
        return report.model_copy(update={"differences": listed, "more": more})


async def _compare_all(
    ledger: Ledger, provider: PaymentProvider, directory: PurchaseDirectory
) -> AuditReport:
    # A refund is posted before it is sent. The provider is read first, so that a refund sent
    # between the two readings does not appear to lack its posting.
    statement = await asyncio.to_thread(provider.statement)
    snapshot = await asyncio.to_thread(ledger.snapshot)
    running = await directory.running()
    differences = list(snapshot.differences)
    for records in records_of(snapshot, statement, running):
        if records.workflow is None and list(compare(records)):
            status = await directory.workflow_status(records.purchase_id)
            records = replace(records, workflow=status)
        differences += compare(records)
        if records.workflow == "open":
            decided = running.get(records.purchase_id) in DECIDED
            differences += await _compare_decisions(directory, records, decided)
    for purchase_id in sorted(running.keys() - {each.purchase_id for each in snapshot.purchases}):
        differences += await _without_hold(ledger, directory, purchase_id)
    return AuditReport(
        purchases=len(snapshot.purchases),
        totals=tuple(_totals(snapshot.accounts, statement)),
        differences=tuple(differences),
    )


def compare(records: PurchaseRecords) -> Iterator[Difference]:
    """Yield the differences of one purchase, each with what to do."""
    name = f"Purchase {records.purchase_id}"
    balances, charged = records.balances, sum(each.amount.amount for each in records.charges)
    if balances is None:
        if charged and records.workflow != "open":
            paid = records.charges[0].amount
            what = f"{name} was paid ({paid}), but the ledger has no hold for it."
            yield _difference(records, what, _restore(records))
        elif records.refunds:
            yield _difference(
                records,
                f"{name} was refunded at the provider, but the ledger has no posting for it.",
                _restore(records),
            )
        return
    hold = str(hold_of(balances))
    if (balances.held or balances.in_transit) and records.workflow != "open":
        what = (
            f"{name} has {_format(balances, balances.held)} in escrow and "
            f"{_format(balances, balances.in_transit)} in transit, but its workflow is not running."
        )
        is_ended = records.workflow == "ended"
        yield _difference(records, what, adopt(records) if is_ended else _restore(records))
    if [str(each.amount) for each in records.charges] != [hold]:
        charged_amounts = ", ".join(str(each.amount) for each in records.charges) or "nothing"
        yield _difference(
            records,
            f"{name} has a hold of {hold}; the provider charged {charged_amounts}.",
            COMPARE,
        )
    yield from _compare_refunds(records, balances)


def _compare_refunds(records: PurchaseRecords, balances: PurchaseBalances) -> Iterator[Difference]:
    name = f"Purchase {records.purchase_id}"
    not_failed = [each for each in records.refunds if each.status != "failed"]
    sent = sum(each.amount.amount for each in not_failed)
    decided = balances.in_transit + balances.refunded
    if sent and balances.held:
        amounts = " + ".join(str(each.amount) for each in not_failed)
        what = f"{name}: the provider refunded {amounts}; the ledger has no decision about it."
        yield _difference(records, what, _restore(records))
    elif sent not in (0, decided) or any(
        each.amount.currency != balances.currency for each in not_failed
    ):
        amounts = " + ".join(str(each.amount) for each in not_failed)
        yield _difference(
            records,
            f"{name}: the provider refunded {amounts}; the ledger's decision is to refund "
            f"{_format(balances, decided)}.",
            WHO_REFUNDED,
        )
    elif balances.refunded and _is_by_provider(records):
        settled = sum(each.amount.amount for each in not_failed if each.status == "settled")
        if settled < balances.refunded:
            states = ", ".join(sorted({each.status for each in records.refunds})) or "unknown"
            yield _difference(
                records,
                f"{name}: the ledger has the refund of {_format(balances, balances.refunded)} as "
                f"settled ({records.proof}), but at the provider it is {states}.",
                "The client may not have the money. Look up the refund at the provider, send the "
                "money another way and keep the proof. Leave the ledger as it is.",
            )


def _is_by_provider(records: PurchaseRecords) -> bool:
    """Whether the proof of the settlement came from the provider, not from a person."""
    names = {name for each in records.refunds for name in (each.refund_id, each.reference)}
    ours = records.proof is not None and records.proof.startswith(
        f"{workflow_id_of(records.purchase_id)}/refund"
    )
    return records.proof in names or ours


def records_of(
    snapshot: Snapshot, statement: Statement, running: Container[str] = ()
) -> Iterator[PurchaseRecords]:
    """Yield what ledger and provider have, by purchase. A refund belongs to its charge's purchase,
    whoever made it."""
    balances = {each.purchase_id: each for each in snapshot.purchases}
    charges: dict[str, list[ChargeRecord]] = defaultdict(list)
    refunds: dict[str, list[RefundRecord]] = defaultdict(list)
    charged = {charge.reference: purchase_of(charge.key) for charge in statement.charges}
    for charge in statement.charges:
        charges[purchase_of(charge.key)].append(charge)
    for refund in statement.refunds:
        purchase_id = charged.get(refund.charge_reference) or purchase_of(refund.refund_id)
        refunds[purchase_id].append(refund)
    for purchase_id in sorted(balances.keys() | charges.keys() | refunds.keys()):
        yield PurchaseRecords(
            purchase_id,
            "open" if purchase_id in running else None,
            balances.get(purchase_id),
            snapshot.proofs.get(purchase_id),
            tuple(charges[purchase_id]),
            tuple(refunds[purchase_id]),
        )


async def _compare_decisions(
    directory: PurchaseDirectory, records: PurchaseRecords, decided: bool
) -> list[Difference]:
    """The difference of a decision that either the ledger or the workflow has not.

    A workflow decides before it posts. `decided`: it has left escrow by its search attributes.
    """
    balances, name = records.balances, f"purchase {records.purchase_id}"
    if balances is None or bool(balances.held) != decided:
        return []
    try:
        workflow = await directory.postings(records.purchase_id)
    except StatusUnavailable as error:
        return [_difference(records, str(error), LOOK)]
    if decided and workflow.decision_posted:
        what = f"The workflow of {name} has recorded its decision as posted; the ledger has none."
        return [_difference(records, what, _restore(records))]
    if not decided and workflow.decision is None:
        what = f"The ledger has a decision for {name}: {decision_of(balances)}. Its workflow has "
        what += "none."
        return [_difference(records, what, _restore(records))]
    return []


async def _without_hold(
    ledger: Ledger, directory: PurchaseDirectory, purchase_id: str
) -> list[Difference]:
    """The difference of a purchase that has recorded a hold, while the ledger has none."""
    records = PurchaseRecords(purchase_id, "open")
    try:
        workflow = await directory.postings(purchase_id)
    except StatusUnavailable as error:
        return [_difference(records, str(error), LOOK)]
    if workflow.hold is None or not workflow.held:
        return []
    if await asyncio.to_thread(ledger.balances, purchase_id) is not None:
        return []
    hold = workflow.hold.price
    what = f"Purchase {purchase_id} has recorded a hold of {hold}; the ledger has none."
    return [_difference(records, what, _restore(records))]


COMPARE = "Compare with the payment provider's records before any more money moves."
LOOK = "Open its workflow in the Web UI."
RESEND = (
    "Temporal was restored to an older state. Send the messages that led to the decision again; "
    "the ledger rejects a different decision."
)
WHO_REFUNDED = (
    "Find out at the provider who sent the other refund. Leave the ledger as it is: settle the "
    "difference with the client, or with the freelancer whose money it was."
)


def _restore(records: PurchaseRecords) -> str:
    return (
        "Post again what the ledger has lost, or see what else to do: "
        f"recourse restore {shlex.quote(records.purchase_id)}"
    )


def adopt(records: PurchaseRecords) -> str:
    """What to do about a workflow that was ended with money inside."""
    return (
        "Resume the purchase, so that its money moves by the rules: "
        f"recourse adopt {shlex.quote(records.purchase_id)}"
    )


def hold_of(balances: PurchaseBalances) -> Money:
    """What was held, wherever it is now."""
    total = balances.held + balances.in_transit + balances.refunded + balances.released
    return Money(amount=total, currency=balances.currency)


def decision_of(balances: PurchaseBalances) -> str:
    """How the ledger's decision divides the money."""
    refund = _format(balances, balances.in_transit + balances.refunded)
    return f"{refund} to refund, {_format(balances, balances.released)} released"


def _difference(records: PurchaseRecords, what: str, what_to_do: str) -> Difference:
    return Difference(purchase_id=records.purchase_id, what=what, what_to_do=what_to_do)


def _format(balances: PurchaseBalances, amount: int) -> str:
    return format_amount(amount, balances.currency)


def _totals(accounts: tuple[AccountBalance, ...], statement: Statement) -> Iterator[Total]:
    sums: Mapping[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for account in accounts:
        sums[account.currency][TOTAL_OF_ACCOUNT[account.account.partition(":")[0]]] += int(
            account.balance
        )
    for charge in statement.charges:
        sums[charge.amount.currency]["at_provider"] += charge.amount.amount
    for refund in statement.refunds:
        if refund.status != "failed":
            sums[refund.amount.currency]["at_provider"] -= refund.amount.amount
    for currency, places in sorted(sums.items()):
        yield Total(currency=currency, **places)
