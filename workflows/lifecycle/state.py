"""The state of a purchase, and what may happen to it: pure data, nothing that acts.

Amounts are integer minor units of the purchase's currency, times UTC instants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from workflows.messages import Message, Role
from workflows.policy import Policy


class Stage(StrEnum):
    """Where a purchase stands (`RULES.md`, Stages)."""

    AWAITING_REQUIREMENTS = "awaiting_requirements"
    FREELANCER_REVIEW = "freelancer_review"
    IN_PROGRESS = "in_progress"
    DELIVERED = "delivered"
    REFUND_REQUESTED = "refund_requested"
    CONTESTED = "contested"
    DISPUTED = "disputed"
    SETTLING = "settling"
    CLOSED = "closed"


class DeadlineName(StrEnum):
    """What a purchase waits for with a deadline (`RULES.md`, Windows)."""

    PAYMENT = "payment"
    REQUIREMENTS = "requirements"
    FREELANCER_CANCEL = "freelancer_cancel"
    REFUND_DECISION = "refund_decision"
    CLAIM = "claim"
    REVIEW = "review"
    DORMANCY = "dormancy"
    DISPUTE = "dispute"
    SETTLEMENT = "settlement"


class Payment(StrEnum):
    """How far the hold has come."""

    PENDING = "pending"
    VOIDING = "voiding"
    HELD = "held"
    NONE = "none"


class Code(StrEnum):
    """Why a message is refused."""

    NOT_ALLOWED_NOW = "NOT_ALLOWED_NOW"
    NOT_A_PARTY = "NOT_A_PARTY"
    WRONG_ROLE = "WRONG_ROLE"
    WINDOW_CLOSED = "WINDOW_CLOSED"
    TOO_LATE = "TOO_LATE"
    ALREADY_REQUESTED = "ALREADY_REQUESTED"
    ALREADY_SETTLED = "ALREADY_SETTLED"
    CANCELLATION_PENDING = "CANCELLATION_PENDING"
    NO_OFFER = "NO_OFFER"
    INVALID_AMOUNT = "INVALID_AMOUNT"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    UNKNOWN_MESSAGE = "UNKNOWN_MESSAGE"
    CLOSED = "CLOSED"


@dataclass(frozen=True)
class Person:
    """A party as the rules know it: no address, no zone."""

    id: str
    name: str


@dataclass(frozen=True)
class Terms:
    """What was bought, under which policy and which rules. Never changes. `key` begins every money
    key; `rules_version` is one of `versions.VERSIONS`."""

    key: str
    client: Person
    freelancer: Person
    amount: int
    currency: str
    purchased_at: datetime
    requirements_needed: bool = True
    policy: Policy = field(default_factory=Policy)
    rules_version: int = 1


@dataclass(frozen=True)
class Offer:
    """A split that one side has offered the other."""

    by: Role
    refund: int
    at: datetime


@dataclass(frozen=True)
class Decision:
    """What becomes of the escrow: recorded once, never re-decided. refund + release = escrow."""

    reason: str
    refund: int
    release: int
    at: datetime


class AttentionKind(StrEnum):
    """What a person has to see to."""

    PAYMENT_UNKNOWN = "payment_unknown"
    EFFECT_BLOCKED = "effect_blocked"
    DECISION_OVERDUE = "decision_overdue"
    DISPUTE_OVERDUE = "dispute_overdue"
    SETTLEMENT_LATE = "settlement_late"
    REFUND_FAILED = "refund_failed"


@dataclass(frozen=True)
class Attention:
    """Something that waits for a person. `step`: the effect that is blocked, if one is."""

    kind: AttentionKind
    text: str
    since: datetime
    step: str = ""


class RefundStatus(StrEnum):
    """How the provider sees the refund."""

    UNSENT = "unsent"
    PENDING = "pending"
    FAILED = "failed"
    ARRIVED = "arrived"
    """The provider says so; the books do not have it yet."""
    SETTLED = "settled"


@dataclass(frozen=True)
class Refund:
    """The refund on its way. Each attempt is a new request to the provider, under an id of its
    own; `references` are the provider's names for the attempts, in order."""

    amount: int
    attempt: int = 1
    status: RefundStatus = RefundStatus.UNSENT
    references: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class State:
    """All that the rules need to know. `clocks` are absolute deadlines; `left` is the stage that
    an open refund request came from, and `remainder` what its own clock still had."""

    terms: Terms
    stage: Stage
    deadlines: Mapping[DeadlineName, datetime]
    payment: Payment = Payment.PENDING
    charge_reference: str = ""
    requirements_received: bool = False
    delivered: bool = False
    cancel_window_closed_at: datetime | None = None
    left: Stage | None = None
    time_left: timedelta | None = None
    requested_by_system: bool = False
    claim: int | None = None
    offer: Offer | None = None
    decision: Decision | None = None
    posted: bool = False
    refund: Refund | None = None
    attention: tuple[Attention, ...] = ()
    outcome: str | None = None
    reason: str | None = None
    closed_at: datetime | None = None

    @property
    def held(self) -> int:
        """What the books hold in escrow now."""
        return self.terms.amount if self.payment is Payment.HELD and not self.posted else 0

    @property
    def in_transit(self) -> int:
        """What has left escrow for the client and has not arrived."""
        if self.posted and self.refund and self.refund.status is not RefundStatus.SETTLED:
            return self.refund.amount
        return 0

    @property
    def refunded(self) -> int:
        """What has arrived at the client."""
        settled = self.refund and self.refund.status is RefundStatus.SETTLED
        return self.refund.amount if self.refund and settled else 0

    @property
    def released(self) -> int:
        """What the freelancer has got."""
        return self.decision.release if self.posted and self.decision else 0

    @property
    def amounts(self) -> dict[str, int]:
        """What sentences about the purchase can speak of, by name; left out what there is not."""
        found = {"escrow": self.terms.amount}
        if self.claim is not None:
            found |= {"claim": self.claim, "rest": self.terms.amount - self.claim}
        if self.decision:
            found |= {"refund": self.decision.refund, "release": self.decision.release}
        if self.offer:
            offered = self.offer.refund
            found |= {"offer_refund": offered, "offer_release": self.terms.amount - offered}
        return found

    def refund_id(self, attempt: int) -> str:
        """Our name for a refund attempt: its idempotency key at the provider."""
        return f"{self.terms.key}/refund" + (f"-{attempt}" if attempt > 1 else "")

    def needs(self, kind: AttentionKind) -> bool:
        """Whether a person has to see to this."""
        return any(item.kind is kind for item in self.attention)


