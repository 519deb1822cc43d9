"""What a page shows: buttons, deadlines, whose turn it is, and when to remind whom."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.lifecycle.given import NOON, Purchase, purchase_in, refund_under_way
from workflows.lifecycle import (
    actions,
    deadlines,
    decide,
    next_deadline,
    next_reminder,
    rejection,
    reminder,
    steps,
    then,
    waiting_for,
)
from workflows.lifecycle.queries import REMINDED, samples
from workflows.lifecycle.state import DeadlineName, EffectBlocked, Rejection, Stage, VoidPayment
from workflows.messages import MESSAGES, Action, Role
from workflows.policy import Reminders

DAY = timedelta(days=1)


def button(purchase: Purchase, role: Role, name: str) -> Action:
    """The button of that name on the role's page."""
    found = {action.message: action for action in actions(purchase.state, role, purchase.now)}
    assert list(found) == list(MESSAGES)
    return found[name]


def enabled(purchase: Purchase, role: Role) -> set[str]:
    """The names of the buttons that can be pressed."""
    return {a.message for a in actions(purchase.state, role, purchase.now) if a.allowed}


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


def test_of_a_messages_choices_only_the_open_ones_are_steps() -> None:
    """Declined once, a refund can still be approved; only a refund in doubt is marked settled."""
    asked, contested = Purchase().requested(), Purchase().contested()
    both = {"decide_refund approve", "decide_refund decline"}
    assert both <= set(steps(asked.state, Role.FREELANCER, asked.now))
    assert both & set(steps(contested.state, Role.FREELANCER, contested.now)) == {
        "decide_refund approve"
    }
    blocked = Purchase(held=False)
    blocked.deadline(DeadlineName.PAYMENT)
    blocked.learns(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    assert steps(blocked.state, Role.OPERATOR, blocked.now) == ("resolve_attention retry",)
    late = refund_under_way()
    late.deadline(DeadlineName.SETTLEMENT)
    assert steps(late.state, Role.OPERATOR, late.now) == (
        "resolve_attention retry",
        "resolve_attention mark_settled",
    )


def test_a_refusal_is_told_to_its_sender() -> None:
    """With the message's name, the code and the exact sentence."""
    answer = Purchase().client("accept_delivery")
    assert isinstance(answer, Rejection)
    told = rejection("accept_delivery", answer, "client")
    assert (told.recipients, told.rejected) == (("client",), ("accept_delivery", answer.code))
    assert told.rule == answer.text


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
        why = {action.code for action in actions(purchase.state, role, purchase.now)}
        assert why <= {"CLOSED", "WRONG_ROLE"}


def test_asking_changes_nothing() -> None:
    """The buttons are found by asking the rules themselves, on a copy."""
    purchase = Purchase().disputed()
    before = purchase.state
    for role in Role:
        actions(before, role, purchase.now)
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
        ("payment", "the payment is called off"),
        ("requirements", "the project is cancelled and the client gets a full refund"),
        ("refund_decision", "the client gets a full refund"),
    ]
    first = next_deadline(purchase.state)
    assert first
    assert (first.name, first.at) == ("payment", NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("silence", "then"),
    [
        ("refund", "the client gets a full refund"),
        ("resume", "the request lapses and the project goes on"),
        ("attention", "our staff looks into it"),
    ],
)
def test_a_deadline_says_what_silence_does_under_this_policy(silence: str, then: str) -> None:
    """refund_decision_silence: the parties are told what theirs does."""
    purchase = Purchase(refund_decision_silence=silence).requested()
    assert [deadline.then for deadline in deadlines(purchase.state)] == [then]


def test_a_timer_says_what_happens_when_it_fires() -> None:
    """As the deadline it stands for; a clock that no row speaks of does nothing."""
    purchase = refund_under_way()
    assert then(purchase.state, DeadlineName.SETTLEMENT) == (
        "our staff looks into it and the provider is asked again"
    )
    delivered = Purchase().delivered().state
    stray = replace(delivered, deadlines={**delivered.deadlines, DeadlineName.CLAIM: NOON})
    assert then(stray, DeadlineName.REVIEW) == "the escrow is released to the freelancer"
    assert then(stray, DeadlineName.CLAIM) == "nothing"
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


def test_whoever_has_to_act_is_reminded() -> None:
    """Every deadline with reminders has a reader."""
    assert {deadline.value for deadline in REMINDED} == set(Reminders.model_fields)
    for deadline, reader in REMINDED.items():
        assert reminder(deadline).recipients == (reader,)
