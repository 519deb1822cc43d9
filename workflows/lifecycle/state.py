"""The state of a purchase: all that the rules need to know. Pure data.

Amounts are integer minor units of the purchase's currency, times UTC instants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from activities.amounts import format_amount
from activities.requests import MoveAccount, ProviderMoveKind
from workflows.messages import Role
from workflows.policy import Policy


class Stage(StrEnum):
    """Where a purchase stands."""

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
    """The deadlines of a purchase; `deadlines.py` has the table."""

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
    """How far the payment is. `NONE`: nothing was paid, and nothing ever will be."""

    PENDING = "pending"
    VOIDING = "voiding"
    HELD = "held"
    NONE = "none"


class Code(StrEnum):
    """Why a message is rejected."""

    NOT_ALLOWED_NOW = "NOT_ALLOWED_NOW"
    NOT_A_PARTY = "NOT_A_PARTY"
    WRONG_ROLE = "WRONG_ROLE"
    WINDOW_CLOSED = "WINDOW_CLOSED"
    TOO_LATE = "TOO_LATE"
    ALREADY_REQUESTED = "ALREADY_REQUESTED"
    ALREADY_SETTLED = "ALREADY_SETTLED"
    CANCELLATION_PENDING = "CANCELLATION_PENDING"
    NO_OFFER = "NO_OFFER"
    FROZEN = "FROZEN"
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
    """What was bought, under which policy and which version of the rules. Never changes. `key` is
    the prefix of every idempotency key; `step`: the payment provider moves only multiples of it, in
    minor units. `imported_at`: when it came from another system, in which it ran before."""

    key: str
    client: Person
    freelancer: Person
    amount: int
    currency: str
    decimals: int
    purchased_at: datetime
    requirements_needed: bool = True
    policy: Policy = field(default_factory=Policy)
    rules_version: int = 1
    step: int = 1
    imported_at: datetime | None = None

    def format_amount(self, minor: int) -> str:
        """Minor units as a person writes them, with the decimals that the terms have."""
        return format_amount(minor, self.currency, self.decimals)


@dataclass(frozen=True)
class Offer:
    """A split that one side has offered the other."""

    by: Role
    refund: int
    at: datetime


@dataclass(frozen=True)
class Decision:
    """Who gets the escrow. refund + release = escrow. Final once the ledger has it; until then a
    bank dispute or a refund made elsewhere can reduce or drop it."""

    reason: str
    refund: int
    release: int
    at: datetime


RESTORED = "restored_from_ledger"
"""The reason of a decision of which only the amounts are known."""


class AttentionKind(StrEnum):
    """Why a person is needed."""

    PAYMENT_UNKNOWN = "payment_unknown"
    EFFECT_BLOCKED = "effect_blocked"
    DECISION_OVERDUE = "decision_overdue"
    DISPUTE_OVERDUE = "dispute_overdue"
    SETTLEMENT_LATE = "settlement_late"
    REFUND_FAILED = "refund_failed"
    BANK_DISPUTE = "bank_dispute"
    BANK_DISPUTE_CHANGED = "bank_dispute_changed"
    REFUNDED_ELSEWHERE = "refunded_elsewhere"
    REFUND_ELSEWHERE_FAILED = "refund_elsewhere_failed"


@dataclass(frozen=True)
class Attention:
    """Something that needs a person. `effect`: the kind of the effect that is blocked, if any."""

    kind: AttentionKind
    text: str
    since: datetime
    effect: str = ""


class RefundStatus(StrEnum):
    """How the provider sees the refund."""

    UNSENT = "unsent"
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    SETTLED = "settled"
    RETURNED = "returned"


NOT_PAID = (RefundStatus.FAILED, RefundStatus.RETURNED)
"""The client does not have the refund, and nothing is on its way: a person decides."""


@dataclass(frozen=True)
class Refund:
    """The refund. Each attempt is a new request to the provider under an id of its own;
    `references` are the provider's names for the attempts, in order. `posted`: the ledger has the
    settlement. `why`: the provider's reason for not having sent it yet."""

    amount: int
    attempt: int = 1
    status: RefundStatus = RefundStatus.UNSENT
    references: tuple[str, ...] = ("",)
    posted: bool = False
    why: str = ""


