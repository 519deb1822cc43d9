"""What each field of the contract means: unit, bound and default, as it is written on the wire.

The models have the types, the schemas get these sentences. A field of the policy has its sentence
where it is defined; its bounds are added here. A test finds a field without a description.
"""

from collections.abc import Iterator
from typing import Any

from workflows.policy import LONGEST, MOST_BUSINESS_DAYS, MOST_REMINDERS

_LINE = "one line of at most 200 characters"
_ID = "1 to 64 characters without spaces and invisible characters"
_MINOR = "in minor units of the currency, such as cents"
_UTC = "UTC, RFC 3339"
_DAYS = f'written as "N business days", N from 1 to {MOST_BUSINESS_DAYS}, in the policy\'s calendar'
_OFFSETS = f"at most {MOST_REMINDERS} ISO 8601 durations, each how long before the deadline"
_STAGE = (
    "The stage, as in docs/rules.md: awaiting_requirements, freelancer_review, in_progress, "
    "delivered, refund_requested, contested, disputed, settling or closed"
)
_OUTCOME = "refunded, released, split, charged_back, payment_declined or payment_failed"
_WAITING_FOR = "Who acts next: client, freelancer, mediator, operator, payments or nobody"
_PAYMENT = "pending, voiding, held, or none: nothing was paid"
_TRANSITION = "The name of the transition, as in docs/rules.md"
_STREAM = (
    "The name under which its events are numbered: the workflow id, for an aftercare case and a "
    "purchase that began again with the time of its beginning"
)

_SENDER = {
    "role": "The role in which the sender acts",
    "id": f"The sender's id, {_ID}; a party's messages count only under that party's id",
}
_MONEY = {
    "amount": f"The amount {_MINOR}, an integer; 25000 is 250.00 USD",
    "currency": "Three capital letters of ISO 4217, such as USD",
}

