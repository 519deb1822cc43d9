"""The scenarios as data: the demo runs them, the tests check them on a real server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from activities.payments.sandbox_events import SandboxEvent
from workflows.lifecycle.state import Code
from workflows.messages import PurchaseStart, Role
from workflows.policy import Policy

PRICE, CURRENCY = 25_000, "USD"
"""Minor units."""

PEOPLE = {
    Role.CLIENT: "ana",
    Role.FREELANCER: "bo",
    Role.MEDIATOR: "mediator-1",
    Role.OPERATOR: "operator-1",
    Role.PAYMENTS: "sandbox",
}


@dataclass(frozen=True)
class Send:
    """A party sends a message; `rejected` is the code if the rules must reject it."""

    role: Role
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    rejected: Code | None = None


@dataclass(frozen=True)
class Sleep:
    """The server skips some time."""

    duration: timedelta


@dataclass(frozen=True)
class UntilClosed:
    """The server skips time until the purchase is closed."""


@dataclass(frozen=True)
class CancelWorkflow:
    """An operator presses Request Cancellation in the Web UI."""


@dataclass(frozen=True)
class Happens:
    """Something happens at the payment provider, and the purchase is asked to look. If the purchase
    is closed, its aftercare case opens, and takes the steps that follow."""

    event: SandboxEvent
    amount: int | None = None


Step = Send | Sleep | UntilClosed | CancelWorkflow | Happens


@dataclass(frozen=True)
class Ending:
    """How a scenario ends; amounts in minor units."""

    outcome: str
    reason: str
    refunded: int = 0
    released: int = 0
    charged_back: int = 0


@dataclass(frozen=True)
class Scenario:
    """One purchase from start to end. `notices`: transition and recipient of each, in order."""

    name: str
    title: str
    steps: tuple[Step, ...]
    ends: Ending
    notices: tuple[str, ...]
    payment_method: str = "pm_sandbox_ok"

    def start(self, purchase_id: str) -> PurchaseStart:
        """Return the start input of this scenario's purchase."""
        return PurchaseStart.model_validate(
            {
                "purchase_id": purchase_id,
                "title": "Logo design",
                "client": {
                    "id": "ana",
                    "name": "Ana",
                    "email": "ana@example.com",
                    "timezone": "Europe/Lisbon",
                    "locale": "en_GB",
                },
                "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com"},
                "price": {"amount": PRICE, "currency": CURRENCY},
                "payment_method": self.payment_method,
            }
        )


def client(message: str, **fields: Any) -> Send:
    """The client sends a message."""
    return Send(Role.CLIENT, message, fields)


def freelancer(message: str, **fields: Any) -> Send:
    """The freelancer sends a message."""
    return Send(Role.FREELANCER, message, fields)


BRIEF = client("submit_requirements", requirements="A logo with a lighthouse, in blue.")
CANCELS = client("cancel", reason="My plans have changed.")
DECLINES = freelancer("decide_refund", decision="decline", claim=10_000, note="Half is done.")
PAST_CANCEL_WINDOW = Sleep(Policy().freelancer_cancel_window + timedelta(hours=1))
END = UntilClosed()

