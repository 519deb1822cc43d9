"""What the rules say after the end: the aftercare case of a closed purchase."""

from datetime import timedelta
from typing import Any

import pytest

from activities.requests import ClosedPurchase, LedgerDecision, ProviderMovePosting, RefundNews
from tests.lifecycle.builders import ESCROW, NOON, Purchase, rejected, terms
from workflows.lifecycle import begin_case, deadlines
from workflows.lifecycle.events import (
    AftercareReviewed,
    BankDisputeReported,
    PaymentChecked,
    PostProviderMove,
    PostSettlement,
    ProviderMovePosted,
    RefundedElsewhere,
    RefundElsewhereFailed,
    RefundReported,
    SendRefund,
    SettlementPosted,
)
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, RefundStatus, Stage
from workflows.messages import Role

SENT = RefundNews(refund_id="purchase-p-1/refund", reference="re_1", amount=ESCROW, status="sent")


def closed(refund: int = ESCROW, **changed: Any) -> ClosedPurchase:
    """A closed purchase whose first refund attempt was settled; the rest was released."""
    settled = bool(refund)
    given: dict[str, Any] = {
        "document": None,
        "charge_reference": "ch_1",
        "decision": LedgerDecision(refund=refund, release=ESCROW - refund, at=NOON),
        "in_transit": 0,
        "attempts": (SENT.model_copy(update={"amount": refund}),) if settled else (),
        "settlements": int(settled),
        "settled_attempt": int(settled),
        "settled_at": NOON if settled else None,
        "moves": (),
        "closed_at": NOON,
    }
    return ClosedPurchase(**{**given, **changed})


class Case(Purchase):
    """An aftercare case whose first look at the payment was answered."""

    def __init__(self, refund: int = ESCROW, policy: dict[str, Any] | None = None, **changed: Any):
        self.now = NOON + timedelta(days=20)
        self.state = begin_case(terms(**policy or {}), closed(refund, **changed), self.now)
        self.fact(PaymentChecked(1))

    def returned(self) -> "Case":
        """The refund came back, and the ledger has it."""
        self.fact(RefundReported(1, "failed", "re_1", "account closed"))
        self.fact(ProviderMovePosted(0))
        return self

    def operator(self, action: str, **fields: Any) -> Any:
        """An operator sends `resolve_attention`."""
        return self.send(Role.OPERATOR, "resolve_attention", action=action, **fields)

    @property
    def ends(self) -> bool:
        """Whether the case ends when it is reviewed."""
        self.fact(AftercareReviewed())
        return self.state.stage is Stage.CLOSED


def test_a_case_in_which_nothing_is_open_ends() -> None:
    """R-69: what the ledger says of the purchase stays as it was."""
    case = Case()
    assert case.ends
    state = case.state
    assert (state.outcome, state.refunded, state.closed_at) == ("refunded", ESCROW, NOON)


def test_a_case_looks_at_the_payment_before_it_ends() -> None:
    """R-69: not before the provider was asked."""
    case = Case.__new__(Case)
    case.state, case.now = begin_case(terms(), closed(), NOON), NOON
    assert not case.ends


def test_a_refund_that_came_back_is_in_transit_again() -> None:
    """R-66: client and operators are notified, and the ledger gets the posting."""
    case = Case()
    case.fact(RefundReported(1, "failed", "re_1", "account closed"))
    assert {role for notice in case.notices for role in notice.recipients} == {"client", "operator"}
    assert "(account closed)" in case.last.text
    assert case.last.effects == (PostProviderMove(0),)
    (move,) = case.state.moves
    assert (move.kind, move.account, move.amount) == ("refund_returned", "in_transit", ESCROW)
    assert (case.state.in_transit, case.state.refunded) == (ESCROW, 0)
    assert case.state.needs(AttentionKind.REFUND_FAILED)
    before = case.state
    case.fact(RefundReported(1, "failed", "re_1", "account closed"))
    assert case.state == before
    assert not case.ends


def test_a_message_may_report_that_a_refund_came_back() -> None:
    """R-66, R-65: as an answer of the provider does; a report that is known changes nothing."""
    case = Case()
    for status in ("sent", "settled", "failed", "failed"):
        case.send(Role.PAYMENTS, "settlement_update", refund_id="re_1", status=status)
        came_back = case.state.needs(AttentionKind.REFUND_FAILED)
        assert came_back is (status == "failed")
    assert case.last.transition == "settlement_reported"
    assert [move.kind for move in case.state.moves] == ["refund_returned"]


