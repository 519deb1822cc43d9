"""The rules row by row: what is done, and who must be notified of what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from activities.payments.sandbox_events import SandboxEvent
from demo.scenarios import (
    ASKED,
    BRIEF,
    CANCELS,
    CLAIMED,
    COMMITTED,
    DECLINES,
    PAID,
    PAST_CANCEL_WINDOW,
    STARTED,
    CancelWorkflow,
    Happens,
    Send,
    Sleep,
    client,
    freelancer,
)
from workflows.messages import Role

AWAY = "pm_sandbox_away"
"""A payment method of these tests: a charge is never answered, everything else is."""


@dataclass(frozen=True)
class RawSignal:
    """A signal with any payload, valid or not."""

    name: str
    payload: Any


Step = Send | Sleep | CancelWorkflow | RawSignal | Happens


@dataclass(frozen=True)
class Due:
    """A deadline: `after` (elapsed time, or a number of business days) the transition `since` (by
    default that of the notice); `expiry` is a pattern for what happens if nobody acts."""

    after: timedelta | int
    expiry: str
    since: str = ""


@dataclass(frozen=True)
class Row:
    """One row. `notices`: each transition with its recipients, in order. The last one is the row's
    own: `pays` is the refund and the release in it, `due` its next deadline; `shows` are patterns
    that every recipient must find in it, and `advice` those for the client."""

    name: str
    steps: tuple[Step, ...]
    notices: tuple[str, ...]
    due: Due | None = None
    pays: tuple[int, int] | None = None
    shows: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    method: str = "pm_sandbox_ok"
    start: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    reminders: bool = False


def _both(*transitions: str) -> tuple[str, ...]:
    return tuple(f"{name}: client, freelancer" for name in transitions)


def _days(count: float) -> Sleep:
    return Sleep(timedelta(days=count))


def _rejected(name: str, role: str, **fields: Any) -> RawSignal:
    ids = {"client": "ana", "freelancer": "bo"}
    return RawSignal(name, {"by": {"role": role, "id": ids.get(role, "x-1")}, **fields})


ALL = (25_000, 0)
NONE = (0, 25_000)
CLAIM = (15_000, 10_000)
DAY = timedelta(days=1)
GOES_BACK = r"full refund|all of the money goes back"
RESUMES = r"project goes on"
TALK_FIRST = ("messag[a-z]* Bo", "(not|n't) guarantee")

DELIVERS = freelancer("deliver", note="Three drafts.")
DISPUTES = client("open_dispute", reason="Nothing was delivered.")
GIVES = freelancer("give_refund")
APPROVES = freelancer("decide_refund", decision="approve")
WITHDRAWS = client("withdraw_cancellation")
DONE = (BRIEF, DELIVERS)
"""A delivery ends the cancel window, so the review window is the only deadline."""

DELIVERED = (*STARTED, *_both("delivered"))
REQUESTED = (*DELIVERED, *_both("client_cancelled"))
CONTESTED = (*REQUESTED, *_both("refund_declined"))
OPENED = "dispute_opened: client, freelancer, operator"
DISPUTED = (*CONTESTED, OPENED)
FROZEN = "bank_dispute_opened: client, freelancer, operator"
REFUNDING = (*PAID, *_both("freelancer_gave_refund"))

SEVEN_DAYS = Due(7 * DAY, GOES_BACK)
CLAIM_DUE = Due(5, r"claim is paid")
REQUIREMENTS_DUE = Due(2 * DAY, GOES_BACK, "purchase")
CANCEL_DUE = Due(DAY, r"committed to the project|no longer cancel", "requirements_submitted")
REVIEW_DUE = Due(14 * DAY, r"released to the freelancer|money goes to")
DORMANCY_DUE = Due(90 * DAY, r"client's name|your name|Ana's name")
DISPUTE_DUE = Due(30 * DAY, r"the money stays in escrow")

ROWS: tuple[Row, ...] = (
    # --- start, payment
    Row("start", (), PAID, REQUIREMENTS_DUE, shows=(r"250\.00", "escrow")),
    Row(
        "start, no requirements needed",
        (),
        PAID,
        Due(DAY, CANCEL_DUE.expiry, "purchase"),
        start={"requirements_needed": False},
    ),
    Row(
        "start, declined",
        (),
        _both("payment_declined"),
        shows=("declined", "No money was taken"),
        method="pm_sandbox_declined",
    ),
    Row(
        "start, paid elsewhere with a payment that the provider does not know",
        (),
        ("payment_declined: client, freelancer, operator",),
        shows=("could not be used",),
        advice=("do not pay again",),
        start={"payment_method": None, "payment_reference": "ch_unknown"},
    ),
    Row(
        "payment window expires",
        (Sleep(timedelta(minutes=1)),),
        _both("payment_failed"),
        shows=("cancelled", "nothing was (paid|charged)"),
        method=AWAY,
        policy={"payment_window": "PT10S"},
    ),
    # --- requirements
    Row("submit_requirements", (BRIEF,), STARTED, CANCEL_DUE),
    Row(
        "requirements window expires",
        (_days(2),),
        (*PAID, "reminder: client", "reminder: client", *_both("requirements_timeout")),
        pays=ALL,
        shows=("requirements",),
        reminders=True,
    ),
    Row(
        "requirements window expires, a request is open",
        (CANCELS, _days(2)),
        (*PAID, *_both("client_cancelled", "requirements_timeout")),
        pays=ALL,
    ),
    Row(
        "requirements window expires, a claim is open",
        (CANCELS, DECLINES, _days(2)),
        (*PAID, *_both("client_cancelled", "refund_declined", "requirements_timeout")),
        pays=ALL,
    ),
    Row(
        "requirements window expires, a dispute is open",
        (CANCELS, DECLINES, DISPUTES, _days(2)),
        (
            *PAID,
            *_both("client_cancelled", "refund_declined"),
            OPENED,
            *_both("requirements_timeout"),
        ),
        pays=ALL,
    ),
    # --- the freelancer's cancel
    Row(
        "cancel, freelancer, before requirements",
        (freelancer("cancel", reason="Overbooked."),),
        (*PAID, *_both("freelancer_cancelled")),
        pays=ALL,
        shows=("Overbooked",),
    ),
    Row(
        "cancel, freelancer, inside the cancel window",
        (BRIEF, Sleep(timedelta(hours=23)), freelancer("cancel")),
        (*STARTED, *_both("freelancer_cancelled")),
        pays=ALL,
    ),
    Row(
        "cancel, freelancer, a request is open",
        (BRIEF, CANCELS, freelancer("cancel")),
        (*ASKED, *_both("freelancer_cancelled")),
        pays=ALL,
    ),
    Row(
        "cancel, freelancer, disputed",
        (BRIEF, CANCELS, DECLINES, DISPUTES, freelancer("cancel")),
        (*CLAIMED, OPENED, *_both("freelancer_cancelled")),
        pays=ALL,
    ),
    Row(
        "cancel, freelancer, later",
        (*DONE, _rejected("cancel", "freelancer")),
        (*DELIVERED, "message_rejected: freelancer"),
    ),
    Row(
        "cancel window expires",
        (BRIEF, PAST_CANCEL_WINDOW),
        COMMITTED,
        Due(90 * DAY, DORMANCY_DUE.expiry),
        reminders=True,
    ),
    Row(
        "cancel window expires, a request is open",
        (BRIEF, CANCELS, PAST_CANCEL_WINDOW),
        (*ASKED, *_both("freelancer_committed")),
        Due(7 * DAY, GOES_BACK, "client_cancelled"),
    ),
    # --- the client's cancel
    Row(
        "cancel, client, awaiting_requirements",
        (CANCELS,),
        (*PAID, *_both("client_cancelled")),
        REQUIREMENTS_DUE,
        shows=("My plans have changed",),
        advice=TALK_FIRST,
    ),
    Row(
        "cancel, client, freelancer_review",
        (BRIEF, CANCELS),
        ASKED,
        CANCEL_DUE,
        advice=TALK_FIRST,
    ),
    Row(
        "cancel, client, in_progress",
        (*DONE, client("request_changes"), CANCELS),
        (*DELIVERED, *_both("changes_requested", "client_cancelled")),
        SEVEN_DAYS,
        advice=TALK_FIRST,
    ),
    Row(
        "cancel, client, delivered",
        (*DONE, CANCELS),
        REQUESTED,
        SEVEN_DAYS,
        advice=TALK_FIRST,
    ),
    Row(
        "cancel, client, cancel_before_requirements refund",
        (CANCELS,),
        (*PAID, *_both("cancelled_free")),
        pays=ALL,
        policy={"cancel_before_requirements": "refund"},
    ),
    Row(
        "cancel, client, free_cancel_window",
        (BRIEF, CANCELS),
        (*STARTED, *_both("cancelled_free")),
        pays=ALL,
        policy={"free_cancel_window": "PT24H"},
    ),
    Row(
        "withdraw_cancellation, refund_requested",
        (*DONE, CANCELS, WITHDRAWS),
        (*REQUESTED, *_both("cancellation_withdrawn")),
    ),
    Row(
        "withdraw_cancellation, contested",
        (*DONE, CANCELS, DECLINES, WITHDRAWS),
        (*CONTESTED, *_both("cancellation_withdrawn")),
    ),
    # --- the freelancer's decision
    Row(
        "decide_refund approve, refund_requested",
        (*DONE, CANCELS, APPROVES),
        (*REQUESTED, *_both("refund_approved")),
        pays=ALL,
    ),
    Row(
        "decide_refund approve, contested",
        (*DONE, CANCELS, DECLINES, APPROVES),
        (*CONTESTED, *_both("refund_approved")),
        pays=ALL,
    ),
    Row(
        "decide_refund decline",
        (*DONE, CANCELS, DECLINES),
        CONTESTED,
        CLAIM_DUE,
        shows=(r"100\.00", "Half is done"),
        advice=("open a dispute",),
    ),
    Row(
        "decision window expires, refund",
        (*DONE, CANCELS, _days(7)),
        (*REQUESTED, *("reminder: freelancer",) * 3, *_both("freelancer_silent")),
        pays=ALL,
        reminders=True,
    ),
    Row(
        "decision window expires, resume",
        (*DONE, CANCELS, _days(7)),
        (*REQUESTED, *_both("request_resumed")),
        REVIEW_DUE,
        shows=(RESUMES,),
        policy={"refund_decision_silence": "resume"},
    ),
    Row(
        "decision window expires, attention",
        (*DONE, CANCELS, _days(7)),
        (*REQUESTED, "decision_overdue: client, freelancer, operator"),
        shows=("staff",),
        policy={"refund_decision_silence": "attention"},
    ),
    # --- the claim
    Row(
        "accept_claim",
        (*DONE, CANCELS, DECLINES, client("accept_claim")),
        (*CONTESTED, *_both("claim_accepted")),
        pays=CLAIM,
    ),
    Row("open_dispute", (*DONE, CANCELS, DECLINES, DISPUTES), DISPUTED, DISPUTE_DUE),
    Row(
        "claim window expires, pay_claim",
        (*DONE, CANCELS, DECLINES, _days(10)),
        (*CONTESTED, "reminder: client", *_both("claim_lapsed")),
        pays=CLAIM,
        reminders=True,
    ),
    Row(
        "claim window expires, resume",
        (*DONE, CANCELS, DECLINES, _days(10)),
        (*CONTESTED, *_both("claim_resumed")),
        REVIEW_DUE,
        shows=(RESUMES,),
        policy={"claim_silence": "resume"},
    ),
    # --- splits and disputes
    Row(
        "propose_split, client",
        (*DONE, client("propose_split", refund=5_000)),
        (*DELIVERED, *_both("split_proposed")),
        shows=(r"50\.00", r"200\.00"),
    ),
    Row(
        "propose_split, freelancer, replaced",
        (client("propose_split", refund=5_000), freelancer("propose_split", refund=12_500)),
        (*PAID, *_both("split_proposed", "split_proposed")),
        shows=(r"125\.00",),
    ),
    Row(
        "accept_split, client",
        (freelancer("propose_split", refund=5_000), client("accept_split", refund=5_000)),
        (*PAID, *_both("split_proposed", "mutual_split")),
        pays=(5_000, 20_000),
    ),
    Row(
        "accept_split, freelancer",
        (client("propose_split", refund=24_999), freelancer("accept_split", refund=24_999)),
        (*PAID, *_both("split_proposed", "mutual_split")),
        pays=(24_999, 1),
    ),
    Row(
        "resolve_dispute, disputed",
        (*DONE, CANCELS, DECLINES, DISPUTES, Send(Role.MEDIATOR, "resolve_dispute", {"refund": 1})),
        (*DISPUTED, *_both("dispute_resolved")),
        pays=(1, 24_999),
        shows=("mediator",),
    ),
    Row(
        "resolve_dispute, needs_attention",
        (*DONE, CANCELS, _days(7), Send(Role.MEDIATOR, "resolve_dispute", {"refund": 0})),
        (
            *REQUESTED,
            "decision_overdue: client, freelancer, operator",
            *_both("dispute_resolved"),
        ),
        pays=NONE,
        policy={"refund_decision_silence": "attention"},
    ),
    Row(
        "dispute window expires",
        (*DONE, CANCELS, DECLINES, DISPUTES, _days(30)),
        (*DISPUTED, "dispute_overdue: client, freelancer, operator"),
        shows=("staff", "deadline"),
    ),
    # --- the work
    Row("deliver, freelancer_review", DONE, DELIVERED, REVIEW_DUE, shows=("Three drafts",)),
    Row(
        "deliver, in_progress",
        (*DONE, client("request_changes"), DELIVERS),
        (*DELIVERED, *_both("changes_requested", "delivered")),
        REVIEW_DUE,
    ),
    Row(
        "request_changes",
        (*DONE, client("request_changes", note="Bluer, please.")),
        (*DELIVERED, *_both("changes_requested")),
        DORMANCY_DUE,
        shows=("Bluer, please",),
    ),
    Row(
        "accept_delivery",
        (*DONE, client("accept_delivery")),
        (*DELIVERED, *_both("delivery_accepted")),
        pays=NONE,
    ),
    Row(
        "review window expires",
        (*DONE, _days(14)),
        (*DELIVERED, "reminder: client", *_both("review_lapsed")),
        pays=NONE,
        reminders=True,
    ),
    Row(
        "dormancy window expires",
        (*DONE, client("request_changes"), _days(90)),
        (*DELIVERED, *_both("changes_requested", "client_dormant")),
        SEVEN_DAYS,
        shows=("system",),
    ),
    Row("give_refund", (GIVES,), REFUNDING, pays=ALL),
    Row(
        "give_refund, disputed",
        (*DONE, CANCELS, DECLINES, DISPUTES, GIVES),
        (*DISPUTED, *_both("freelancer_gave_refund")),
        pays=ALL,
    ),
    Row(
        "send_message, client",
        (client("send_message", text="Could you start next week?"),),
        (*PAID, "message_sent: freelancer"),
        shows=("Could you start next week",),
    ),
    Row(
        "send_message, freelancer",
        (freelancer("send_message", text="Gladly."),),
        (*PAID, "message_sent: client"),
        shows=("Gladly",),
    ),
    Row(
        "send_message, settling",
        (GIVES, client("send_message", text="Thank you.")),
        (*REFUNDING, "message_sent: freelancer"),
        shows=("Thank you",),
    ),
    # --- settlement
    Row(
        "settlement_update settled",
        (GIVES, Send(Role.PAYMENTS, "settlement_update", {"status": "settled"})),
        (*REFUNDING, *_both("refund_settled")),
        shows=(r"250\.00", "arrived"),
    ),
    Row(
        "settlement_update failed",
        (GIVES, _days(1.5)),
        (*REFUNDING, "refund_retried: client, operator"),
        shows=(r"250\.00",),
        method="pm_sandbox_refund_fails_once",
    ),
    Row(
        "settlement_update failed, twice",
        (GIVES, _days(3)),
        (*REFUNDING, "refund_retried: client, operator", "refund_failed: client, operator"),
        shows=(r"250\.00", "staff"),
        method="pm_sandbox_refund_fails",
    ),
    Row(
        "settlement_update settled, of an attempt that had failed",
        (
            GIVES,
            _days(1.5),
            Send(Role.PAYMENTS, "settlement_update", {"status": "settled", "attempt": 1}),
        ),
        (
            *REFUNDING,
            "refund_retried: client, operator",
            "refund_doubtful: operator",
            *_both("refund_settled"),
        ),
        method="pm_sandbox_refund_fails_once",
    ),
    Row(
        "settlement window expires",
        (GIVES, _days(5)),
        (*REFUNDING, "settlement_late: client, operator"),
        shows=(r"250\.00",),
        method="pm_sandbox_slow",
        policy={"settlement_window": "1 business days"},
    ),
    Row(
        "resolve_attention retry",
        (GIVES, _days(3), Send(Role.OPERATOR, "resolve_attention", {"action": "retry"})),
        (
            *REFUNDING,
            "refund_retried: client, operator",
            "refund_failed: client, operator",
            "attention_retried: operator",
        ),
        method="pm_sandbox_refund_fails",
    ),
    Row(
        "resolve_attention mark_settled",
        (
            GIVES,
            _days(3),
            Send(
                Role.OPERATOR,
                "resolve_attention",
                {"action": "mark_settled", "reference": "statement 7"},
            ),
        ),
        (
            *REFUNDING,
            "refund_retried: client, operator",
            "refund_failed: client, operator",
            "marked_settled: operator",
            *_both("refund_settled"),
        ),
        shows=(r"250\.00", "arrived"),
        method="pm_sandbox_refund_fails",
    ),
    # --- the platform
    Row(
        "workflow cancellation, before a cancellation",
        (BRIEF, CancelWorkflow()),
        (*STARTED, *_both("cancelled_by_platform")),
        pays=ALL,
    ),
    Row(
        "workflow cancellation, disputed",
        (*DONE, CANCELS, DECLINES, DISPUTES, CancelWorkflow()),
        (*DISPUTED, *_both("cancelled_by_platform")),
        pays=ALL,
    ),
    # --- the client's bank, and refunds made elsewhere
    Row(
        "payment needs the client",
        (Sleep(timedelta(minutes=1)),),
        ("payment_needs_client: client", *_both("payment_failed")),
        method="pm_sandbox_needs_client",
        policy={"payment_window": "PT10S"},
    ),
    Row(
        "refund sent, presumed to have arrived",
        (GIVES, _days(8)),
        (*REFUNDING, *_both("refund_sent", "refund_presumed")),
        shows=("should be in", r"250\.00"),
        method="pm_sandbox_refund_sent",
    ),
    Row(
        "refund delayed",
        (GIVES, _days(1)),
        (*REFUNDING, "refund_delayed: client, operator"),
        shows=("has not sent", "balance"),
        method="pm_sandbox_refund_pending",
    ),
    Row(
        "bank asks",
        (Happens(SandboxEvent.INQUIRY_OPENED),),
        (*PAID, "bank_inquiry: operator"),
        shows=("No money was taken",),
    ),
    Row(
        "bank dispute, lost",
        (Happens(SandboxEvent.DISPUTE_OPENED), _days(9), Happens(SandboxEvent.DISPUTE_LOST)),
        (*PAID, FROZEN, "bank_dispute_lost: client, freelancer, operator"),
        shows=(r"250\.00", "bank"),
    ),
    Row(
        "bank dispute, won",
        (*DONE, Happens(SandboxEvent.DISPUTE_OPENED), Happens(SandboxEvent.DISPUTE_WON)),
        (*DELIVERED, FROZEN, "bank_dispute_won: client, freelancer, operator"),
        shows=(r"250\.00", "back"),
    ),
    Row(
        "bank dispute, after the refund was sent",
        (GIVES, Happens(SandboxEvent.DISPUTE_OPENED), Happens(SandboxEvent.DISPUTE_WON)),
        (
            *REFUNDING,
            *_both("refund_sent"),
            "bank_dispute_after_payout: operator",
            "bank_dispute_ended: operator",
        ),
        method="pm_sandbox_refund_sent",
    ),
    Row(
        "refunded elsewhere",
        (Happens(SandboxEvent.REFUND_ELSEWHERE, 10_000),),
        (*PAID, "refunded_elsewhere: client, freelancer, operator"),
        shows=(r"100\.00", r"150\.00"),
    ),
    Row(
        "refunded elsewhere, and the refund fails",
        (
            Happens(SandboxEvent.REFUND_ELSEWHERE, 10_000),
            Happens(SandboxEvent.REFUND_ELSEWHERE_FAILED),
        ),
        (
            *PAID,
            "refunded_elsewhere: client, freelancer, operator",
            "refund_elsewhere_failed: client, freelancer, operator",
        ),
        shows=(r"100\.00", r"250\.00"),
    ),
    # --- rejections: the sender is notified, if it is a party of the purchase
    Row(
        "rejected, NOT_ALLOWED_NOW",
        (_rejected("deliver", "freelancer"), _rejected("deliver", "freelancer")),
        (*PAID, "message_rejected: freelancer"),
    ),
    Row(
        "rejected, WRONG_ROLE",
        (_rejected("deliver", "client"),),
        (*PAID, "message_rejected: client"),
    ),
    Row(
        "rejected, ALREADY_REQUESTED",
        (*DONE, CANCELS, _rejected("cancel", "client")),
        (*REQUESTED, "message_rejected: client"),
    ),
    Row(
        "rejected, CANCELLATION_PENDING",
        (BRIEF, CANCELS, _rejected("deliver", "freelancer")),
        (*ASKED, "message_rejected: freelancer"),
    ),
    Row(
        "rejected, ALREADY_SETTLED and TOO_LATE",
        (
            *(*DONE, CANCELS, APPROVES),
            _rejected("cancel", "client"),
            _rejected("decide_refund", "freelancer", decision="decline"),
        ),
        (
            *REQUESTED,
            *_both("refund_approved"),
            "message_rejected: client",
            "message_rejected: freelancer",
        ),
    ),
    Row(
        "rejected, NO_OFFER and INVALID_AMOUNT",
        (
            _rejected("accept_split", "client", refund=1),
            _rejected("propose_split", "client", refund=25_001),
        ),
        (*PAID, "message_rejected: client", "message_rejected: client"),
    ),
    Row(
        "rejected, INVALID_MESSAGE and UNKNOWN_MESSAGE",
        (_rejected("cancel", "client", surprise=1), _rejected("dance", "freelancer")),
        (*PAID, "message_rejected: operator", "message_rejected: operator"),
    ),
    Row(
        "rejected, sender is not a party",
        (
            RawSignal("cancel", {"by": {"role": "client", "id": "eve"}}),
            _rejected("resolve_dispute", "mediator", refund=1),
            _rejected("resolve_attention", "operator", action="retry"),
            RawSignal("cancel", "nonsense"),
        ),
        PAID,
    ),
)
