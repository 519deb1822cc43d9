"""Blocked effects (R-70 to R-73): operators are notified once, the effect stays pending, and its
answer clears the alert."""

from datetime import timedelta

import pytest

from tests.lifecycle.builders import ESCROW, NOON, Purchase, becomes, rejected
from workflows.lifecycle import is_pending
from workflows.lifecycle.events import (
    CheckRefund,
    ComputeDeadline,
    DeadlineComputed,
    DecisionPosted,
    EffectBlocked,
    Fact,
    PaymentHeld,
    PostDecision,
    PostSettlement,
    RefundReported,
    SendRefund,
    SettlementPosted,
    TakePayment,
    VoidPayment,
)
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, Stage
from workflows.messages import Role


def test_a_decision_that_cannot_be_posted_stands_and_waits() -> None:
    """R-51, R-71, R-72: the decision stays, operators are notified once, and the money stays held
    until the ledger has it."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    decision = purchase.state.decision
    purchase.fact(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    becomes(purchase, Stage.SETTLING, notified={"operator"})
    purchase.fact(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    assert purchase.notices == [], "Operators are notified once, not at every try."
    assert [item.effect for item in purchase.state.attention] == [PostDecision.kind]
    assert purchase.state.held == ESCROW
    purchase.fact(DecisionPosted())
    assert (purchase.state.attention, purchase.state.decision) == ((), decision)


@pytest.mark.parametrize(
    ("effect", "interval"), [(TakePayment, "5 minutes"), (PostDecision, "15 minutes")]
)
def test_who_looks_at_a_blocked_effect_reads_when_it_is_tried_again(
    effect: type[TakePayment | PostDecision], interval: str
) -> None:
    """R-71: in the status and in the notice to operators."""
    purchase = Purchase(held=False) if effect is TakePayment else Purchase().working()
    if effect is PostDecision:
        purchase.freelancer("give_refund")
    purchase.fact(EffectBlocked(effect.kind, "It cannot be reached."))
    (alert,), (notice,) = purchase.state.attention, purchase.notices
    assert alert.text == f"It cannot be reached. It is tried again every {interval}."
    assert notice.values["interval"] == interval


def test_an_operators_retry_of_a_blocked_effect_clears_the_alert() -> None:
    """R-71, R-73: the effect is still pending, and operators are notified again if it is blocked
    again."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.fact(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    assert purchase.state.attention == ()
    assert is_pending(purchase.state, PostDecision(ESCROW, 0))
    purchase.fact(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    becomes(purchase, Stage.SETTLING, notified={"operator"})


def test_the_alert_of_a_blocked_calendar_ends_with_its_answer() -> None:
    """R-60, R-71: when the claim window is computed, no person is needed."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    purchase.fact(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    assert purchase.state.needs(AttentionKind.EFFECT_BLOCKED)
    purchase.calendar(DeadlineName.CLAIM)
    assert purchase.state.attention == ()


def test_an_effect_that_is_no_longer_needed_needs_no_person() -> None:
    """R-24, R-41, R-71, R-72: a withdrawal makes the claim window unnecessary, so its alert ends
    and a mediator may not decide."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    purchase.fact(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    purchase.client("withdraw_cancellation")
    assert purchase.state.attention == ()
    purchase.fact(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    assert (purchase.state.attention, purchase.notices) == ((), [])
    answer = purchase.send(Role.MEDIATOR, "resolve_dispute", refund=0)
    rejected(answer, Code.NOT_ALLOWED_NOW)


def refund_without_a_calendar() -> Purchase:
    """A refund was given; the calendar cannot compute its settlement window."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.fact(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    return purchase


def blocked(purchase: Purchase) -> list[str]:
    """The kinds of the effects that are blocked."""
    return [item.effect for item in purchase.state.attention]


def test_an_effect_is_still_blocked_when_another_one_is_done() -> None:
    """R-51, R-53, R-72: answers of ledger and provider do not clear the alert about the
    calendar."""
    purchase = refund_without_a_calendar()
    for answer in (DecisionPosted(), RefundReported(1, "pending", "re_1")):
        purchase.fact(answer)
        assert blocked(purchase) == [ComputeDeadline.kind]
    purchase.fact(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    assert purchase.notices == [], "Operators are notified once, not after every other effect."


def waiting_for_effect(effect: str) -> Purchase:
    """A purchase in which that effect is pending."""
    if effect == TakePayment.kind:
        return Purchase(held=False)
    if effect == VoidPayment.kind:
        purchase = Purchase(held=False)
        purchase.deadline(DeadlineName.PAYMENT)
        return purchase
    if effect == ComputeDeadline.kind:
        purchase = Purchase().requested()
        purchase.freelancer("decide_refund", decision="decline")
        return purchase
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    if effect != PostDecision.kind:
        purchase.posted()
    if effect == PostSettlement.kind:
        purchase.fact(RefundReported(1, "settled", "re_1"))
    if effect == CheckRefund.kind:
        purchase.fact(RefundReported(1, "pending", "re_1"))
    return purchase


ANSWERED: dict[str, Fact] = {
    TakePayment.kind: PaymentHeld(),
    VoidPayment.kind: PaymentHeld(),
    ComputeDeadline.kind: DeadlineComputed(DeadlineName.CLAIM, NOON, NOON + timedelta(days=7)),
    PostDecision.kind: DecisionPosted(),
    SendRefund.kind: RefundReported(1, "pending", "re_1"),
    CheckRefund.kind: RefundReported(1, "settled", "re_1"),
    PostSettlement.kind: SettlementPosted(),
}


@pytest.mark.parametrize("effect", ANSWERED)
def test_each_blocked_effect_is_shown_until_its_answer_comes(effect: str) -> None:
    """R-70, R-71: every kind of effect, from the report that it is blocked to its answer."""
    purchase = waiting_for_effect(effect)
    purchase.fact(EffectBlocked(effect, "no answer"))
    assert blocked(purchase) == [effect]
    purchase.fact(ANSWERED[effect])
    assert blocked(purchase) == []
    purchase.fact(EffectBlocked(effect, "no answer"))
    assert (blocked(purchase), purchase.notices) == ([], []), "The effect is done."


@pytest.mark.parametrize("effect", [SendRefund.kind, CheckRefund.kind])
def test_a_blocked_second_attempt_is_shown(effect: str) -> None:
    """R-71: the effect of the newest attempt is the one that can be blocked."""
    purchase = waiting_for_effect(SendRefund.kind)
    purchase.fact(RefundReported(1, "failed"))
    if effect == CheckRefund.kind:
        purchase.fact(RefundReported(2, "pending"))
    purchase.fact(EffectBlocked(effect, "no answer"))
    assert blocked(purchase) == [effect]


def test_an_effect_is_pending_until_its_answer_comes() -> None:
    """R-03, R-51, R-54, R-59: each effect of a payment and of a refund, from the request to the
    answer."""
    purchase = Purchase(held=False)
    assert is_pending(purchase.state, TakePayment())
    purchase.fact(PaymentHeld())
    assert not is_pending(purchase.state, TakePayment())
    purchase.freelancer("give_refund")
    assert is_pending(purchase.state, PostDecision(ESCROW, 0))
    assert not is_pending(purchase.state, SendRefund(1))
    assert not is_pending(purchase.state, PostSettlement("", purchase.now))
    purchase.posted()
    assert not is_pending(purchase.state, PostDecision(ESCROW, 0))
    assert is_pending(purchase.state, SendRefund(1))
    assert not is_pending(purchase.state, SendRefund(2))
    assert not is_pending(purchase.state, PostSettlement("", purchase.now))
    purchase.fact(RefundReported(1, "settled"))
    assert not is_pending(purchase.state, SendRefund(1))
    assert is_pending(purchase.state, PostSettlement("", purchase.now))
    purchase.fact(SettlementPosted())
    assert not is_pending(purchase.state, PostSettlement("", purchase.now))


@pytest.mark.parametrize("held", [False, True])
def test_an_operators_retry_of_an_unknown_payment_clears_the_alert(held: bool) -> None:
    """R-70, R-73: the void stays pending, and operators are notified again if it is blocked
    again."""
    purchase = waiting_for_effect(VoidPayment.kind)
    purchase.fact(EffectBlocked(VoidPayment.kind, "no answer"))
    purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    assert purchase.state.attention == ()
    assert is_pending(purchase.state, VoidPayment())
    if held:
        purchase.fact(PaymentHeld())
        assert not is_pending(purchase.state, VoidPayment())
    else:
        purchase.fact(EffectBlocked(VoidPayment.kind, "no answer"))
        assert [notice.transition for notice in purchase.notices] == ["payment_unknown"]


def test_a_new_attempt_is_not_blocked_by_the_one_before() -> None:
    """R-56, R-57, R-71: the alert of the failed attempt ends; a blocked new attempt is notified
    anew."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    for attempt in (1, 2):
        purchase.fact(EffectBlocked(SendRefund.kind, "the provider does not answer"))
        becomes(purchase, Stage.SETTLING, notified={"operator"})
        purchase.fact(RefundReported(attempt, "failed"))
        assert SendRefund.kind not in blocked(purchase)


def test_the_alert_of_a_blocked_calendar_outlives_the_payment() -> None:
    """R-03, R-71: the payment does not clear the alert about the calendar."""
    purchase = Purchase(held=False)
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.fact(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    purchase.fact(PaymentHeld())
    assert blocked(purchase) == [ComputeDeadline.kind]


def test_an_effect_of_a_closed_purchase_cannot_be_blocked() -> None:
    """R-71, R-72: a late report of a blocked effect changes nothing after the end."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.posted()
    purchase.fact(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    assert (purchase.state.attention, purchase.last.effects) == ((), ())
