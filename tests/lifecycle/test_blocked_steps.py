"""What cannot be carried out: said once, waits, and is done as soon as it can be."""

from tests.lifecycle.given import ESCROW, Purchase, becomes, refused
from workflows.lifecycle import wanted
from workflows.lifecycle.state import (
    AttentionKind,
    Clock,
    Code,
    DecisionPosted,
    FindDeadline,
    PaymentHeld,
    PostDecision,
    RefundAnswered,
    SendRefund,
    Stage,
    StepBlocked,
)
from workflows.messages import Role


def test_a_decision_that_cannot_be_posted_stands_and_waits() -> None:
    """database down → the decision stands, the purchase says so and waits."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    decision = purchase.state.decision
    purchase.learns(StepBlocked(PostDecision.kind, "the ledger cannot be reached"))
    becomes(purchase, Stage.SETTLING, told={"operator"})
    purchase.learns(StepBlocked(PostDecision.kind, "the ledger cannot be reached"))
    assert purchase.notices == [], "told once, not at every try"
    assert [item.step for item in purchase.state.attention] == [PostDecision.kind]
    assert purchase.state.held == ESCROW
    purchase.learns(DecisionPosted())
    assert (purchase.state.attention, purchase.state.decision) == ((), decision)


def test_operator_has_a_blocked_step_tried_again() -> None:
    """resolve_attention retry → tried again at once, and said again if in vain."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.learns(StepBlocked(PostDecision.kind, "the ledger cannot be reached"))
    purchase.staff(Role.OPERATOR, "resolve_attention", action="retry")
    assert purchase.state.attention == ()
    assert wanted(purchase.state, PostDecision(ESCROW, 0))
    purchase.learns(StepBlocked(PostDecision.kind, "the ledger cannot be reached"))
    becomes(purchase, Stage.SETTLING, told={"operator"})


def test_a_calendar_that_is_away_needs_nobody_once_it_has_answered() -> None:
    """needs_attention ends with its cause: the claim window is known after all."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    purchase.learns(StepBlocked(FindDeadline.kind, "the calendar does not answer"))
    assert purchase.state.needs(AttentionKind.STEP_BLOCKED)
    purchase.calendar(Clock.CLAIM)
    assert purchase.state.attention == ()


def test_a_step_that_was_overtaken_needs_nobody() -> None:
    """needs_attention ends with its cause: nobody asks for the claim window any more, and no
    mediator may decide a project that goes on in peace."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline")
    purchase.learns(StepBlocked(FindDeadline.kind, "the calendar does not answer"))
    purchase.client("withdraw_cancellation")
    assert purchase.state.attention == ()
    purchase.learns(StepBlocked(FindDeadline.kind, "the calendar does not answer"))
    assert (purchase.state.attention, purchase.notices) == ((), [])
    answer = purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=0)
    refused(answer, Code.NOT_ALLOWED_NOW)


def refund_without_a_calendar() -> Purchase:
    """A refund was given; nobody can say yet when its settlement window ends."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.learns(StepBlocked(FindDeadline.kind, "the calendar does not answer"))
    return purchase


def blocked(purchase: Purchase) -> list[str]:
    """Which steps a person has to see to."""
    return [item.step for item in purchase.state.attention]


def test_a_step_is_still_blocked_when_another_one_is_done() -> None:
    """needs_attention ends with its own cause: what the books and the provider answer says
    nothing about the calendar."""
    purchase = refund_without_a_calendar()
    for answer in (DecisionPosted(), RefundAnswered(1, "pending", "re_1")):
        purchase.learns(answer)
        assert blocked(purchase) == [FindDeadline.kind]
    purchase.learns(StepBlocked(FindDeadline.kind, "the calendar does not answer"))
    assert purchase.notices == [], "told once, not with every step that is done"


def test_a_new_attempt_is_not_held_up_by_what_held_up_the_one_before() -> None:
    """failed → retried under a new reference: nobody is sent to see to the attempt that failed,
    and if the new one is held up, too, they are told."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    for attempt in (1, 2):
        purchase.learns(StepBlocked(SendRefund.kind, "the provider does not answer"))
        becomes(purchase, Stage.SETTLING, told={"operator"})
        purchase.learns(RefundAnswered(attempt, "failed"))
        assert SendRefund.kind not in blocked(purchase)


def test_a_claim_without_a_calendar_waits_on_when_the_money_is_held() -> None:
    """needs_attention ends with its own cause: the payment has nothing to do with the calendar."""
    purchase = Purchase(held=False)
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.learns(StepBlocked(FindDeadline.kind, "the calendar does not answer"))
    purchase.learns(PaymentHeld())
    assert blocked(purchase) == [FindDeadline.kind]


def test_a_closed_purchase_needs_nobody() -> None:
    """A step that reports late finds the purchase closed."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.posted()
    purchase.learns(StepBlocked(PostDecision.kind, "the ledger cannot be reached"))
    assert (purchase.state.attention, purchase.last.effects) == ((), ())
