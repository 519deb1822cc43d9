"""The money activities: one step each at the provider, in the ledger, or at both.

Each may be retried after a crash at any point: it goes on where the books of provider and ledger
stand, under the same keys, and money moves once (RULES.md, Races and Money). Amounts are minor
units, times UTC. Failures are ApplicationErrors whose message is a sentence for the reader of the
Temporal Web UI and whose type is an ErrorType: unreachable is retried, refused needs a person.
Payment methods appear in no message, answer or log line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.calendar import UnknownCalendar, check_calendar
from activities.ledger import LedgerRejected, LedgerUnreachable, SchemaMismatch
from activities.payments import (
    ChargeResult,
    PaymentProvider,
    ProviderRejected,
    ProviderUnreachable,
    RefundResult,
)
from activities.requests import (
    CHECK_REFUND,
    POST_DECISION,
    POST_SETTLEMENT,
    SEND_REFUND,
    TAKE_PAYMENT,
    VOID_PAYMENT,
    DecisionPosting,
    ErrorType,
    Money,
    PaymentAnswer,
    PaymentRequest,
    Posted,
    RefundAnswer,
    RefundRequest,
    SettlementPosting,
)

log = structlog.get_logger()

CHECK_EVERY = timedelta(hours=24)
"""How often the provider is asked about a refund that nobody has reported on."""


class EscrowLedger(Protocol):
    """The part of the ledger that moves money. Each method answers true if this call posted the
    operation, false if the ledger held it already, and raises LedgerRejected or LedgerUnreachable.
    """

    def hold(
        self, *, key: str, purchase_id: str, amount: int, currency: str, at: datetime
    ) -> bool: ...

    def decide(
        self, *, key: str, purchase_id: str, refund: int, release: int, currency: str, at: datetime
    ) -> bool: ...

    def settle(
        self,
        *,
        key: str,
        purchase_id: str,
        amount: int,
        currency: str,
        at: datetime,
        reference: str,
    ) -> bool: ...


class MoneyActivities:
    """Moves the money of purchases between a payment provider and the ledger."""

    def __init__(self, ledger: EscrowLedger, provider: PaymentProvider) -> None:
        self._ledger = ledger
        self._provider = provider

    @activity.defn(name=TAKE_PAYMENT.name)
    def take_payment(self, request: PaymentRequest) -> PaymentAnswer:
        """Charge the client and hold the money in escrow; if declined, post nothing.

        Looked up first, always: an earlier attempt may have charged without hearing the answer.
        """
        with _told_to_a_person(request.payment_method):
            check_calendar(request.calendar, request.timezone)
            charge = self._provider.find_charge(request.key) or self._provider.charge(
                request.key, request.price, request.payment_method, request.at
            )
            if charge.status == "succeeded":
                return self._hold(request, charge)
            _log_payment("payment_declined", request)
            text = _without(request.payment_method, charge.text)
            return PaymentAnswer(status="declined", reference=charge.reference, text=text)

    @activity.defn(name=VOID_PAYMENT.name)
    def void_payment(self, request: PaymentRequest) -> PaymentAnswer:
        """Make sure the charge is never made; if it already was, hold the money in escrow."""
        with _told_to_a_person(request.payment_method):
            charge = self._provider.void(
                request.key, request.price, request.payment_method, request.at
            )
            if charge is not None:
                return self._hold(request, charge)
            _log_payment("payment_voided", request)
            return PaymentAnswer(status="voided")

    @activity.defn(name=POST_DECISION.name)
    def post_decision(self, request: DecisionPosting) -> Posted:
        """Empty the escrow: `refund` goes into transit, `release` to the freelancer's balance."""
        with _told_to_a_person():
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
        """Ask the provider to send the money back; looked up first, so that it is asked once.

        A new attempt is sent only if the provider itself says that every earlier one failed: a
        report of a failure may be false or out of date, and money must not go back twice.
        """
        return self._refund(request)

    @activity.defn(name=CHECK_REFUND.name)
    def check_refund(self, request: RefundRequest) -> RefundAnswer:
        """How the refund ended; one that never arrived at the provider is sent now.

        While it is on its way the attempt fails and the next one comes a day later: the waiting
        costs neither a timer nor a workflow task.
        """
        at = max(request.at, activity.info().current_attempt_scheduled_time)
        answer = self._refund(request.model_copy(update={"at": at}))
        if answer.status == "pending":
            raise ApplicationError(
                f"The refund of {request.amount} is on its way; the provider is asked every day.",
                type=ErrorType.REFUND_PENDING,
                next_retry_delay=CHECK_EVERY,
                category=ApplicationErrorCategory.BENIGN,
            )
        return answer

    @activity.defn(name=POST_SETTLEMENT.name)
    def post_settlement(self, request: SettlementPosting) -> Posted:
        """Post that refunded money has reached the client: it is no longer in transit."""
        with _told_to_a_person():
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

    def _hold(self, request: PaymentRequest, charge: ChargeResult) -> PaymentAnswer:
        _check_amount("charge", asked=request.price, made=charge.charged)
        created = self._ledger.hold(
            key=request.key,
            purchase_id=request.purchase_id,
            amount=request.price.amount,
            currency=request.price.currency,
            at=request.at,
        )
        _log_payment("payment_held", request, created=created)
        return PaymentAnswer(status="held", reference=charge.reference)

    def _refund(self, request: RefundRequest) -> RefundAnswer:
        with _told_to_a_person(request.payment_method):
            refund = self._under_way(request)
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
            _check_amount("refund", asked=request.amount, made=refund.amount)
        text = _without(request.payment_method, refund.text)
        return RefundAnswer(status=refund.status, reference=refund.reference, text=text)

    def _under_way(self, request: RefundRequest) -> RefundResult | None:
        """This attempt if the provider knows it, or an earlier one that did not fail."""
        for refund_id in (request.refund_id, *request.earlier):
            refund = self._provider.find_refund(refund_id, request.charge_reference, request.at)
            if refund and (refund_id == request.refund_id or refund.status != "failed"):
                return refund
        return None


