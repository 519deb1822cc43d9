"""What ledger, provider and Temporal have on record about a purchase, and what follows from it."""

from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Literal

from activities.keys import purchase_of
from activities.ledger import ProviderMove, PurchaseBalances, Snapshot
from activities.moves import WITHDRAWN, Moves, is_dispute
from activities.payments import BankDispute, ChargeRecord, RefundRecord, Statement, UnreadableRecord
from activities.requests import HandledNews, Money, ProviderMovePosting

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
    unreadable: tuple[UnreadableRecord, ...] = ()
    registered: bool = True
    """Whether the ledger registered the purchase before its client was charged."""
    posted: tuple[ProviderMove, ...] = ()
    """What the ledger has of money that moved at the provider without Recourse."""
    known_disputes: frozenset[str] = frozenset()
    """The bank disputes that the workflow knows, or has handled."""
    handled: tuple[HandledNews, ...] = ()
    """The news about its payment that it, or its aftercare case, has handled."""

    @property
    def moves(self) -> Moves:
        return Moves(self.purchase_id, self.posted)

    @property
    def decided(self) -> int:
        """What the ledger's decision has moved out of escrow; 0 if there is none."""
        if self.balances is None:
            return 0
        came_in = hold_of(self.balances).amount
        return came_in - self.balances.held - self.moves.left_escrow

    @property
    def settled(self) -> int:
        """What the client has of the decided refund by the ledger."""
        return self.balances.refunded - self.moves.elsewhere if self.balances else 0

    @property
    def is_money_inside(self) -> bool:
        """Whether the ledger has money in escrow, in transit or in a bank dispute."""
        balances = self.balances
        return balances is not None and bool(
            balances.held or balances.in_transit or self.moves.in_dispute
        )

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, as far as the ledger and what is known of its workflow say."""
        is_over = self.workflow not in ("open", "ended") and not self.is_money_inside
        return is_over and self.balances is not None

    @property
    def has_returned(self) -> bool:
        """Whether the ledger has a refund that came back after it was settled."""
        return any(each.kind == "refund_returned" for each in self.posted)

    @property
    def charged(self) -> int:
        """What the provider has captured, in minor units."""
        return sum(each.amount.amount for each in self.charges)

    @property
    def not_failed(self) -> tuple[RefundRecord, ...]:
        """The refunds that have arrived or may arrive, also those that others made, but without
        those that the ledger has as made elsewhere."""
        return tuple(each for each in self.own_refunds if each.status != "failed")

    @property
    def own_refunds(self) -> tuple[RefundRecord, ...]:
        """All refunds without those that the ledger has as made elsewhere."""
        return tuple(each for each in self.refunds if not self.moves.has_refund(each))

    @property
    def sent(self) -> int:
        """The sum of `not_failed`, in minor units."""
        return sum(each.amount.amount for each in self.not_failed)

    @property
    def disputes(self) -> tuple[BankDispute, ...]:
        """The bank disputes that the provider lists."""
        return tuple(dispute for charge in self.charges for dispute in charge.disputes)

    @property
    def is_disputed(self) -> bool:
        """Whether the client's bank has, or may have, money that the ledger does not know of."""
        posted = self.moves.disputes
        return any(
            each.status in WITHDRAWN and each.dispute_id not in posted for each in self.disputes
        ) or any(each.disputed and not each.disputes and not posted for each in self.charges)

    def has_moved(self, move: ProviderMovePosting) -> bool:
        """Whether the provider's records show the dispute or the refund of this move."""
        if is_dispute(move.kind):
            return any(
                (each.disputed and not each.disputes)
                or any(dispute.dispute_id == move.reference for dispute in each.disputes)
                for each in self.charges
            )
        has_failed = move.kind in ("refund_returned", "refund_elsewhere_failed")
        return any(
            move.reference in (each.reference, each.refund_id)
            and (each.status == "failed" or not has_failed)
            for each in self.refunds
        )

    @property
    def made_by_others(self) -> frozenset[str]:
        """The provider's names of bank disputes, and of refunds that others made."""
        disputes = {each.dispute_id for each in self.disputes}
        others = (each for each in self.not_failed if not each.refund_id)
        return frozenset(disputes | {each.reference for each in others})

    @property
    def has_moved_without_us(self) -> bool:
        """Whether a bank, somebody else or a bounce may have moved money. Then the workflow may
        know more of it than the ledger."""
        return (
            any(each.disputed or each.disputes for each in self.charges)
            or any(each.status == "failed" for each in self.refunds)
            or any(purchase_of(each.refund_id) != self.purchase_id for each in self.refunds)
        )

    @property
    def charge_reference(self) -> str:
        """The provider's name for the charge, if there is one."""
        return self.charges[0].reference if len(self.charges) == 1 else ""

    @property
    def is_refunded_elsewhere(self) -> bool:
        """Whether a refund that has not failed is not one that this purchase asked for."""
        return any(purchase_of(each.refund_id) != self.purchase_id for each in self.not_failed)


def records_of(
    snapshot: Snapshot, statement: Statement, running: Container[str] = ()
) -> Iterator[PurchaseRecords]:
    """Yield what ledger and provider have, by purchase. A refund belongs to its charge's purchase,
    also one that others made."""
    balances = {each.purchase_id: each for each in snapshot.purchases}
    charges: dict[str, list[ChargeRecord]] = defaultdict(list)
    refunds: dict[str, list[RefundRecord]] = defaultdict(list)
    charged = {charge.reference: purchase_of(charge.key) for charge in statement.charges}
    for charge in statement.charges:
        charges[purchase_of(charge.key)].append(charge)
    for refund in statement.refunds:
        purchase_id = charged.get(refund.charge_reference) or purchase_of(refund.refund_id)
        refunds[purchase_id].append(refund)
    unreadable: dict[str, list[UnreadableRecord]] = defaultdict(list)
    for record in statement.unreadable:
        unreadable[purchase_of(record.key)].append(record)
    for purchase_id in sorted(
        balances.keys() | charges.keys() | refunds.keys() | unreadable.keys()
    ):
        handled = snapshot.handled.get(purchase_id, ())
        disputes = frozenset(each.reference for each in handled if each.kind == "dispute")
        yield PurchaseRecords(
            purchase_id,
            "open" if purchase_id in running else None,
            balances.get(purchase_id),
            snapshot.proofs.get(purchase_id),
            tuple(charges[purchase_id]),
            tuple(refunds[purchase_id]),
            tuple(unreadable[purchase_id]),
            purchase_id in snapshot.registered,
            snapshot.moves.get(purchase_id, ()),
            disputes,
            handled,
        )


def hold_of(balances: PurchaseBalances) -> Money:
    """What was held, wherever it is now."""
    total = balances.held + balances.in_transit + balances.refunded + balances.released
    return Money(amount=total + balances.charged_back, currency=balances.currency)
