"""What can be read off a state: permissions, deadlines, whose turn it is, reminders."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.lifecycle.builders import NOON, Purchase, purchase_in, refund_under_way
from workflows.lifecycle import (
    allowed_messages,
    deadlines,
    decide,
    next_deadline,
    next_reminder,
    on_expiry,
    permissions,
    rejection_notice,
    reminder,
    rules_of,
    waiting_for,
)
from workflows.lifecycle.events import EffectBlocked, Rejection, VoidPayment
from workflows.lifecycle.queries import samples
from workflows.lifecycle.state import DeadlineName, Stage
from workflows.messages import MESSAGES, Permission, Role
from workflows.policy import Reminders

DAY = timedelta(days=1)


def button(purchase: Purchase, role: Role, name: str) -> Permission:
    """The button of that name on the role's page."""
    found = {action.message: action for action in permissions(purchase.state, role, purchase.now)}
    assert list(found) == list(MESSAGES)
    return found[name]


def enabled(purchase: Purchase, role: Role) -> set[str]:
    """The names of the buttons that can be pressed."""
    return {a.message for a in permissions(purchase.state, role, purchase.now) if a.allowed}


# --- actions

TALK = {"propose_split", "send_message"}


@pytest.mark.parametrize(
    ("stage", "client", "freelancer", "mediator"),
    [
        (
            Stage.AWAITING_REQUIREMENTS,
            {"submit_requirements", "cancel"},
            {"cancel", "give_refund"},
            set(),
        ),
        (Stage.FREELANCER_REVIEW, {"cancel"}, {"cancel", "deliver", "give_refund"}, set()),
        (Stage.IN_PROGRESS, {"cancel"}, {"deliver", "give_refund"}, set()),
        (
            Stage.DELIVERED,
            {"cancel", "request_changes", "accept_delivery"},
            {"give_refund"},
            set(),
        ),
        (
            Stage.REFUND_REQUESTED,
            {"withdraw_cancellation"},
            {"decide_refund", "give_refund"},
            set(),
        ),
        (
            Stage.CONTESTED,
            {"withdraw_cancellation", "accept_claim", "open_dispute"},
            {"decide_refund", "give_refund"},
            set(),
        ),
        (Stage.DISPUTED, set(), {"give_refund"}, {"resolve_dispute"}),
    ],
)
def test_the_buttons_of_each_stage(
    stage: Stage, client: set[str], freelancer: set[str], mediator: set[str]
) -> None:
    """Who may press what, stage by stage, when nothing else is open."""
    purchase = purchase_in(stage)
    assert enabled(purchase, Role.CLIENT) == client | TALK
    assert enabled(purchase, Role.FREELANCER) == freelancer | TALK
    assert enabled(purchase, Role.MEDIATOR) == mediator
    assert enabled(purchase, Role.OPERATOR) == set()
    assert enabled(purchase, Role.PAYMENTS) == set()


def allowed(purchase: Purchase, role: Role) -> list[tuple[str, str]]:
    """What a notice or the card offers to that role: message and choice, in order."""
    found = allowed_messages(purchase.state, role, purchase.now)
    return [(each.message, each.row.cause.choice) for each in found]


