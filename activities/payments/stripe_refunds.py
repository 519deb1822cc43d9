"""Refunds at Stripe: sent once."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import stripe

from activities.payments import ProviderRejected, RefundResult
from activities.payments.stripe_account import StripeAccount
from activities.payments.stripe_calls import idempotently, provider_errors
from activities.payments.stripe_records import (
    ELSEWHERE,
    REFUND_KEY,
    by_payment,
    refund_result,
    to_stripe,
    written,
)
from activities.requests import Money


class StripeRefunds(StripeAccount):
    """The part of the PaymentProvider that gives money back."""

    def refund(
        self, refund_id: str, charge_reference: str, amount: Money, at: datetime
    ) -> RefundResult:
        minor, name = to_stripe(amount), self._named(refund_id)

        def create(key: str) -> stripe.Refund:
            return self._stripe.v1.refunds.create(
                by_payment(
                    charge_reference,
                    amount=minor,
                    reason="requested_by_customer",
                    metadata={REFUND_KEY: name},
                ),
                {"idempotency_key": key},
            )

        look_up = partial(self._find_refund, refund_id, charge_reference, amount)
        with provider_errors():
            refund = look_up()
            if refund is None:
                self._check_own(charge_reference)
                refund = idempotently(name, create, look_up)
        result = refund_result(refund)
        if result.amount != amount:
            raise ProviderRejected("This refund id belongs to another refund.")
        return result

    def find_refund(
        self, refund_id: str, charge_reference: str, at: datetime
    ) -> RefundResult | None:
        with provider_errors():
            found = self._find_refund(refund_id, charge_reference)
        return refund_result(found) if found else None

    def _find_refund(
        self, refund_id: str, charge_reference: str, amount: Money | None = None
    ) -> stripe.Refund | None:
        """Return the refund with this id. With an `amount`, raise ProviderRejected if there is
        another of this amount that nobody has named: it may be ours, without its metadata."""
        unnamed = ""
        for refund in self._refunds(charge_reference):
            if self._names.refund_id_of(refund) == refund_id:
                return refund
            found = refund_result(refund)
            is_named = self._names.refund_id_of(refund) or written(refund, REFUND_KEY) == ELSEWHERE
            if found.amount == amount and found.status != "failed" and not is_named:
                unnamed = refund.id
        if unnamed:
            raise ProviderRejected(
                f"Stripe has a refund {unnamed} of {amount} for this payment without the name of"
                " one of Recourse. Nothing more is sent, so that no money is paid twice. If it is"
                f" this refund, mark it settled with {unnamed}; if it is another, give it the"
                f" metadata {REFUND_KEY}={ELSEWHERE} at Stripe and retry."
            )
        return None

    def _refunds(self, reference: str) -> Iterator[stripe.Refund]:
        listed = self._stripe.v1.refunds.list(by_payment(reference, limit=100))
        return listed.auto_paging_iter()
