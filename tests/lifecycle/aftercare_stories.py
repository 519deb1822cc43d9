"""Stories of aftercare cases: what happens to the payment of a purchase that was closed."""

from collections.abc import Callable
from typing import Any

from activities.requests import ProviderMovePosting
from tests.lifecycle.builders import ESCROW, NOON
from tests.lifecycle.purchase_stories import dispute, operator, post_moves, refunded
from tests.lifecycle.recorded import Recorded, RecordedCase, story
from tests.lifecycle.test_aftercare import SENT
from workflows.lifecycle.events import (
    AftercareReviewed,
    PaymentChecked,
    RefundReported,
    SettlementPosted,
)
from workflows.lifecycle.state import DeadlineName
from workflows.messages import Role


def posting(kind: Any, account: Any, amount: int, reference: str = "dp_1") -> ProviderMovePosting:
    """What the ledger has of money that moved at the provider, a day after the purchase."""
    at = NOON.replace(day=3)
    return ProviderMovePosting(
        key=f"{kind}-{account}-{reference}",
        purchase_id="p-1",
        kind=kind,
        account=account,
        amount=amount,
        currency="USD",
        reference=reference,
        at=at,
    )


def attempt(number: int, status: Any, amount: int = ESCROW) -> Any:
    """What the provider has of an attempt to refund."""
    name = "purchase-p-1/refund" + (f"-{number}" if number > 1 else "")
    changed = {"refund_id": name, "reference": f"re_{number}", "amount": amount, "status": status}
    return SENT.model_copy(update=changed)


BEGINNINGS: dict[str, Callable[[], RecordedCase]] = {
    "all was refunded": lambda: RecordedCase(ESCROW),
    "all was released": lambda: RecordedCase(0),
    "it was split": lambda: RecordedCase(10_000),
    "on the last day of the window": lambda: RecordedCase(ESCROW, days=120),
    "after the window, although the refund came back": lambda: RecordedCase(
        ESCROW, days=121, in_transit=ESCROW, settled_attempt=0, attempts=(attempt(1, "failed"),)
    ),
    "the second attempt was settled": lambda: RecordedCase(
        ESCROW, attempts=(attempt(1, "failed"), attempt(2, "sent")), settled_attempt=2
    ),
    "the refund was settled under our name": lambda: RecordedCase(
        ESCROW, attempts=(SENT.model_copy(update={"reference": ""}),)
    ),
    "a person proved the refund": lambda: RecordedCase(
        ESCROW, attempts=(attempt(1, "failed"),), settled_attempt=0, settlements=2
    ),
    "a person proved a refund that the provider does not have": lambda: RecordedCase(
        ESCROW, attempts=(), settled_attempt=0, settled_at=None
    ),
    "the refund came back": lambda: RecordedCase(
        ESCROW,
        moves=(posting("refund_returned", "in_transit", ESCROW, "re_1"),),
        in_transit=ESCROW,
        attempts=(attempt(1, "failed"),),
    ),
    "the refund came back and was sent again": lambda: RecordedCase(
        ESCROW,
        moves=(posting("refund_returned", "in_transit", ESCROW, "re_1"),),
        in_transit=ESCROW,
        attempts=(attempt(1, "failed"), attempt(2, "pending")),
    ),
    "the refund came back, and a bank took it and is deciding": lambda: RecordedCase(
        ESCROW,
        moves=(
            posting("refund_returned", "in_transit", ESCROW, "re_1"),
            posting("bank_dispute_opened", "in_transit", ESCROW),
        ),
        attempts=(attempt(1, "failed"),),
    ),
    "the ledger has a refund in transit of which the provider has nothing": lambda: RecordedCase(
        ESCROW, in_transit=ESCROW, attempts=()
    ),
    "a bank kept everything": lambda: RecordedCase(
        0,
        decision=None,
        moves=(
            posting("bank_dispute_opened", "escrow", ESCROW),
            posting("bank_dispute_lost", "escrow", ESCROW),
        ),
    ),
    "a bank kept a part of the refund": lambda: RecordedCase(
        10_000,
        moves=(
            posting("bank_dispute_opened", "in_transit", 4_000),
            posting("bank_dispute_lost", "in_transit", 4_000),
        ),
    ),
    "a bank kept all of the refund": lambda: RecordedCase(
        10_000,
        attempts=(),
        moves=(
            posting("bank_dispute_opened", "in_transit", 10_000),
            posting("bank_dispute_lost", "in_transit", 10_000),
        ),
    ),
    "a bank kept a part of the escrow, and gave back another": lambda: RecordedCase(
        0,
        decision={"refund": 0, "release": 20_000, "at": NOON},
        moves=(
            posting("bank_dispute_opened", "escrow", 5_000),
            posting("bank_dispute_opened", "escrow", 6_000, "dp_2"),
            posting("bank_dispute_won", "escrow", 6_000, "dp_2"),
            posting("bank_dispute_lost", "escrow", 5_000),
        ),
    ),
    "a bank kept what was paid": lambda: RecordedCase(
        10_000,
        moves=(
            posting("bank_dispute_loss", "platform_losses", 10_000),
            posting("bank_dispute_loss", "freelancer_receivable", 15_000),
        ),
    ),
    "all was refunded elsewhere": lambda: RecordedCase(
        0, decision=None, moves=(posting("refunded_elsewhere", "escrow", ESCROW, "re_x"),)
    ),
}


