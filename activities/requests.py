"""The requests and answers of all activities. Workflows import nothing else that does I/O.

No database, provider or mail library is imported here. Amounts are integer minor units of one
ISO 4217 currency; times are UTC instants. Every request that moves money carries the idempotency
key of its effect, `<workflow id>/<effect>`: the same request may arrive any number of times and
takes effect once.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from activities import fields
from activities.amounts import format_amount
from activities.fields import Amount, UtcDatetime


class Model(BaseModel):
    """Immutable. An unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Money(Model):
    """An amount in one currency."""

    amount: Annotated[int, Field(strict=True)]
    currency: str

    def __str__(self) -> str:
        return format_amount(self.amount, self.currency)


class Party(Model):
    """A person who buys or sells, and how to reach and address them."""

    id: str
    name: str
    email: str
    timezone: str = "UTC"
    locale: str = "en_US"


# --- Money -----------------------------------------------------------------------------------


class PaymentRequest(Model):
    """Charge the client and hold the money in escrow, or (void) make sure that nobody pays.

    `at` is the purchase's own time of the request: the sandbox provider has no other clock.
    """

    key: str
    purchase_id: str
    price: Money
    payment_method: str
    payment_reference: str = ""
    """Instead of a payment method: the provider's charge, which was paid before."""
    at: UtcDatetime
    calendar: str
    timezone: str
    """What later deadlines will need: an unknown one is rejected before money moves."""
    client: str
    freelancer: str
    terms: str
    """Policy, rules version and whether requirements are needed, as JSON. For the ledger: so no
    name, mail address, title or payment method."""
    document: str
    """The whole start input with every default, as JSON: the ledger keeps it sealed."""
    first_run: str
    """The id of the workflow's first run, which a reset, a retry and continue-as-new keep."""


ProviderReference = Annotated[str, Field(max_length=fields.LONGEST_LINE)]
"""The provider's name for a charge or a refund; empty if it has none."""


class PaymentAnswer(Model):
    """`held`: charged and posted to escrow. `declined`: the provider declined, nothing moved.
    `voided`: the provider has no such charge and will never make it. `needs_client`: nothing moves
    until the client has confirmed the payment at `confirm_url`."""

    status: Literal["held", "declined", "voided", "needs_client"]
    reference: ProviderReference = ""
    text: str = ""
    confirm_url: Annotated[str, Field(max_length=2_000)] = ""


class SavedStateRequest(Model):
    """Return the state of the ended run `run_id` to the workflow that continues it, whose first run
    is `first_run`."""

    purchase_id: str
    run_id: str
    first_run: str


class SavedStateAnswer(Model):
    """`state`: `document` is the workflow's state. `terms`: it is the start input with every
    default. `decision`: what the ledger has about the money."""

    kind: Literal["state", "terms"]
    document: JsonValue
    decision: "LedgerDecision | None" = None


class LedgerDecision(Model):
    """A posted decision, in minor units."""

    refund: int
    release: int
    at: UtcDatetime


class DecisionPosting(Model):
    """Post a decision: `refund` leaves escrow for refunds in transit, `release` leaves it for the
    freelancer's balance; both in one operation, together all that is held."""

    key: str
    purchase_id: str
    refund: Amount
    release: Amount
    currency: str
    at: UtcDatetime
    charge_reference: str
    """The provider's name for the charge, to see whether it has refunded it already."""
    known: tuple[str, ...] = ()
    """What the workflow knows of the payment (`PaymentNews.names`). If the provider has anything
    else, nothing is posted, and the answer has the news."""
    first_run: str = ""
    """The id of the workflow's first run: another workflow decides about nothing."""


class SettlementPosting(Model):
    """Post that a refund is settled: refunds in transit → provider clearing."""

    key: str
    purchase_id: str
    amount: Amount
    currency: str
    reference: str
    at: UtcDatetime


