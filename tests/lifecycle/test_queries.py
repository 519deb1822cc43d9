"""What can be read from a state: permissions, allowed messages, deadlines, whose turn it is, and
what lists assume."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.lifecycle.builders import NOON, Purchase, pending_refund, purchase_in
from workflows.lifecycle import (
    allowed_messages,
    deadlines,
    decide,
    main_deadline,
    newest_rules,
    next_deadline,
    on_expiry,
    permissions,
    rejection_notice,
    rules_of,
    usual_rows,
    waiting_for,
)
from workflows.lifecycle.events import EffectBlocked, Rejection, VoidPayment
from workflows.lifecycle.formatting import label_text
from workflows.lifecycle.queries import samples
from workflows.lifecycle.state import DeadlineName, Stage
from workflows.messages import MESSAGES, Permission, Role
from workflows.view import DEADLINE, ListedNow, listed, search_attributes

DAY = timedelta(days=1)


def permission(purchase: Purchase, role: Role, name: str) -> Permission:
    """The permission of that role for that message."""
    found = {each.message: each for each in permissions(purchase.state, role, purchase.now)}
    assert list(found) == list(MESSAGES)
    return found[name]


def permitted(purchase: Purchase, role: Role) -> set[str]:
    """The names of the messages that the role may send."""
    return {a.message for a in permissions(purchase.state, role, purchase.now) if a.allowed}


# --- permissions

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
def test_the_permissions_of_each_role_in_each_stage(
    stage: Stage, client: set[str], freelancer: set[str], mediator: set[str]
) -> None:
    """R-10, R-14, R-15, R-16, R-20, R-22, R-23, R-24, R-30, R-32, R-41, R-46, R-47, R-48, R-49: who
    may send what when no offer is open and no person is needed."""
    purchase = purchase_in(stage)
    assert permitted(purchase, Role.CLIENT) == client | TALK
    assert permitted(purchase, Role.FREELANCER) == freelancer | TALK
    assert permitted(purchase, Role.MEDIATOR) == mediator
    assert permitted(purchase, Role.OPERATOR) == {"check_payment"}
    assert permitted(purchase, Role.PAYMENTS) == {"check_payment"}


def allowed(purchase: Purchase, role: Role) -> list[tuple[str, str]]:
    """What a notice or the card offers to that role: message and choice, in order."""
    found = allowed_messages(purchase.state, role, purchase.now)
    return [(each.message, each.row.cause.choice) for each in found]


def test_each_open_choice_of_a_message_is_offered_separately() -> None:
    """R-20, R-21, R-73, R-74: after a decline a refund can still be approved; only a refund that
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
    blocked.fact(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    look = ("check_payment", "")
    assert allowed(blocked, Role.OPERATOR) == [("resolve_attention", "retry"), look]
    late = pending_refund()
    late.deadline(DeadlineName.SETTLEMENT)
    assert allowed(late, Role.OPERATOR) == [
        ("resolve_attention", "retry"),
        ("resolve_attention", "mark_settled"),
        look,
    ]


def test_the_provider_may_report_on_a_refund() -> None:
    """R-54, R-56: whether a report is possible depends on the refund that it names."""
    purchase = pending_refund()
    offered = allowed_messages(purchase.state, Role.PAYMENTS, purchase.now)
    assert [(each.message, each.fields.get("status")) for each in offered] == [
        ("settlement_update", "settled"),
        ("settlement_update", "failed"),
        ("settlement_update", "sent"),
        ("check_payment", None),
    ]


def test_messages_with_the_same_result_are_offered_once() -> None:
    """R-20, R-30, R-46: all three give everything back; the first that is open is offered."""
    early = Purchase().reviewed()
    early.client("cancel")
    names = [name for name, _ in allowed(early, Role.FREELANCER)]
    assert names.count("decide_refund") == 2
    assert {"cancel", "give_refund"} & set(names) == set()


def test_the_message_after_one_that_is_offered_already_is_offered() -> None:
    """R-30, R-46, R-47, R-49: give_refund gives the same as cancel; what follows does not."""
    names = [name for name, _ in allowed(Purchase().reviewed(), Role.FREELANCER)]
    assert names == ["deliver", "cancel", "propose_split", "send_message"]


def test_a_message_is_offered_with_its_label_and_with_a_hint_for_staff() -> None:
    """R-41, R-48: what the card and the notices show of a form."""
    purchase = Purchase().disputed()
    (decide_it,) = allowed_messages(purchase.state, Role.MEDIATOR, purchase.now)
    assert decide_it.label == "As a mediator, decide who gets what"
    assert decide_it.hint.startswith("`refund` is what the client gets, in minor units")
    *_, write = allowed_messages(purchase.state, Role.CLIENT, purchase.now)
    assert (write.label, write.hint) == ("Write to {freelancer}", "")


def test_the_messages_of_the_stage_are_offered_before_those_of_any_time() -> None:
    """R-15, R-16, R-45 come before R-32, R-47, R-48."""
    purchase = Purchase().delivered()
    purchase.freelancer("propose_split", refund=15_000)
    names = [name for name, _ in allowed(purchase, Role.CLIENT)]
    assert names == [
        "accept_delivery",
        "request_changes",
        "accept_split",
        "cancel",
        "propose_split",
        "send_message",
    ]


def test_an_amount_to_choose_is_a_placeholder_and_an_offered_amount_is_shown() -> None:
    """R-45, R-47: propose_split shows AMOUNT, accept_split the amount of the offer."""
    purchase = Purchase().working()
    purchase.freelancer("propose_split", refund=15_000)
    found = allowed_messages(purchase.state, Role.CLIENT, purchase.now)
    fields = {each.message: each.fields for each in found}
    assert fields["accept_split"] == {"refund": 15_000}
    assert fields["propose_split"] == {"refund": "AMOUNT"}


def test_the_sender_is_notified_of_a_rejection() -> None:
    """R-15: the notice has the message's name, the code and the exact sentence."""
    answer = Purchase().client("accept_delivery")
    assert isinstance(answer, Rejection)
    notice = rejection_notice("accept_delivery", answer, "client")
    assert notice.recipients == ("client",)
    assert (notice.values["code"], notice.values["answer"]) == (answer.code, answer.text)


def test_an_offer_can_be_accepted_by_the_other_party_only() -> None:
    """R-45: for the party that made the offer, the permission has the code WRONG_ROLE."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=15_000)
    assert "accept_split" in permitted(purchase, Role.FREELANCER)
    own = permission(purchase, Role.CLIENT, "accept_split")
    assert (own.allowed, own.code) == (False, "WRONG_ROLE")


def test_a_permission_says_until_when_it_lasts() -> None:
    """R-10, R-30, R-46: cancel and submit_requirements end with their windows, give_refund does not
    end."""
    purchase = Purchase().reviewed()
    assert permission(purchase, Role.FREELANCER, "cancel").until == NOON + DAY
    assert permission(purchase, Role.FREELANCER, "give_refund").until is None
    requirements = permission(Purchase(), Role.CLIENT, "submit_requirements")
    assert requirements.until == NOON + timedelta(hours=48)


def test_a_permission_lasts_until_the_first_deadline_that_ends_it() -> None:
    """R-11, R-20, R-35: a request before the requirements ends with the requirements window, before
    its own seven days."""
    purchase = Purchase()
    purchase.client("cancel")
    assert permission(purchase, Role.FREELANCER, "decide_refund").until == NOON + timedelta(
        hours=48
    )
    purchase = Purchase().requested()
    ends = purchase.now + 7 * DAY
    assert permission(purchase, Role.FREELANCER, "decide_refund").until == ends


def test_a_permission_that_is_not_given_says_why() -> None:
    """R-14, R-30: code and sentence are those of the rejection."""
    late = permission(Purchase().working(), Role.FREELANCER, "cancel")
    assert (late.allowed, late.code, late.until) == (False, "WINDOW_CLOSED", None)
    assert late.why_not
    assert "give_refund" in late.why_not
    foreign = permission(Purchase(), Role.CLIENT, "deliver")
    assert (foreign.code, foreign.why_not) == (
        "WRONG_ROLE",
        "deliver is for the freelancer, not for the client.",
    )


def test_operators_may_act_when_a_person_is_needed() -> None:
    """R-61, R-73: resolve_attention is permitted from the moment that the refund is late."""
    purchase = pending_refund()
    assert permitted(purchase, Role.PAYMENTS) == {"settlement_update", "check_payment"}
    purchase.deadline(DeadlineName.SETTLEMENT)
    assert permitted(purchase, Role.OPERATOR) == {"resolve_attention", "check_payment"}


def test_nobody_may_send_anything_to_a_closed_purchase() -> None:
    """R-52: every permission of every role says CLOSED or WRONG_ROLE."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.posted()
    for role in Role:
        assert permitted(purchase, role) == set()
        why = {each.code for each in permissions(purchase.state, role, purchase.now)}
        assert why <= {"CLOSED", "WRONG_ROLE"}


def test_permissions_change_nothing() -> None:
    """The permissions are found by running `decide` on samples; the state stays the same."""
    purchase = Purchase().disputed()
    before = purchase.state
    for role in Role:
        permissions(before, role, purchase.now)
    assert purchase.state == before


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("role", Role)
def test_each_sample_has_the_name_and_role_that_was_asked_for(name: str, role: Role) -> None:
    """Permissions are found with messages that somebody in that role could send."""
    purchase = Purchase().working()
    for message in samples(purchase.state, name, role):
        assert (message.name, message.by.role) == (name, role)
        answer = decide(purchase.state, message, purchase.now)
        assert not isinstance(answer, Rejection) or answer.code.value != "NOT_A_PARTY"


# --- deadlines


def test_deadlines_are_listed_in_order_with_what_happens_on_expiry() -> None:
    """R-06, R-11, R-35: all open deadlines, the next one first."""
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
    ("choice", "then"),
    [
        ("refund", "all of the money goes back to the client"),
        ("resume", "the request lapses and the project goes on"),
        ("attention", "our staff looks into it"),
    ],
)
def test_a_deadline_says_what_happens_on_expiry_under_the_purchases_policy(
    choice: str, then: str
) -> None:
    """R-35, R-36, R-37: each value of refund_decision_silence has its own text."""
    purchase = Purchase(refund_decision_silence=choice).requested()
    assert [deadline.then for deadline in deadlines(purchase.state)] == [then]