ANYWHERE = {
    "by": "Who sends the message",
    "message_id": f"An id of your choice, {_ID}, unique per sender: a message that is sent again "
    "with it takes effect once and gets its first answer. Default: none",
    "note": "A text for the other side, at most 4,000 characters. Default: none",
    "reason": "Why, a text for the other side, at most 4,000 characters",
    "text": "The text for the other side, at most 4,000 characters",
}
"""Fields that mean the same in every message."""

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "Sender": _SENDER,
    "RecordedSender": _SENDER,
    "SubmitRequirements": {
        "requirements": "A text or a JSON object, not empty, at most 64 KiB as JSON"
    },
    "Cancel": {"reason": f"{ANYWHERE['reason']}. Default: none"},
    "DecideRefund": {
        "decision": "approve: all of the escrow is refunded. decline: the freelancer keeps `claim`",
        "claim": f"With decline: what the freelancer wants to keep {_MINOR}, above zero and at "
        "most the escrow. Default: all of the escrow",
    },
    "ProposeSplit": {
        "refund": f"What the client gets {_MINOR}, from 0 to the escrow; the freelancer gets the "
        "rest"
    },
    "AcceptSplit": {"refund": f"The refund of the offer that is accepted, {_MINOR}"},
    "ResolveDispute": {
        "refund": f"What the client gets {_MINOR}, from 0 to the escrow; the freelancer gets the "
        "rest"
    },
    "SettlementUpdate": {
        "refund_id": f"The refund: ours, as in the status, or the provider's reference, {_LINE}",
        "status": "sent: the provider has done its part. settled: the client has the money. "
        "failed: it could not be sent",
        "reference": f"The provider's reference of the refund, {_LINE}. Default: none",
    },
    "ResolveAttention": {
        "action": "retry: what is blocked, late or failed is tried again now. mark_settled: the "
        "client has the money, `reference` says where the proof is",
        "reference": f"Where the proof of the settlement is, {_LINE}; required with mark_settled. "
        "Default: none",
    },
    "PurchaseStart": {
        "purchase_id": f"The purchase's id, {_ID}; it is used once, ever. The workflow id is "
        "purchase-<purchase_id>",
        "title": f"What is bought, {_LINE}",
        "client": "The person who buys",
        "freelancer": "Who sells; another person than the client",
        "price": "What the client pays",
        "payment_method": "The provider's name for how the client pays, such as pm_sandbox_ok; "
        f"{_LINE}. Either this or payment_reference. Default: none",
        "payment_reference": "For a purchase that is paid already: the provider's charge or "
        f"payment intent, {_LINE}. Default: none",
        "requirements_needed": "Whether the client has to send requirements",
        "purchased_at": f"When the client bought, {_UTC}; at most five minutes in the future, "
        "which counts as the start of the workflow, and at most ten years ago. Default: when the "
        "workflow starts",
        "policy": "Windows and choices of this purchase. Default: the policy's defaults",
        "imported": "Where the purchase stands, if it already runs elsewhere: it needs "
        "payment_reference and purchased_at; nothing is charged, and no deadline begins anew. "
        "Default: none",
    },
    "GivenImport": {
        "stage": "The stage that the purchase is in; one that is decided already ends elsewhere",
        "deadlines": f"The instant of each open deadline, {_UTC}: that of the stage, and while a "
        "refund request is open also requirements or freelancer_cancel, if the stage before it "
        "was awaiting_requirements or freelancer_review",
        "stage_before_request": "The stage that the client's cancellation left; required in "
        "refund_requested, contested and disputed. Default: none",
        "review_time_left": "What is left of the review window, an ISO 8601 duration such as "
        "PT36H, longer than zero; required if the stage before the request was delivered. "
        "Default: none",
        "claim": f"What the freelancer wants to keep, {_MINOR}, above zero and at most the price; "
        "required in contested and disputed. Default: none",
    },
    "GivenParty": {
        "id": f"The person's id in your system, {_ID}",
        "name": "How the person is addressed, one line of at most 200 characters and 400 bytes",
        "email": "Where notices go, at most 254 characters",
        "timezone": "An IANA time zone, such as Europe/Lisbon",
        "locale": "Language and country for dates and amounts, such as pt_PT",
    },
    "GivenMoney": {**_MONEY, "amount": f"{_MONEY['amount']}; above zero"},
    "Money": _MONEY,
    "Receipt": {
        "accepted": "Always true: a rejected update fails instead",
        "stage": f"{_STAGE}, after the message",
        "text": "What happened, a sentence for people",
        "next_deadline": f"The next deadline, {_UTC}; null if none is open",
    },
    "PurchaseResult": {
        "purchase_id": "The purchase's id",
        "outcome": f"How it ended: {_OUTCOME}",
        "reason": "The decision or the event that ended it, such as refund_approved",
        "refunded": f"What the client got back, {_MINOR}",
        "released": f"What the freelancer got, {_MINOR}",
        "currency": _MONEY["currency"],
        "closed_at": f"When it was closed, {_UTC}",
    },
    "Started": {
        "purchase_id": "The purchase's id",
        "workflow_id": "The id of its workflow, purchase-<purchase_id>",
        "already_started": "Whether it was started before, with the same input",
    },
    "ListQuery": {
        "client": f"Only purchases of the client with this id, {_ID}. Default: of all",
        "freelancer": f"Only purchases of the freelancer with this id, {_ID}. Default: of all",
        "stage": "Only purchases in this stage. Default: in all",
        "needs_attention": "true: only purchases that need a person. false: only those that need "
        "nobody. Default: both",
        "never_started": "Only purchases that never started: their start input was invalid. "
        "Default: false",
        "person": "Only purchases of a party with this mail address, name or word of a name; for "
        "operators and mediators. Default: of all",
        "page_size": "The largest number of purchases in a page, 1 to 100. Default: 50",
        "page_token": "next_page_token of the page before, at most 4,000 characters. Default: "
        "empty, the first page",
    },
    "Page": {
        "purchases": "The purchases, the newest first; may be fewer than page_size, even none",
        "next_page_token": "The page_token of the next page; null: this is the last",
    },
    "Listed": {
        "purchase_id": "The purchase's id",
        "title": "What was bought",
        "terms": "What was agreed in one line, for people",
        "client": "The client's id; null if the start input was rejected",
        "freelancer": "The freelancer's id; null if the start input was rejected",
        "client_name": "The client's name; empty if the purchase does not carry it",
        "freelancer_name": "The freelancer's name, empty likewise",
        "price": "What the client pays, as money: 250.00 USD; empty like a name",
        "stage": f"{_STAGE}; null if the start input was rejected. One that was ended from outside "
        "keeps its last",
        "outcome": f"How it ended: {_OUTCOME}; null while it is open",
        "next_deadline": f"The next deadline, {_UTC}; null if none is open",
        "due": f"The deadline that people wait for in this stage, {_UTC}; null if none is open",
        "due_row": "The id of the row in docs/rules.md that applies when `due` ends, such as R-35",
        "frozen": "Whether the client's bank has taken the money back for now",
        "offer": "The role of who proposed the split that stands; null if none does",
        "needs_attention": "Whether it needs a person",
        "workflow_status": "The workflow's status in Temporal: running, paused or completed; or "
        "terminated, failed, timed_out or canceled, if it was ended from outside",
        "why_not_started": "What was wrong with the start input of a purchase that never started, "
        "and what to do; null for any other one",
    },
    "Permission": {
        "message": "The name of the message",
        "allowed": "Whether the role may send it now",
        "why_not": "If not: why, and what could be sent instead",
        "code": "If not: the code with which it would be rejected",
        "until": f"Until when it is allowed, {_UTC}; null: no deadline ends it",
    },
    "Status": {
        "purchase_id": "The purchase's id",
        "title": "What was bought",
        "client": "The client's id",
        "freelancer": "The freelancer's id",
        "price": "What the client pays",
        "purchased_at": f"When it was bought, {_UTC}; null if the worker has an earlier release",
        "stage": _STAGE,
        "outcome": f"How it ended: {_OUTCOME}; null while it is open",
        "reason": "The decision or the event that ended it; null before",
        "waiting_for": _WAITING_FOR,
        "payment": _PAYMENT,
        "confirm_url": "Where the client confirms the payment to their bank; null if nobody has to",
        "escrow": "Where the money is",
        "refund": "The refund; null if there is none",
        "frozen": "Why nothing is paid now; null if nothing is frozen",
        "deadlines": "The open deadlines, the next one first",
        "offer": "The split that stands; null if none",
        "claim": f"What the freelancer wants to keep, {_MINOR}; null if nothing is claimed",
        "requirements": "What the client sent: a text or an object; null before",
        "attention": "What needs a person",
        "timeline": "What happened, the oldest first; the newest 200 entries",
        "rejected": "Signals that were rejected, the newest 50",
        "rejected_count": "How many signals were rejected in all",
        "undelivered": "Notices that did not reach their recipient, the newest 50",
        "late_by": "Seconds by which the last late deadline had passed when it was applied; null "
        "if none was late",
        "stream": f"{_STREAM}; null if it sends none",
        "sequence": "The number of its newest event; 0 if it sends none",
    },
    "PurchaseEvent": {
        "specversion": "The version of CloudEvents",
        "id": "The event's id: unique within the source, and the same when it is sent again",
        "source": "The deployment that sends it: /recourse/ and its name, such as "
        "/recourse/production",
        "type": "recourse.purchase., the name of the transition, and the version of the event, "
        "such as recourse.purchase.refund_declined.v1",
        "subject": "The purchase's id",
        "time": f"When the transition took effect, {_UTC}",
        "datacontenttype": "The media type of data",
        "dataschema": "The name of the schema of data; it changes with the version of the event",
        "data": "The transition, and how the purchase stands after it",
    },
    "EventData": {
        "purchase_id": "The purchase's id",
        "stream": _STREAM,
        "sequence": "The event's number in its stream, from 1, without gaps",
        "transition": _TRANSITION,
        "row": "The id of its row in docs/rules.md, such as R-32",
        "rules_version": "The version of the rules that the purchase was bought under, such as 1",
        "actor": "Who caused it",
        "stage_before": f"{_STAGE}, before the transition; null if the purchase begins with it",
        "stage": f"{_STAGE}, after the transition",
        "waiting_for": _WAITING_FOR,
        "client": "The client's id",
        "freelancer": "The freelancer's id",
        "price": "What the client pays",
        "payment": _PAYMENT,
        "escrow": "Where the money is",
        "claim": f"What the freelancer wants to keep, {_MINOR}; null if nothing is claimed",
        "offer": "The split that stands; null if none",
        "decision": "Who gets the escrow; null before it is decided",
        "refund": "The refund; null if there is none",
        "frozen": "Why nothing is paid now; null if nothing is frozen",
        "deadlines": "The open deadlines, the next one first",
        "attention": "What needs a person",
        "outcome": f"How it ended: {_OUTCOME}; null while it is open",
        "reason": "The decision or the event that ended it, such as refund_approved; null before",
        "closed_at": f"When it was closed, {_UTC}; null while it is open",
        "references": "What the payment provider calls the same things",
    },
    "EventActor": {
        "role": "client, freelancer, mediator, operator, payments or system",
        "id": "The id of the sender; null if no message caused it",
    },
    "EventDeadline": {
        "name": "Its name, such as refund_decision",
        "at": f"When it takes effect, {_UTC}",
        "waiting_for": "Who has to act by then, such as freelancer",
        "row": "The id of the row in docs/rules.md that applies if nobody acts, such as R-35",
    },
    "EventAttention": {
        "kind": "Why a person is needed, such as effect_blocked",
        "since": f"Since when, {_UTC}",
    },
    "EventDecision": {
        "refund": f"What the client gets back, {_MINOR}",
        "release": f"What the freelancer gets, {_MINOR}",
        "reason": "The decision or the event, such as refund_approved",
        "at": f"When it was decided, {_UTC}",
    },
    "EventReferences": {
        "payment": "The provider's charge or payment intent; null before the payment is held",
        "refund": "The provider's name for the newest refund attempt; null if it has given none",
        "settlement": "The provider's or the bank's name for the settled refund, such as an ARN; "
        "null if there is none",
        "bank_dispute": "The provider's name for the newest bank dispute; null if there is none",
    },
    "Escrow": {
        "held": f"Held for the purchase, {_MINOR}",
        "in_transit": f"On its way back to the client, {_MINOR}",
        "refunded": f"With the client again, {_MINOR}",
        "released": f"Paid to the freelancer, {_MINOR}",
        "charged_back": f"Taken back by the client's bank, {_MINOR}",
        "currency": _MONEY["currency"],
    },
    "Deadline": {
        "name": "Its name, such as refund_decision",
        "at": f"When it takes effect, {_UTC}",
        "then": "What happens if nobody acts by then, the end of a sentence",
    },
    "Offer": {
        "by": "Who has offered it",
        "refund": f"What the client would get, {_MINOR}",
        "release": f"What the freelancer would get, {_MINOR}",
        "at": f"When it was offered, {_UTC}",
    },
    "AttentionItem": {
        "kind": "Why a person is needed, such as effect_blocked",
        "text": "What is wrong and what to do, for people",
        "since": f"Since when, {_UTC}",
    },
    "TimelineEntry": {
        "number": "Its number, from 1; gaps mean that older entries were dropped",
        "at": f"When it happened, {_UTC}",
        "transition": _TRANSITION,
        "by": "Who acted: a role, or system",
        "by_id": "The id of the sender; null if no message caused it",
        "text": "What happened, for people",
        "note": "The beginning of the sender's reason, note or text, 200 bytes; null if none",
        "late_by": "Seconds by which a deadline had passed when it was applied; null if none had",
    },
    "RejectedSignal": {
        "at": f"When it was rejected, {_UTC}",
        "name": "The name of the signal, at most 64 characters of it",
        "code": "The code, as in docs/rules.md",
        "text": "Why, and what could be sent instead",
        "sender": "Who it says has sent it; null if that cannot be read",
    },
    "RefundAttempt": {
        "refund_id": "Our name for the attempt, for settlement_update",
        "amount": f"What is refunded, {_MINOR}",
        "status": "unsent: the provider does not have it yet. pending: it has. sent: it has done "
        "its part. settled: the client has the money. failed, returned: a person decides",
        "reference": "The provider's reference; empty if it has none yet",
    },
    "Frozen": {
        "why": "Why nothing is paid",
        "since": f"Since when, {_UTC}",
        "amount": f"What the client's bank has taken back for now, {_MINOR}",
        "reference": "The provider's name for the dispute",
    },
    "Undelivered": {
        "transition": f"{_TRANSITION}: what the notice or the event was about",
        "role": "To whom: client, freelancer, operator, or consumer: another system that receives "
        "events",
        "channel": "How: mail, webhook, or any",
        "at": f"When it was given up, {_UTC}",
        "why": "Why it was not delivered",
    },
}
"""By the model's name."""


