"""A refund's attempts: each has a name of ours and may get one of the provider's; what is reported
of one is never taken for another's (`RULES.md`, settlement_update and resolve_attention)."""

import pytest

from tests.lifecycle.builders import ESCROW, Purchase, refund_under_way, rejected
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
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, Refund, RefundStatus, Stage
from workflows.messages import Role

OURS = ("purchase-p-1/refund", "purchase-p-1/refund-2")


def hears(purchase: Purchase, refund_id: str, status: str, **more: str) -> Accepted | Rejection:
    """The payment provider reports."""
    fields = {"refund_id": refund_id, "status": status, **more}
    return purchase.staff(Role.PAYMENTS, "settlement_update", **fields)


def retries(purchase: Purchase) -> None:
    """An operator has it tried again."""
    answer = purchase.staff(Role.OPERATOR, "resolve_attention", action="retry")
    assert isinstance(answer, Accepted)


def second_attempt(first: str = "re_1", second: str = "") -> Purchase:
    """The first attempt failed, the second is pending; both under the provider's names."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    purchase.learns(RefundReported(1, "failed", first))
    assert is_pending(purchase.state, SendRefund(2))
    purchase.learns(RefundReported(2, "pending", second))
    return purchase


def attempts(purchase: Purchase) -> Refund:
    """How the refund stands."""
    assert purchase.state.refund
    return purchase.state.refund


def doubtful(purchase: Purchase) -> bool:
    """Whether operators were told that the refund may arrive twice."""
    return [notice.transition for notice in purchase.notices] == ["refund_doubtful"]


# --- names


def test_the_providers_name_of_the_charge_is_kept_for_the_refund() -> None:
    """hold: a refund is asked of the provider under the charge that was made."""
    assert Purchase(held=False).state.charge_reference == ""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.client("send_message", text="has it worked?")
    purchase.learns(PaymentHeld("ch_1"))
    assert purchase.state.charge_reference == "ch_1"


def test_each_attempt_keeps_its_own_name() -> None:
    """A new attempt has no name of the provider's until it gets one, and keeps it then."""
    purchase = refund_under_way()
    purchase.learns(RefundReported(1, "failed"))
    assert attempts(purchase) == Refund(ESCROW, 2, RefundStatus.UNSENT, ("re_1", ""))
    purchase.learns(RefundReported(2, "pending", "re_2"))
    purchase.learns(RefundReported(2, "pending"))
    assert attempts(purchase) == Refund(ESCROW, 2, RefundStatus.PENDING, ("re_1", "re_2"))
    purchase.learns(RefundReported(2, "settled"))
    purchase.learns(SettlementPosted())
    assert attempts(purchase) == Refund(
        ESCROW, 2, RefundStatus.SETTLED, ("re_1", "re_2"), posted=True
    )


def test_an_attempt_that_fails_at_once_keeps_its_name_too() -> None:
    """What is reported later under the provider's name of it is no unknown refund."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    purchase.learns(RefundReported(1, "failed", "re_1"))
    assert attempts(purchase).references == ("re_1", "")
    purchase.learns(RefundReported(2, "failed", "re_2"))
    assert attempts(purchase).references == ("re_1", "re_2")
    assert isinstance(hears(purchase, "re_1", "settled"), Accepted)


@pytest.mark.parametrize(("name", "proof"), [("re_1", 1), (OURS[0], 1), ("re_2", 2), (OURS[1], 2)])
def test_an_arrival_is_posted_under_the_attempt_that_arrived(name: str, proof: int) -> None:
    """settled: by whichever name it was reported, the books get ours, or the provider's proof."""
    purchase = second_attempt(second="re_2")
    hears(purchase, name, "settled")
    assert PostSettlement(OURS[proof - 1], purchase.now) in purchase.last.effects
    purchase = second_attempt(second="re_2")
    hears(purchase, name, "settled", reference="proof-7")
    assert PostSettlement("proof-7", purchase.now) in purchase.last.effects
    assert attempts(purchase).references[proof - 1] == "proof-7"