@dataclass(frozen=True)
class Settlement:
    """That the refund is settled: reported by the provider, proved by a person, or presumed because
    it was sent and did not come back within its window. `reference` is the provider's name for it,
    or the proof."""

    reference: str
    at: datetime
    proved_by_person: bool = False
    presumed: bool = False


@dataclass(frozen=True)
class BankDispute:
    """A dispute that the client's bank has opened about the payment. `account`: where the money was
    that the bank took; empty if it took none of what the purchase still has to pay. `changed_to`:
    what the bank says now, if it has changed its decision; what was booked stays."""

    dispute_id: str
    status: Literal["inquiry", "opened", "won", "lost"]
    amount: int
    since: datetime
    reason: str = ""
    account: MoveAccount | Literal[""] = ""
    changed_to: str = ""

    @property
    def newest(self) -> str:
        """The status that the provider reported last."""
        return self.changed_to or self.status

    @property
    def ended(self) -> bool:
        """Whether the bank has decided."""
        return self.status in ENDED


ENDED = ("won", "lost")


@dataclass(frozen=True)
class RefundElsewhere:
    """A refund that somebody else made at the provider. `failed`: the client does not have it."""

    reference: str
    amount: int
    failed: bool = False


@dataclass(frozen=True)
class ProviderMove:
    """Money that moved at the provider without us, and whether the ledger has it."""

    kind: ProviderMoveKind
    account: MoveAccount
    amount: int
    reference: str
    at: datetime
    posted: bool = False


