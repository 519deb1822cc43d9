"""The audit: compares ledger, workflows and provider for every purchase. It changes nothing.

The three are read one after the other while purchases continue. So a difference is reported only if
a second reading finds it too.
"""

import asyncio
import shlex
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

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
    Total,
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


class StatusUnavailable(Exception):
    """A running purchase does not answer the query for its status. The message says why."""


class PurchaseDirectory(Protocol):
    """What Temporal knows about purchases."""

    async def running(self) -> Mapping[str, str | None]:
        """Return the stages of the running purchases, by id. The list may be seconds behind."""

    async def is_running(self, purchase_id: str) -> bool:
        """Return whether this purchase is running now."""

    async def expected_hold(self, purchase_id: str) -> str | None:
        """Return the formatted amount that a running purchase has recorded as held, or None.

        Raises StatusUnavailable.
        """

    async def is_undecided(self, purchase_id: str) -> bool:
        """Return whether a running purchase has recorded its money as still in escrow.

        Raises StatusUnavailable.
        """


@dataclass(frozen=True)
class PurchaseRecords:
    """What ledger, provider and Temporal have on record about one purchase."""

    purchase_id: str
    running: bool
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


class AuditActivities:
    """The daily audit."""

    def __init__(
        self, ledger: Ledger, provider: PaymentProvider, directory: PurchaseDirectory
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._directory = directory

    @activity.defn(name=AUDIT_BOOKS.name)
    async def audit_books(self, _request: AuditRequest) -> AuditReport:
        """Audit every purchase. Raises a retryable ApplicationError if a service is unreachable."""
        try:
            report = await reconcile(self._ledger, self._provider, self._directory)
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
    for records in _purchases(snapshot, statement, running):
        if (
            list(compare(records))
            and not records.running
            and await directory.is_running(records.purchase_id)
        ):
            records = replace(records, running=True)
        differences += compare(records)
        if records.running and running.get(records.purchase_id) not in DECIDED:
            differences += await _undecided(directory, records)
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
        if charged and not records.running:
            paid = records.charges[0].amount
            what = f"{name} was paid ({paid}), but the ledger has no hold for it."
            yield _difference(records, what, f"{_adopt(records)}{_OR_REFUND}")
        elif records.refunds:
            yield _difference(
                records,
                f"{name} was refunded at the provider, but the ledger has no posting for it.",
                _COMPARE,
            )
        return
    hold = _format(
        balances, balances.held + balances.in_transit + balances.refunded + balances.released
    )
    if (balances.held or balances.in_transit) and not records.running:
        what = (
            f"{name} has {_format(balances, balances.held)} in escrow and "
            f"{_format(balances, balances.in_transit)} in transit, but its workflow is not running."
        )
        yield _difference(records, what, _adopt(records))
    if [str(each.amount) for each in records.charges] != [hold]:
        charged_amounts = ", ".join(str(each.amount) for each in records.charges) or "nothing"
        yield _difference(
            records,
            f"{name} has a hold of {hold}; the provider charged {charged_amounts}.",
            _COMPARE,
        )
    yield from _compare_refunds(records, balances)


def _compare_refunds(records: PurchaseRecords, balances: PurchaseBalances) -> Iterator[Difference]:
    name = f"Purchase {records.purchase_id}"
    not_failed = [each for each in records.refunds if each.status != "failed"]
    sent = sum(each.amount.amount for each in not_failed)
    decided = balances.in_transit + balances.refunded
    if sent not in (0, decided) or any(
        each.amount.currency != balances.currency for each in not_failed
    ):
        amounts = " + ".join(str(each.amount) for each in not_failed)
        yield _difference(
            records,
            f"{name}: the provider refunded {amounts}; the ledger's decision is to refund "
            f"{_format(balances, decided)}.",
            "Find out at the provider who sent the other refund. Leave the ledger as it is: settle "
            "the difference with the client, or with the freelancer whose money it was.",
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


def _purchases(
    snapshot: Snapshot, statement: Statement, running: Container[str]
) -> Iterator[PurchaseRecords]:
    balances = {each.purchase_id: each for each in snapshot.purchases}
    charges: dict[str, list[ChargeRecord]] = defaultdict(list)
    refunds: dict[str, list[RefundRecord]] = defaultdict(list)
    for charge in statement.charges:
        charges[purchase_of(charge.key)].append(charge)
    for refund in statement.refunds:
        refunds[purchase_of(refund.refund_id)].append(refund)
    for purchase_id in sorted(balances.keys() | charges.keys() | refunds.keys()):
        yield PurchaseRecords(
            purchase_id,
            purchase_id in running,
            balances.get(purchase_id),
            snapshot.proofs.get(purchase_id),
            tuple(charges[purchase_id]),
            tuple(refunds[purchase_id]),
        )


async def _undecided(directory: PurchaseDirectory, records: PurchaseRecords) -> list[Difference]:
    """The difference of a decision that the ledger has and the workflow does not.

    A workflow decides before it posts, so it was restored to an older state.
    """
    balances = records.balances
    if balances is None or balances.held:
        return []
    try:
        if not await directory.is_undecided(records.purchase_id):
            return []
    except StatusUnavailable as error:
        return [_difference(records, str(error), _LOOK)]
    refund = _format(balances, balances.in_transit + balances.refunded)
    release = _format(balances, balances.released)
    what = (
        f"The ledger has a decision for purchase {records.purchase_id}: {refund} to refund, "
        f"{release} released. Its workflow has none."
    )
    return [_difference(records, what, _RESEND)]


async def _without_hold(
    ledger: Ledger, directory: PurchaseDirectory, purchase_id: str
) -> list[Difference]:
    """The difference of a purchase that has recorded a hold, while the ledger has none."""
    try:
        expected = await directory.expected_hold(purchase_id)
    except StatusUnavailable as error:
        return [Difference(purchase_id=purchase_id, what=str(error), what_to_do=_LOOK)]
    if expected is None:
        return []
    if await asyncio.to_thread(ledger.balances, purchase_id) is not None:
        return []
    what = f"Purchase {purchase_id} has recorded a hold of {expected}; the ledger has none."
    return [Difference(purchase_id=purchase_id, what=what, what_to_do=_COMPARE)]


_COMPARE = "Compare with the payment provider's records before any more money moves."
_LOOK = "Open its workflow in the Web UI."
_RESEND = (
    "Temporal was restored to an older state. Send the messages that led to the decision again; "
    "the ledger rejects a different decision."
)
_OR_REFUND = " If the purchase ended as it should, refund the payment at the provider."


def _adopt(records: PurchaseRecords) -> str:
    return (
        "Resume the purchase, so that its money moves by the rules: "
        f"recourse adopt {shlex.quote(records.purchase_id)}"
    )


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