def test_before_there_is_a_refund_none_is_known() -> None:
    """settlement_update while the books do not have the decision yet → refused and shown."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    rejected(hears(purchase, OURS[0], "settled"), Code.NOT_ALLOWED_NOW, f"no refund {OURS[0]};")


# --- what stops and what is asked again


def test_nothing_runs_on_after_the_arrival() -> None:
    """settled → the settlement window and our own asking are over, and nobody is needed."""
    purchase = refund_under_way()
    assert set(purchase.state.deadlines) == {DeadlineName.SETTLEMENT}
    assert is_pending(purchase.state, CheckRefund(1))
    hears(purchase, OURS[0], "settled")
    assert purchase.state.deadlines == {}
    assert not is_pending(purchase.state, CheckRefund(1))
    late = refund_under_way()
    late.deadline(DeadlineName.SETTLEMENT)
    late.learns(RefundReported(1, "settled"))
    assert late.state.attention == ()


def test_a_failed_attempt_is_not_asked_about() -> None:
    """failed → the provider is asked again only once the new attempt is on its way."""
    purchase = refund_under_way()
    purchase.learns(RefundReported(1, "failed"))
    assert not is_pending(purchase.state, CheckRefund(1))
    purchase.learns(RefundReported(2, "pending"))
    assert CheckRefund(2) in purchase.last.effects


def test_a_person_is_not_needed_for_a_failed_refund_that_arrives_after_all() -> None:
    """needs_attention ends with its cause."""
    purchase = second_attempt(second="re_2")
    purchase.learns(RefundReported(2, "failed"))
    assert purchase.state.needs(AttentionKind.REFUND_FAILED)
    hears(purchase, "re_2", "settled")
    assert purchase.state.attention == ()


def test_an_operators_retry_of_a_late_refund_asks_the_provider_now() -> None:
    """retry → not at the next of our own askings: now, once."""
    purchase = refund_under_way()
    purchase.deadline(DeadlineName.SETTLEMENT)
    retries(purchase)
    assert purchase.last.effects[0] == CheckRefund(1)
    assert is_pending(purchase.state, CheckRefund(1))


def late_without_a_refund() -> Purchase:
    """The settlement window has ended, and the books could not be reached all the while."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.calendar(DeadlineName.SETTLEMENT)
    purchase.learns(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    purchase.deadline(DeadlineName.SETTLEMENT)
    return purchase


def test_nobody_asks_about_a_refund_that_was_never_sent() -> None:
    """retry of a late refund: the provider knows nothing of it yet."""
    purchase = late_without_a_refund()
    retries(purchase)
    assert not [effect for effect in purchase.last.effects if isinstance(effect, CheckRefund)]
    purchase.learns(DecisionPosted())
    purchase.learns(EffectBlocked(SendRefund.kind, "the provider does not answer"))
    retries(purchase)
    assert not [effect for effect in purchase.last.effects if isinstance(effect, CheckRefund)]
    assert is_pending(purchase.state, SendRefund(1))


def test_a_settled_refund_is_not_settled_by_hand_once_more() -> None:
    """mark_settled while the books do not have the arrival yet → ALREADY_SETTLED."""
    purchase = refund_under_way()
    hears(purchase, "re_1", "settled")
    purchase.learns(EffectBlocked(PostSettlement.kind, "the ledger cannot be reached"))
    proof = {"action": "mark_settled", "reference": "statement 7"}
    answer = purchase.staff(Role.OPERATOR, "resolve_attention", **proof)
    rejected(answer, Code.ALREADY_SETTLED, "The refund is already known to be settled.")


# --- two attempts, one of which arrives


@pytest.mark.parametrize("second", ["", "re_2"])
def test_operators_are_told_when_the_refund_may_arrive_twice(second: str) -> None:
    """The attempt that was given up arrives, and the provider knows the other by another name."""
    purchase = second_attempt(second=second)
    hears(purchase, "re_1", "settled")
    assert doubtful(purchase)


def test_two_attempts_that_nobody_has_named_may_both_arrive() -> None:
    """No name is not the same name."""
    purchase = second_attempt(first="", second="")
    hears(purchase, OURS[0], "settled")
    assert doubtful(purchase)


def test_one_refund_under_two_of_our_names_arrives_once() -> None:
    """The provider took the new attempt for the old one, and calls both by one name."""
    purchase = second_attempt(first="re_1", second="re_1")
    hears(purchase, OURS[0], "settled")
    assert not doubtful(purchase)


def test_the_attempt_on_its_way_arrives_without_doubt() -> None:
    """The usual end, with the provider's name and without."""
    for second in ("", "re_2"):
        purchase = second_attempt(second=second)
        hears(purchase, OURS[1], "settled")
        assert not doubtful(purchase)


# --- answers that nobody has asked for


def test_an_answer_from_the_books_without_a_question_changes_nothing() -> None:
    """Neither a decision nor an arrival is posted that the purchase has not asked for."""
    purchase = Purchase().working()
    before = purchase.state
    for fact in (DecisionPosted(), SettlementPosted()):
        assert purchase.learns(fact).effects == ()
        assert purchase.state == before


def test_a_settlement_window_without_a_refund_to_wait_for_is_not_looked_up() -> None:
    """settlement_window: wanted from the decision to the arrival, whatever the refund has done."""
    purchase = refund_under_way()
    lookup = ComputeDeadline(DeadlineName.SETTLEMENT, purchase.now, 5)
    assert not is_pending(purchase.state, lookup), "it is known already"
    late = refund_under_way()
    late.deadline(DeadlineName.SETTLEMENT)
    assert is_pending(late.state, lookup)
    late.learns(RefundReported(1, "settled"))
    assert late.state.stage is Stage.SETTLING
    assert not is_pending(late.state, lookup)