@dataclass(frozen=True)
class State:
    """Everything the rules know of a purchase.

    `deadlines`: the open deadlines and their instants. `suspended`: the others, with the time
    they have left; since `suspended_since`, if it is set, new ones are suspended as well.
    `computing`: those whose end the calendar has not answered, with the instant from which their
    time runs.
    `stage_before_request`: the stage that an open refund request left. `decision_posted`: the
    ledger has the decision. `moves`: what moved at the provider without us. `payment_checks`: how
    often somebody asked to look at the payment; `payment_checks_done`: how many of these were
    answered. `confirm_url`: where the client confirms the payment to the bank. `in_aftercare`: the
    purchase was closed at `closed_at`, and this is its aftercare case, in the stage `settling`;
    `settlements`: how often the refund was settled before.
    """

    terms: Terms
    stage: Stage
    deadlines: Mapping[DeadlineName, datetime]
    payment: Payment = Payment.PENDING
    charge_reference: str = ""
    requirements_received: bool = False
    cancel_window_closed_at: datetime | None = None
    stage_before_request: Stage | None = None
    suspended: Mapping[DeadlineName, timedelta] = field(default_factory=dict)
    suspended_since: datetime | None = None
    computing: Mapping[DeadlineName, datetime] = field(default_factory=dict)
    requested_by_system: bool = False
    claim: int | None = None
    offer: Offer | None = None
    decision: Decision | None = None
    decision_posted: bool = False
    refund: Refund | None = None
    settlement: Settlement | None = None
    bank_disputes: tuple[BankDispute, ...] = ()
    moves: tuple[ProviderMove, ...] = ()
    refunds_elsewhere: tuple[RefundElsewhere, ...] = ()
    payment_checks: int = 0
    payment_checks_done: int = 0
    confirm_url: str = ""
    attention: tuple[Attention, ...] = ()
    outcome: str | None = None
    reason: str | None = None
    closed_at: datetime | None = None
    in_aftercare: bool = False
    settlements: int = 0

    @property
    def escrow(self) -> int:
        """What is to be divided: the price, without what a bank has kept of the escrow or somebody
        has refunded elsewhere."""
        lost = sum(d.amount for d in self.bank_disputes if _took(d, "escrow", "lost"))
        return self.terms.amount - lost - self._refunded_elsewhere

    def has_deadline(self, name: DeadlineName) -> bool:
        """Whether this deadline is open or suspended."""
        return name in self.deadlines or name in self.suspended

    @property
    def frozen(self) -> BankDispute | None:
        """The open dispute of a bank that has money which the purchase still has to pay: nothing is
        paid meanwhile."""
        return next((d for d in self.bank_disputes if d.status == "opened" and d.account), None)

    @property
    def suspends_deadlines(self) -> bool:
        """Whether all deadlines that can be suspended are: while a bank has the money."""
        return self.frozen is not None

    @property
    def held(self) -> int:
        """What is in escrow now."""
        if self.payment is not Payment.HELD or self.decision_posted:
            return 0
        return self.escrow - self._disputed("escrow")

    @property
    def in_transit(self) -> int:
        """What has left escrow for the client and is not yet posted as settled."""
        if self.refund is None or self.refund.posted:
            return 0
        return self.refund.amount - self._disputed("in_transit")

    @property
    def refunded(self) -> int:
        """What is posted as settled to the client, and what others have refunded."""
        settled = self.refund.amount if self.refund and self.refund.posted else 0
        return settled + self._refunded_elsewhere

    @property
    def refund_amount(self) -> int:
        """What the refund gives to the client, wherever it is now."""
        return self.refund.amount if self.refund else 0

    @property
    def charged_back(self) -> int:
        """What the client's bank has taken from escrow or from an unsent refund."""
        return sum(d.amount for d in self.bank_disputes if _took(d, d.account, "opened", "lost"))

    def _disputed(self, account: MoveAccount) -> int:
        return sum(d.amount for d in self.bank_disputes if _took(d, account, "opened"))

    @property
    def _refunded_elsewhere(self) -> int:
        return self._moved("refunded_elsewhere") - self._moved("refund_elsewhere_failed")

    def _moved(self, kind: ProviderMoveKind) -> int:
        return sum(move.amount for move in self.moves if move.kind == kind)

    @property
    def released(self) -> int:
        """What the freelancer has received."""
        return self.decision.release if self.decision_posted and self.decision else 0

    @property
    def amounts(self) -> dict[str, int]:
        """The amounts that texts can name; only those that exist."""
        found = {"escrow": self.escrow, "price": self.terms.amount}
        if self.claim is not None:
            found |= {"claim": self.claim, "rest": self.escrow - self.claim}
        if self.decision:
            found |= {"refund": self.decision.refund, "release": self.decision.release}
        elif self.stage is Stage.SETTLING:
            found["refund"] = 0
        if self.offer:
            offered = self.offer.refund
            found |= {"offer_refund": offered, "offer_release": self.escrow - offered}
        if self.bank_disputes:
            found["disputed"] = self.bank_disputes[-1].amount
        if self.refunds_elsewhere:
            found["elsewhere"] = self.refunds_elsewhere[-1].amount
        if failed := [made.amount for made in self.refunds_elsewhere if made.failed]:
            found["failed"] = failed[-1]
        return found

    @property
    def windows(self) -> dict[str, timedelta | int]:
        """The windows of this purchase by policy field: elapsed time, or business days."""
        policy = self.terms.policy
        return {field: getattr(policy, field) for field in WINDOWS}

    def refund_id(self, attempt: int) -> str:
        """Our name for a refund attempt: its idempotency key at the provider."""
        return f"{self.terms.key}/refund" + (f"-{attempt}" if attempt > 1 else "")

    @property
    def refund_name(self) -> str:
        """The provider's name for the newest refund attempt, or ours if it has given none."""
        if self.refund is None:
            return self.refund_id(1)
        return self.refund.references[-1] or self.refund_id(self.refund.attempt)

    def needs(self, kind: AttentionKind) -> bool:
        """Whether a person is needed for this reason."""
        return any(item.kind is kind for item in self.attention)


def _took(dispute: BankDispute, account: str, *statuses: str) -> bool:
    """Whether the bank took money from this account of ours, in a dispute of this status."""
    return bool(dispute.account) and dispute.account == account and dispute.status in statuses


WINDOWS = tuple(field for field in Policy.model_fields if field.endswith("_window"))
"""The policy's fields that are windows."""