@story
def how_aftercare_cases_begin() -> Recorded:
    first = RecordedCase(ESCROW)
    first.lines = []
    for name, begin in BEGINNINGS.items():
        first.lines += ["", f"{name}:", *begin().lines[1:]]
    return first


@story
def a_refund_comes_back_after_the_end_and_is_sent_again() -> Recorded:
    case = RecordedCase(10_000)
    case.fact(AftercareReviewed())
    case.fact(PaymentChecked(1))
    case.fact(RefundReported(1, "failed", "re_1", "The account is closed."))
    case.fact(AftercareReviewed())
    post_moves(case)
    case.fact(AftercareReviewed())
    operator(case, "retry")
    case.calendar(DeadlineName.SETTLEMENT)
    case.fact(RefundReported(2, "sent", "re_2"))
    case.fact(AftercareReviewed())
    case.deadline(DeadlineName.SETTLEMENT)
    case.fact(RefundReported(2, "failed", "re_2"))
    case.fact(AftercareReviewed())
    case.fact(SettlementPosted())
    case.fact(AftercareReviewed())
    return case


@story
def a_refund_comes_back_after_the_end_and_is_proved_by_a_person() -> Recorded:
    case = RecordedCase(10_000)
    case.fact(PaymentChecked(1))
    case.send(Role.PAYMENTS, "settlement_update", refund_id="re_1", status="failed")
    post_moves(case)
    operator(case, "mark_settled", "transfer 7")
    case.fact(SettlementPosted())
    case.fact(RefundReported(1, "failed", "re_1"))
    case.fact(AftercareReviewed())
    return case


@story
def a_bank_disputes_a_closed_purchase_and_wins() -> Recorded:
    case = RecordedCase(10_000, policy={"chargeback_after_release": "freelancer"})
    case.fact(PaymentChecked(1))
    dispute(case, "opened")
    case.fact(AftercareReviewed())
    operator(case, "mark_settled", "agreed")
    dispute(case, "lost")
    case.fact(AftercareReviewed())
    post_moves(case)
    case.fact(AftercareReviewed())
    return case


@story
def a_bank_is_still_deciding_when_the_purchase_closes() -> Recorded:
    case = RecordedCase(10_000)
    case.fact(PaymentChecked(1))
    dispute(case, "opened", 1_000)
    dispute(case, "lost", 2_000, "dp_2")
    post_moves(case)
    case.fact(AftercareReviewed())
    dispute(case, "won", 1_000)
    case.fact(AftercareReviewed())
    return case


@story
def a_bank_is_deciding_when_the_case_begins() -> Recorded:
    decided = {"refund": 0, "release": 20_000, "at": NOON}
    opened = posting("bank_dispute_opened", "escrow", 5_000)
    case = RecordedCase(0, decision=decided, moves=(opened,))
    case.fact(PaymentChecked(1))
    case.fact(AftercareReviewed())
    return case


@story
def a_refund_fails_again_after_the_end() -> Recorded:
    case = RecordedCase(10_000)
    case.fact(PaymentChecked(1))
    case.fact(RefundReported(1, "failed", "re_1"))
    operator(case, "retry")
    case.calendar(DeadlineName.SETTLEMENT)
    case.after(days=1).fact(RefundReported(2, "failed", "re_2"))
    operator(case, "retry")
    case.calendar(DeadlineName.SETTLEMENT)
    return case


@story
def a_closed_purchase_is_refunded_elsewhere() -> Recorded:
    case = RecordedCase(0)
    case.fact(PaymentChecked(1))
    dispute(case, "opened", 1_000)
    refunded(case, 5_000)
    operator(case, "mark_settled")
    operator(case, "mark_settled", "agreed with Bo")
    dispute(case, "won", 1_000)
    case.fact(AftercareReviewed())
    return case