def test_a_deadline_outside_its_stages_is_not_listed() -> None:
    """R-38: a claim window in a delivered purchase has no row that could apply."""
    delivered = Purchase().delivered().state
    stray = replace(delivered, deadlines={**delivered.deadlines, DeadlineName.CLAIM: NOON})
    assert on_expiry(stray, DeadlineName.CLAIM) is None
    assert [deadline.name for deadline in deadlines(stray)] == ["review"]


def test_the_daily_check_of_a_refund_is_not_a_deadline() -> None:
    """R-61: only the settlement window is listed while a refund is pending."""
    assert [deadline.name for deadline in deadlines(pending_refund().state)] == ["settlement"]


def test_an_overdue_dispute_has_no_next_deadline() -> None:
    """R-42: an overdue dispute waits for a person."""
    purchase = Purchase().disputed()
    purchase.deadline(DeadlineName.DISPUTE)
    assert next_deadline(purchase.state) is None


@pytest.mark.parametrize(
    ("deadline", "label"),
    [
        (DeadlineName.REQUIREMENTS, "The client's requirements are due"),
        (DeadlineName.REFUND_DECISION, "The freelancer's answer to the refund request is due"),
        (DeadlineName.DORMANCY, "The next message or delivery is due"),
    ],
)
def test_what_is_due_is_said_by_role(deadline: DeadlineName, label: str) -> None:
    """R-11, R-18, R-35: the timer in Temporal says what is due, without the names of people."""
    state = Purchase().state
    assert label_text(state, rules_of(state).deadline(deadline)) == label


