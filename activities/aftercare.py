"""What an aftercare case needs to know of a closed purchase, whose workflow may be gone: from the
ledger and the provider."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.keys import workflow_id_of
from activities.ledger import Ledger, Posting
from activities.ledger.history import closed_at
from activities.ledger.operations import escrow, refunds_in_transit
from activities.ledger.states import TERMS
from activities.money_errors import application_errors
from activities.payments import PaymentProvider, RefundRecord
from activities.requests import (
    LOAD_CLOSED,
    RECORD_NEWS,
    ClosedPurchase,
    ClosedPurchaseRequest,
    ErrorType,
    LedgerDecision,
    MoveAccount,
    NewsRecord,
    NewsRecorded,
    ProviderMovePosting,
    RefundNews,
)
from activities.sealing import UNENCRYPTED, Seal, Unreadable

DECISIONS = ("refund", "release", "split")


class AftercareActivities:
    """Reads closed purchases, and records which news about them were handled."""

    def __init__(self, ledger: Ledger, provider: PaymentProvider, seal: Seal = UNENCRYPTED) -> None:
        self._ledger = ledger
        self._provider = provider
        self._seal = seal

    @activity.defn(name=LOAD_CLOSED.name)
    def load_closed_purchase(self, request: ClosedPurchaseRequest) -> ClosedPurchase:
        """Return what ledger and provider have of a purchase that was closed.

        Raises INVALID_INPUT if the ledger has no such purchase, or if it was never closed.
        """
        with application_errors():
            purchase_id = request.purchase_id
            saved = self._ledger.find_state(purchase_id, TERMS)
            if saved is None:
                raise _invalid(f"The ledger has no terms of purchase {purchase_id}.")
            posted = self._ledger.postings(purchase_id)
            ended_at = closed_at(purchase_id, posted)
            if ended_at is None:
                raise _invalid(
                    f"Purchase {purchase_id} is not closed: the ledger has money inside, or never "
                    "held any."
                )
            try:
                document = self._seal.unseal(saved.document)
            except Unreadable as error:  # somebody may give the worker the key
                raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
            charge = next(each.reference for each in posted if each.kind == "hold")
            attempts = self._attempts(purchase_id, charge, max(request.at, ended_at))
            settled = [each for each in posted if each.kind == "settled"]
            proof = settled[-1].reference if settled else ""
            return ClosedPurchase(
                document=json.loads(document),
                charge_reference=charge,
                decision=_decision(purchase_id, posted),
                in_transit=_balance(posted, refunds_in_transit(purchase_id)),
                attempts=tuple(attempts),
                settlements=len(settled),
                settled_attempt=self._settled_attempt(attempts, charge, proof, request.at),
                settled_at=settled[-1].at if settled else None,
                moves=tuple(_moves(purchase_id, posted, json.loads(document)["price"]["currency"])),
                closed_at=ended_at,
                handled=self._ledger.handled_news(purchase_id),
            )

    @activity.defn(name=RECORD_NEWS.name)
    def record_news(self, request: NewsRecord) -> NewsRecorded:
        """Record the news that a purchase or its case has handled: the audit opens no case for them
        any more."""
        with application_errors():
            return NewsRecorded(created=self._ledger.record_news(request))

    def _attempts(self, purchase_id: str, charge: str, at: datetime) -> list[RefundNews]:
        """Our refunds at the provider, by the number of the attempt. A gap ends the list."""
        payment = self._provider.payment(charge, at)
        refunds = {each.refund_id: each for each in payment.refunds} if payment else {}
        found: list[RefundNews] = []
        while refund := refunds.get(refund_id_of(purchase_id, len(found) + 1)):
            found.append(_news(refund))
        return found

    def _settled_attempt(
        self, attempts: Sequence[RefundNews], charge: str, proof: str, at: datetime
    ) -> int:
        """The attempt that the proof of the settlement names; 0 if it is another proof. A bank's
        reference may have come later than the proof, or with it."""
        for number, each in enumerate(attempts, start=1):
            names = {each.refund_id, each.reference}
            if proof not in names:
                found = self._provider.find_refund(each.refund_id, charge, at)
                names |= {found.reference} if found else set()
            if proof in names:
                return number
        return 0


def refund_id_of(purchase_id: str, attempt: int) -> str:
    """Our name for a refund attempt; see `State.refund_id`."""
    return f"{workflow_id_of(purchase_id)}/refund" + (f"-{attempt}" if attempt > 1 else "")


def _news(refund: RefundRecord) -> RefundNews:
    return RefundNews(
        refund_id=refund.refund_id,
        reference=refund.reference,
        amount=refund.amount.amount,
        status=refund.status,
        text=refund.text,
    )


def _balance(posted: Iterable[Posting], account: str) -> int:
    return sum(
        each.amount * ((each.credit_account == account) - (each.debit_account == account))
        for each in posted
    )


def _decision(purchase_id: str, posted: Sequence[Posting]) -> LedgerDecision | None:
    legs = [each for each in posted if each.kind in DECISIONS]
    if not legs:
        return None
    transit = refunds_in_transit(purchase_id)
    refund = sum(each.amount for each in legs if each.credit_account == transit)
    release = sum(each.amount for each in legs) - refund
    return LedgerDecision(refund=refund, release=release, at=legs[0].at)


def _moves(
    purchase_id: str, posted: Iterable[Posting], currency: str
) -> Iterable[ProviderMovePosting]:
    """What moved at the provider without Recourse. What a bank gave back or kept has the account
    that it was taken from."""
    ours: dict[str, MoveAccount] = {
        escrow(purchase_id): "escrow",
        refunds_in_transit(purchase_id): "in_transit",
        f"platform-losses:{currency}": "platform_losses",
        f"freelancer-receivable:{purchase_id}": "freelancer_receivable",
    }
    taken: dict[str, MoveAccount] = {}
    for each in posted:
        if each.kind in ("hold", "settled", *DECISIONS):
            continue
        account = ours.get(each.debit_account) or ours.get(each.credit_account)
        account = account or taken[each.reference]
        taken[each.reference] = account
        yield ProviderMovePosting.model_validate(
            {
                "key": each.key,
                "purchase_id": purchase_id,
                "kind": each.kind,
                "account": account,
                "amount": each.amount,
                "currency": currency,
                "reference": each.reference,
                "at": each.at,
            }
        )


def _invalid(text: str) -> ApplicationError:
    return ApplicationError(text, type=ErrorType.INVALID_INPUT, non_retryable=True)