def _check_amount(what: str, *, asked: Money, made: Money | None) -> None:
    """A look-up by key finds whatever was made under it, such as in an older set of books."""
    if made != asked:
        raise ProviderRejected(f"it has a {what} of another amount under the same key.")


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
def _told_to_a_person(payment_method: str = "") -> Iterator[None]:
    """Turn the errors of provider and ledger into ApplicationErrors a person can read. Causes are
    cut off: Temporal would keep their words and stack in history."""
    try:
        yield
    except ProviderUnreachable as error:
        raise ApplicationError(
            f"The payment provider cannot be reached: {_without(payment_method, str(error))}",
            type=ErrorType.PROVIDER_UNREACHABLE,
        ) from None
    except ProviderRejected as error:
        raise ApplicationError(
            f"The payment provider refused: {_without(payment_method, str(error))}",
            type=ErrorType.PROVIDER_REJECTED,
            non_retryable=True,
        ) from None
    except (LedgerUnreachable, SchemaMismatch) as error:  # set up in a moment, perhaps
        raise ApplicationError(str(error), type=ErrorType.LEDGER_UNREACHABLE) from None
    except UnknownCalendar as error:
        raise ApplicationError(
            str(error), type=ErrorType.UNKNOWN_CALENDAR, non_retryable=True
        ) from None
    except LedgerRejected as error:
        _count_refused(error.code)
        raise ApplicationError(
            f"The ledger refused: {error.text}",
            error.code,
            type=ErrorType.LEDGER_REJECTED,
            non_retryable=True,
        ) from None


def _count_refused(code: str) -> None:
    if activity.in_activity():
        rejected = activity.metric_meter().create_counter(
            "recourse_ledger_rejections", "Movements that the ledger refused"
        )
        rejected.add(1, {"code": code})


def _without(payment_method: str, text: str) -> str:
    """`text` with the payment method, which providers like to quote, taken out."""
    return text.replace(payment_method, "the payment method") if payment_method else text