def test_an_amount_in_a_label_has_its_currency() -> None:
    """R-11: a label may name amounts, like every text."""
    state = Purchase().state
    rule = replace(rules_of(state).deadline(DeadlineName.REQUIREMENTS), label="{escrow} is due")
    assert label_text(state, rule) == "250.00 USD is due"


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
def test_whose_turn_it_is_in_each_stage(stage: Stage, who: str) -> None:
    """R-11, R-12, R-17, R-18, R-35, R-38, R-42: waiting_for follows from the deadline that governs
    the stage."""
    assert waiting_for(purchase_in(stage).state) == who


def test_whose_turn_it_is_while_settling_and_after() -> None:
    """R-52, R-53, R-61: the provider's; when the refund is late, an operator's; when it is closed,
    nobody's."""
    purchase = pending_refund()
    assert waiting_for(purchase.state) == "payments"
    purchase.deadline(DeadlineName.SETTLEMENT)
    assert waiting_for(purchase.state) == "operator"
    done = Purchase().delivered()
    done.client("accept_delivery")
    done.posted()
    assert waiting_for(done.state) == "nobody"


def test_an_overdue_dispute_still_waits_for_the_mediator() -> None:
    """R-42: only a mediator can decide it."""
    purchase = Purchase().disputed()
    purchase.deadline(DeadlineName.DISPUTE)
    assert waiting_for(purchase.state) == "mediator"


