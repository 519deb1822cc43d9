"""When somebody is reminded of a deadline, and who."""

from datetime import datetime, timedelta

from tests.lifecycle.builders import NOON, Purchase, purchase_in
from workflows.lifecycle import next_reminder, reminder, rules_of
from workflows.lifecycle.state import DeadlineName, Stage
from workflows.policy import Reminders

DAY = timedelta(days=1)


def reminders(purchase: Purchase) -> list[tuple[datetime, tuple[DeadlineName, ...]]]:
    """All reminders that are due later, if nobody acts."""
    found, after = [], purchase.now
    while upcoming := next_reminder(purchase.state, after, {}):
        found.append(upcoming)
        after = upcoming[0]
    return found


def test_the_reminders_of_each_deadline() -> None:
    """Reminders before R-11, R-12, R-17, R-35 and R-38 at the offsets of the policy; none in
    progress or disputed."""
    before = {
        Stage.AWAITING_REQUIREMENTS: [timedelta(hours=24), timedelta(hours=4)],
        Stage.FREELANCER_REVIEW: [timedelta(hours=6)],
        Stage.REFUND_REQUESTED: [4 * DAY, DAY, timedelta(hours=4)],
        Stage.CONTESTED: [DAY],
        Stage.DELIVERED: [2 * DAY],
        Stage.IN_PROGRESS: [],
        Stage.DISPUTED: [],
    }
    for stage, offsets in before.items():
        purchase = purchase_in(stage)
        ((deadline, ends),) = purchase.state.deadlines.items()
        assert reminders(purchase) == [(ends - offset, (deadline,)) for offset in offsets], stage


def test_reminders_follow_the_open_deadlines() -> None:
    """R-32, R-46: reminders due at the same instant come together; a decision ends them all."""
    purchase = Purchase(refund_decision_window="PT48H")
    purchase.client("cancel")
    first, deadlines = reminders(purchase)[0]
    assert (first, set(deadlines)) == (
        NOON + DAY,
        {DeadlineName.REQUIREMENTS, DeadlineName.REFUND_DECISION},
    )
    purchase.freelancer("give_refund")
    assert reminders(purchase) == []


def test_the_policy_may_have_no_reminders() -> None:
    """An empty list of offsets for the deadline of R-11 means no reminder."""
    assert reminders(Purchase(reminders={"requirements": []})) == []


def test_every_deadline_with_reminders_has_a_recipient_and_a_text() -> None:
    """Exactly the deadlines for which the policy has offsets."""
    state = Purchase().state
    rules = [rule for rule in rules_of(state).deadlines if rule.reminds]
    assert {rule.name.value for rule in rules} == set(Reminders.model_fields)
    for rule in rules:
        assert reminder(state, rule.name).recipients == (rule.reminds,)
        assert reminder(state, rule.name).text is rule.reminder


def test_nobody_is_reminded_of_an_instant_before_the_deadline_was_set() -> None:
    """R-24: of a deadline that was set, or that goes on, after its reminder was due."""
    purchase = purchase_in(Stage.AWAITING_REQUIREMENTS)
    first, last = NOON + timedelta(hours=24), NOON + timedelta(hours=44)
    before = first - timedelta(seconds=1)
    names = (DeadlineName.REQUIREMENTS,)
    assert next_reminder(purchase.state, NOON, {names[0]: before}) == (first, names)
    assert next_reminder(purchase.state, NOON, {names[0]: first}) == (last, names)
    assert next_reminder(purchase.state, first, {names[0]: NOON}) == (last, names)
    other = {DeadlineName.PAYMENT: last}
    assert next_reminder(purchase.state, NOON, other) == (first, names)
