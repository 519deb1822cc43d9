"""The activities that move money at the provider, in the ledger, or at both.

Each may be retried after a crash at any point: it looks up what provider and ledger have under the
same keys and continues from there, so money moves once. Amounts are minor units, times UTC.
Failures are ApplicationErrors with a message for the reader of the Temporal Web UI and an ErrorType
as type: an unreachable service is retried, a rejection needs a person. No message, answer or log
line contains a payment method.
"""

import json
import shlex
from datetime import datetime, timedelta

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.amounts import check_for_new_purchases
from activities.calendar import check_calendar
from activities.ledger import Ledger, bought
from activities.money_errors import application_errors, without
from activities.payment_reference import find_payment
from activities.payments import (
    ChargeResult,
    PaymentProvider,
    ProviderRejected,
    RefundResult,
)
from activities.requests import (
    CHECK_PAYMENT,
    CHECK_REFUND,
    LOAD_STATE,
    POST_DECISION,
    POST_PROVIDER_MOVE,
    POST_SETTLEMENT,
    SEND_REFUND,
    TAKE_PAYMENT,
    VOID_PAYMENT,
    BankDisputeNews,
    DecisionAnswer,
    DecisionPosting,
    ErrorType,
    LedgerDecision,
    Money,
    PaymentAnswer,
    PaymentNews,
    PaymentQuery,
    PaymentRequest,
    Posted,
    ProviderMovePosting,
    RefundAnswer,
    RefundNews,
    RefundRequest,
    SavedStateAnswer,
    SavedStateRequest,
    SettlementPosting,
)
from activities.sealing import UNENCRYPTED, Seal, Unreadable

log = structlog.get_logger()

CHECK_EVERY = timedelta(hours=24)
"""The interval between status checks of a pending refund: the fallback for a missing webhook."""


