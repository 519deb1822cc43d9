"""What the ledger has of money that moved at the provider without Recourse, compared with the
provider's records: bank disputes and refunds made elsewhere. Without I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from activities.amounts import format_amount
from activities.ledger import ProviderMove
from activities.ledger.operations import bank_disputes, escrow
from activities.payments import BankDispute, RefundRecord
from activities.requests import ProviderMoveKind

WITHDRAWN = ("opened", "lost")
"""The states of a dispute in which the bank has the money."""


@dataclass(frozen=True)
class Moves:
    """The ledger's moves of one purchase, in minor units."""

    purchase_id: str
    posted: tuple[ProviderMove, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(each.key for each in self.posted)

    @property
    def disputes(self) -> frozenset[str]:
        """The provider's names of the bank disputes."""
        return frozenset(each.reference for each in self.posted if is_dispute(each.kind))

    @property
    def elsewhere(self) -> int:
        """What others refunded before the decision and the client has."""
        failed = _sum(self.posted, "refund_elsewhere_failed")
        return _sum(self.posted, "refunded_elsewhere") - failed

    @property
    def left_escrow(self) -> int:
        """What left escrow without a decision."""
        account = escrow(self.purchase_id)
        return self.elsewhere + sum(
            each.amount * (1 if each.debit_account == account else -1)
            for each in self.posted
            if each.kind in ("bank_dispute_opened", "bank_dispute_won")
            and account in (each.debit_account, each.credit_account)
        )

    @property
    def in_dispute(self) -> int:
        """What is in bank disputes that are neither won nor lost."""
        account = bank_disputes(self.purchase_id)
        into = sum(each.amount for each in self.posted if each.credit_account == account)
        return into - sum(each.amount for each in self.posted if each.debit_account == account)

    def has_refund(self, refund: RefundRecord) -> bool:
        """Whether this refund is one that others made, and is posted as such."""
        return bool(refund.reference) and any(
            each.kind == "refunded_elsewhere" and each.reference == refund.reference
            for each in self.posted
        )

    def kept_by_bank(self, dispute_id: str) -> tuple[int, int]:
        """What the bank has because of this dispute, and how much of it for good."""
        posted = [each for each in self.posted if each.reference == dispute_id]
        loss = _sum(posted, "bank_dispute_loss")
        open_or_lost = _sum(posted, "bank_dispute_opened") - _sum(posted, "bank_dispute_won")
        return open_or_lost + loss, _sum(posted, "bank_dispute_lost") + loss

    def compare_disputes(
        self, disputes: Iterable[BankDispute], currency: str, known: frozenset[str]
    ) -> Iterator[tuple[BankDispute, str]]:
        """Yield each dispute that the ledger has otherwise than the provider, and what it has.

        `known`: the disputes that the workflow knows. Money that was paid out before is posted only
        when the dispute is lost.
        """
        for dispute in disputes:
            withdrawn = dispute.amount.amount if dispute.status in WITHDRAWN else 0
            kept = withdrawn if dispute.status == "lost" else 0
            if dispute.status == "opened" and dispute.dispute_id in known:
                continue
            has = self.kept_by_bank(dispute.dispute_id)
            if has != (withdrawn, kept) or (withdrawn and dispute.amount.currency != currency):
                with_bank, lost = (format_amount(amount, currency) for amount in has)
                yield dispute, f"{with_bank} at the bank, {lost} of it lost"


def is_dispute(kind: ProviderMoveKind) -> bool:
    return kind.startswith("bank_dispute_")


def _sum(posted: Iterable[ProviderMove], kind: ProviderMoveKind) -> int:
    return sum(each.amount for each in posted if each.kind == kind)
