"""Refunds and their states."""

from tests.stripe import forms
from tests.stripe.forms import Object, Rejection, missing
from tests.stripe.payments import Payments

OPEN = ("pending", "requires_action", "succeeded")
"""The statuses in which a refund counts against its charge."""

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
NEXT = {
    "pending": ("requires_action", "succeeded", "failed", "canceled"),
    "requires_action": ("pending", "succeeded", "failed", "canceled"),
    "succeeded": ("failed",),
}


class Refunds(Payments):
    """The endpoints that refund."""

    new_refunds = "succeeded"
    """The first status of a refund, except for cards that have their own."""

    pending_reason = "processing"
    """Why new refunds are pending, if they are."""

    def create_refund(self, params: Object) -> Object:
        """Refund the requested amount, or the remainder."""
        forms.only(params, ("payment_intent", "charge", "amount", "metadata", "reason"))
        asked = forms.amount(params) if "amount" in params else None
        reason, more = forms.one_of(params, "reason", REASONS), forms.metadata(params)
        charge = self._refundable(params)
        left = charge["amount"] - charge["amount_refunded"]
        if left == 0:
            message = f"Charge {charge['id']} has already been refunded."
            raise Rejection(400, message, kept=True, code="charge_already_refunded")
        if asked is not None and asked > left:
            message = (
                f"Refund amount ({written(asked, charge)}) is greater than unrefunded amount on "
                f"charge ({written(left, charge)})"
            )
            raise Rejection(400, message, kept=True, param="amount")
        card = self.cards.get(charge["payment_method"])
        refund = self.new(
            "re",
            "refund",
            amount=asked or left,
            currency=charge["currency"],
            charge=charge["id"],
            payment_intent=charge["payment_intent"],
            metadata=more,
            reason=reason,
            status=(card and card.refund) or self.new_refunds,
            balance_transaction=None,
            receipt_number=None,
        )
        refund |= self._begun(refund["status"])
        self.refunds[refund["id"]] = refund
        self._count(charge)
        self.emit("refund.created", refund)
        self.emit("charge.refunded", charge)
        return refund

    def _begun(self, status: str) -> Object:
        """Return the fields that depend on the status of a new refund."""
        pending = self.pending_reason if status == "pending" else None
        card = {"type": "pending" if pending else "refund", "reference_status": "pending"}
        return {
            "destination_details": {"type": "card", "card": card},
            "pending_reason": pending,
        }

    def _refundable(self, params: Object) -> Object:
        """Return the succeeded charge that the request names."""
        name, intent = forms.text(params, "charge"), forms.text(params, "payment_intent")
        if name and intent:
            message = "You may only specify one of these parameters: charge, payment_intent."
            raise Rejection(400, message)
        if not name and not intent:
            message = "One of the following params should be provided for this request: "
            raise Rejection(400, message + "payment_intent or charge.")
        if intent and intent not in self.intents:
            raise missing("payment_intent", intent, "payment_intent")
        if name and name not in self.charges:
            raise missing("charge", name, "charge")
        charge = self.charges.get(name or self.intents[intent or ""]["latest_charge"] or "")
        if charge is None or charge["status"] != "succeeded":
            what = f"PaymentIntent ({intent})" if intent else f"charge ({name})"
            message = f"This {what} does not have a successful charge to refund."
            raise Rejection(400, message, kept=True)
        return charge

    def _count(self, charge: Object) -> None:
        """Recount the refunds of the charge, without failed and cancelled ones."""
        about = [each for each in self.refunds.values() if each["charge"] == charge["id"]]
        charge["amount_refunded"] = sum(each["amount"] for each in about if each["status"] in OPEN)
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]

    def refund(self, name: str) -> Object:
        """Return the refund with this id."""
        if name not in self.refunds:
            raise missing("refund", name, "id")
        return self.refunds[name]

    def list_refunds(self, params: Object) -> Object:
        """List the refunds of a charge or of an intent, the newest first."""
        return self.listed(self.refunds, "/v1/refunds", params, "charge", "payment_intent")

    def cancel_refund(self, name: str, params: Object) -> Object:
        """Cancel a refund; Stripe allows it only while it requires action."""
        forms.only(params, ())
        refund = self.refund(name)
        if refund["status"] != "requires_action":
            message = f"A refund with a status of {refund['status']} cannot be canceled."
            raise Rejection(400, message, kept=True)
        self.settle_refund(name, "canceled")
        return refund

    def reference_refund(self, name: str, arn: str) -> None:
        """Set the reference that the card network has given to a refund."""
        refund = self.refund(name)
        known = {"reference": arn, "reference_status": "available"}
        known["reference_type"] = "acquirer_reference_number"
        refund["destination_details"]["card"] |= known
        self.emit("refund.updated", refund, destination_details={})

    def settle_refund(self, name: str, status: str, reason: str | None = None) -> None:
        """Set the refund's next status and emit the events."""
        refund = self.refund(name)
        before = refund["status"]
        if status not in NEXT.get(before, ()):
            raise ValueError(f"a refund that is {before} does not become {status}")
        refund["status"] = status
        if status != "pending":
            refund["pending_reason"] = None
        if status == "requires_action":
            sent = {"email_sent_at": self.now(), "email_sent_to": "ana@example.com"}
            details = {"email_sent": sent, "expires_at": self.now() + 86400}
            refund["next_action"] = {"type": "display_details", "display_details": details}
        if reason is not None:
            refund["failure_reason"] = reason
        self._count(self.charges[refund["charge"]])
        self.emit("refund.updated", refund, status=before)
        if status == "failed":
            self.emit("refund.failed", refund)


def written(amount: int, charge: Object) -> str:
    """Return an amount roughly as in Stripe's messages."""
    if charge["currency"] == "usd":
        return f"${amount / 100:.2f}"
    return f"{amount} {charge['currency'].upper()}"