def test_each_open_choice_of_a_message_is_offered_apart() -> None:
    """R-20, R-21, R-73, R-74: declined once, a refund can still be approved; only a refund that
    needs a person can be marked as settled."""
    assert allowed(Purchase().requested(), Role.FREELANCER)[:2] == [
        ("decide_refund", "approve"),
        ("decide_refund", "decline"),
    ]
    contested = allowed(Purchase().contested(), Role.FREELANCER)
    assert contested[0] == ("decide_refund", "approve")
    assert ("decide_refund", "decline") not in contested
    blocked = Purchase(held=False)
    blocked.deadline(DeadlineName.PAYMENT)
    blocked.learns(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    assert allowed(blocked, Role.OPERATOR) == [("resolve_attention", "retry")]
    late = refund_under_way()
    late.deadline(DeadlineName.SETTLEMENT)
    assert allowed(late, Role.OPERATOR) == [
        ("resolve_attention", "retry"),
        ("resolve_attention", "mark_settled"),
    ]


def test_what_is_the_same_to_the_freelancer_is_offered_once() -> None:
    """R-20, R-30, R-46 all give everything back: the first that is open is offered."""
    early = Purchase().reviewed()
    early.client("cancel")
    names = [name for name, _ in allowed(early, Role.FREELANCER)]
    assert names.count("decide_refund") == 2
    assert {"cancel", "give_refund"} & set(names) == set()


def test_what_the_matter_is_about_is_offered_before_what_is_possible_at_any_time() -> None:
    """R-15, R-16 before R-32, R-47, R-48."""
    names = [name for name, _ in allowed(Purchase().delivered(), Role.CLIENT)]
    assert names == [
        "accept_delivery",
        "request_changes",
        "cancel",
        "propose_split",
        "send_message",
    ]


def test_a_chosen_amount_is_shown_as_such_and_an_offered_one_as_it_is() -> None:
    """R-45, R-47."""
    purchase = Purchase().working()
    purchase.freelancer("propose_split", refund=15_000)
    found = allowed_messages(purchase.state, Role.CLIENT, purchase.now)
    fields = {each.message: each.fields for each in found}
    assert fields["accept_split"] == {"refund": 15_000}
    assert fields["propose_split"] == {"refund": "AMOUNT"}


def test_a_rejection_is_notified_to_its_sender() -> None:
    """With the message's name, the code and the exact sentence."""
    answer = Purchase().client("accept_delivery")
    assert isinstance(answer, Rejection)
    notice = rejection_notice("accept_delivery", answer, "client")
    assert notice.recipients == ("client",)
    assert (notice.values["code"], notice.values["answer"]) == (answer.code, answer.text)


def test_an_offer_enables_the_other_sides_button_only() -> None:
    """accept_split belongs to whoever did not make the offer."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=15_000)
    assert "accept_split" in enabled(purchase, Role.FREELANCER)
    mine = button(purchase, Role.CLIENT, "accept_split")
    assert (mine.allowed, mine.code) == (False, "WRONG_ROLE")


def test_a_button_says_until_when() -> None:
    """cancel is the freelancer's until the 24 h are over; giving a refund has no end."""
    purchase = Purchase().reviewed()
    assert button(purchase, Role.FREELANCER, "cancel").until == NOON + DAY
    assert button(purchase, Role.FREELANCER, "give_refund").until is None
    requirements = button(Purchase(), Role.CLIENT, "submit_requirements")
    assert requirements.until == NOON + timedelta(hours=48)


def test_until_is_the_first_deadline_that_takes_the_button_away() -> None:
    """Cancelled before the requirements: the 48 h end the request before its seven days do."""
    purchase = Purchase()
    purchase.client("cancel")
    assert button(purchase, Role.FREELANCER, "decide_refund").until == NOON + timedelta(hours=48)
    purchase = Purchase().requested()
    ends = purchase.now + 7 * DAY
    assert button(purchase, Role.FREELANCER, "decide_refund").until == ends


def test_a_disabled_button_says_why() -> None:
    """The sentence is the refusal itself: code, reason, and what can be done instead."""
    action = button(Purchase().working(), Role.FREELANCER, "cancel")
    assert (action.allowed, action.code, action.until) == (False, "WINDOW_CLOSED", None)
    assert action.why_not
    assert "give_refund" in action.why_not
    foreign = button(Purchase(), Role.CLIENT, "deliver")
    assert (foreign.code, foreign.why_not) == (
        "WRONG_ROLE",
        "deliver is for the freelancer, not for the client.",
    )


def test_operators_see_their_buttons_when_they_are_needed() -> None:
    """resolve_attention is enabled by needs_attention."""
    purchase = refund_under_way()
    assert enabled(purchase, Role.PAYMENTS) == {"settlement_update"}
    purchase.deadline(DeadlineName.SETTLEMENT)
    assert enabled(purchase, Role.OPERATOR) == {"resolve_attention"}


def test_a_closed_purchase_has_no_buttons() -> None:
    """Nothing can be pressed, and everybody is told why."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.posted()
    for role in Role:
        assert enabled(purchase, role) == set()
        why = {action.code for action in permissions(purchase.state, role, purchase.now)}
        assert why <= {"CLOSED", "WRONG_ROLE"}


def test_asking_changes_nothing() -> None:
    """The buttons are found by asking the rules themselves, on a copy."""
    purchase = Purchase().disputed()
    before = purchase.state
    for role in Role:
        permissions(before, role, purchase.now)
    assert purchase.state == before


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("role", Role)
def test_the_samples_are_messages_of_that_name_and_role(name: str, role: Role) -> None:
    """What `actions` asks with is what somebody could send."""
    purchase = Purchase().working()
    for message in samples(purchase.state, name, role):
        assert (message.name, message.by.role) == (name, role)
        answer = decide(purchase.state, message, purchase.now)
        assert not isinstance(answer, Rejection) or answer.code.value != "NOT_A_PARTY"


# --- deadlines


def test_deadlines_come_in_order_with_what_silence_does() -> None:
    """All that runs, the next first."""
    purchase = Purchase(held=False)
    purchase.client("cancel")
    assert [(d.name, d.then) for d in deadlines(purchase.state)] == [
        ("payment", "the payment is cancelled and nothing is charged"),
        ("requirements", "the project is cancelled and all of the money goes back to the client"),
        ("refund_decision", "all of the money goes back to the client"),
    ]
    first = next_deadline(purchase.state)
    assert first
    assert (first.name, first.at) == ("payment", NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("silence", "then"),
    [
        ("refund", "all of the money goes back to the client"),
        ("resume", "the request lapses and the project goes on"),
        ("attention", "our staff looks into it"),
    ],
)
def test_a_deadline_says_what_silence_does_under_this_policy(silence: str, then: str) -> None:
    """refund_decision_silence: the parties are told what theirs does."""
    purchase = Purchase(refund_decision_silence=silence).requested()
    assert [deadline.then for deadline in deadlines(purchase.state)] == [then]


def test_a_deadline_without_an_open_row_is_not_shown() -> None:
    """A deadline outside its stages ends without an effect."""
    delivered = Purchase().delivered().state
    stray = replace(delivered, deadlines={**delivered.deadlines, DeadlineName.CLAIM: NOON})
    assert on_expiry(stray, DeadlineName.CLAIM) is None
    assert [deadline.name for deadline in deadlines(stray)] == ["review"]


def test_asking_the_provider_is_nobodys_deadline() -> None:
    """The refund's own clock is shown; our asking is not."""
    assert [deadline.name for deadline in deadlines(refund_under_way().state)] == ["settlement"]


def test_without_clocks_there_is_no_next_deadline() -> None:
    """A dispute that is overdue waits for a person."""
    purchase = Purchase().disputed()
    purchase.deadline(DeadlineName.DISPUTE)
    assert next_deadline(purchase.state) is None


# --- waiting_for


@pytest.mark.parametrize(
    ("stage", "who"),
    [
        (Stage.AWAITING_REQUIREMENTS, "client"),
        (Stage.FREELANCER_REVIEW, "freelancer"),
        (Stage.IN_PROGRESS, "freelancer"),
        (Stage.DELIVERED, "client"),
        (Stage.REFUND_REQUESTED, "freelancer"),
        (Stage.CONTESTED, "client"),
        (Stage.DISPUTED, "mediator"),
    ],
)
def test_the_queries_by_stage_find_who_acts_next(stage: Stage, who: str) -> None:
    """waiting_for, stage by stage."""
    assert waiting_for(purchase_in(stage).state) == who


def test_whose_turn_it_is_when_the_money_is_on_its_way() -> None:
    """The provider's, until it is late; then a person's; in the end nobody's."""
    purchase = refund_under_way()
    assert waiting_for(purchase.state) == "payments"
    purchase.deadline(DeadlineName.SETTLEMENT)
    assert waiting_for(purchase.state) == "operator"
    done = Purchase().delivered()
    done.client("accept_delivery")
    done.posted()
    assert waiting_for(done.state) == "nobody"


def test_an_overdue_dispute_still_waits_for_the_mediator() -> None:
    """Nobody else can decide it."""
    purchase = Purchase().disputed()
    purchase.deadline(DeadlineName.DISPUTE)
    assert waiting_for(purchase.state) == "mediator"


def test_an_overdue_answer_waits_for_the_mediator() -> None:
    """refund_decision_silence: attention → the mediator may decide now, and nobody else has to."""
    purchase = Purchase(refund_decision_silence="attention").requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    assert waiting_for(purchase.state) == "mediator"


def test_a_person_is_waited_for_when_one_is_needed() -> None:
    """needs_attention comes before the stage: here the payment is unknown."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.learns(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    assert waiting_for(purchase.state) == "operator"


# --- reminders


def reminders(purchase: Purchase) -> list[tuple[datetime, tuple[DeadlineName, ...]]]:
    """All reminders that are still to come, if nobody acts."""
    found, after = [], purchase.now
    while upcoming := next_reminder(purchase.state, after):
        found.append(upcoming)
        after = upcoming[0]
    return found


def test_the_reminders_of_each_window() -> None:
    """requirements 24 h and 4 h, freelancer window 6 h, refund decision 4 d, 1 d and 4 h,
    claim 1 d, review 2 d before the end."""
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


def test_reminders_follow_the_clocks() -> None:
    """What was answered reminds nobody; two deadlines that are near at once are said at once."""
    purchase = Purchase(refund_decision_window="PT48H")
    purchase.client("cancel")
    first, deadlines = reminders(purchase)[0]
    assert (first, set(deadlines)) == (
        NOON + DAY,
        {DeadlineName.REQUIREMENTS, DeadlineName.REFUND_DECISION},
    )
    purchase.freelancer("give_refund")
    assert reminders(purchase) == []


def test_the_policy_may_remind_of_nothing() -> None:
    """reminders are the policy's."""
    assert reminders(Purchase(reminders={"requirements": []})) == []


def test_every_deadline_with_reminders_has_a_recipient_and_words() -> None:
    """Exactly those for which the policy has offsets."""
    state = Purchase().state
    rules = [rule for rule in rules_of(state).deadlines if rule.reminds]
    assert {rule.name.value for rule in rules} == set(Reminders.model_fields)
    for rule in rules:
        assert reminder(state, rule.name).recipients == (rule.reminds,)
        assert reminder(state, rule.name).text is rule.reminder
