"""Disputes by the customer's bank, with the states that Stripe documents."""

from tests.stripe import forms
from tests.stripe.forms import Object, Rejection, missing
from tests.stripe.refunds import Refunds

INQUIRY = ("warning_needs_response", "warning_under_review")
OPEN = ("needs_response", "under_review")
EVIDENCE = {"winning_evidence": "won", "losing_evidence": "lost"}
"""What Stripe's test mode decides by the text of the evidence."""


class Disputes(Refunds):
    """The endpoints of disputes."""

    def _pay(self, intent: Object) -> None:
        super()._pay(intent)
        card = self.cards.get(intent["payment_method"] or "")
        if card and card.dispute:
            charge = intent["latest_charge"]
            self.open_dispute(charge, card.dispute, intent["amount"], "fraudulent")

    def open_dispute(self, charge: str, status: str, amount: int, reason: str) -> Object:
        """Let the bank dispute a charge; an inquiry withdraws nothing."""
        about = self.charge(charge)
        about["disputed"] = True
        dispute = self.new(
            "dp",
            "dispute",
            amount=amount,
            balance_transactions=[],
            charge=charge,
            currency=about["currency"],
            evidence={},
            is_charge_refundable=status in INQUIRY,
            metadata={},
            payment_intent=about["payment_intent"],
            reason=reason,
            status=status,
        )
        self.disputes[dispute["id"]] = dispute
        self.emit("charge.dispute.created", dispute)
        if status in OPEN:
            self._move(dispute, -amount, "funds_withdrawn")
        return dispute

    def _move(self, dispute: Object, amount: int, event: str) -> None:
        moved = self.new("txn", "balance_transaction", amount=amount, type="adjustment")
        dispute["balance_transactions"].append(moved | {"currency": dispute["currency"]})
        self.emit(f"charge.dispute.{event}", dispute)

    def settle_dispute(self, name: str, status: str) -> Object:
        """Set the dispute's next status; move the money that this moves."""
        dispute = self.dispute(name)
        before, dispute["status"] = dispute["status"], status
        dispute["is_charge_refundable"] = status in (*INQUIRY, "warning_closed")
        if before in INQUIRY and status in OPEN:
            self._move(dispute, -dispute["amount"], "funds_withdrawn")
        if status in OPEN or status in INQUIRY:
            self.emit("charge.dispute.updated", dispute, status=before)
            return dispute
        if status == "won":
            self._move(dispute, dispute["amount"], "funds_reinstated")
        self.emit("charge.dispute.closed", dispute)
        return dispute

    def dispute(self, name: str) -> Object:
        """Return the dispute with this id."""
        if name not in self.disputes:
            raise missing("dispute", name, "id")
        return self.disputes[name]

    def list_disputes(self, params: Object) -> Object:
        """List the disputes of a charge or of an intent, the newest first."""
        return self.listed(self.disputes, "/v1/disputes", params, "charge", "payment_intent")

    def update_dispute(self, name: str, params: Object) -> Object:
        """Submit evidence, by whose text the test mode decides."""
        forms.only(params, ("evidence", "submit", "metadata"))
        dispute = self.dispute(name)
        if dispute["status"] not in (*OPEN, *INQUIRY):
            raise Rejection(400, "This dispute is already closed", code="dispute_closed")
        given = params.get("evidence") or {}
        outcome = EVIDENCE.get(given.get("uncategorized_text", ""), "under_review")
        if dispute["status"] in INQUIRY:
            outcome = "warning_closed" if outcome == "won" else "warning_under_review"
        return self.settle_dispute(name, outcome)

    def close_dispute(self, name: str, params: Object) -> Object:
        """Accept the dispute, so that it is lost."""
        forms.only(params, ())
        return self.settle_dispute(name, "lost")

    def _refundable(self, params: Object) -> Object:
        charge = super()._refundable(params)
        for dispute in self.disputes.values():
            if dispute["charge"] == charge["id"] and not dispute["is_charge_refundable"]:
                message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
                raise Rejection(400, message, kept=True, code="charge_disputed")
        return charge