def test_an_overdue_refund_request_waits_for_the_mediator() -> None:
    """R-37: under refund_decision_silence: attention, a mediator may decide now."""
    purchase = Purchase(refund_decision_silence="attention").requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    assert waiting_for(purchase.state) == "mediator"


def test_a_purchase_that_needs_a_person_waits_for_the_operator() -> None:
    """R-70: a needed person comes before the stage; here the payment is unknown."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    assert waiting_for(purchase.state) == "operator"


# --- lists


@pytest.mark.parametrize(
    ("stage", "rows"),
    [
        (Stage.AWAITING_REQUIREMENTS, ("R-11",)),
        (Stage.FREELANCER_REVIEW, ("R-12", "R-13")),
        (Stage.IN_PROGRESS, ("R-18",)),
        (Stage.DELIVERED, ("R-17",)),
        (Stage.REFUND_REQUESTED, ("R-35",)),
        (Stage.CONTESTED, ("R-38",)),
        (Stage.DISPUTED, ("R-42",)),
        (Stage.SETTLING, ("R-64", "R-61")),
        (Stage.CLOSED, ()),
    ],
)
def test_a_list_knows_the_usual_end_of_the_deadline_of_a_stage(
    stage: Stage, rows: tuple[str, ...]
) -> None:
    """As the first version and the default policy have it; all of them read alike in lists."""
    assert usual_rows(stage) == rows
    assert usual_rows("") == ()
    assert len({newest_rules().row(each).text.listed_expiry for each in rows}) <= 1


def test_a_purchase_says_which_row_is_next_where_lists_would_be_wrong() -> None:
    """R-06, R-36: of a payment that takes long, and by another choice of the policy."""
    unpaid = Purchase(held=False)
    assert listed(unpaid.state, NOON) == ListedNow()
    assert listed(unpaid.state, NOON + timedelta(minutes=30)).row == "R-06"
    resumes = Purchase(requirements_window="P30D", refund_decision_silence="resume")
    resumes.client("cancel")
    assert listed(resumes.state, NOON).row == "R-36"


def test_lists_show_the_deadline_that_governs_the_stage() -> None:
    """The answer to the claim, not the freelancer's cancel window, which ends before."""
    early = Purchase()
    assert listed(early.state, NOON) == ListedNow()
    early.reviewed().client("cancel")
    assert listed(early.state, NOON).deadline == early.state.deadlines[DeadlineName.REFUND_DECISION]
    early.freelancer("decide_refund", decision="decline")
    early.calendar(DeadlineName.CLAIM)
    found = listed(early.state, NOON)
    assert found.deadline == early.state.deadlines[DeadlineName.CLAIM]
    earliest = early.state.deadlines[DeadlineName.FREELANCER_CANCEL]
    assert search_attributes(early.state, NOON)[DEADLINE] == earliest
    assert found.row is None
    assert listed(replace(early.state, deadlines={}), NOON) == ListedNow()


def test_an_earlier_deadline_that_decides_who_gets_the_money_comes_first() -> None:
    """R-11: without requirements all is refunded, also while a mediator has 30 days."""
    purchase = Purchase()
    purchase.client("cancel")
    purchase.freelancer("decide_refund", decision="decline")
    purchase.client("open_dispute", reason="Nothing was made.")
    assert purchase.state.stage is Stage.DISPUTED
    assert listed(purchase.state, NOON) == ListedNow(row="R-11")
    found = [each.name for each in deadlines(purchase.state)]
    assert main_deadline("disputed", found) == found[0] == DeadlineName.REQUIREMENTS


def test_lists_know_of_an_offer() -> None:
    purchase = Purchase()
    purchase.freelancer("propose_split", refund=10_000)
    assert listed(purchase.state, NOON).offer is Role.FREELANCER