PAID = ("payment_held: client, freelancer",)
STARTED = (*PAID, "requirements_submitted: client, freelancer")
COMMITTED = (*STARTED, "reminder: freelancer", "freelancer_committed: client, freelancer")
ASKED = (*STARTED, "client_cancelled: client, freelancer")
CLAIMED = (*ASKED, "refund_declined: client, freelancer")
ARRIVED = ("refund_settled: client, freelancer",)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "requirements_never_come",
        "The client never sends the requirements",
        (END,),
        Ending("refunded", "requirements_timeout", refunded=PRICE),
        (
            *PAID,
            "reminder: client",
            "reminder: client",
            "requirements_timeout: client, freelancer",
            *ARRIVED,
        ),
    ),
    Scenario(
        "freelancer_cancels_in_time",
        "The freelancer cancels inside the cancel window",
        (BRIEF, Sleep(timedelta(hours=3)), freelancer("cancel", reason="Overbooked."), END),
        Ending("refunded", "freelancer_cancelled", refunded=PRICE),
        (*STARTED, "freelancer_cancelled: client, freelancer", *ARRIVED),
    ),
    Scenario(
        "freelancer_cancels_too_late",
        "The freelancer cancels too late, which is rejected; they deliver and are paid",
        (
            BRIEF,
            PAST_CANCEL_WINDOW,
            Send(Role.FREELANCER, "cancel", {}, rejected=Code.WINDOW_CLOSED),
            freelancer("deliver", note="Three drafts."),
            client("accept_delivery"),
            END,
        ),
        Ending("released", "delivery_accepted", released=PRICE),
        (
            *COMMITTED,
            "delivered: client, freelancer",
            "delivery_accepted: client, freelancer",
        ),
    ),
    Scenario(
        "refund_approved",
        "The client cancels, the freelancer approves, the refund settles",
        (
            BRIEF,
            PAST_CANCEL_WINDOW,
            CANCELS,
            freelancer("decide_refund", decision="approve"),
            END,
        ),
        Ending("refunded", "refund_approved", refunded=PRICE),
        (
            *COMMITTED,
            "client_cancelled: client, freelancer",
            "refund_approved: client, freelancer",
            *ARRIVED,
        ),
    ),
    Scenario(
        "freelancer_stays_silent",
        "The client cancels and the freelancer does not answer",
        (BRIEF, PAST_CANCEL_WINDOW, CANCELS, END),
        Ending("refunded", "freelancer_silent", refunded=PRICE),
        (
            *COMMITTED,
            "client_cancelled: client, freelancer",
            "reminder: freelancer",
            "reminder: freelancer",
            "reminder: freelancer",
            "freelancer_silent: client, freelancer",
            *ARRIVED,
        ),
    ),
    Scenario(
        "claim_accepted",
        "The freelancer declines with a claim and the client accepts it",
        (BRIEF, CANCELS, DECLINES, client("accept_claim"), END),
        Ending("split", "claim_accepted", refunded=15_000, released=10_000),
        (*CLAIMED, "claim_accepted: client, freelancer", *ARRIVED),
    ),
    Scenario(
        "dispute_resolved",
        "Declined, disputed, and a mediator splits",
        (
            BRIEF,
            CANCELS,
            DECLINES,
            client("open_dispute", reason="Nothing was delivered."),
            Send(Role.MEDIATOR, "resolve_dispute", {"refund": 20_000}),
            END,
        ),
        Ending("split", "dispute_resolved", refunded=20_000, released=5_000),
        (
            *CLAIMED,
            "dispute_opened: client, freelancer, operator",
            "dispute_resolved: client, freelancer",
            *ARRIVED,
        ),
    ),
    Scenario(
        "mutual_split",
        "Both agree on a split",
        (
            BRIEF,
            CANCELS,
            freelancer("propose_split", refund=12_500),
            client("accept_split", refund=12_500),
            END,
        ),
        Ending("split", "mutual_split", refunded=12_500, released=12_500),
        (
            *ASKED,
            "split_proposed: client, freelancer",
            "mutual_split: client, freelancer",
            *ARRIVED,
        ),
    ),
    Scenario(
        "change_of_mind",
        "The client cancels, writes, withdraws; nobody answers the delivery, and it is paid",
        (
            BRIEF,
            CANCELS,
            client("send_message", text="Could you start next week instead?"),
            freelancer("send_message", text="Gladly."),
            client("withdraw_cancellation"),
            freelancer("deliver"),
            END,
        ),
        Ending("released", "review_lapsed", released=PRICE),
        (
            *ASKED,
            "message_sent: freelancer",
            "message_sent: client",
            "cancellation_withdrawn: client, freelancer",
            "delivered: client, freelancer",
            "reminder: client",
            "review_lapsed: client, freelancer",
        ),
    ),
    Scenario(
        "settlement_late",
        "The refund is late, then settles",
        (BRIEF, freelancer("give_refund"), END),
        Ending("refunded", "freelancer_gave_refund", refunded=PRICE),
        (
            *STARTED,
            "freelancer_gave_refund: client, freelancer",
            "settlement_late: client, operator",
            *ARRIVED,
        ),
        payment_method="pm_sandbox_slow",
    ),
    Scenario(
        "card_declined",
        "The card is declined",
        (END,),
        Ending("payment_declined", "payment_declined"),
        ("payment_declined: client, freelancer",),
        payment_method="pm_sandbox_declined",
    ),
    Scenario(
        "platform_cancels",
        "The platform cancels the workflow",
        (BRIEF, CancelWorkflow(), END),
        Ending("refunded", "cancelled_by_platform", refunded=PRICE),
        (*STARTED, "cancelled_by_platform: client, freelancer", *ARRIVED),
    ),
)
"""Every scenario that the policy describes or implies."""

DISPUTED = "bank_dispute_opened: client, freelancer, operator"
WEEKS = Sleep(timedelta(days=20))
AT_PROVIDER: tuple[Scenario, ...] = (
    Scenario(
        "chargeback_won",
        "The client's bank takes the payment back, and gives it back after 20 days",
        (
            BRIEF,
            Happens(SandboxEvent.DISPUTE_OPENED),
            WEEKS,
            Happens(SandboxEvent.DISPUTE_WON),
            freelancer("deliver"),
            client("accept_delivery"),
            END,
        ),
        Ending("released", "delivery_accepted", released=PRICE),
        (
            *STARTED,
            DISPUTED,
            "bank_dispute_won: client, freelancer, operator",
            "delivered: client, freelancer",
            "delivery_accepted: client, freelancer",
        ),
    ),
    Scenario(
        "chargeback_lost",
        "The client's bank takes the payment back, and keeps it",
        (
            BRIEF,
            Happens(SandboxEvent.DISPUTE_OPENED),
            WEEKS,
            Happens(SandboxEvent.DISPUTE_LOST),
            END,
        ),
        Ending("charged_back", "bank_dispute_lost", charged_back=PRICE),
        (*STARTED, DISPUTED, "bank_dispute_lost: client, freelancer, operator"),
    ),
    Scenario(
        "refunded_in_the_dashboard",
        "Staff refund the payment in the provider's dashboard",
        (BRIEF, CANCELS, Happens(SandboxEvent.REFUND_ELSEWHERE), END),
        Ending("refunded", "refunded_elsewhere", refunded=PRICE),
        (*ASKED, "refunded_elsewhere: client, freelancer, operator"),
    ),
    Scenario(
        "refund_bounces_later",
        "The refund comes back after the purchase was closed; an operator sends it again",
        (
            BRIEF,
            freelancer("give_refund"),
            END,
            Happens(SandboxEvent.REFUND_RETURNED),
            Send(Role.OPERATOR, "resolve_attention", {"action": "retry"}),
            END,
        ),
        Ending("refunded", "freelancer_gave_refund", refunded=PRICE),
        (
            *STARTED,
            "freelancer_gave_refund: client, freelancer",
            *ARRIVED,
            "refund_returned: client, operator",
            "attention_retried: operator",
            "refund_settled: client, operator",
        ),
        payment_method="pm_sandbox_at_once",
    ),
)
"""Money that moves at the payment provider without us."""