GIVEN = ("PurchaseStart", "GivenParty", "GivenPolicy", "Reminders")
"""Models whose defaults are named in the descriptions of their fields."""


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a model with its descriptions, and with defaults as on the wire."""
    for model in _models(schema):
        title = str(model.get("title"))
        known = ANYWHERE | DESCRIPTIONS.get(title, {})
        for name, field in model["properties"].items():
            if own := field.pop("description", ""):
                field["description"] = " ".join(own.split()).removesuffix(".") + _bounds(field)
            elif name in known:
                field["description"] = known[name]
            _write_default(field)
            if title in GIVEN and "description" in field:
                field["description"] += _default(field)
    return schema


def extensible(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of what a purchase answers or sends, which may get more fields in a later release:
    it does not forbid those that it does not know."""
    for model in _models(schema):
        model.pop("additionalProperties", None)
    return schema


def _bounds(field: dict[str, Any]) -> str:
    """What the type of a field of the policy allows, as the end of its description."""
    longest = field.get("le", f"P{LONGEST.days}D")
    match field:
        case {"format": "duration", "default": "PT0S"}:
            return f", an ISO 8601 duration, at most {longest}; PT0S: never"
        case {"format": "duration"}:
            return f", an ISO 8601 duration of elapsed time, longer than zero, at most {longest}"
        case {"items": {"format": "duration"}}:
            return f", {_OFFSETS}"
        case {"pattern": str(pattern)} if "business days" in pattern:
            return f", {_DAYS}"
    return ""


def _default(field: dict[str, Any]) -> str:
    """The default as the end of a description; empty if there is none to write, or if the
    description says what it means."""
    match field.get("default"):
        case bool() as value:
            return f". Default: {str(value).lower()}"
        case str() as value:
            return f". Default: {value}"
        case [*values] if values:
            return f". Default: {', '.join(map(str, values))}"
    return ""


def _models(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            yield part


def _write_default(field: dict[str, Any]) -> None:
    """pydantic writes a default and bounds as Python has them, not as they are sent."""
    if "business days" in field.get("pattern", "") and isinstance(field.get("default"), int):
        field["default"] = f"{field['default']} business days"
    for part in (field, *field.get("anyOf", ())):
        for bound in ("gt", "ge", "lt", "le"):
            part.pop(bound, None)
