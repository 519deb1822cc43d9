"""What may happen to a payment at the provider, in each stage, and what must follow: as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from activities.payments.sandbox_events import SandboxEvent as Event

PRICE, PART = 25_000, 10_000
"""Minor units of USD."""

News = tuple[Event | tuple[Event, int], ...]
"""What the provider does, in order; with an amount, if it is not all."""

Notified = Mapping[str, str]
"""Who is notified of which transition: c(lient), f(reelancer), o(perator)."""

Finish = Literal["", "give", "frozen", "settle", "retry", "mark", "bank"]
"""How a case ends: by itself; the freelancer gives a refund, or tries to while it is frozen; the
provider settles the refund; an operator sends the refund again, or proves how it was paid; not at
all, because the bank has not decided."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """`notified` if each event is reported, `notified_late` if only the last look at the payment
    finds it (None: the same). `ends`: outcome, reason, refunded, released, charged back; None: it
    stays open. `loss`: what the platform loses. `audit`: a part of what the audit finds; empty:
    nothing."""

    news: News
    notified: Notified
    notified_late: Notified | None = None
    finish: Finish = ""
    ends: tuple[str, str, int, int, int] | None = None
    loss: int = 0
    audit: str = ""


OPENED, WON, LOST = Event.DISPUTE_OPENED, Event.DISPUTE_WON, Event.DISPUTE_LOST
INQUIRY, ELSEWHERE = Event.INQUIRY_OPENED, Event.REFUND_ELSEWHERE
ELSEWHERE_FAILED = Event.REFUND_ELSEWHERE_FAILED
SENT, SETTLED = Event.REFUND_SENT, Event.REFUND_SETTLED
FAILED, RETURNED = Event.REFUND_FAILED, Event.REFUND_RETURNED
CANCELLED = Event.REFUND_CANCELLED

GIVEN = ("refunded", "freelancer_gave_refund", PRICE, 0, 0)
BY_BANK = ("charged_back", "bank_dispute_lost", 0, 0, PRICE)
BY_OTHERS = ("refunded", "refunded_elsewhere", PRICE, 0, 0)

UNDECIDED: tuple[Case, ...] = (
    Case(news=(INQUIRY,), notified={"bank_inquiry": "o"}, finish="give", ends=GIVEN),
    Case(
        news=(INQUIRY, WON),
        notified={"bank_inquiry": "o", "bank_dispute_ended": "o"},
        notified_late={"bank_dispute_ended": "o"},
        finish="give",
        ends=GIVEN,
    ),
    Case(
        news=(INQUIRY, OPENED),
        notified={"bank_inquiry": "o", "bank_dispute_opened": "cfo"},
        notified_late={"bank_dispute_opened": "cfo"},
        finish="frozen",
    ),
    Case(news=(OPENED,), notified={"bank_dispute_opened": "cfo"}, finish="frozen"),
    Case(
        news=(OPENED, WON),
        notified={"bank_dispute_opened": "cfo", "bank_dispute_won": "cfo"},
        notified_late={"bank_dispute_ended": "o"},
        finish="give",
        ends=GIVEN,
    ),
    Case(
        news=(OPENED, LOST),
        notified={
            "bank_dispute_opened": "cfo",
            "bank_dispute_lost": "cfo",
        },
        notified_late={"bank_dispute_lost": "cfo"},
        ends=BY_BANK,
    ),
    Case(
        news=((OPENED, PART), LOST),
        notified={"bank_dispute_opened": "cfo", "bank_dispute_lost": "cfo"},
        notified_late={"bank_dispute_lost": "cfo"},
        finish="give",
        ends=("refunded", "freelancer_gave_refund", PRICE - PART, 0, PART),
    ),
    Case(
        news=(ELSEWHERE,),
        notified={"refunded_elsewhere": "cfo"},
        ends=BY_OTHERS,
    ),
    Case(
        news=((ELSEWHERE, PART),),
        notified={"refunded_elsewhere": "cfo"},
        finish="give",
        ends=GIVEN,
    ),
    Case(
        news=((ELSEWHERE, PART), ELSEWHERE_FAILED),
        notified={"refunded_elsewhere": "cfo", "refund_elsewhere_failed": "cfo"},
        notified_late={},
        finish="give",
        ends=GIVEN,
    ),
    Case(
        news=((ELSEWHERE, PART), (OPENED, PART), WON),
        notified={
            "refunded_elsewhere": "cfo",
            "bank_dispute_opened": "cfo",
            "bank_dispute_won": "cfo",
        },
        notified_late={"refunded_elsewhere": "cfo", "bank_dispute_ended": "o"},
        finish="give",
        ends=GIVEN,
    ),
    Case(
        news=((OPENED, PART), LOST, ELSEWHERE),
        notified={
            "bank_dispute_opened": "cfo",
            "bank_dispute_lost": "cfo",
            "refunded_elsewhere": "cfo",
        },
        notified_late={
            "bank_dispute_lost": "cfo",
            "refunded_elsewhere": "cfo",
        },
        ends=("charged_back", "refunded_elsewhere", PRICE - PART, 0, PART),
    ),
)
"""In every stage before the decision."""

_PAID_BEFORE = (
    Case(news=(INQUIRY,), notified={"bank_inquiry": "o"}, finish="settle", ends=GIVEN),
    Case(news=(OPENED,), notified={"bank_dispute_after_payout": "o"}, finish="settle", ends=GIVEN),
    Case(
        news=(OPENED, WON),
        notified={"bank_dispute_after_payout": "o", "bank_dispute_ended": "o"},
        notified_late={"bank_dispute_ended": "o"},
        finish="settle",
        ends=GIVEN,
    ),
    Case(
        news=(OPENED, LOST),
        notified={"bank_dispute_after_payout": "oo"},
        notified_late={"bank_dispute_after_payout": "o"},
        finish="settle",
        ends=GIVEN,
    ),
)
"""The provider has the refund: it cannot be kept back any more."""

_RETRIED: Notified = {"refund_retried": "co", "refund_delayed": "co"}

PENDING: tuple[Case, ...] = (
    *_PAID_BEFORE,
    Case(news=(SENT,), notified={"refund_sent": "cf"}, finish="settle", ends=GIVEN),
    Case(news=(SETTLED,), notified={"refund_settled": "cf"}, ends=GIVEN),
    Case(
        news=(SENT, SETTLED),
        notified={"refund_sent": "cf", "refund_settled": "cf"},
        notified_late={"refund_settled": "cf"},
        ends=GIVEN,
    ),
    Case(news=(FAILED,), notified=_RETRIED, finish="settle", ends=GIVEN),
    Case(news=(CANCELLED,), notified={"refund_failed": "co"}, finish="retry", ends=GIVEN),
    Case(
        news=(SENT, RETURNED),
        notified={"refund_sent": "cf", **_RETRIED},
        notified_late=_RETRIED,
        finish="settle",
        ends=GIVEN,
    ),
)
SENT_BEFORE: tuple[Case, ...] = (
    *_PAID_BEFORE,
    Case(news=(SETTLED,), notified={"refund_settled": "cf"}, ends=GIVEN),
    Case(news=(FAILED,), notified=_RETRIED, finish="settle", ends=GIVEN),
    Case(news=(RETURNED,), notified=_RETRIED, finish="settle", ends=GIVEN),
)

UNSENT: tuple[Case, ...] = (
    Case(news=(INQUIRY,), notified={"bank_inquiry": "o"}, finish="settle", ends=GIVEN),
    Case(news=(OPENED,), notified={"bank_dispute_opened": "cfo"}, finish="frozen"),
    Case(
        news=(OPENED, WON),
        notified={"bank_dispute_opened": "cfo", "bank_dispute_won": "cfo"},
        notified_late={"bank_dispute_ended": "o"},
        finish="settle",
        ends=GIVEN,
    ),
    Case(
        news=(OPENED, LOST),
        notified={
            "bank_dispute_opened": "cfo",
            "bank_dispute_lost": "cfo",
        },
        notified_late={"bank_dispute_lost": "cfo"},
        ends=("charged_back", "bank_dispute_lost", 0, 0, PRICE),
    ),
    Case(
        news=((OPENED, PART), LOST),
        notified={"bank_dispute_opened": "cfo", "bank_dispute_lost": "cfo"},
        notified_late={"bank_dispute_lost": "cfo"},
        finish="settle",
        ends=("refunded", "freelancer_gave_refund", PRICE - PART, 0, PART),
    ),
    Case(
        news=(ELSEWHERE,),
        notified={"refunded_elsewhere_late": "o"},
        finish="mark",
        ends=GIVEN,
        audit="but at the provider it is pending",
    ),
    Case(
        news=((ELSEWHERE, PART), ELSEWHERE_FAILED),
        notified={"refunded_elsewhere_late": "o", "refund_elsewhere_failed": "o"},
        notified_late={},
        finish="settle",
        ends=GIVEN,
    ),
    Case(
        news=((ELSEWHERE, PART),),
        notified={"refunded_elsewhere_late": "o"},
        finish="mark",
        ends=GIVEN,
        audit="the provider refunded 100.00 USD; the ledger's decision is to refund 250.00 USD",
    ),
)
"""The refund is decided and posted, and the provider does not have it yet."""

_AFTER_THE_END = (
    Case(news=(INQUIRY,), notified={"bank_inquiry": "o"}),
    Case(
        news=(INQUIRY, WON),
        notified={"bank_inquiry": "o", "bank_dispute_ended": "o"},
        notified_late={},
    ),
    Case(news=(OPENED,), notified={"bank_dispute_after_payout": "o"}, finish="bank"),
    Case(
        news=(OPENED, WON),
        notified={"bank_dispute_after_payout": "o", "bank_dispute_ended": "o"},
        notified_late={},
    ),
    Case(
        news=(OPENED, LOST),
        notified={"bank_dispute_after_payout": "oo"},
        notified_late={"bank_dispute_after_payout": "o"},
        loss=PRICE,
    ),
    Case(
        news=((OPENED, PART), LOST),
        notified={"bank_dispute_after_payout": "oo"},
        notified_late={"bank_dispute_after_payout": "o"},
        loss=PART,
    ),
)
_CAME_BACK = tuple(
    Case(news=(RETURNED,), notified={"refund_returned": "co"}, finish=finish)
    for finish in ("retry", "mark")
)


def _refunded_on_top(*news: Event | tuple[Event, int]) -> Case:
    """A person settles what was paid twice; the audit goes on to report it."""
    return Case(
        news=news,
        notified={"refunded_elsewhere_late": "o"},
        finish="mark",
        audit="the provider refunded",
    )


CLOSED: Mapping[str, tuple[Case, ...]] = {
    "refunded": (*_AFTER_THE_END, *_CAME_BACK),
    "released": (
        *_AFTER_THE_END,
        _refunded_on_top(ELSEWHERE),
        _refunded_on_top((ELSEWHERE, PART)),
    ),
    "split": (
        *_AFTER_THE_END,
        *_CAME_BACK,
        _refunded_on_top(ELSEWHERE),
        _refunded_on_top((ELSEWHERE, 5_000)),
    ),
    "refunded_elsewhere": (
        *_AFTER_THE_END,
        Case(
            news=(ELSEWHERE_FAILED,),
            notified={"refund_elsewhere_failed": "o"},
            finish="mark",
            audit="the ledger has refunds of 250.00 USD made elsewhere, the provider 0.00 USD",
        ),
    ),
    "partly charged back": (
        Case(news=((INQUIRY, PART),), notified={"bank_inquiry": "o"}),
        Case(
            news=((OPENED, PART), LOST),
            notified={"bank_dispute_after_payout": "oo"},
            notified_late={"bank_dispute_after_payout": "o"},
            loss=PART,
        ),
        *_CAME_BACK,
    ),
}
"""By the end of a purchase: what may happen later. If a bank has kept all of it, nothing may."""