# --- What happens to a purchase ----------------------------------------------------------------


@dataclass(frozen=True)
class DeadlineExpired:
    """A timer has fired. It takes effect when the purchase acts on it."""

    deadline: DeadlineName


@dataclass(frozen=True)
class DeadlineComputed:
    """The calendar has said when a business-day window ends."""

    deadline: DeadlineName
    at: datetime


@dataclass(frozen=True)
class PaymentHeld:
    """Charged, and posted to escrow. `reference` is the provider's name for the charge."""

    reference: str = ""


@dataclass(frozen=True)
class PaymentDeclined:
    """The provider said no; nothing has moved."""


@dataclass(frozen=True)
class PaymentVoided:
    """The provider has no charge and will never make it."""


@dataclass(frozen=True)
class DecisionPosted:
    """The ledger holds the decision."""


@dataclass(frozen=True)
class RefundAnswered:
    """What the provider says of attempt `attempt`: it has it, it failed, or it has arrived."""

    attempt: int
    status: Literal["pending", "failed", "settled"]
    reference: str = ""
    text: str = ""


@dataclass(frozen=True)
class SettlementPosted:
    """The ledger holds the settlement: the money has arrived in the books, too."""


@dataclass(frozen=True)
class EffectBlocked:
    """An effect cannot be carried out for now; it is tried again until its answer comes."""

    step: str
    text: str


@dataclass(frozen=True)
class PlatformCancelled:
    """An operator cancelled the workflow itself."""


Fact = (
    DeadlineExpired
    | DeadlineComputed
    | PaymentHeld
    | PaymentDeclined
    | PaymentVoided
    | DecisionPosted
    | RefundAnswered
    | SettlementPosted
    | EffectBlocked
    | PlatformCancelled
)

Event = Message | Fact


# --- What a purchase asks for ------------------------------------------------------------------


@dataclass(frozen=True)
class TakePayment:
    """Charge the client and hold the money in escrow."""

    kind: Literal["take_payment"] = "take_payment"


@dataclass(frozen=True)
class VoidPayment:
    """Look the charge up; if there is none, make sure there never will be."""

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
    """Move the escrow in the books as decided."""

    refund: int
    release: int
    kind: Literal["post_decision"] = "post_decision"


@dataclass(frozen=True)
class SendRefund:
    """Ask the provider to send the refund; a new attempt has a new reference."""

    attempt: int
    kind: Literal["send_refund"] = "send_refund"


@dataclass(frozen=True)
class CheckRefund:
    """Ask the provider how the refund stands, again and again until it arrives or fails."""

    attempt: int
    kind: Literal["check_refund"] = "check_refund"


@dataclass(frozen=True)
class PostSettlement:
    """Record in the books that the refund has arrived."""

    reference: str
    at: datetime
    kind: Literal["post_settlement"] = "post_settlement"


RecipientRole = Literal["client", "freelancer", "operator"]


@dataclass(frozen=True)
class Movement:
    """Money that a transition sets in motion."""

    amount: int
    source: str
    target: str


@dataclass(frozen=True)
class Notify:
    """Tell `readers` about a transition, each once. `clock`: the one deadline it is about, if it is
    not about all that are open; `refused`: the name of a message and the code of its refusal."""

    transition: str
    by: str
    what: str
    rule: str
    recipients: tuple[RecipientRole, ...]
    words: str | None = None
    movements: tuple[Movement, ...] = ()
    deadline: DeadlineName | None = None
    rejected: tuple[str, Code] | None = None


Step = (
    TakePayment
    | VoidPayment
    | ComputeDeadline
    | PostDecision
    | SendRefund
    | CheckRefund
    | PostSettlement
)
"""Something to be done, in order; the calendar's answer may come beside the money."""

Effect = Step | Notify


@dataclass(frozen=True)
class Accepted:
    """The event took effect: the new state, and what it asks for, in order.

    `late_by`: how long the earliest window had run out, and nothing had acted on it yet.
    """

    state: State
    effects: tuple[Effect, ...] = ()
    transition: str = ""
    text: str = ""
    late_by: timedelta | None = None


@dataclass(frozen=True)
class Rejection:
    """The message changes nothing; `text` says why and what could be done instead."""

    code: Code
    text: str
