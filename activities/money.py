"""The activities that move money at the provider, in the ledger, or at both.

Each may be retried after a crash at any point: it looks up what provider and ledger have under the
same keys and continues from there, so money moves once. Amounts are minor units, times UTC.
Failures are ApplicationErrors with a message for the reader of the Temporal Web UI and an ErrorType
as type: an unreachable service is retried, a rejection needs a person. No message, answer or log
line contains a payment method.
"""

import hashlib
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.amounts import UnknownCurrency, check_for_new_purchases
from activities.calendar import UnknownCalendar, check_calendar
from activities.database import DatabaseUnreachable, SchemaMismatch
from activities.ledger import BoughtPurchase, Ledger, LedgerRejected, PurchaseExists
from activities.payments import (
    ChargeResult,
    PaymentProvider,
    ProviderRejected,
    ProviderUnreachable,
    RefundResult,
)
from activities.requests import (
    CHECK_REFUND,
    LOAD_STATE,
    POST_DECISION,
    POST_PROVIDER_MOVE,
    POST_SETTLEMENT,
    SEND_REFUND,
    TAKE_PAYMENT,
    VOID_PAYMENT,
    DecisionPosting,
    ErrorType,
    LedgerDecision,
    Money,
    PaymentAnswer,
    PaymentRequest,
    Posted,
    ProviderMovePosting,
    RefundAnswer,
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

    def __init__(self, ledger: Ledger, provider: PaymentProvider, seal: Seal = UNENCRYPTED) -> None:
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
        with _as_application_errors(request.payment_method):
            check_calendar(request.calendar, request.timezone)
            charge = self._provider.find_charge(request.key)
            if charge is None:
                check_for_new_purchases(request.price.currency)
            self._register(request, paid=charge is not None and charge.status == "succeeded")
            if charge is None:
                charge = self._provider.charge(
                    request.key, request.price, request.payment_method, request.at
                )
            if charge.status == "succeeded":
                return self._hold(request, charge)
            _log_payment("payment_declined", request)
            text = _without(request.payment_method, charge.text)
            return PaymentAnswer(status="declined", reference=charge.reference, text=text)

    @activity.defn(name=VOID_PAYMENT.name)
    def void_payment(self, request: PaymentRequest) -> PaymentAnswer:
        """Void the charge so that it is never made; if it was made, hold the money in escrow."""
        with _as_application_errors(request.payment_method):
            found = self._provider.find_charge(request.key)
            self._register(request, paid=found is not None and found.status == "succeeded")
            charge = self._provider.void(
                request.key, request.price, request.payment_method, request.at
            )
            if charge is not None:
                return self._hold(request, charge)
            _log_payment("payment_voided", request)
            return PaymentAnswer(status="voided")

    @activity.defn(name=POST_DECISION.name)
    def post_decision(self, request: DecisionPosting) -> Posted:
        """Post a decision: `refund` moves to refunds in transit, `release` to the freelancer.

        A refund is sent only after its decision was posted. So the provider is asked before a new
        decision: if it has a refund already, the ledger has lost the decision that sent it.
        """
        with _as_application_errors():
            self._check_nothing_refunded(request)
            created = self._ledger.decide(
                key=request.key,
                purchase_id=request.purchase_id,
                refund=request.refund,
                release=request.release,
                currency=request.currency,
                at=request.at,
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
        return Posted(key=request.key, created=created)

    @activity.defn(name=SEND_REFUND.name)
    def send_refund(self, request: RefundRequest) -> RefundAnswer:
        """Send the refund at the provider, unless the provider has it already.

        A new attempt is sent only if the provider's own records say that every earlier one failed:
        a reported failure may be wrong or out of date, and money must not be sent twice.
        """
        return self._refund(request)

    @activity.defn(name=CHECK_REFUND.name)
    def check_refund(self, request: RefundRequest) -> RefundAnswer:
        """Return how the refund ended; send it now if the provider does not know it.

        While the refund is pending, the attempt fails and Temporal retries it after CHECK_EVERY.
        This needs neither a timer nor a workflow task.
        """
        answer = self._refund(request.model_copy(update={"at": _now(request.at)}))
        if answer.status == "pending":
            raise ApplicationError(
                f"The refund of {request.amount} is pending; its status is checked once a day.",
                type=ErrorType.REFUND_PENDING,
                next_retry_delay=CHECK_EVERY,
                category=ApplicationErrorCategory.BENIGN,
            )
        return answer

    @activity.defn(name=POST_SETTLEMENT.name)
    def post_settlement(self, request: SettlementPosting) -> Posted:
        """Post a settlement: the refunded money has reached the client."""
        with _as_application_errors():
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
        with _as_application_errors():
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
        with _as_application_errors():
            saved = self._ledger.adopt(request.purchase_id, request.run_id, request.first_run)
            try:
                document = self._seal.unseal(saved.document)
            except Unreadable as error:  # somebody may give the worker the key
                raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
            decision = self._decision_of(request.purchase_id) if saved.kind == "terms" else None
        log.info("purchase_adopted", purchase_id=request.purchase_id, run_id=request.run_id)
        return SavedStateAnswer(kind=saved.kind, document=json.loads(document), decision=decision)

    def _decision_of(self, purchase_id: str) -> LedgerDecision | None:
        found = self._ledger.decision(purchase_id)
        return LedgerDecision(**vars(found)) if found else None

    def _register(self, request: PaymentRequest, *, paid: bool = False) -> None:
        purchase = BoughtPurchase(
            purchase_id=request.purchase_id,
            client=request.client,
            freelancer=request.freelancer,
            amount=request.price.amount,
            currency=request.price.currency,
            terms=request.terms,
            terms_hash=hashlib.sha256(request.document.encode()).hexdigest(),
            first_run=request.first_run,
            at=request.at,
            document=self._seal.seal(request.document),
        )
        self._ledger.register(purchase, paid=paid)

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
        with _as_application_errors(request.payment_method):
            refund = self._find_attempt(request)
            if refund is None:
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
        text = _without(request.payment_method, refund.text)
        return RefundAnswer(status=refund.status, reference=refund.reference, text=text)

    def _check_nothing_refunded(self, request: DecisionPosting) -> None:
        """Raise UNKNOWN_REFUND if the provider has refunded money that is in escrow here."""
        balances = self._ledger.balances(request.purchase_id)
        if balances is None or not balances.held:
            return
        refunds = self._provider.refunds_of(request.charge_reference, _now(request.at))
        amounts = [str(refund.amount) for refund in refunds if refund.status != "failed"]
        if amounts:
            raise ApplicationError(
                f"The payment provider has refunded {' + '.join(amounts)}, but the ledger has no "
                "decision about it. No other decision is posted, so that no money is paid twice. "
                f"Run: recourse restore {shlex.quote(request.purchase_id)}",
                type=ErrorType.UNKNOWN_REFUND,
                non_retryable=True,
            )

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


@contextmanager
def _as_application_errors(payment_method: str = "") -> Iterator[None]:
    """Turn the errors of provider and ledger into ApplicationErrors with a readable message.

    Causes are dropped: Temporal would store their message and stack trace in history.
    """
    try:
        yield
    except ProviderUnreachable as error:
        raise ApplicationError(
            f"The payment provider cannot be reached: {_without(payment_method, str(error))}",
            type=ErrorType.PROVIDER_UNREACHABLE,
        ) from None
    except ProviderRejected as error:
        raise ApplicationError(
            f"The payment provider rejected the request: {_without(payment_method, str(error))}",
            type=ErrorType.PROVIDER_REJECTED,
            non_retryable=True,
        ) from None
    except (DatabaseUnreachable, SchemaMismatch) as error:  # somebody may run setup
        raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
    except UnknownCalendar as error:
        raise ApplicationError(
            str(error), type=ErrorType.UNKNOWN_CALENDAR, non_retryable=True
        ) from None
    except UnknownCurrency as error:
        raise ApplicationError(
            f"price.currency: {error}.", type=ErrorType.WITHDRAWN_CURRENCY, non_retryable=True
        ) from None
    except PurchaseExists as error:
        raise ApplicationError(
            str(error), type=ErrorType.PURCHASE_EXISTS, non_retryable=True
        ) from None
    except LedgerRejected as error:
        _count_rejection(error.code)
        raise ApplicationError(
            f"The ledger rejected the operation: {error.text}",
            error.code,
            type=ErrorType.LEDGER_REJECTED,
            non_retryable=True,
        ) from None


def _count_rejection(code: str) -> None:
    if activity.in_activity():
        rejections = activity.metric_meter().create_counter(
            "recourse_ledger_rejections", "Operations that the ledger rejected"
        )
        rejections.add(1, {"code": code})


def _without(payment_method: str, text: str) -> str:
    """Return `text` without the payment method, which providers quote in their messages."""
    return text.replace(payment_method, "the payment method") if payment_method else text