def test_a_report_on_a_refund_that_the_purchase_does_not_have_changes_nothing() -> None:
    """R-65, R-66: the provider is asked about what it has; the ledger is not changed by it."""
    released = Case(0)
    released.fact(RefundReported(1, "failed", "re_1"))
    assert released.ends
    unknown = {"refund_id": "re_9", "status": "failed"}
    answer = Case().send(Role.PAYMENTS, "settlement_update", **unknown)
    rejected(answer, Code.NOT_ALLOWED_NOW, "no refund re_9")


def test_a_returned_refund_is_sent_again_under_a_new_id() -> None:
    """R-66, R-67, R-73: a new attempt, a new settlement window, and the case ends after it."""
    case = Case().returned()
    case.operator("retry")
    assert SendRefund(2) in case.last.effects
    case.calendar(DeadlineName.SETTLEMENT)
    assert [each.name for each in deadlines(case.state)] == ["settlement"]
    case.fact(RefundReported(2, "settled", "re_2"))
    assert PostSettlement("re_2", case.now) in case.last.effects
    case.fact(SettlementPosted())
    assert (case.state.refunded, case.state.settlements) == (ESCROW, 2)
    assert case.ends


def test_a_refund_that_is_sent_again_is_presumed_to_arrive() -> None:
    """R-64, R-68: as that of a purchase."""
    case = Case().returned()
    case.operator("retry")
    case.calendar(DeadlineName.SETTLEMENT)
    case.fact(RefundReported(2, "sent", "re_2"))
    case.deadline(DeadlineName.SETTLEMENT)
    case.fact(SettlementPosted())
    assert case.last.transition == "refund_presumed"
    assert case.ends


def test_a_returned_refund_is_settled_by_a_persons_proof() -> None:
    """R-67, R-74: a refund that was proved does not come back."""
    case = Case().returned()
    rejected(case.operator("mark_settled"), Code.INVALID_MESSAGE, "reference")
    case.operator("mark_settled", reference="transfer 7")
    case.fact(SettlementPosted())
    case.fact(RefundReported(1, "failed", "re_1"))
    assert case.state.refund
    assert case.state.refund.status is RefundStatus.SETTLED
    assert case.ends


@pytest.mark.parametrize("settled_attempt", [0, 2])
def test_a_failure_that_was_known_before_the_end_is_no_news(settled_attempt: int) -> None:
    """R-66: the first attempt failed, and the second or a person's proof settled the refund."""
    second = SENT.model_copy(update={"refund_id": "purchase-p-1/refund-2", "reference": "re_2"})
    case = Case(attempts=(SENT, second), settled_attempt=settled_attempt)
    case.fact(RefundReported(1, "failed", "re_1"))
    assert not case.state.attention
    case.fact(RefundReported(2, "failed", "re_2"))
    assert case.state.needs(AttentionKind.REFUND_FAILED) is bool(settled_attempt)


def test_a_case_begins_with_what_an_ended_one_has_left() -> None:
    """R-73: the refund had come back already."""
    returned = ProviderMovePosting(
        key="k",
        purchase_id="p-1",
        kind="refund_returned",
        account="in_transit",
        amount=ESCROW,
        currency="USD",
        reference="re_1",
        at=NOON,
    )
    failed = SENT.model_copy(update={"status": "failed"})
    case = Case(moves=(returned,), in_transit=ESCROW, attempts=(failed,))
    assert case.state.in_transit == ESCROW
    assert not case.ends
    case.operator("retry")
    assert SendRefund(2) in case.last.effects


def test_a_dispute_keeps_the_case_open_until_the_bank_decides() -> None:
    """R-69, R-74, R-87, R-88: an operator cannot end it before."""
    case = Case()
    case.fact(BankDisputeReported("dp_1", "opened", ESCROW))
    assert not case.ends
    rejected(case.operator("mark_settled", reference="x"), Code.NOT_ALLOWED_NOW, "bank")
    case.fact(BankDisputeReported("dp_1", "won", ESCROW))
    assert case.ends
    assert not case.state.moves


def test_a_refund_that_came_back_can_be_lost_to_the_bank() -> None:
    """R-66, R-82, R-84: the bank takes what is in transit; the client is not paid twice."""
    case = Case().returned()
    case.fact(BankDisputeReported("dp_1", "opened", ESCROW))
    rejected(case.operator("retry"), Code.FROZEN)
    case.fact(BankDisputeReported("dp_1", "lost", ESCROW))
    for number, move in enumerate(case.state.moves):
        assert move.account == "in_transit"
        case.fact(ProviderMovePosted(number))
    assert (case.state.in_transit, case.state.charged_back) == (0, ESCROW)
    assert case.ends