ProviderMoveKind = Literal[
    "bank_dispute_opened",
    "bank_dispute_won",
    "bank_dispute_lost",
    "bank_dispute_loss",
    "refunded_elsewhere",
    "refund_elsewhere_failed",
    "refund_returned",
]
"""Money that moved at the provider without Recourse:

- `bank_dispute_opened`: escrow or refunds in transit → bank disputes of the purchase
- `bank_dispute_won`: bank disputes → where it was taken from
- `bank_dispute_lost`: bank disputes → provider clearing
- `bank_dispute_loss`: platform losses, or the freelancer's receivable → provider clearing
- `refunded_elsewhere`: escrow → provider clearing
- `refund_elsewhere_failed`: provider clearing → escrow, before the decision is posted
- `refund_returned`: provider clearing → refunds in transit, after the settlement was posted
"""

MoveAccount = Literal["escrow", "in_transit", "platform_losses", "freelancer_receivable"]


class ProviderMovePosting(Model):
    """Post a move that the provider made. `account`: the account of ours that it is about; for
    won and lost, the one that it was taken from. `reference`: the provider's name for the dispute
    or the refund."""

    key: str
    purchase_id: str
    kind: ProviderMoveKind
    account: MoveAccount
    amount: Amount
    currency: str
    reference: str
    at: UtcDatetime


class WorkflowPostings(Model):
    """The postings that a workflow has asked for, as it requests them.

    `held`, `decision_posted`, `settlement_posted`: the ledger has confirmed it. What is not
    confirmed is being requested, again and again. `hold`: None if the purchase was never paid.
    """

    hold: PaymentRequest | None = None
    held: bool = False
    decision: DecisionPosting | None = None
    decision_posted: bool = False
    settlement: SettlementPosting | None = None
    settlement_posted: bool = False
    proved_by_person: bool = False
    """A person has proved the settlement; the provider need not show it."""
    moves: tuple[ProviderMovePosting, ...] = ()
    """What moved at the provider without Recourse, in the order of the requests."""
    disputes: tuple[str, ...] = ()
    """The provider's names of the bank disputes that the workflow knows, also of those about money
    that was paid out before: these are posted only when they are lost."""
    elsewhere: tuple[str, ...] = ()
    """The provider's names of the refunds that others made, as far as the workflow knows them."""


class Posted(Model):
    """The ledger has the operation. `created`: it did not have it before this call."""

    key: str
    created: bool


class RefundRequest(Model):
    """Ask the provider to send money back, or (check) how that refund stands.

    `refund_id` is our reference at the provider and its idempotency key: a second attempt has a
    new one, a retry of the same attempt never. While one of the `earlier` attempts has not failed
    at the provider, no new one is sent: that one is the answer.
    """

    refund_id: str
    earlier: tuple[str, ...] = ()
    purchase_id: str
    charge_reference: str
    amount: Money
    payment_method: str
    at: UtcDatetime
    known_status: str = ""
    known_text: str = ""
    """What the workflow knows of this attempt: `check_refund` answers when that has changed."""


class RefundAnswer(Model):
    """How the provider sees the refund. `cancelled`: it failed because somebody cancelled it at the
    provider."""

    status: Literal["pending", "sent", "settled", "failed"]
    reference: ProviderReference = ""
    text: str = ""
    cancelled: bool = False


class PaymentQuery(Model):
    """Ask the provider for everything that it has about one charge."""

    purchase_id: str
    charge_reference: str
    at: UtcDatetime


class BankDisputeNews(Model):
    """A dispute that the client's bank has opened; `amount` in minor units of the purchase."""

    dispute_id: ProviderReference
    status: Literal["inquiry", "opened", "won", "lost"]
    amount: Amount
    reason: str = ""


class RefundNews(Model):
    """A refund of the charge. `refund_id`: ours; empty if somebody else made it. `cancelled`: it
    failed because somebody cancelled it at the provider."""

    refund_id: str
    reference: ProviderReference
    amount: Amount
    status: Literal["pending", "sent", "settled", "failed"]
    text: str = ""
    cancelled: bool = False


