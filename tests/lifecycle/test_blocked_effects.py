"""What cannot be carried out: said once, waits, and is done as soon as it can be."""

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
    """database down → the decision stands, the purchase says so and waits."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    decision = purchase.state.decision
    purchase.learns(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    becomes(purchase, Stage.SETTLING, told={"operator"})
    purchase.learns(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    assert purchase.notices == [], "told once, not at every try"
    assert [item.effect for item in purchase.state.attention] == [PostDecision.kind]
    assert purchase.state.held == ESCROW
    purchase.learns(DecisionPosted())
    assert (purchase.state.attention, purchase.state.decision) == ((), decision)


def test_operator_has_a_blocked_step_tried_again() -> None:
    """resolve_attention retry → tried again at once, and said again if in vain."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.learns(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    purchase.staff(Role.OPERATOR, "resolve_attention", action="retry")
    assert purchase.state.attention == ()
    assert is_pending(purchase.state, PostDecision(ESCROW, 0))
    purchase.learns(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    becomes(purchase, Stage.SETTLING, told={"operator"})


def test_a_calendar_that_is_away_needs_nobody_once_it_has_answered() -> None:
    """needs_attention ends with its cause: the claim window is known after all."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    purchase.learns(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    assert purchase.state.needs(AttentionKind.EFFECT_BLOCKED)
    purchase.calendar(DeadlineName.CLAIM)
    assert purchase.state.attention == ()


def test_a_step_that_was_overtaken_needs_nobody() -> None:
    """needs_attention ends with its cause: nobody asks for the claim window any more, and no
    mediator may decide a project that goes on in peace."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    purchase.learns(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    purchase.client("withdraw_cancellation")
    assert purchase.state.attention == ()
    purchase.learns(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    assert (purchase.state.attention, purchase.notices) == ((), [])
    answer = purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=0)
    rejected(answer, Code.NOT_ALLOWED_NOW)


def refund_without_a_calendar() -> Purchase:
    """A refund was given; nobody can say yet when its settlement window ends."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.learns(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    return purchase


def blocked(purchase: Purchase) -> list[str]:
    """Which steps a person has to see to."""
    return [item.effect for item in purchase.state.attention]


def test_a_step_is_still_blocked_when_another_one_is_done() -> None:
    """needs_attention ends with its own cause: what the books and the provider answer says
    nothing about the calendar."""
    purchase = refund_without_a_calendar()
    for answer in (DecisionPosted(), RefundReported(1, "pending", "re_1")):
        purchase.learns(answer)
        assert blocked(purchase) == [ComputeDeadline.kind]
    purchase.learns(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    assert purchase.notices == [], "told once, not with every step that is done"


def waiting_for_step(step: str) -> Purchase:
    """A purchase in which that step is still to be done, and its answer has not come."""
    if step == TakePayment.kind:
        return Purchase(held=False)
    if step == VoidPayment.kind:
        purchase = Purchase(held=False)
        purchase.deadline(DeadlineName.PAYMENT)
        return purchase
    if step == ComputeDeadline.kind:
        purchase = Purchase().requested()
        purchase.freelancer("decide_refund", decision="decline")
        return purchase
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    if step != PostDecision.kind:
        purchase.posted()
    if step == PostSettlement.kind:
        purchase.learns(RefundReported(1, "settled", "re_1"))
    if step == CheckRefund.kind:
        purchase.learns(RefundReported(1, "pending", "re_1"))
    return purchase


ANSWERED: dict[str, Fact] = {
    TakePayment.kind: PaymentHeld(),
    VoidPayment.kind: PaymentHeld(),
    ComputeDeadline.kind: DeadlineComputed(DeadlineName.CLAIM, NOON + timedelta(days=7)),
    PostDecision.kind: DecisionPosted(),
    SendRefund.kind: RefundReported(1, "pending", "re_1"),
    CheckRefund.kind: RefundReported(1, "settled", "re_1"),
    PostSettlement.kind: SettlementPosted(),
}


@pytest.mark.parametrize("step", ANSWERED)
def test_each_step_that_is_held_up_is_said_until_it_is_answered(step: str) -> None:
    """needs_attention, for whichever step: from the report that it is held up to its answer."""
    purchase = waiting_for_step(step)
    purchase.learns(EffectBlocked(step, "no answer"))
    assert blocked(purchase) == [step]
    purchase.learns(ANSWERED[step])
    assert blocked(purchase) == []
    purchase.learns(EffectBlocked(step, "no answer"))
    assert (blocked(purchase), purchase.notices) == ([], []), "it is done"


@pytest.mark.parametrize("step", [SendRefund.kind, CheckRefund.kind])
def test_a_later_attempt_that_is_held_up_is_said_too(step: str) -> None:
    """needs_attention: the step of the attempt that is under way, whichever it is."""
    purchase = waiting_for_step(SendRefund.kind)
    purchase.learns(RefundReported(1, "failed"))
    if step == CheckRefund.kind:
        purchase.learns(RefundReported(2, "pending"))
    purchase.learns(EffectBlocked(step, "no answer"))
    assert blocked(purchase) == [step]


def test_a_step_is_to_be_done_until_it_is_answered() -> None:
    """wanted: each step of a payment and of a refund, from the asking to the answer."""
    purchase = Purchase(held=False)
    assert is_pending(purchase.state, TakePayment())
    purchase.learns(PaymentHeld())
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
    purchase.learns(RefundReported(1, "settled"))
    assert not is_pending(purchase.state, SendRefund(1))
    assert is_pending(purchase.state, PostSettlement("", purchase.now))
    purchase.learns(SettlementPosted())
    assert not is_pending(purchase.state, PostSettlement("", purchase.now))


@pytest.mark.parametrize("held", [False, True])
def test_an_unknown_payment_is_looked_up_again_when_an_operator_says_so(held: bool) -> None:
    """resolve_attention retry while the payment is unknown → nobody is needed meanwhile, the
    calling off is still to be done, and if the provider stays silent it is said again."""
    purchase = waiting_for_step(VoidPayment.kind)
    purchase.learns(EffectBlocked(VoidPayment.kind, "no answer"))
    purchase.staff(Role.OPERATOR, "resolve_attention", action="retry")
    assert purchase.state.attention == ()
    assert is_pending(purchase.state, VoidPayment())
    if held:
        purchase.learns(PaymentHeld())
        assert not is_pending(purchase.state, VoidPayment())
    else:
        purchase.learns(EffectBlocked(VoidPayment.kind, "no answer"))
        assert [notice.transition for notice in purchase.notices] == ["payment_unknown"]


def test_a_new_attempt_is_not_held_up_by_what_held_up_the_one_before() -> None:
    """failed → retried under a new reference: nobody is sent to see to the attempt that failed,
    and if the new one is held up, too, they are told."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    for attempt in (1, 2):
        purchase.learns(EffectBlocked(SendRefund.kind, "the provider does not answer"))
        becomes(purchase, Stage.SETTLING, told={"operator"})
        purchase.learns(RefundReported(attempt, "failed"))
        assert SendRefund.kind not in blocked(purchase)


def test_a_claim_without_a_calendar_waits_on_when_the_money_is_held() -> None:
    """needs_attention ends with its own cause: the payment has nothing to do with the calendar."""
    purchase = Purchase(held=False)
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.learns(EffectBlocked(ComputeDeadline.kind, "the calendar does not answer"))
    purchase.learns(PaymentHeld())
    assert blocked(purchase) == [ComputeDeadline.kind]


def test_a_closed_purchase_needs_nobody() -> None:
    """A step that reports late finds the purchase closed."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.posted()
    purchase.learns(EffectBlocked(PostDecision.kind, "the ledger cannot be reached"))
    assert (purchase.state.attention, purchase.last.effects) == ((), ())
