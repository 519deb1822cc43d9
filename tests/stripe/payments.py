"""Payment intents and charges, with the states that Stripe documents."""

from typing import Any

from tests.stripe import forms
from tests.stripe.forms import Object, Rejection, missing
from tests.stripe.objects import Card, Objects

CANCELABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
FOR_CONFIRMING = ("return_url", "off_session", "error_on_requires_action")
REDIRECTS = (
    "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because "
    "some of these payment methods might redirect your customer off of your page, you must provide "
    "a `return_url`. If you don't want to accept redirect-based payment methods, set "
    "`automatic_payment_methods[enabled]` to `true` and "
    "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and "
    "Payment Intents."
)
WORDS = {
    "generic_decline": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


class Payments(Objects):
    """The endpoints that take money."""

    decline_next = False
    """Decline the next attempt to take money with any card."""

    # --- Charges -------------------------------------------------------------------------------

    def _charge(self, status: str, decline_code: str = "", **given: Any) -> Object:
        """Record an attempt to take money."""
        failed = status == "failed"
        message = WORDS[decline_code] if failed else None
        charge = self.new(
            "ch",
            "charge",
            **given,
            status=status,
            amount_captured=0 if failed else given["amount"],
            amount_refunded=0,
            captured=not failed,
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

    # --- Payment intents -----------------------------------------------------------------------

    def create_intent(self, params: Object) -> Object:
        """Create an intent; confirm it if requested."""
        known = ("amount", "currency", "payment_method", "customer", "confirm", "metadata")
        more = ("transfer_group", "automatic_payment_methods", "description", "capture_method")
        forms.only(params, (*known, *more, "payment_method_types", *FOR_CONFIRMING))
        forms.one_of(params, "capture_method", ("automatic", "automatic_async"))
        confirm = forms.flag(params, "confirm")
        for name in FOR_CONFIRMING:
            if name in params and not confirm:
                message = f"`{name}` can only be used with `confirm` set to true."
                raise Rejection(400, message, param=name)
        intent = self._asked(params)
        self._give(intent, params)
        if confirm:
            self._ready(intent, params)
        self.intents[intent["id"]] = intent
        return self._confirm(intent, params) if confirm else intent

    def _asked(self, params: Object) -> Object:
        """Return a new intent."""
        intent = self.new(
            "pi",
            "payment_intent",
            amount=forms.amount(params),
            currency=forms.currency(params),
            customer=forms.text(params, "customer"),
            description=forms.text(params, "description"),
            metadata=forms.metadata(params),
            transfer_group=forms.text(params, "transfer_group"),
            **self._accepted(params),
            amount_received=0,
            canceled_at=None,
            cancellation_reason=None,
            capture_method=params.get("capture_method", "automatic_async"),
            last_payment_error=None,
            latest_charge=None,
            next_action=None,
            payment_method=None,
            status="requires_payment_method",
        )
        intent["client_secret"] = f"{intent['id']}_secret_fake"
        return intent

    def _accepted(self, params: Object) -> Object:
        """Return the kinds of payment method that an intent accepts."""
        automatic, types = (
            params.get("automatic_payment_methods"),
            params.get("payment_method_types"),
        )
        if automatic and types:
            message = "You may only specify one of these parameters: "
            raise Rejection(400, message + "automatic_payment_methods, payment_method_types.")
        if types:
            return {
                "payment_method_types": list(types.values()),
                "automatic_payment_methods": None,
            }
        automatic = automatic or {"enabled": "true"}
        forms.only(automatic, ("enabled", "allow_redirects"))
        redirects = forms.one_of(automatic, "allow_redirects", ("always", "never")) or "always"
        enabled = {"enabled": forms.flag(automatic, "enabled"), "allow_redirects": redirects}
        return {"payment_method_types": ["card"], "automatic_payment_methods": enabled}

    def _give(self, intent: Object, params: Object) -> None:
        """Set the intent's payment method, if Stripe allows it."""
        name = forms.text(params, "payment_method")
        if name is None:
            return
        method, payer = self.method(name, "payment_method"), intent["customer"]
        said: Object = {"param": "payment_method"}
        if intent["id"] in self.intents:
            said["payment_intent"] = self.shown(intent, [])
        if method["customer"] and not payer:
            message = (
                f"The `payment_method` parameter supplied {method['id']} belongs to the Customer "
                f"{method['customer']}. Please include the Customer in the `customer` parameter on "
                "the PaymentIntent."
            )
            raise Rejection(400, message, **said | {"code": "parameter_missing", "param": "source"})
        if method["customer"] and method["customer"] != payer:
            message = (
                f"The customer does not have a payment method with the ID {method['id']}. The "
                "payment method must be attached to the customer."
            )
            raise Rejection(400, message, **said)
        if method["id"] in self.used:
            message = (
                "The provided PaymentMethod was previously used with a PaymentIntent without "
                "Customer attachment, shared with a connected account without Customer attachment, "
                "or was detached from a Customer. It may not be used again. To use a PaymentMethod "
                "multiple times, you must attach it to a Customer first."
            )
            raise Rejection(400, message, **said)
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}

    def _ready(self, intent: Object, params: Object) -> None:
        """Reject a confirmation that the state of the intent does not allow."""
        if intent["payment_method"] is None:
            raise self._unexpected(
                intent,
                "You cannot confirm this PaymentIntent because it's missing a payment method. You "
                "can either update the PaymentIntent with a payment method and then confirm it "
                "again, or confirm it again directly with a payment method.",
                kept=False,
            )
        automatic = intent["automatic_payment_methods"] or {"allow_redirects": "never"}
        if automatic["allow_redirects"] == "always" and not forms.text(params, "return_url"):
            raise Rejection(400, REDIRECTS)
        for name in ("off_session", "error_on_requires_action"):
            forms.flag(params, name)

    def _unexpected(self, intent: Object, message: str, *, kept: bool = True) -> Rejection:
        code, shown = "payment_intent_unexpected_state", self.shown(intent, [])
        return Rejection(400, message, kept=kept, code=code, payment_intent=shown)

    def intent(self, name: str) -> Object:
        """Return the payment intent with this id."""
        if name not in self.intents:
            raise missing("payment_intent", name, "id")
        return self.intents[name]

    def list_intents(self, params: Object) -> Object:
        """List the payment intents, the newest first."""
        return self.listed(self.intents, "/v1/payment_intents", params, "customer")

    def confirm_intent(self, name: str, params: Object) -> Object:
        """Try to take the money."""
        forms.only(params, ("payment_method", *FOR_CONFIRMING))
        intent = self.intent(name)
        status = intent["status"]
        if status == "succeeded":
            why = "it has already succeeded after being previously confirmed."
            raise self._unexpected(intent, f"You cannot confirm this PaymentIntent because {why}")
        if status not in CANCELABLE:
            why = f"it has a status of {status}."
            raise self._unexpected(intent, f"You cannot confirm this PaymentIntent because {why}")
        tried = dict(intent)
        self._give(tried, params)
        self._ready(tried, params)
        intent |= tried
        return self._confirm(intent, params)

    def _confirm(self, intent: Object, params: Object) -> Object:
        method = intent["payment_method"]
        if not intent["customer"]:
            self.used.add(method)
        card = Card("decline", "generic_decline") if self._declines() else self.cards[method]
        present = not any(forms.flag(params, name) for name in FOR_CONFIRMING[1:])
        if card.outcome == "decline":
            raise self._decline(intent, card.decline_code)
        if card.outcome == "process":
            intent["latest_charge"] = self._attempt(intent, "pending")["id"]
            intent |= {"status": "processing", "last_payment_error": None}
        elif card.outcome == "authenticate" and present:
            intent |= {"status": "requires_action", "next_action": {"type": "use_stripe_sdk"}}
            self.emit("payment_intent.requires_action", intent)
        elif card.outcome == "authenticate":
            raise self._decline(intent, "authentication_required")
        else:
            self._pay(intent)
        return intent

    def _attempt(self, intent: Object, status: str, decline_code: str = "") -> Object:
        copied = ("amount", "currency", "customer", "description", "payment_method")
        given = {name: intent[name] for name in (*copied, "transfer_group")}
        given |= {"metadata": dict(intent["metadata"]), "payment_intent": intent["id"]}
        return self._charge(status, decline_code, **given)

    def _pay(self, intent: Object) -> None:
        charge = self.charges.get(intent["latest_charge"] or "")
        if charge is None or charge["status"] != "pending":
            charge = self._attempt(intent, "succeeded")
        else:
            charge["status"] = "succeeded"
            self.emit("charge.succeeded", charge)
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "last_payment_error": None,
            "latest_charge": charge["id"],
            "next_action": None,
        }
        self.emit("payment_intent.succeeded", intent)

    def _decline(self, intent: Object, code: str) -> Rejection:
        """Fail the attempt; another payment method may be tried."""
        charge = self.charges.get(intent["latest_charge"] or "")
        if charge is None or charge["status"] != "pending":
            charge = self._attempt(intent, "failed", code)
        else:
            charge |= {"status": "failed", "paid": False, "failure_message": WORDS[code]}
            self.emit("charge.failed", charge)
        error = self._declined(charge, code).body["error"]
        intent |= {
            "status": "requires_payment_method",
            "last_payment_error": error,
            "latest_charge": charge["id"],
            "next_action": None,
            "payment_method": None,
        }
        self.emit("payment_intent.payment_failed", intent)
        return self._declined(charge, code, intent)

    def cancel_intent(self, name: str, params: Object) -> Object:
        """Cancel the intent, so that it never takes money."""
        forms.only(params, ("cancellation_reason",))
        reason = forms.one_of(params, "cancellation_reason", REASONS)
        intent = self.intent(name)
        if intent["status"] not in CANCELABLE:
            raise self._unexpected(
                intent,
                "You cannot cancel this PaymentIntent because it has a status of "
                f"{intent['status']}. Only a PaymentIntent with one of the following statuses may "
                f"be canceled: {', '.join(CANCELABLE)}.",
            )
        intent |= {"status": "canceled", "canceled_at": self.now(), "cancellation_reason": reason}
        intent["next_action"] = None
        self.emit("payment_intent.canceled", intent)
        return intent

    def settle_intent(self, name: str, *, paid: bool) -> None:
        """End an intent that is processing or requires action."""
        intent = self.intent(name)
        if intent["status"] not in ("processing", "requires_action"):
            raise ValueError(f"{name} is {intent['status']}")
        if paid:
            self._pay(intent)
        else:
            self._decline(intent, "generic_decline")