class MoneyActivities:
    """Moves the money of purchases between a payment provider and the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        provider: PaymentProvider,
        seal: Seal = UNENCRYPTED,
    ) -> None:
        self._ledger = ledger
        self._provider = provider
        self._seal = seal

    @activity.defn(name=TAKE_PAYMENT.name)
    def take_payment(self, request: PaymentRequest) -> PaymentAnswer:
        """Charge the client and hold the money in escrow; if declined, post nothing.

        The charge is always looked up first: an earlier attempt may have made it and lost the
        answer. What is bought is registered in the ledger before the client is charged, so that
        the purchase id is used once.
        """
        with application_errors(request.payment_method):
            charge = self._provider.find_charge(request.key)
            if charge is None:
                check_calendar(request.calendar, request.timezone)
                check_for_new_purchases(request.price.currency)
            self._register(request, paid=charge is not None and charge.status == "succeeded")
            if request.payment_reference:
                charge = find_payment(self._ledger, self._provider, request)
            elif charge is None or charge.status == "needs_client":
                charge = self._provider.charge(
                    request.key, request.price, request.payment_method, request.at
                )
            if charge.status == "succeeded":
                return self._hold(request, charge)
            if charge.status == "needs_client":
                _log_payment("payment_needs_client", request)
                return PaymentAnswer(
                    status="needs_client",
                    reference=charge.reference,
                    confirm_url=charge.confirm_url,
                )
            _log_payment("payment_declined", request)
            text = without(request.payment_method, charge.text)
            return PaymentAnswer(status="declined", reference=charge.reference, text=text)

    @activity.defn(name=VOID_PAYMENT.name)
    def void_payment(self, request: PaymentRequest) -> PaymentAnswer:
        """Void the charge so that it is never made; if it was made, hold the money in escrow."""
        with application_errors(request.payment_method):
            found = self._provider.find_charge(request.key)
            self._register(request, paid=found is not None and found.status == "succeeded")
            charge: ChargeResult | None
            if request.payment_reference:
                charge = find_payment(self._ledger, self._provider, request)
            else:
                charge = self._provider.void(
                    request.key, request.price, request.payment_method, request.at
                )
            if charge is not None and charge.status == "succeeded":
                return self._hold(request, charge)
            _log_payment("payment_voided", request)
            return PaymentAnswer(status="voided")

    @activity.defn(name=POST_DECISION.name)
    def post_decision(self, request: DecisionPosting) -> DecisionAnswer:
        """Post a decision: `refund` moves to refunds in transit, `release` to the freelancer.

        The provider is asked before a new decision. If a bank disputes the payment, or somebody
        else has refunded it, and the workflow does not know, nothing is posted and the answer has
        the news. A refund of ours is sent only after its decision was posted: if the provider has
        one already, the ledger has lost the decision. Only the workflow that was registered, or
        that `adopt` began, decides: no other one's state is believed.
        """
        with application_errors():
            if news := self._news_before_decision(request):
                log.warning("decision_has_to_wait", purchase_id=request.purchase_id)
                return DecisionAnswer(key=request.key, created=False, news=news)
            created = self._ledger.decide(
                key=request.key,
                purchase_id=request.purchase_id,
                refund=request.refund,
                release=request.release,
                currency=request.currency,
                at=request.at,
                first_run=request.first_run,
            )
        log.info(
            "decision_posted",
            purchase_id=request.purchase_id,
            key=request.key,
            amount=request.refund + request.release,
            refund=request.refund,
            release=request.release,
            currency=request.currency,
            created=created,
        )
        return DecisionAnswer(key=request.key, created=created)

    @activity.defn(name=CHECK_PAYMENT.name)
    def check_payment(self, request: PaymentQuery) -> PaymentNews:
        """Return everything that the provider has about one charge."""
        with application_errors():
            return self._news(request.charge_reference, _now(request.at))

    @activity.defn(name=SEND_REFUND.name)
    def send_refund(self, request: RefundRequest) -> RefundAnswer:
        """Send the refund at the provider, unless the provider has it already. What the ledger does
        not have in transit is not sent.

        A new attempt is sent only if the provider's own records say that every earlier one failed:
        a reported failure may be wrong or out of date, and money must not be sent twice.
        """
        return self._refund(request)

    @activity.defn(name=CHECK_REFUND.name)
    def check_refund(self, request: RefundRequest) -> RefundAnswer:
        """Return how the refund stands when it is not as the workflow knows it; send it now if the
        provider does not know it.

        While nothing has changed, the attempt fails and Temporal retries it after CHECK_EVERY. This
        needs neither a timer nor a workflow task.
        """
        answer = self._refund(request.model_copy(update={"at": _now(request.at)}))
        if (answer.status, answer.text) == (request.known_status, request.known_text):
            raise ApplicationError(
                f"The refund of {request.amount} is {answer.status}; its status is checked once a "
                "day.",
                type=ErrorType.REFUND_PENDING,
                next_retry_delay=CHECK_EVERY,
                category=ApplicationErrorCategory.BENIGN,
            )
        return answer

    @activity.defn(name=POST_SETTLEMENT.name)
    def post_settlement(self, request: SettlementPosting) -> Posted:
        """Post a settlement: the refunded money has reached the client."""
        with application_errors():
            created = self._ledger.settle(
                key=request.key,
                purchase_id=request.purchase_id,
                amount=request.amount,
                currency=request.currency,
                at=request.at,
                reference=request.reference,
            )
        log.info(
            "settlement_posted",
            purchase_id=request.purchase_id,
            key=request.key,
            amount=request.amount,
            currency=request.currency,
            created=created,
        )
        return Posted(key=request.key, created=created)

    @activity.defn(name=POST_PROVIDER_MOVE.name)
    def post_provider_move(self, request: ProviderMovePosting) -> Posted:
        """Post money that moved at the provider without Recourse: see ProviderMoveKind."""
        with application_errors():
            created = self._ledger.provider_moved(**request.model_dump())
        log.info(
            "provider_move_posted",
            purchase_id=request.purchase_id,
            key=request.key,
            move=request.kind,
            account=request.account,
            amount=request.amount,
            currency=request.currency,
            created=created,
        )
        return Posted(key=request.key, created=created)

    @activity.defn(name=LOAD_STATE.name)
    def load_saved_state(self, request: SavedStateRequest) -> SavedStateAnswer:
        """Return what a purchase is continued from; no other workflow gets it from now on."""
        with application_errors():
            saved = self._ledger.adopt(request.purchase_id, request.run_id, request.first_run)
            try:
                document = self._seal.unseal(saved.document)
            except Unreadable as error:  # somebody may give the worker the key
                raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
            decision = self._decision_of(request.purchase_id)
        log.info("purchase_adopted", purchase_id=request.purchase_id, run_id=request.run_id)
        return SavedStateAnswer(kind=saved.kind, document=json.loads(document), decision=decision)

    def _decision_of(self, purchase_id: str) -> LedgerDecision | None:
        found = self._ledger.decision(purchase_id)
        return LedgerDecision(**vars(found)) if found else None

    def _register(self, request: PaymentRequest, *, paid: bool = False) -> None:
        self._ledger.register(bought(request, self._seal), paid=paid)

    def _hold(self, request: PaymentRequest, charge: ChargeResult) -> PaymentAnswer:
        _check_amount("charge", requested=request.price, made=charge.charged)
        created = self._ledger.hold(
            key=request.key,
            purchase_id=request.purchase_id,
            amount=request.price.amount,
            currency=request.price.currency,
            at=request.at,
            charge=charge.reference,
        )
        _log_payment("payment_held", request, created=created)
        return PaymentAnswer(status="held", reference=charge.reference)

    def _refund(self, request: RefundRequest) -> RefundAnswer:
        with application_errors(request.payment_method):
            refund = self._find_attempt(request)
            if refund is None:
                charge = request.charge_reference
                self._ledger.check_refund(request.purchase_id, request.amount, charge)
                refund = self._provider.refund(
                    request.refund_id, request.charge_reference, request.amount, request.at
                )
                log.info(
                    "refund_sent",
                    purchase_id=request.purchase_id,
                    key=request.refund_id,
                    amount=request.amount.amount,
                    currency=request.amount.currency,
                )
            _check_amount("refund", requested=request.amount, made=refund.amount)
        text = without(request.payment_method, refund.text)
        return RefundAnswer(
            status=refund.status,
            reference=refund.reference,
            text=text,
            cancelled=refund.cancelled,
        )

    def _news(self, charge_reference: str, at: datetime) -> PaymentNews:
        payment = self._provider.payment(charge_reference, at)
        if payment is None:
            raise ProviderRejected(f"it does not know the charge {charge_reference}.")
        disputes = (
            BankDisputeNews(
                dispute_id=dispute.dispute_id,
                status=dispute.status,
                amount=dispute.amount.amount,
                reason=dispute.reason,
            )
            for dispute in payment.disputes
        )
        refunds = (
            RefundNews(
                refund_id=refund.refund_id,
                reference=(refund.refund_id and refund.bank_reference) or refund.reference,
                amount=refund.amount.amount,
                status=refund.status,
                text=refund.text,
                cancelled=refund.cancelled,
            )
            for refund in payment.refunds
        )
        return PaymentNews(disputes=tuple(disputes), refunds=tuple(refunds))

    def _news_before_decision(self, request: DecisionPosting) -> PaymentNews | None:
        """What the workflow does not know and must. Raises UNKNOWN_REFUND if the provider has a
        refund of ours about which the ledger has no decision."""
        balances = self._ledger.balances(request.purchase_id)
        if balances is None or not balances.held:
            return None
        news = self._news(request.charge_reference, _now(request.at))
        ours = [refund for refund in news.refunds if refund.refund_id]
        amounts = [
            str(Money(amount=refund.amount, currency=request.currency))
            for refund in ours
            if refund.status != "failed"
        ]
        if amounts:
            raise ApplicationError(
                f"The payment provider has refunded {' + '.join(amounts)}, but the ledger has no "
                "decision about it. No other decision is posted, so that no money is paid twice. "
                f"Run: recourse restore {shlex.quote(request.purchase_id)}",
                type=ErrorType.UNKNOWN_REFUND,
                non_retryable=True,
            )
        return news if news.is_new_to(request.known) else None

    def _find_attempt(self, request: RefundRequest) -> RefundResult | None:
        """Return this attempt if the provider has it, or an earlier attempt that did not fail."""
        for refund_id in (request.refund_id, *request.earlier):
            refund = self._provider.find_refund(refund_id, request.charge_reference, request.at)
            if refund and (refund_id == request.refund_id or refund.status != "failed"):
                return refund
        return None


def _now(at: datetime) -> datetime:
    """The purchase's own time; an attempt may run long after the request `at`."""
    return max(at, activity.info().current_attempt_scheduled_time)


def _check_amount(what: str, *, requested: Money, made: Money | None) -> None:
    """Reject what a look-up by key found if its amount differs, as with another ledger's keys."""
    if made != requested:
        raise ProviderRejected(f"it has a {what} of {made} under the same key, not {requested}.")


def _log_payment(event: str, request: PaymentRequest, **more: bool) -> None:
    log.info(
        event,
        purchase_id=request.purchase_id,
        key=request.key,
        amount=request.price.amount,
        currency=request.price.currency,
        **more,
    )
