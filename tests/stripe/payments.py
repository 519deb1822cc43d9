"""Payment intents, with the states that Stripe documents."""

import re

from tests.stripe import forms
from tests.stripe.charges import WORDS, Charges, set_group
from tests.stripe.forms import Object, Rejection, missing
from tests.stripe.objects import Card

CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
)
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
FAILED_AUTHENTICATION = {
    "code": "payment_intent_authentication_failure",
    "message": "The provided PaymentMethod has failed authentication.",
    "type": "invalid_request_error",
}


class Payments(Charges):
    """The endpoints of payment intents."""

    searchable = True
    """Whether the search has caught up with the lists."""

    # --- Payment intents -----------------------------------------------------------------------

    def create_intent(self, params: Object) -> Object:
        """Create an intent; confirm it if requested."""
        known = ("amount", "currency", "payment_method", "customer", "confirm", "metadata")
        more = ("transfer_group", "automatic_payment_methods", "description", "capture_method")
        forms.only(params, (*known, *more, "payment_method_types", *FOR_CONFIRMING))
        forms.one_of(params, "capture_method", ("automatic", "automatic_async", "manual"))
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

    def update_intent(self, name: str, params: Object) -> Object:
        """Change the metadata; set the transfer group, once."""
        forms.only(params, ("metadata", "transfer_group", "description"))
        intent = self.intent(name)
        set_group(intent, params)
        intent["metadata"] = forms.changed(intent["metadata"], params)
        return intent

    def search_intents(self, params: Object) -> Object:
        """Search for a value of the metadata, the only query that this fake knows."""
        forms.only(params, ("query", "limit"))
        found = re.fullmatch(
            r"metadata\['(\w+)'\]:'((?:[^'\\]|\\.)*)'", forms.required(params, "query")
        )
        if found is None:
            raise Rejection(400, "We were unable to parse your search query.", param="query")
        name, value = found[1], re.sub(r"\\(.)", r"\1", found[2])
        listed = reversed(self.intents.values()) if self.searchable else ()
        data = [self.shown(each, []) for each in listed if each["metadata"].get(name) == value]
        url = "/v1/payment_intents/search"
        return {"object": "search_result", "url": url, "has_more": False, "data": data}

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
        if status not in CANCELABLE or status == "requires_capture":
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
            back = forms.text(params, "return_url")
            link = {"return_url": back, "url": f"https://hooks.stripe.com/3ds/{intent['id']}"}
            action: Object = {"type": "redirect_to_url", "redirect_to_url": link}
            intent |= {
                "status": "requires_action",
                "next_action": action if back else {"type": "use_stripe_sdk", "use_stripe_sdk": {}},
            }
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
        captured = intent["capture_method"] != "manual"
        return self._charge(status, decline_code, captured=captured, **given)

    def _pay(self, intent: Object) -> None:
        charge = self.charges.get(intent["latest_charge"] or "")
        if charge is None or charge["status"] != "pending":
            charge = self._attempt(intent, "succeeded")
        else:
            charge["status"] = "succeeded"
            self.emit("charge.succeeded", charge)
        intent |= {
            "last_payment_error": None,
            "latest_charge": charge["id"],
            "next_action": None,
        }
        if charge["captured"]:
            intent |= {"status": "succeeded", "amount_received": charge["amount_captured"]}
            self.emit("payment_intent.succeeded", intent)
        else:
            intent["status"] = "requires_capture"
            self.emit("payment_intent.amount_capturable_updated", intent)

    def capture_intent(self, name: str, params: Object) -> Object:
        """Capture what was authorised, or a part of it."""
        forms.only(params, ("amount_to_capture",))
        intent = self.intent(name)
        if intent["status"] != "requires_capture":
            message = f"This PaymentIntent has a status of {intent['status']}."
            raise self._unexpected(intent, f"This PaymentIntent could not be captured. {message}")
        amount = int(forms.text(params, "amount_to_capture") or intent["amount"])
        charge = self.charges[intent["latest_charge"]]
        charge |= {"captured": True, "amount_captured": amount}
        intent |= {"status": "succeeded", "amount_received": amount}
        self.emit("charge.captured", charge)
        self.emit("payment_intent.succeeded", intent)
        return intent

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
        if intent["status"] == "requires_capture":
            charge = self.charges[intent["latest_charge"]]
            charge |= {"refunded": True, "amount_refunded": charge["amount"]}
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
        elif intent["status"] == "processing":
            self._decline(intent, "generic_decline")
        else:  # the bank never saw the payment
            error = FAILED_AUTHENTICATION
            intent |= {"status": "requires_payment_method", "last_payment_error": error}
            intent |= {"next_action": None, "payment_method": None}
            self.emit("payment_intent.payment_failed", intent)
