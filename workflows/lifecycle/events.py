"""What happens to a purchase (events), and what its rules ask for (effects). Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from activities.requests import Movement
from workflows.lifecycle.state import Code, DeadlineName, State
from workflows.lifecycle.texts import Text
from workflows.messages import Message

# --- events: a message, or one of these facts


@dataclass(frozen=True)
class DeadlineExpired:
    """A timer has fired. It takes effect when the purchase acts on it."""

    deadline: DeadlineName


@dataclass(frozen=True)
class DeadlineComputed:
    """The calendar has answered when a window in business days ends that began at `start`."""

    deadline: DeadlineName
    start: datetime
    at: datetime


@dataclass(frozen=True)
class PaymentHeld:
    """Charged, and posted to escrow. `reference` is the provider's name for the charge."""

    reference: str = ""


@dataclass(frozen=True)
class PaymentDeclined:
    """The provider declined the charge; no money has moved. `text` is its reason."""

    text: str = ""


@dataclass(frozen=True)
class PaymentUnusable:
    """The payment that was made elsewhere pays for no purchase under these terms, or for another
    one; it stays where it is. `text` says why."""

    text: str = ""


@dataclass(frozen=True)
class PaymentVoided:
    """The provider has no charge and will never make it."""


@dataclass(frozen=True)
class PaymentNeedsClient:
    """The client's bank asks the client to confirm the payment at `url`."""

    url: str


@dataclass(frozen=True)
class BankDisputeReported:
    """The provider's report on a dispute that the client's bank has opened."""

    dispute_id: str
    status: Literal["inquiry", "opened", "won", "lost"]
    amount: int
    reason: str = ""


@dataclass(frozen=True)
class RefundedElsewhere:
    """Somebody refunded `amount` at the provider without us."""

    reference: str
    amount: int


@dataclass(frozen=True)
class RefundElsewhereFailed:
    """A refund that somebody else made has failed: the client does not have it."""

    reference: str
    text: str = ""


@dataclass(frozen=True)
class PaymentChecked:
    """The provider has answered the look at the payment with this number."""

    number: int


@dataclass(frozen=True)
class ProviderMovePosted:
    """The ledger has the move with this number, counted from 0."""

    number: int


@dataclass(frozen=True)
class DecisionPosted:
    """The ledger has the decision."""


@dataclass(frozen=True)
class RefundReported:
    """The provider's status of refund attempt `attempt`; `text` is its reason. `cancelled`: it
    failed because somebody cancelled it at the provider."""

    attempt: int
    status: Literal["pending", "sent", "failed", "settled"]
    reference: str = ""
    text: str = ""
    cancelled: bool = False


@dataclass(frozen=True)
class AftercareReviewed:
    """An aftercare case has sent its notices. Reported again and again until it ends."""


@dataclass(frozen=True)
class SettlementPosted:
    """The ledger has the settlement."""


@dataclass(frozen=True)
class EffectBlocked:
    """An effect cannot be carried out for now. It is retried until its answer comes."""

    effect: str
    text: str


@dataclass(frozen=True)
class PlatformCancelled:
    """An operator cancelled the workflow itself."""


Fact = (
    DeadlineExpired
    | DeadlineComputed
    | PaymentHeld
    | PaymentDeclined
    | PaymentUnusable
    | PaymentVoided
    | PaymentNeedsClient
    | BankDisputeReported
    | RefundedElsewhere
    | RefundElsewhereFailed
    | PaymentChecked
    | ProviderMovePosted
    | DecisionPosted
    | RefundReported
    | SettlementPosted
    | EffectBlocked
    | PlatformCancelled
    | AftercareReviewed
)

Event = Message | Fact


# --- effects: each is carried out by one activity; its answer is a fact


@dataclass(frozen=True)
class TakePayment:
    """Charge the client and hold the money in escrow."""

    kind: Literal["take_payment"] = "take_payment"


@dataclass(frozen=True)
class VoidPayment:
    """Look the charge up; if there is none, make sure that it is never made."""

    kind: Literal["void_payment"] = "void_payment"


@dataclass(frozen=True)
class ComputeDeadline:
    """Ask the calendar for the end of the n-th business day after `start`."""

    deadline: DeadlineName
    start: datetime
    days: int
    kind: Literal["compute_deadline"] = "compute_deadline"


@dataclass(frozen=True)
class PostDecision:
    """Post the decision to the ledger."""

    refund: int
    release: int
    kind: Literal["post_decision"] = "post_decision"


@dataclass(frozen=True)
class SendRefund:
    """Ask the provider to send the refund; a new attempt has a new id."""

    attempt: int
    kind: Literal["send_refund"] = "send_refund"


@dataclass(frozen=True)
class CheckRefund:
    """Ask the provider how the refund stands, until it is settled or failed."""

    attempt: int
    kind: Literal["check_refund"] = "check_refund"


@dataclass(frozen=True)
class CheckPayment:
    """Ask the provider for everything that it has about the payment: disputes and refunds."""

    number: int
    kind: Literal["check_payment"] = "check_payment"


@dataclass(frozen=True)
class PostProviderMove:
    """Post to the ledger what moved at the provider without us."""

    number: int
    kind: Literal["post_provider_move"] = "post_provider_move"


@dataclass(frozen=True)
class PostSettlement:
    """Post to the ledger that the refund is settled."""

    reference: str
    at: datetime
    kind: Literal["post_settlement"] = "post_settlement"


Effect = (
    TakePayment
    | VoidPayment
    | ComputeDeadline
    | PostDecision
    | SendRefund
    | CheckRefund
    | PostSettlement
    | CheckPayment
    | PostProviderMove
)
"""Carried out in order, except those in `UNORDERED`."""

UNORDERED = (ComputeDeadline, CheckRefund, CheckPayment)
"""Effects that move no money wait for none of the others. But a check of the payment and an effect
that moves money never run at the same time: what was decided must not change under a posting."""

CONCURRENT = (ComputeDeadline, CheckRefund)

RecipientRole = Literal["client", "freelancer", "operator"]


@dataclass(frozen=True)
class Notify:
    """Notify `recipients` of a transition. `deadline`: the only one that the notice is about (None:
    all open ones); `note`: what the actor wrote; `values`: what else the text quotes."""

    transition: str
    actor: str
    text: Text
    recipients: tuple[RecipientRole, ...]
    note: str | None = None
    movements: tuple[Movement, ...] = ()
    deadline: DeadlineName | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    money_text: str | None = None
    about_money: bool = True
    hide_settlement_deadline: bool = False


# --- answers of `decide`


@dataclass(frozen=True)
class Accepted:
    """The event took effect: the new state, and what it asks for, in order.

    `row` is the id of the row that was applied; empty if none was. `transition` is the row's name
    and `text` its summary for the timeline; both are empty if no person needs to see it.
    `late_by`: how long the earliest deadline had passed without having taken effect.
    """

    state: State
    effects: tuple[Effect, ...] = ()
    notices: tuple[Notify, ...] = ()
    transition: str = ""
    text: str = ""
    actor: str = "system"
    late_by: timedelta | None = None
    row: str = ""


@dataclass(frozen=True)
class Rejection:
    """The message changes nothing; `text` says why and what could be done instead."""

    code: Code
    text: str
