"""A valid sample of everything that is sent to a purchase, as docs/messages.md shows it.

Ana buys a logo from Bo for 250.00 USD. No message contains true, false or null, so its JSON is also
a literal of Python and of TypeScript.
"""

from typing import Any

PURCHASE = "p-1001"

START: dict[str, Any] = {
    "purchase_id": PURCHASE,
    "title": "Logo design",
    "client": {
        "id": "ana",
        "name": "Ana",
        "email": "ana@example.com",
        "timezone": "Europe/Lisbon",
        "locale": "pt_PT",
    },
    "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com"},
    "price": {"amount": 25000, "currency": "USD"},
    "payment_method": "pm_sandbox_ok",
    "requirements_needed": True,
    "purchased_at": None,
    "policy": {"requirements_window": "PT48H"},
}
"""The start input of the contract."""

ANA = {"role": "client", "id": "ana"}
BO = {"role": "freelancer", "id": "bo"}
MEDIATOR = {"role": "mediator", "id": "mediator-1"}
OPERATOR = {"role": "operator", "id": "operator-1"}
PROVIDER = {"role": "payments", "id": "sandbox"}

SAMPLES: dict[str, dict[str, Any]] = {
    "submit_requirements": {
        "by": ANA,
        "requirements": {"subject": "a lighthouse", "colours": ["blue", "white"]},
    },
    "cancel": {"by": ANA, "reason": "My plans have changed."},
    "decide_refund": {"by": BO, "decision": "decline", "claim": 10000, "note": "Half is done."},
    "withdraw_cancellation": {"by": ANA, "note": "Let us go on."},
    "accept_claim": {"by": ANA, "note": "That is fair."},
    "open_dispute": {"by": ANA, "reason": "Nothing was done yet."},
    "propose_split": {"by": BO, "refund": 15000, "note": "The sketches are yours."},
    "accept_split": {"by": ANA, "refund": 15000},
    "resolve_dispute": {"by": MEDIATOR, "refund": 20000, "note": "A fifth was done."},
    "deliver": {"by": BO, "note": "Here it is."},
    "request_changes": {"by": ANA, "note": "A little bluer, please."},
    "accept_delivery": {"by": ANA, "note": "Thank you!"},
    "give_refund": {"by": BO, "note": "I am sorry."},
    "send_message": {"by": ANA, "text": "How is it going?"},
    "settlement_update": {
        "by": PROVIDER,
        "refund_id": f"purchase-{PURCHASE}/refund",
        "status": "settled",
        "reference": "tr_1",
    },
    "check_payment": {"by": PROVIDER},
    "resolve_attention": {
        "by": OPERATOR,
        "action": "mark_settled",
        "reference": "bank statement 7",
    },
}
"""One sample of each message, by its name."""
