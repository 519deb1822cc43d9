"""Charges: the attempts to take money."""

from typing import Any

from tests.stripe import forms
from tests.stripe.forms import Object, Rejection, missing
from tests.stripe.objects import Objects

WORDS = {
    "generic_decline": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


class Charges(Objects):
    """The endpoints of charges."""

    decline_next = False
    """Decline the next attempt to take money with any card."""

    def _charge(
        self, status: str, decline_code: str = "", *, captured: bool = True, **given: Any
    ) -> Object:
        """Record an attempt to take money."""
        failed = status == "failed"
        message = WORDS[decline_code] if failed else None
        charge = self.new(
            "ch",
            "charge",
            **given,
            status=status,
            amount_captured=given["amount"] if captured and not failed else 0,
            amount_refunded=0,
            captured=captured and not failed,
            paid=not failed,
            refunded=False,
            disputed=False,
            balance_transaction=None,
            failure_code="card_declined" if failed else None,
            failure_message=message,
            outcome={
                "network_status": "declined_by_network" if failed else "approved_by_network",
                "reason": decline_code or None,
                "seller_message": message or "Payment complete.",
                "type": "issuer_declined" if failed else "authorized",
            },
        )
        self.charges[charge["id"]] = charge
        if status != "pending":
            self.emit(f"charge.{status}", charge)
        return charge

    def create_charge(self, params: Object) -> Object:
        """Create a charge with the old Charges API, with a token for a card."""
        known = ("amount", "currency", "source", "description", "metadata", "transfer_group")
        forms.only(params, known)
        given: Object = {
            "amount": forms.amount(params),
            "currency": forms.currency(params),
            "description": forms.text(params, "description"),
            "metadata": forms.metadata(params),
            "transfer_group": forms.text(params, "transfer_group"),
        }
        source = forms.required(params, "source")
        if source not in ("tok_visa", "tok_chargeDeclined"):
            raise missing("token", source, "source")
        given |= {"customer": None, "payment_method": source, "payment_intent": None}
        if source == "tok_visa" and not self._declines():
            return self._charge("succeeded", **given)
        charge = self._charge("failed", "generic_decline", **given)
        raise self._declined(charge, "generic_decline")

    def charge(self, name: str) -> Object:
        """Return the charge with this id."""
        if name not in self.charges:
            raise missing("charge", name, "id")
        return self.charges[name]

    def update_charge(self, name: str, params: Object) -> Object:
        """Change the metadata; set the transfer group, once."""
        forms.only(params, ("metadata", "transfer_group", "description"))
        charge = self.charge(name)
        set_group(charge, params)
        charge["metadata"] = forms.changed(charge["metadata"], params)
        return charge

    def list_charges(self, params: Object) -> Object:
        """List the charges of an intent or of a group, the newest first."""
        match = ("payment_intent", "transfer_group")
        return self.listed(self.charges, "/v1/charges", params, *match)

    def _declines(self) -> bool:
        declines, self.decline_next = self.decline_next, False
        return declines

    def _declined(self, charge: Object, code: str, intent: Object | None = None) -> Rejection:
        return Rejection(
            402,
            WORDS[code],
            kind="card_error",
            kept=True,
            code=code if code == "authentication_required" else "card_declined",
            decline_code=code,
            charge=charge["id"],
            payment_intent=self.shown(intent, []) if intent else None,
        )


def set_group(made: Object, params: Object) -> None:
    """Set the transfer group, which never changes."""
    group = forms.text(params, "transfer_group")
    if group and made["transfer_group"] not in (None, group):
        raise Rejection(400, "`transfer_group` has already been set.", param="transfer_group")
    made["transfer_group"] = group or made["transfer_group"]
