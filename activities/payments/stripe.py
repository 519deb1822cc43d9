"""Stripe, through its own SDK. Each charge and refund is made once, also when connections fail.

A charge: a PaymentIntent is created, which takes no money, and then confirmed. An intent pays at
most once, so the confirmation needs no idempotency key: a second one is rejected, and the intent
has the status. If the client's bank wants the client to confirm, the intent waits for it. To void a
payment, the intent is cancelled. Stripe may forget a key after 24 hours and then creates a second
intent, so charges and older intents are looked up before an intent is confirmed.

A refund: it is created under its idempotency key, after a look-up among the refunds of its charge
found nothing. Stripe stores errors under a key and replays them. The next key is tried only if an
error was replayed and a look-up shows that the refund does not exist.

Recourse's references are the intent's `transfer_group`, by which charges are listed (Stripe's
search is delayed, its lists are not), and the metadata. Like idempotency keys they begin with the
deployment's name, because other deployments may use the same account.

After a timeout, 5xx, 409 or 429 the outcome is unknown, not failed. The SDK does not retry:
Temporal does, and shows it.
"""

from collections.abc import Collection
from datetime import datetime

import stripe

from activities.keys import purchase_of
from activities.payments import PaymentReport, ProviderRejected, Statement
from activities.payments.stripe_calls import provider_errors
from activities.payments.stripe_charges import StripeCharges
from activities.payments.stripe_records import (
    CHARGE_KEY,
    bank_dispute,
    by_payment,
    captured_of,
    id_of,
    is_paid,
    payment_of,
    refund_record,
    refund_result,
    written,
)
from activities.payments.stripe_refunds import StripeRefunds
from activities.payments.stripe_statement import read_statement
from activities.payments.stripe_webhooks import PaymentEvent, verified


class StripeProvider(StripeCharges, StripeRefunds):
    """The PaymentProvider of production, for one deployment.

    Amounts that Stripe cannot express (1.005 KWD) are rejected before any call.
    """

    def payment(self, charge_reference: str, at: datetime) -> PaymentReport | None:
        with provider_errors():
            found = self._payment(charge_reference)
            if found is None:
                return None
            made, charge = found
            reference = payment_of(charge) if charge else made.id
            refunds = [refund_record(each, self._names) for each in self._refunds(reference)]
            disputes = self._stripe.v1.disputes.list(by_payment(reference, limit=100))
            return PaymentReport(
                reference,
                captured_of(charge) if charge and is_paid(charge) else None,
                self._names.key_of(charge or made),
                tuple(refunds),
                tuple(bank_dispute(each) for each in disputes.auto_paging_iter()),
            )

    def claim(self, key: str, charge_reference: str, at: datetime) -> PaymentReport | None:
        with provider_errors():
            found = self._payment(charge_reference)
            if found is None:
                return None
            made, charge = found
            if charge is None:
                raise ProviderRejected(f"Nothing was paid with {made.id} at Stripe.")
            self._mark(charge, self._named(key))
        return self.payment(payment_of(charge), at)

    def _mark(self, charge: stripe.Charge, name: str) -> None:
        """Give the charge and its intent the name of a charge of this deployment. Stripe sets a
        transfer group once, so two purchases that claim the same charge cannot both get it."""
        _check_unmarked(charge, name)
        if charge.transfer_group != name or written(charge, CHARGE_KEY) != name:
            try:
                self._stripe.v1.charges.update(
                    charge.id,
                    {"metadata": {CHARGE_KEY: name}}
                    if charge.transfer_group
                    else {"metadata": {CHARGE_KEY: name}, "transfer_group": name},
                )
            except stripe.InvalidRequestError:  # another purchase was faster
                _check_unmarked(self._stripe.v1.charges.retrieve(charge.id), name)
                raise
        if intent := id_of(charge.payment_intent):
            self._stripe.v1.payment_intents.update(intent, {"metadata": {CHARGE_KEY: name}})

    def statement(self, since: datetime | None = None, also: Collection[str] = ()) -> Statement:
        with provider_errors():
            return read_statement(self._stripe, self._names, self._last_charge, since, also)

    def _last_charge(self, reference: str) -> stripe.Charge | None:
        found = self._payment(reference)
        return found[1] if found else None

    def read_webhook(self, body: bytes, signature: str, secret: str) -> PaymentEvent | None:
        """Return which payment of this deployment a webhook is about; None if it is about another
        payment, or of a type that does not matter.

        Of a refund the present status is fetched. Raises InvalidSignature, ProviderUnreachable, and
        ProviderRejected if Stripe does not know the object.
        """
        about = verified(body, signature, secret)
        if about is None:
            return None
        with provider_errors():
            match about.kind:
                case "refund":
                    refund = self._stripe.v1.refunds.retrieve(about.id)
                    if refund_id := self._names.refund_id_of(refund):
                        return PaymentEvent(
                            about.event_id,
                            about.type,
                            purchase_of(refund_id),
                            refund_id,
                            refund_result(refund),
                        )
                    key = self._key_of_charge(id_of(refund.charge))
                case "dispute":
                    dispute = self._stripe.v1.disputes.retrieve(about.id)
                    key = self._key_of_charge(id_of(dispute.charge))
                case _ if about.snapshot is not None:
                    was = about.snapshot
                    key = self._names.key_in(was.get("metadata"), was.get("transfer_group"))
                case "charge":
                    key = self._key_of_charge(about.id)
                case _:
                    intent = self._stripe.v1.payment_intents.retrieve(about.id)
                    key = self._names.key_of(intent)
        return PaymentEvent(about.event_id, about.type, purchase_of(key)) if key else None

    def _key_of_charge(self, charge: str) -> str:
        return self._names.key_of(self._stripe.v1.charges.retrieve(charge))


def _check_unmarked(charge: stripe.Charge, name: str) -> None:
    """Raise ProviderRejected for a charge that has another name than this one."""
    marked = written(charge, CHARGE_KEY)
    if marked and marked != name:
        raise ProviderRejected(f"The payment {payment_of(charge)} already belongs to {marked}.")
    if charge.transfer_group and charge.transfer_group != name:
        raise ProviderRejected(
            f"The payment {payment_of(charge)} has the transfer group {charge.transfer_group!r} at"
            " Stripe. Recourse needs this field: create payments without it."
        )
