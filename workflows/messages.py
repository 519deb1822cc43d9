"""What other systems send to a purchase and read from it: the public contract, and nothing else.

Each message is one JSON object and may be sent as a signal or as an update of the same name.
Unknown fields are rejected, so that a typing error is never ignored. Amounts are integer
minor units; times are UTC, RFC 3339. `descriptions.py` says what each field means.
"""

import json
from enum import StrEnum
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema, model_validator

from activities import fields
from activities.amounts import MAX_AMOUNT
from activities.fields import Address, Amount, Currency, Identifier, Line, UtcDatetime
from activities.requests import Model, Money, Party, Undelivered
from workflows import budget
from workflows.imported import GivenImport
from workflows.policy import GivenPolicy

LONGEST_TEXT = 4_000
LARGEST_REQUIREMENTS = 64 * 1024


def _requirements(value: JsonValue) -> JsonValue:
    if not value or not isinstance(value, str | dict):
        raise ValueError("must be a text or an object, and not empty")
    try:
        written = json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("must not contain NaN, Infinity or a number of that size") from None
    if len(written) > LARGEST_REQUIREMENTS:
        raise ValueError(f"must be at most {LARGEST_REQUIREMENTS} bytes of JSON")
    if "\\u0000" in written:
        raise ValueError("must not contain a NUL character")
    return value


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(fields.text)]
Reference = Line
Claim = Annotated[
    Amount,
    WithJsonSchema({"type": "integer", "exclusiveMinimum": 0, "maximum": MAX_AMOUNT}),
]
"""The schema says above zero. The rules reject zero, with their own code: INVALID_AMOUNT."""
PersonName = Annotated[Line, AfterValidator(partial(budget.check, most=budget.LONGEST_PERSON))]
ZONE, LOCALE = r"^[A-Za-z0-9_+/-]{1,64}$", r"^[A-Za-z0-9_.@-]{1,64}$"


class Role(StrEnum):
    """The role of a sender."""

    CLIENT = "client"
    FREELANCER = "freelancer"
    MEDIATOR = "mediator"
    OPERATOR = "operator"
    PAYMENTS = "payments"


class RecordedSender(Model):
    """The sender of a message in the past."""

    role: Role
    id: str


class Sender(RecordedSender):
    """Who sends a message. A party's messages count only under that party's id."""

    id: Identifier


class Message(Model):
    """What every message carries. `name` is the name of the signal and of the update."""

    name: ClassVar[str]

    by: Sender
    message_id: Identifier | None = None


class SubmitRequirements(Message):
    """The client says what is needed."""

    name: ClassVar[str] = "submit_requirements"
    requirements: Annotated[
        JsonValue,
        AfterValidator(_requirements),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "object", "minProperties": 1},
                ]
            }
        ),
    ]


class Cancel(Message):
    """The client asks for a refund, or the freelancer cancels inside the cancel window."""

    name: ClassVar[str] = "cancel"
    reason: Text | None = None


class DecideRefund(Message):
    """The freelancer's answer to a refund request: approve, or decline with a claim."""

    name: ClassVar[str] = "decide_refund"
    decision: Literal["approve", "decline"]
    claim: Claim | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _claim_only_with_decline(self) -> "DecideRefund":
        if self.decision == "approve" and self.claim is not None:
            raise ValueError("a claim goes with decline only; an approved refund is a full one")
        return self


class _WithNote(Message):
    note: Text | None = None


class WithdrawCancellation(_WithNote):
    """The client takes the cancellation back; the purchase returns to the stage it left."""

    name: ClassVar[str] = "withdraw_cancellation"


class AcceptClaim(_WithNote):
    """The client accepts what the freelancer wants to keep; the rest is refunded."""

    name: ClassVar[str] = "accept_claim"


class AcceptDelivery(_WithNote):
    """The client accepts the delivery; the escrow is released to the freelancer."""

    name: ClassVar[str] = "accept_delivery"


class GiveRefund(_WithNote):
    """The freelancer gives all of the escrow back."""

    name: ClassVar[str] = "give_refund"


class OpenDispute(Message):
    """The client does not accept the claim; a mediator decides."""

    name: ClassVar[str] = "open_dispute"
    reason: Text


class _Split(_WithNote):
    refund: Amount


class ProposeSplit(_Split):
    """One side offers the other how to divide the escrow."""

    name: ClassVar[str] = "propose_split"


class AcceptSplit(_Split):
    """The other side accepts the offer that stands, and repeats its amount."""

    name: ClassVar[str] = "accept_split"


class ResolveDispute(_Split):
    """The mediator divides the escrow."""

    name: ClassVar[str] = "resolve_dispute"


class Deliver(_WithNote):
    """The freelancer hands the work over."""

    name: ClassVar[str] = "deliver"


class RequestChanges(_WithNote):
    """The client sends the delivery back for more work."""

    name: ClassVar[str] = "request_changes"


class SendMessage(Message):
    """A text for the other side; nothing changes."""

    name: ClassVar[str] = "send_message"
    text: Text


class SettlementUpdate(Message):
    """The payment provider's report on a refund. `refund_id`: ours or the provider's reference."""

    name: ClassVar[str] = "settlement_update"
    refund_id: Reference
    status: Literal["sent", "settled", "failed"]
    reference: Reference | None = None


class CheckPayment(Message):
    """Something happened to the payment at the provider: look at it there."""

    name: ClassVar[str] = "check_payment"


class ResolveAttention(Message):
    """An operator looked into it: retry, or record the proof of the settlement."""

    name: ClassVar[str] = "resolve_attention"
    action: Literal["retry", "mark_settled"]
    reference: Reference | None = None


