"""Refund attempts: each has an id of ours and may have a reference of the provider. A report on one
attempt never counts for another (R-51 to R-61, R-73, R-74)."""

import pytest

from tests.lifecycle.builders import ESCROW, Purchase, pending_refund, rejected
from workflows.lifecycle import is_pending
from workflows.lifecycle.events import (
    Accepted,
    CheckRefund,
    ComputeDeadline,
    DecisionPosted,
    EffectBlocked,
    PaymentHeld,
    PostDecision,
    PostSettlement,
    RefundReported,
    Rejection,
    SendRefund,
    SettlementPosted,
)
from workflows.lifecycle.handlers import MOST_ATTEMPTS
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, Refund, RefundStatus, Stage
from workflows.messages import Role

OURS = ("purchase-p-1/refund", "purchase-p-1/refund-2")


def reports(purchase: Purchase, refund_id: str, status: str, **more: str) -> Accepted | Rejection:
    """The payment provider sends settlement_update."""
    fields = {"refund_id": refund_id, "status": status, **more}
    return purchase.send(Role.PAYMENTS, "settlement_update", **fields)


def retries(purchase: Purchase) -> None:
    """An operator sends resolve_attention with retry."""
    answer = purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    assert isinstance(answer, Accepted)


def second_attempt(first: str = "re_1", second: str = "") -> Purchase:
    """The first attempt failed, the second is pending; each under the provider's reference."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    purchase.fact(RefundReported(1, "failed", first))
    assert is_pending(purchase.state, SendRefund(2))
    purchase.fact(RefundReported(2, "pending", second))
    return purchase


def test_a_refund_that_somebody_cancelled_is_not_sent_again() -> None:
    """R-57: staff may have stopped a fraud; a person decides."""
    purchase = pending_refund()
    purchase.fact(RefundReported(1, "failed", "re_1", "cancelled at the provider", cancelled=True))
    assert purchase.state.needs(AttentionKind.REFUND_FAILED)
    assert not is_pending(purchase.state, SendRefund(2))
    assert purchase.notices[0].recipients == ("client", "operator")
    retries(purchase)
    assert is_pending(purchase.state, SendRefund(2))


def attempts(purchase: Purchase) -> Refund:
    """The refund and its attempts."""
    assert purchase.state.refund
    return purchase.state.refund


def doubtful(purchase: Purchase) -> bool:
    """Whether operators were notified that the refund may have been paid twice."""
    return [notice.transition for notice in purchase.notices] == ["refund_doubtful"]


# --- references


def test_the_providers_reference_of_the_charge_is_kept_for_the_refund() -> None:
    """R-03: the reference of the charge is recorded, so that a refund can name the charge."""
    assert Purchase(held=False).state.charge_reference == ""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.client("send_message", text="has it worked?")
    purchase.fact(PaymentHeld("ch_1"))
    assert purchase.state.charge_reference == "ch_1"


def test_each_attempt_keeps_its_own_reference() -> None:
    """R-53, R-54, R-56: a new attempt has no reference until the provider gives one; later reports
    keep it."""
    purchase = pending_refund()
    purchase.fact(RefundReported(1, "failed"))
    assert attempts(purchase) == Refund(ESCROW, 2, RefundStatus.UNSENT, ("re_1", ""))
    purchase.fact(RefundReported(2, "pending", "re_2"))
    purchase.fact(RefundReported(2, "pending"))
    assert attempts(purchase) == Refund(ESCROW, 2, RefundStatus.PENDING, ("re_1", "re_2"))
    purchase.fact(RefundReported(2, "settled"))
    purchase.fact(SettlementPosted())
    assert attempts(purchase) == Refund(
        ESCROW, 2, RefundStatus.SETTLED, ("re_1", "re_2"), posted=True
    )


def test_an_attempt_that_fails_at_once_keeps_its_reference() -> None:
    """R-55, R-56, R-57: a later report under the reference of a failed attempt is about a known
    refund."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    purchase.fact(RefundReported(1, "failed", "re_1"))
    assert attempts(purchase).references == ("re_1", "")
    purchase.fact(RefundReported(2, "failed", "re_2"))
    assert attempts(purchase).references == ("re_1", "re_2")
    assert isinstance(reports(purchase, "re_1", "settled"), Accepted)


@pytest.mark.parametrize(("name", "proof"), [("re_1", 1), (OURS[0], 1), ("re_2", 2), (OURS[1], 2)])
def test_a_settlement_is_posted_under_the_attempt_that_settled(name: str, proof: int) -> None:
    """R-54, R-55: the ledger gets our id of the settled attempt, or the reference in the report."""
    purchase = second_attempt(second="re_2")
    reports(purchase, name, "settled")
    assert PostSettlement(OURS[proof - 1], purchase.now) in purchase.last.effects
    purchase = second_attempt(second="re_2")
    reports(purchase, name, "settled", reference="proof-7")
    assert PostSettlement("proof-7", purchase.now) in purchase.last.effects
    assert attempts(purchase).references[proof - 1] == "proof-7"