@pytest.mark.parametrize(
    ("bears", "posted", "notified"),
    [
        ("platform", [("platform_losses", ESCROW)], {"operator"}),
        (
            "freelancer",
            [("platform_losses", 10_000), ("freelancer_receivable", 15_000)],
            {"operator", "freelancer"},
        ),
    ],
)
def test_a_lost_dispute_is_posted_and_ends_the_case(
    bears: str, posted: list[tuple[str, int]], notified: set[str]
) -> None:
    """R-79, R-87: by the policy `chargeback_after_release`; nothing closes it but the review
    (R-96 is for purchases)."""
    case = Case(10_000, policy={"chargeback_after_release": bears})
    case.fact(BankDisputeReported("dp_1", "lost", ESCROW))
    assert {role for notice in case.notices for role in notice.recipients} == notified
    assert [(move.account, move.amount) for move in case.state.moves] == posted
    assert not case.ends
    for number in range(len(posted)):
        case.fact(ProviderMovePosted(number))
    assert case.ends
    assert case.state.outcome == "split"


def test_a_freelancer_owes_no_more_than_was_released() -> None:
    """R-79: a bank may take more than was charged, because of exchange rates."""
    case = Case(0, policy={"chargeback_after_release": "freelancer"})
    case.fact(BankDisputeReported("dp_1", "lost", ESCROW + 100))
    assert [(move.account, move.amount) for move in case.state.moves] == [
        ("platform_losses", 100),
        ("freelancer_receivable", ESCROW),
    ]


def test_an_operator_settles_a_refund_made_elsewhere_after_the_end() -> None:
    """R-74, R-95: nothing is paid on top, and nothing is posted."""
    case = Case(10_000)
    case.fact(RefundedElsewhere("re_x", 5_000))
    assert not case.ends
    case.operator("mark_settled", reference="agreed with Bo")
    assert case.ends


def test_news_after_the_aftercare_window_open_no_case() -> None:
    """The policy's `aftercare_window`, from the moment at which the purchase was closed."""
    late = NOON + terms().policy.aftercare_window + timedelta(seconds=1)
    assert begin_case(terms(), closed(), late).stage is Stage.CLOSED
    assert begin_case(terms(), closed(), late - timedelta(minutes=1)).stage is Stage.SETTLING


def test_a_freelancer_who_may_owe_knows_of_the_dispute() -> None:
    """R-77, R-78: when it is opened, and when it ended well. What they send may decide it."""
    case = Case(0, {"chargeback_after_release": "freelancer"})
    for status in ("opened", "won"):
        case.fact(BankDisputeReported("dp_1", status, ESCROW))
        (notice,) = case.notices
        assert notice.recipients == ("freelancer", "operator")
    assert "need not pay anything back" in case.last.text
    assert not case.state.attention


def test_a_freelancer_who_owes_nothing_is_not_asked() -> None:
    """R-87, R-88: the platform bears it."""
    case = Case(0)
    for status in ("opened", "won"):
        case.fact(BankDisputeReported("dp_1", status, ESCROW))
        assert case.notices[0].recipients == ("operator",)


def test_a_bank_that_changes_its_decision_after_the_end_concerns_operators() -> None:
    """R-99: nothing is left to be paid."""
    case = Case(0)
    for status in ("lost", "won"):
        case.fact(BankDisputeReported("dp_1", status, ESCROW))
    assert case.notices[0].recipients == ("operator",)
    assert case.state.needs(AttentionKind.BANK_DISPUTE_CHANGED)


def test_a_refund_elsewhere_that_fails_after_the_end_needs_a_person() -> None:
    """R-76, R-74: an operator pays it another way, and the case ends."""
    made = ProviderMovePosting(
        key="m",
        purchase_id="p-1",
        kind="refunded_elsewhere",
        account="escrow",
        amount=ESCROW,
        currency="USD",
        reference="re_x",
        at=NOON,
    )
    case = Case(0, decision=None, moves=(made,))
    case.fact(RefundElsewhereFailed("re_x"))
    assert case.state.needs(AttentionKind.REFUND_ELSEWHERE_FAILED)
    case.send(Role.OPERATOR, "resolve_attention", action="mark_settled", reference="transfer 7")
    case.fact(AftercareReviewed())
    assert case.state.stage is Stage.CLOSED
