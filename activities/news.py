"""What happened to the payment of a closed purchase and was not handled yet. Without I/O.

A webhook opens the aftercare case for it. If the webhook was lost, the daily audit does, once: the
case records what it has handled.
"""

from collections.abc import Iterator

from activities.comparison import named_difference
from activities.moves import Moves
from activities.payments import BankDispute, RefundRecord
from activities.records import PurchaseRecords
from activities.requests import Difference


def unhandled(records: PurchaseRecords) -> tuple[str, ...]:
    """Return a description of each piece of news that neither the purchase nor an aftercare case
    has handled; none for a purchase that is not closed."""
    if not records.is_closed:
        return ()
    return (*_disputes(records), *_refunds(records))


def _disputes(records: PurchaseRecords) -> Iterator[str]:
    handled = {each.name for each in records.handled}
    seen = {each.reference for each in records.handled if each.kind == "dispute"}
    for dispute in records.disputes:
        name = ("dispute", dispute.dispute_id, dispute.status)
        if name in handled or _is_posted(records, dispute):
            continue
        # A dispute that was won before anybody knew of it changes nothing.
        if dispute.status != "won" or dispute.dispute_id in seen:
            yield f"bank dispute {dispute.dispute_id} ({dispute.status}, {dispute.amount})"


def _is_posted(records: PurchaseRecords, dispute: BankDispute) -> bool:
    """Whether the ledger has the dispute as the provider has it."""
    if dispute.dispute_id not in records.moves.disputes:
        return False
    differing = records.moves.compare_disputes([dispute], dispute.amount.currency, frozenset())
    return not list(differing)


def _refunds(records: PurchaseRecords) -> Iterator[str]:
    handled = {each.name for each in records.handled}
    for refund in records.refunds:
        if refund.refund_id:
            continue
        known = ("refund", refund.reference, "made") in handled or records.moves.has_refund(refund)
        what = f"refund {refund.reference} of {refund.amount}"
        if refund.status != "failed":
            if not known:
                yield f"{what}, made elsewhere"
        elif known and not _failure_is_known(records.moves, refund, handled):
            yield f"{what}, made elsewhere and failed"


def _failure_is_known(
    moves: Moves, refund: RefundRecord, handled: set[tuple[str, str, str]]
) -> bool:
    return ("refund", refund.reference, "failed") in handled or any(
        each.kind == "refund_elsewhere_failed" and each.reference == refund.reference
        for each in moves.posted
    )


def too_late(records: PurchaseRecords, what: str) -> Difference:
    """The finding about news after the aftercare window, for which no case is opened."""
    return named_difference(records, f"there is news about its payment: {what}.", TOO_LATE)


TOO_LATE = (
    "Its aftercare window is over, so no case is opened. Look at the payment at the provider: "
    "answer the bank, or settle the difference with the client, and send no money twice."
)