def test_a_report_before_the_decision_is_posted_is_rejected() -> None:
    """R-65: until the decision is posted there is no refund, so a report on one is rejected."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    rejected(reports(purchase, OURS[0], "settled"), Code.NOT_ALLOWED_NOW, f"no refund {OURS[0]};")


# --- checks and retries


def test_a_settled_refund_has_no_deadline_no_check_and_no_alert() -> None:
    """R-54: a settled refund ends the settlement window, the daily check and the alert."""
    purchase = pending_refund()
    assert set(purchase.state.deadlines) == {DeadlineName.SETTLEMENT}
    assert is_pending(purchase.state, CheckRefund(1))
    reports(purchase, OURS[0], "settled")
    assert purchase.state.deadlines == {}
    assert not is_pending(purchase.state, CheckRefund(1))
    late = pending_refund()
    late.deadline(DeadlineName.SETTLEMENT)
    late.fact(RefundReported(1, "settled"))
    assert late.state.attention == ()


def test_a_failed_attempt_is_not_checked() -> None:
    """R-53, R-56: the provider is checked again only when the new attempt is pending."""
    purchase = pending_refund()
    purchase.fact(RefundReported(1, "failed"))
    assert not is_pending(purchase.state, CheckRefund(1))
    purchase.fact(RefundReported(2, "pending"))
    assert CheckRefund(2) in purchase.last.effects


def test_a_failed_refund_that_settles_after_all_needs_no_person() -> None:
    """R-54, R-57: the alert ends when the failed refund is reported as settled."""
    purchase = second_attempt(second="re_2")
    purchase.fact(RefundReported(2, "failed"))
    assert purchase.state.needs(AttentionKind.REFUND_FAILED)
    reports(purchase, "re_2", "settled")
    assert purchase.state.attention == ()


def test_a_retry_of_a_late_refund_checks_it_now() -> None:
    """R-61, R-73: the provider is checked once, at once, and not only at the next daily check."""
    purchase = pending_refund()
    purchase.deadline(DeadlineName.SETTLEMENT)
    retries(purchase)
    assert purchase.last.effects[0] == CheckRefund(1)
    assert is_pending(purchase.state, CheckRefund(1))


def late_without_a_refund() -> Purchase:
    """The settlement window has expired while the ledger could not be reached."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.calendar(DeadlineName.SETTLEMENT)
    purchase.fact(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    purchase.deadline(DeadlineName.SETTLEMENT)
    return purchase


def test_a_retry_does_not_check_a_refund_that_was_never_sent() -> None:
    """R-61, R-73: the provider does not know the refund yet, so there is nothing to check."""
    purchase = late_without_a_refund()
    retries(purchase)
    assert not [effect for effect in purchase.last.effects if isinstance(effect, CheckRefund)]
    purchase.fact(DecisionPosted())
    purchase.fact(EffectBlocked(SendRefund.kind, "the provider does not answer"))
    retries(purchase)
    assert not [effect for effect in purchase.last.effects if isinstance(effect, CheckRefund)]
    assert is_pending(purchase.state, SendRefund(1))


def test_a_settled_refund_cannot_be_marked_as_settled() -> None:
    """R-74: mark_settled is rejected as ALREADY_SETTLED while the settlement waits to be posted."""
    purchase = pending_refund()
    reports(purchase, "re_1", "settled")
    purchase.fact(EffectBlocked(PostSettlement.kind, "the ledger cannot be reached"))
    proof = {"action": "mark_settled", "reference": "statement 7"}
    answer = purchase.send(Role.OPERATOR, "resolve_attention", **proof)
    rejected(answer, Code.ALREADY_SETTLED, "The refund is already known to be settled.")


def test_the_proof_of_an_operator_is_the_reference_of_the_newest_attempt() -> None:
    """R-74: the attempts before it keep the references of the provider."""
    purchase = second_attempt(second="re_2")
    purchase.fact(RefundReported(2, "failed"))
    retries(purchase)
    purchase.fact(RefundReported(3, "failed", "re_3"))
    proof = {"action": "mark_settled", "reference": "statement 7"}
    purchase.send(Role.OPERATOR, "resolve_attention", **proof)
    assert attempts(purchase) == Refund(
        ESCROW, 3, RefundStatus.SETTLED, ("re_1", "re_2", "statement 7")
    )
    assert PostSettlement("statement 7", purchase.now) in purchase.last.effects


@pytest.mark.parametrize(("attempt", "both"), [(1, False), (1, True), (2, True)])
def test_a_repeated_failure_changes_nothing(attempt: int, both: bool) -> None:
    """R-53, R-57, R-65: while the second attempt is open, what is repeated about the first is not
    about the second. Once both have failed, an operator is not notified again."""
    purchase = second_attempt(second="re_2")
    if both:
        purchase.fact(RefundReported(2, "failed"))
    before = purchase.state
    for fact in (RefundReported(attempt, "pending"), RefundReported(attempt, "failed")):
        purchase.fact(fact)
        assert (purchase.state, purchase.last.effects, purchase.notices) == (before, (), [])
    assert isinstance(reports(purchase, f"re_{attempt}", "failed"), Accepted)
    assert (purchase.state, purchase.last.effects, purchase.notices) == (before, (), [])


# --- two attempts, one of which settles


@pytest.mark.parametrize("second", ["", "re_2"])
def test_operators_are_notified_when_the_refund_may_be_paid_twice(second: str) -> None:
    """R-55: an attempt that had failed settles, and the provider knows the newest by another
    reference."""
    purchase = second_attempt(second=second)
    reports(purchase, "re_1", "settled")
    assert doubtful(purchase)


def test_two_attempts_without_references_may_both_be_paid() -> None:
    """R-55: two empty references are not the same reference."""
    purchase = second_attempt(first="", second="")
    reports(purchase, OURS[0], "settled")
    assert doubtful(purchase)


def test_two_attempts_with_one_reference_are_one_refund() -> None:
    """R-54: the provider gave both attempts the same reference, so nothing is doubtful."""
    purchase = second_attempt(first="re_1", second="re_1")
    reports(purchase, OURS[0], "settled")
    assert not doubtful(purchase)


def test_the_newest_attempt_settles_without_doubt() -> None:
    """R-54: the usual end, with a reference of the provider and without."""
    for second in ("", "re_2"):
        purchase = second_attempt(second=second)
        reports(purchase, OURS[1], "settled")
        assert not doubtful(purchase)


# --- unexpected answers


def test_a_posting_that_the_purchase_did_not_ask_for_changes_nothing() -> None:
    """R-51, R-52, R-59: a posted decision or settlement counts only if it is pending."""
    purchase = Purchase().working()
    before = purchase.state
    for fact in (DecisionPosted(), SettlementPosted()):
        assert purchase.fact(fact).effects == ()
        assert purchase.state == before


def test_the_end_of_a_claim_window_is_not_needed_once_the_claim_is_accepted() -> None:
    """R-22, R-60: the calendar is still asked for the settlement window, only."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline", claim=10_000)
    claim, settlement = (
        ComputeDeadline(name, purchase.now, 5)
        for name in (DeadlineName.CLAIM, DeadlineName.SETTLEMENT)
    )
    assert is_pending(purchase.state, claim)
    assert not is_pending(purchase.state, settlement)
    purchase.client("accept_claim")
    assert not is_pending(purchase.state, claim)
    assert is_pending(purchase.state, settlement)


def test_the_settlement_window_is_computed_from_the_decision_to_the_settlement() -> None:
    """R-60: the calendar is needed until it has answered, or the refund is settled."""
    purchase = pending_refund()
    lookup = ComputeDeadline(DeadlineName.SETTLEMENT, purchase.now, 5)
    assert not is_pending(purchase.state, lookup), "The deadline is already known."
    unanswered = Purchase()
    unanswered.freelancer("give_refund")
    assert is_pending(unanswered.state, lookup)
    unanswered.fact(DecisionPosted())
    unanswered.fact(RefundReported(1, "settled"))
    assert unanswered.state.stage is Stage.SETTLING
    assert not is_pending(unanswered.state, lookup)


def test_a_refund_that_is_sent_is_no_longer_explained_by_its_delay() -> None:
    """R-53, R-62; R-54: its settlement is a report of the payment provider."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted().fact(RefundReported(1, "pending", text="details are missing"))
    assert attempts(purchase).why == "details are missing"
    purchase.fact(RefundReported(1, "sent"))
    assert attempts(purchase).why == ""
    assert purchase.fact(RefundReported(1, "settled")).actor == "payments"


def test_a_refund_is_attempted_at_most_twenty_times() -> None:
    """A purchase keeps a reference for each attempt; after that a person sends the money."""
    purchase = second_attempt()
    for attempt in range(2, MOST_ATTEMPTS):
        purchase.fact(RefundReported(attempt, "failed", "x" * 200))
        retries(purchase)
    purchase.fact(RefundReported(MOST_ATTEMPTS, "failed", "x" * 200))

    answer = purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    rejected(answer, Code.NOT_ALLOWED_NOW, "mark_settled")
    assert attempts(purchase).attempt == MOST_ATTEMPTS
    settled = {"action": "mark_settled", "reference": "statement 7"}
    assert isinstance(purchase.send(Role.OPERATOR, "resolve_attention", **settled), Accepted)
