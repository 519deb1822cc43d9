"""What cannot be carried out: said once, waits, and is done as soon as it can be."""

from tests.lifecycle.given import ESCROW, Purchase, becomes, refused
from workflows.lifecycle import wanted
from workflows.lifecycle.state import (
    AttentionKind,
    Clock,
    Code,
    DecisionPosted,
    FindDeadline,
    PostDecision,
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


def test_a_closed_purchase_needs_nobody() -> None:
    """A step that reports late finds the purchase closed."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.posted()
    purchase.learns(StepBlocked(PostDecision.kind, "the ledger cannot be reached"))
    assert (purchase.state.attention, purchase.last.effects) == ((), ())