class PaymentNews(Model):
    """Everything that the provider has about one charge."""

    disputes: tuple[BankDisputeNews, ...] = ()
    refunds: tuple[RefundNews, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What a workflow must know before it decides on the money: each dispute with its status,
        and each refund that others made."""
        disputes = (dispute_name(d.dispute_id, d.status) for d in self.disputes)
        others = (r.reference for r in self.refunds if not r.refund_id and r.status != "failed")
        return (*disputes, *others)

    def is_new_to(self, known: Collection[str]) -> bool:
        """Whether a workflow that knows these names must know more, also that a refund which others
        made has failed."""
        failed = (r.reference for r in self.refunds if not r.refund_id and r.status == "failed")
        return not set(self.names) <= set(known) or any(name in known for name in failed)


def dispute_name(dispute_id: str, status: str) -> str:
    """How `PaymentNews.names` writes a dispute."""
    return f"{dispute_id}:{status}"


class HandledNews(Model):
    """News about a payment that a closed purchase or its aftercare case has handled.

    `reference`: the provider's name for the bank dispute, or for the refund that others made.
    `status`: of the dispute; of a refund `made` or `failed`.
    """

    kind: Literal["dispute", "refund"]
    reference: str
    status: str
    amount: Amount

    @property
    def name(self) -> tuple[str, str, str]:
        """What makes it another piece of news."""
        return self.kind, self.reference, self.status


class NewsRecord(Model):
    """Record the news that a purchase, or its aftercare case, has handled when it ends."""

    purchase_id: str
    news: tuple[HandledNews, ...]


class NewsRecorded(Model):
    """How many of them the ledger did not have."""

    created: int


class ClosedPurchaseRequest(Model):
    """Return what ledger and provider have of a closed purchase, for its aftercare case."""

    purchase_id: str
    at: UtcDatetime


class ClosedPurchase(Model):
    """A purchase that was closed, without its workflow: `document` is its start input with every
    default, the rest is what ledger and provider have.

    `attempts`: the provider's records of our refund, by the number of the attempt, from 1.
    `settlements`: how often the ledger has the refund as settled. `settled_attempt`: the one that
    was settled last; 0 if another proof was given. `moves`: in the order of their postings.
    """

    document: JsonValue
    charge_reference: str
    decision: LedgerDecision | None
    in_transit: Amount
    attempts: tuple[RefundNews, ...]
    settlements: int
    settled_attempt: int
    settled_at: UtcDatetime | None
    moves: tuple[ProviderMovePosting, ...]
    closed_at: UtcDatetime
    handled: tuple[HandledNews, ...] = ()
    """The oldest first."""


class DecisionAnswer(Posted):
    """The ledger has the decision; or, with `news`, nothing was posted."""

    news: PaymentNews | None = None


# --- Calendar --------------------------------------------------------------------------------


class BusinessDeadlineRequest(Model):
    """The end of the n-th business day after the day in which `start` falls in `timezone`."""

    start: UtcDatetime
    days: Annotated[int, Field(ge=1, le=366)]
    country: str
    timezone: str


class BusinessDeadline(Model):
    """The deadline and its reasons. Recorded in history, never computed again."""

    at: UtcDatetime
    timezone: str
    country: str
    skipped: tuple[tuple[date, str], ...] = ()
    """Days passed over, each with its reason (`Saturday`, `Thanksgiving Day`, …)."""
    table: str
    """Name and version of the holiday table."""


# --- Notices ---------------------------------------------------------------------------------


GIVE_UP_AFTER = timedelta(days=1)
"""How long a notice is retried. A day outlasts an outage of a mail server; later, a notice would
mislead its reader."""


@dataclass(frozen=True)
class Movement:
    """Money that a transition moves, in minor units of the purchase's currency. `source` and
    `target` in words: `escrow`, `the client's payment method`, …"""

    amount: int
    source: str
    target: str


Role = Literal["client", "freelancer", "operator"]

CONSUMER = "consumer"
"""The role of another system that receives events, in the delivery log and in Undelivered."""

GIVE_UP_EVENTS_AFTER = timedelta(days=3)
"""How long an event is retried. It outlasts a weekend, and its number says that it is late."""


class EventRecord(Model):
    """What happened in one transition, for other systems. `id` is unique, and the same whenever the
    transition is reported again; `data`: as in docs/contract/event.schema.json."""

    id: str
    type: str
    transition: str
    at: UtcDatetime
    data: dict[str, JsonValue]


class EventsRequest(Model):
    """Store these events of a purchase, and send all that no consumer has yet, in order. Without
    events: retry until each is sent or given up."""

    purchase_id: str
    events: tuple[EventRecord, ...] = ()


class NoticeText(Model):
    """The texts of a notice: templates for `activities.formatter`. `advice`: further paragraphs, by
    the role that reads them."""

    heading: str
    summary: str
    explanation: str
    advice: dict[Role, tuple[str, ...]] = {}


class NoticeDeadline(Model):
    """An open deadline. `label` says what is due and `expiry_text` what happens if nobody acts by
    then: templates, `label` the start of a sentence and `expiry_text` the end of one."""

    name: str
    at: UtcDatetime
    label: str
    expiry_text: str
    waiting_for: str
    staff_only: bool = False
    """Whether only operators see it: the parties know that staff is already looking into it."""


class AllowedMessage(Model):
    """A message that a reader may send now. `label` (a template) says what it does; `fields` are
    the message's own fields, with `AMOUNT` where the reader chooses an amount."""

    message: str
    label: str
    fields: dict[str, JsonValue] = {}


class Recipient(Model):
    """One reader. `allowed`: the most important message first."""

    role: Role
    allowed: tuple[AllowedMessage, ...] = ()


class NoticeRequest(Model):
    """Notify `recipients` of one transition, once per recipient and channel."""

    purchase_id: str
    title: str
    price: Money
    client: Party
    freelancer: Party
    transition_id: str
    """Unique within the purchase. Message-IDs are made of it, the recipient and the channel."""
    transition: str
    at: UtcDatetime
    actor: str
    text: NoticeText
    note: str | None = None
    """What the actor wrote. Never trusted as markup."""
    movements: tuple[Movement, ...] = ()
    deadlines: tuple[NoticeDeadline, ...] = ()
    """The open deadlines, the next one first."""
    money_text: str | None = None
    """When the money moves (a template without its full stop), if the transition decides on it."""
    refund_by: UtcDatetime | None = None
    """The latest date on which the refund should arrive."""
    recipients: tuple[Recipient, ...]
    amounts: dict[str, Amount] = {}
    """Minor units by placeholder: `escrow`, `claim`, `refund`, …"""
    windows: dict[str, timedelta | int] = {}
    """The purchase's own windows by policy field: elapsed time, or a number of business days."""
    values: dict[str, str] = {}
    """Other people's text by placeholder. Never trusted as markup."""
    confirm_url: str = ""
    """The page of the payment provider on which the client confirms the payment."""
    about_money: bool = True
    """Whether operators are notified if a party cannot be reached."""
    events: tuple[EventRecord, ...] = ()
    """Events that no activity has stored yet, also of transitions that notify nobody."""


class Undelivered(Model):
    """A notice that did not reach its reader, and why."""

    transition: str
    role: str
    channel: str
    at: UtcDatetime
    why: str


NOTICE_CAME_BACK = "notice_came_back"
"""The signal that reports an Undelivered notice that the mail server had accepted. Not part of the
contract: `recourse bounces` sends it."""


class NoticeAnswer(Model):
    """How many notices were delivered, and which notices and events were not. `events_pending`:
    events are stored, and a consumer could not take them yet."""

    delivered: int = 0
    undelivered: tuple[Undelivered, ...] = ()
    events_pending: bool = False


# --- Audit -----------------------------------------------------------------------------------


class AuditRequest(Model):
    """Compare ledger, workflows and provider. Nothing is changed."""


class Difference(Model):
    """One thing that is wrong: of which purchase (None: of the whole ledger), what, what to do."""

    purchase_id: str | None
    what: str
    what_to_do: str
    is_news: bool = False
    """Whether it is news about the payment of a closed purchase, for an aftercare case."""


class Total(Model):
    """The balances of one currency, in minor units. Those of the ledger, which is all but the last,
    sum to zero; losses and receivables are negative. What is held and released, less both, is what
    the provider should still have of the clients' payments."""

    currency: str
    held: int = 0
    in_transit: int = 0
    released: int = 0
    in_dispute: int = 0
    """Withdrawn by clients' banks, which have not decided yet."""
    platform_losses: int = 0
    freelancer_receivables: int = 0
    provider: int = 0
    """The provider's clearing account in the ledger."""
    at_provider: int | None = None
    """By the provider's own records: charged, less refunds sent and what banks have withdrawn. None
    if not all of them were read."""


class AuditReport(Model):
    """What an audit found; a correct ledger has no differences. `compared`: the purchases that were
    compared with workflows and provider, of all `purchases` of the ledger and others."""

    purchases: int
    compared: int = 0
    totals: tuple[Total, ...]
    differences: tuple[Difference, ...]
    more: int = 0
    """Differences that are not listed: a report has to fit into a workflow's history."""
    news: tuple[str, ...] = ()
    """The closed purchases about whose payment there is news, for their aftercare cases."""


class OperatorAlert(Model):
    """An alert to operators that is about no single purchase. Sent once per `alert_id`."""

    alert_id: str
    at: UtcDatetime
    subject: str
    lines: tuple[str, ...]


# --- Names -----------------------------------------------------------------------------------

Request = TypeVar("Request", bound=Model)
Answer = TypeVar("Answer", bound=Model)


@dataclass(frozen=True)
class ActivityType(Generic[Request, Answer]):
    """An activity as its caller knows it: its name, what it takes and what it answers."""

    name: str
    request: type[Request]
    answer: type[Answer]


TAKE_PAYMENT = ActivityType("take_payment", PaymentRequest, PaymentAnswer)
LOAD_STATE = ActivityType("load_saved_state", SavedStateRequest, SavedStateAnswer)
LOAD_CLOSED = ActivityType("load_closed_purchase", ClosedPurchaseRequest, ClosedPurchase)
RECORD_NEWS = ActivityType("record_news", NewsRecord, NewsRecorded)
VOID_PAYMENT = ActivityType("void_payment", PaymentRequest, PaymentAnswer)
POST_DECISION = ActivityType("post_decision", DecisionPosting, DecisionAnswer)
CHECK_PAYMENT = ActivityType("check_payment", PaymentQuery, PaymentNews)
SEND_REFUND = ActivityType("send_refund", RefundRequest, RefundAnswer)
CHECK_REFUND = ActivityType("check_refund", RefundRequest, RefundAnswer)
POST_SETTLEMENT = ActivityType("post_settlement", SettlementPosting, Posted)
POST_PROVIDER_MOVE = ActivityType("post_provider_move", ProviderMovePosting, Posted)
BUSINESS_DEADLINE = ActivityType("business_deadline", BusinessDeadlineRequest, BusinessDeadline)
AUDIT_LEDGER = ActivityType("audit_ledger", AuditRequest, AuditReport)
SEND_NOTICES = ActivityType("send_notices", NoticeRequest, NoticeAnswer)
SEND_EVENTS = ActivityType("send_events", EventsRequest, NoticeAnswer)
ALERT_OPERATORS = ActivityType("alert_operators", OperatorAlert, NoticeAnswer)

TASK_QUEUE = "project-purchases"
"""The task queue of purchases and of the activities that move money."""

NOTICE_QUEUE = "project-purchases-notices"
"""The task queue of the last three activities: a slow mail server takes no slot from those that
move money."""


class ErrorType:
    """Types of the ApplicationErrors that activities raise, with a sentence a person can act on.

    The first two pass by themselves and are retried; the others need a person and are not.
    """

    PROVIDER_UNREACHABLE = "PROVIDER_UNREACHABLE"
    LEDGER_UNREACHABLE = "LEDGER_UNREACHABLE"
    PROVIDER_REJECTED = "PROVIDER_REJECTED"
    LEDGER_REJECTED = "LEDGER_REJECTED"
    UNKNOWN_REFUND = "UNKNOWN_REFUND"
    """The provider has refunded money about which the ledger has no decision."""
    INVALID_INPUT = "INVALID_INPUT"
    UNKNOWN_CALENDAR = "UNKNOWN_CALENDAR"
    WITHDRAWN_CURRENCY = "WITHDRAWN_CURRENCY"
    PURCHASE_EXISTS = "PURCHASE_EXISTS"
    """The purchase id stands for another purchase in the ledger."""
    REFUND_PENDING = "REFUND_PENDING"
    """The refund is on its way; asked again, once a day."""
    NOTICE_DELAYED = "NOTICE_DELAYED"
    """Some readers could not be reached now; retried. Its detail is the NoticeAnswer so far."""
