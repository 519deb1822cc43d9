"""What ledger, provider and Temporal have on record about a purchase, compared without I/O: for the
audit and for `restore`."""

import shlex
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Literal

from activities.amounts import format_amount
from activities.keys import purchase_of, workflow_id_of
from activities.ledger import PurchaseBalances, Snapshot
from activities.payments import ChargeRecord, RefundRecord, Statement
from activities.requests import Difference, Money

WorkflowStatus = Literal["open", "completed", "ended"]
"""`ended`: from outside, for example terminated; `adopt` continues it."""


@dataclass(frozen=True)
class PurchaseRecords:
    """What ledger, provider and Temporal have on record about one purchase."""

    purchase_id: str
    workflow: WorkflowStatus | None = None
    balances: PurchaseBalances | None = None
    proof: str | None = None
    charges: tuple[ChargeRecord, ...] = ()
    refunds: tuple[RefundRecord, ...] = ()


def compare(records: PurchaseRecords) -> Iterator[Difference]:
    """Yield the differences of one purchase, each with what to do."""
    name = f"Purchase {records.purchase_id}"
    balances, charged = records.balances, sum(each.amount.amount for each in records.charges)
    if balances is None:
        if charged and records.workflow != "open":
            paid = records.charges[0].amount
            what = f"{name} was paid ({paid}), but the ledger has no hold for it."
            yield difference(records, what, restore_advice(records))
        elif records.refunds:
            yield difference(
                records,
                f"{name} was refunded at the provider, but the ledger has no posting for it.",
                restore_advice(records),
            )
        return
    hold = str(hold_of(balances))
    if (balances.held or balances.in_transit) and records.workflow != "open":
        what = (
            f"{name} has {_format(balances, balances.held)} in escrow and "
            f"{_format(balances, balances.in_transit)} in transit, but its workflow is not running."
        )
        is_ended = records.workflow == "ended"
        yield difference(records, what, adopt(records) if is_ended else restore_advice(records))
    if [str(each.amount) for each in records.charges] != [hold]:
        charged_amounts = ", ".join(str(each.amount) for each in records.charges) or "nothing"
        yield difference(
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
        yield difference(records, what, restore_advice(records))
    elif sent not in (0, decided) or any(
        each.amount.currency != balances.currency for each in not_failed
    ):
        amounts = " + ".join(str(each.amount) for each in not_failed)
        yield difference(
            records,
            f"{name}: the provider refunded {amounts}; the ledger's decision is to refund "
            f"{_format(balances, decided)}.",
            WHO_REFUNDED,
        )
    elif balances.refunded and _is_by_provider(records):
        settled = sum(each.amount.amount for each in not_failed if each.status == "settled")
        if settled < balances.refunded:
            states = ", ".join(sorted({each.status for each in records.refunds})) or "unknown"
            yield difference(
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


def restore_advice(records: PurchaseRecords) -> str:
    """What to do about records that the ledger may have lost."""
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


def difference(records: PurchaseRecords, what: str, what_to_do: str) -> Difference:
    """A difference of this purchase."""
    return Difference(purchase_id=records.purchase_id, what=what, what_to_do=what_to_do)


def _format(balances: PurchaseBalances, amount: int) -> str:
    return format_amount(amount, balances.currency)
