"""The payment of a purchase that was paid before, by the provider's name for it.

What is not the payment of this purchase is declined, with a reason: the purchase closes, and takes
no money. A payment that the ledger holds stays held, also if it was refunded since.
"""

from datetime import datetime

from activities.ledger import Ledger
from activities.payments import ChargeResult, PaymentProvider, PaymentReport, ProviderRejected
from activities.requests import Money, PaymentRequest


def find_payment(
    ledger: Ledger, provider: PaymentProvider, request: PaymentRequest
) -> ChargeResult:
    """Find and claim the payment that the client made before; `declined`, if it is not one of this
    purchase. Raises ProviderUnreachable, and ProviderRejected if a held payment is unknown."""
    reference, at = request.payment_reference, request.at
    payment = provider.payment(reference, at)
    if ledger.balances(request.purchase_id) is not None:
        return _held(payment, reference)
    problem = why_not_payable(ledger, payment, request.key, request.price)
    if payment is None or problem:
        return _declined(reference, problem)
    return _claimed(provider, request, payment, at)


_TAKEN = "This payment belongs to another purchase."


def _held(payment: PaymentReport | None, reference: str) -> ChargeResult:
    """An earlier attempt has held it, and its answer was lost."""
    if payment is None:
        raise ProviderRejected(f"it does not know the payment {reference}, which is held.")
    return ChargeResult("succeeded", payment.captured, payment.reference)


def _claimed(
    provider: PaymentProvider, request: PaymentRequest, payment: PaymentReport, at: datetime
) -> ChargeResult:
    try:
        claimed = provider.claim(request.key, payment.reference, at)
    except ProviderRejected as error:
        return _declined(payment.reference, str(error))
    reference = claimed.reference if claimed else payment.reference
    return ChargeResult("succeeded", payment.captured, reference)


def _declined(reference: str, text: str) -> ChargeResult:
    return ChargeResult("declined", reference=reference, text=text)


def why_not_payable(ledger: Ledger, payment: PaymentReport | None, key: str, price: Money) -> str:
    """Why a payment that was made before is not that of the purchase with this key and price; empty
    if it is."""
    if payment is None:
        return "The payment provider does not know this payment."
    if payment.key not in ("", key) or ledger.purchase_of_charge(payment.reference) is not None:
        return _TAKEN
    if payment.captured is None:
        return "This payment was not made."
    if payment.captured != price:
        return f"This is a payment of {payment.captured}, not {price}."
    if any(refund.status != "failed" for refund in payment.refunds):
        return "This payment was refunded, at least in part."
    if any(dispute.status in ("opened", "lost") for dispute in payment.disputes):
        return "The client's bank disputes this payment."
    return ""