MESSAGES: dict[str, type[Message]] = {
    kind.name: kind
    for kind in (
        SubmitRequirements,
        Cancel,
        DecideRefund,
        WithdrawCancellation,
        AcceptClaim,
        OpenDispute,
        ProposeSplit,
        AcceptSplit,
        ResolveDispute,
        Deliver,
        RequestChanges,
        AcceptDelivery,
        GiveRefund,
        SendMessage,
        SettlementUpdate,
        CheckPayment,
        ResolveAttention,
    )
}
"""Every message by its name."""


class GivenParty(Party):
    """A party in a start input."""

    id: Identifier
    name: PersonName
    email: Address
    timezone: str = Field(default="UTC", pattern=ZONE)
    locale: str = Field(default="en_US", pattern=LOCALE)


class GivenMoney(Money):
    """A price in a start input: an amount above zero in one currency."""

    amount: Annotated[int, Field(strict=True, gt=0, le=MAX_AMOUNT)]
    currency: Currency


class PurchaseStart(Model):
    """The start input. One that cannot be right is rejected before money moves."""

    purchase_id: Identifier
    title: Line
    client: GivenParty
    freelancer: GivenParty
    price: GivenMoney
    payment_method: Line | None = None
    payment_reference: Line | None = None
    requirements_needed: bool = Field(default=True, strict=True)
    purchased_at: UtcDatetime | None = None
    policy: GivenPolicy = GivenPolicy()
    imported: GivenImport | None = None

    @model_validator(mode="after")
    def _two_people(self) -> "PurchaseStart":
        if self.client.id == self.freelancer.id:
            raise ValueError("client and freelancer are the same person")
        return self

    @model_validator(mode="after")
    def _one_payment(self) -> "PurchaseStart":
        if (self.payment_method is None) is (self.payment_reference is None):
            raise ValueError("give either payment_method or payment_reference")
        return self

    @model_validator(mode="after")
    def _imported_with_payment(self) -> "PurchaseStart":
        if (given := self.imported) is None:
            return self
        if self.payment_reference is None or self.purchased_at is None:
            raise ValueError("an imported purchase needs payment_reference and purchased_at")
        if given.claim is not None and given.claim > self.price.amount:
            raise ValueError("imported.claim is more than the price")
        if not self.requirements_needed and "requirements" in given.deadlines:
            raise ValueError("a purchase without requirements does not wait for them")
        return self


class Started(Model):
    """A purchase that was started, now or before with the same input."""

    purchase_id: str
    workflow_id: str
    already_started: bool


class Receipt(Model):
    """The answer to an accepted update. Its effect is already readable by `status`."""

    accepted: Literal[True] = True
    stage: str
    text: str
    next_deadline: UtcDatetime | None = None


class PurchaseResult(Model):
    """What the workflow returns. A business outcome always completes it."""

    purchase_id: str
    outcome: str
    reason: str
    refunded: Amount
    released: Amount
    currency: str
    closed_at: UtcDatetime


class Escrow(Model):
    """Where the money is, as far as the ledger has confirmed it. `charged_back`: what the client's
    bank has taken back."""

    held: Amount
    in_transit: Amount
    refunded: Amount
    released: Amount
    charged_back: Amount = 0
    currency: str


class Deadline(Model):
    """An open deadline, and what happens if nobody acts by then."""

    name: str
    at: UtcDatetime
    then: str


class Offer(Model):
    """A split that one side has offered the other."""

    by: Role
    refund: Amount
    release: Amount
    at: UtcDatetime


class AttentionItem(Model):
    """Something that needs a person."""

    kind: str
    text: str
    since: UtcDatetime


class TimelineEntry(Model):
    """One transition. `by_id`: who sent the message that caused it; `note`: the reason, note or
    text in it, if it is long only its beginning. `late_by`: seconds by which a deadline had passed
    when it was applied."""

    number: int
    at: UtcDatetime
    transition: str
    by: str
    by_id: str | None = None
    text: str
    note: str | None = None
    late_by: float | None = None


class RejectedSignal(Model):
    """A signal that was rejected, and why."""

    at: UtcDatetime
    name: str
    code: str
    text: str
    sender: RecordedSender | None = None


class RefundAttempt(Model):
    """The refund as the provider knows it."""

    refund_id: str
    amount: Amount
    status: Literal["unsent", "pending", "sent", "settled", "failed", "returned"]
    reference: str


class Frozen(Model):
    """Why nothing is paid: the client's bank has taken `amount` back for now. `reference`: the
    provider's name for the dispute."""

    why: Literal["bank_dispute"]
    since: UtcDatetime
    amount: Amount
    reference: str


class Status(Model):
    """Everything about the purchase. `rejected` holds the newest 50 rejected signals,
    `rejected_count` how many there were. `confirm_url`: the page of the payment provider on which
    the client confirms the payment, while the client's bank asks for that and the page is known."""

    purchase_id: str
    title: str
    client: str
    freelancer: str
    price: Money
    purchased_at: UtcDatetime | None = None
    stage: str
    outcome: str | None
    reason: str | None
    waiting_for: str
    payment: str
    confirm_url: str | None = None
    escrow: Escrow
    refund: RefundAttempt | None
    frozen: Frozen | None = None
    deadlines: tuple[Deadline, ...]
    offer: Offer | None
    claim: Amount | None
    requirements: JsonValue = None
    attention: tuple[AttentionItem, ...]
    timeline: tuple[TimelineEntry, ...]
    rejected: tuple[RejectedSignal, ...]
    rejected_count: int
    undelivered: tuple[Undelivered, ...]
    late_by: float | None = None
    stream: str | None = None
    sequence: int = 0


class Permission(Model):
    """Whether a role may send a message now, and until when: what a page shows as a button."""

    message: str
    allowed: bool
    why_not: str | None = None
    code: str | None = None
    until: UtcDatetime | None = None
