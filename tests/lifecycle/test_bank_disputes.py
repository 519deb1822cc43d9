"""The client's bank takes the payment back, and gives it back or keeps it."""

import pytest

from tests.lifecycle.builders import ESCROW, Purchase, any_undecided_stage, purchase_in, rejected
from workflows.lifecycle import deadlines, is_pending, permissions, waiting_for
from workflows.lifecycle.events import (
    BankDisputeReported,
    CheckPayment,
    DecisionPosted,
    PlatformCancelled,
    PostDecision,
    PostProviderMove,
    PostSettlement,
    ProviderMovePosted,
    RefundedElsewhere,
    RefundReported,
    SendRefund,
)
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, Stage
from workflows.messages import Role

DISPUTE = "dp_1"
EVERYBODY = {"client", "freelancer", "operator"}


def opened(purchase: Purchase, amount: int = ESCROW) -> Purchase:
    """The bank takes the payment back for now."""
    purchase.fact(BankDisputeReported(DISPUTE, "opened", amount, "fraudulent"))
    return purchase


def reported(purchase: Purchase, status: str, amount: int = ESCROW) -> Purchase:
    """The provider reports on the dispute."""
    purchase.fact(BankDisputeReported(DISPUTE, status, amount))  # type: ignore[arg-type]
    return purchase


def posted(purchase: Purchase) -> Purchase:
    """The ledger has everything that moved at the provider."""
    for number, move in enumerate(purchase.state.moves):
        if not move.posted:
            purchase.fact(ProviderMovePosted(number))
    return purchase


def recipients(purchase: Purchase) -> set[str]:
    """Who is notified of the last event."""
    return {role for notice in purchase.notices for role in notice.recipients}


@any_undecided_stage
def test_an_opened_dispute_freezes_the_purchase(stage: Stage) -> None:
    """R-82: deadlines are suspended, the bank has the money, and everybody is notified."""
    purchase = purchase_in(stage)
    open_before = dict(purchase.state.deadlines)
    opened(purchase)
    assert purchase.state.stage is stage
    assert not purchase.state.deadlines
    assert set(purchase.state.suspended) >= set(open_before)
    assert (purchase.state.held, purchase.state.charged_back) == (0, ESCROW)
    assert purchase.last.effects == (PostProviderMove(0),)
    assert recipients(purchase) == EVERYBODY
    assert waiting_for(purchase.state) == ("mediator" if stage is Stage.DISPUTED else "operator")


@any_undecided_stage
def test_a_dispute_that_is_won_changes_nothing_but_time(stage: Stage) -> None:
    """R-83: the purchase goes on where it was, deadlines with the time they had left."""
    purchase = purchase_in(stage).after(hours=3)
    before = purchase.state
    reported(opened(purchase).after(days=20), "won")
    assert purchase.state.stage is stage
    assert (purchase.state.held, purchase.state.charged_back) == (ESCROW, 0)
    later = {name: at - before.deadlines[name] for name, at in purchase.state.deadlines.items()}
    assert {left.days for left in later.values()} == ({20} if later else set())
    assert later.keys() == before.deadlines.keys()
    assert not purchase.state.attention
    assert recipients(purchase) == EVERYBODY


@any_undecided_stage
def test_a_dispute_that_is_lost_ends_the_purchase(stage: Stage) -> None:
    """R-84, R-96: all of the escrow is charged back; nothing is left to decide."""
    purchase = posted(reported(opened(purchase_in(stage)), "lost"))
    state = purchase.state
    assert (state.stage, state.outcome) == (Stage.CLOSED, "charged_back")
    assert state.reason == "bank_dispute_lost"
    assert (state.charged_back, state.refunded, state.released) == (ESCROW, 0, 0)


@any_undecided_stage
def test_a_mediator_decides_on_what_the_bank_leaves(stage: Stage) -> None:
    """R-85: a part is charged back, the rest is disputed; R-41: the mediator divides the rest."""
    purchase = posted(reported(opened(purchase_in(stage), 10_000), "lost", 10_000))
    assert purchase.state.stage is Stage.DISPUTED
    assert purchase.state.held == 15_000
    answer = purchase.send(Role.MEDIATOR, "resolve_dispute", refund=15_001)
    rejected(answer, Code.INVALID_AMOUNT, "150.00 USD")
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=5_000)
    assert PostDecision(5_000, 10_000) in purchase.last.effects


@pytest.mark.parametrize(
    ("stage", "role", "name", "fields"),
    [
        (Stage.DELIVERED, "client", "accept_delivery", {}),
        (Stage.REFUND_REQUESTED, "freelancer", "decide_refund", {"decision": "approve"}),
        (Stage.CONTESTED, "client", "accept_claim", {}),
        (Stage.FREELANCER_REVIEW, "freelancer", "cancel", {}),
        (Stage.DISPUTED, "mediator", "resolve_dispute", {"refund": 1}),
        (Stage.IN_PROGRESS, "freelancer", "give_refund", {}),
    ],
)
def test_nothing_is_paid_while_the_bank_has_the_money(
    stage: Stage, role: str, name: str, fields: dict[str, object]
) -> None:
    """R-15, R-20, R-22, R-30, R-41, R-46: rejected as FROZEN, and no page offers it."""
    purchase = opened(purchase_in(stage))
    rejected(purchase.send(Role(role), name, **fields), Code.FROZEN, "bank")
    answers = {p.message: p for p in permissions(purchase.state, Role(role), purchase.now)}
    if name != "decide_refund":  # declining moves nothing
        assert not answers[name].allowed
        assert answers[name].code == "FROZEN"


def test_a_split_can_be_offered_and_not_accepted_while_frozen() -> None:
    """R-45, R-47, R-48: the parties may talk and offer; nothing is paid."""
    purchase = opened(purchase_in(Stage.IN_PROGRESS))
    purchase.client("send_message", text="sorry")
    purchase.client("propose_split", refund=10_000)
    assert purchase.state.offer
    rejected(purchase.freelancer("accept_split", refund=10_000), Code.FROZEN)
    purchase.freelancer("deliver")
    assert purchase.state.stage is Stage.DELIVERED
    assert not deadlines(purchase.state)


def test_work_that_goes_on_while_frozen_starts_its_deadlines_afterwards() -> None:
    """R-14, R-82, R-83: a delivery while frozen gives the client the whole review window later."""
    purchase = opened(purchase_in(Stage.IN_PROGRESS))
    purchase.freelancer("deliver")
    reported(purchase.after(days=9), "won")
    left = purchase.state.deadlines[DeadlineName.REVIEW] - purchase.now
    assert left == purchase.state.terms.policy.review_window


def test_requirements_that_came_while_frozen_are_not_due_afterwards() -> None:
    """R-10, R-11, R-83: only the freelancer's window goes on, as long as it would have been."""
    purchase = opened(purchase_in(Stage.AWAITING_REQUIREMENTS).after(hours=1))
    purchase.client("submit_requirements", requirements="a logo")
    reported(purchase.after(days=9), "won")
    window = purchase.state.terms.policy.freelancer_cancel_window
    assert purchase.state.deadlines == {DeadlineName.FREELANCER_CANCEL: purchase.now + window}


def test_a_delivery_while_frozen_ends_the_freelancers_window_to_cancel() -> None:
    """R-14, R-30, R-83: as a delivery does at any time."""
    purchase = opened(purchase_in(Stage.FREELANCER_REVIEW).after(hours=1))
    purchase.freelancer("deliver")
    reported(purchase.after(days=9), "won")
    assert set(purchase.state.deadlines) == {DeadlineName.REVIEW}
    rejected(purchase.freelancer("cancel"), Code.WINDOW_CLOSED)


def test_a_refund_that_the_bank_kept_is_not_due() -> None:
    """R-84: its decision was not posted, so no refund is late while the moves are being posted."""
    for was_frozen in (False, True):
        purchase = Purchase().working()
        purchase.freelancer("give_refund")
        purchase.calendar(DeadlineName.SETTLEMENT)
        reported(opened(purchase) if was_frozen else purchase, "lost")
        assert purchase.state.stage is Stage.SETTLING
        assert not purchase.state.deadlines


def test_a_decision_of_the_platform_waits_for_the_bank() -> None:
    """R-50, R-83: decided while frozen, carried out when the bank gives the money back."""
    purchase = opened(purchase_in(Stage.IN_PROGRESS))
    purchase.fact(PlatformCancelled())
    assert PostDecision(ESCROW, 0) not in purchase.last.effects
    reported(purchase, "won")
    assert PostDecision(ESCROW, 0) in purchase.last.effects


def test_a_decision_of_the_platform_ends_with_the_money() -> None:
    """R-50, R-84: nothing is paid on top of what the bank keeps."""
    purchase = opened(purchase_in(Stage.IN_PROGRESS))
    purchase.fact(PlatformCancelled())
    posted(reported(purchase, "lost"))
    assert purchase.state.outcome == "charged_back"
    assert purchase.state.decision is None


def refund_unsent() -> Purchase:
    """The refund is posted, and the provider has not been asked yet."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    return purchase.posted()


def test_a_refund_that_is_not_sent_is_kept_back() -> None:
    """R-82, R-83: while a refund is not sent, a dispute stops it; a won one lets it go on."""
    purchase = opened(refund_unsent())
    assert (purchase.state.in_transit, purchase.state.charged_back) == (0, ESCROW)
    assert [move.account for move in purchase.state.moves] == ["in_transit"]
    reported(posted(purchase), "won")
    assert SendRefund(1) in purchase.last.effects


def test_a_refund_that_is_not_sent_ends_with_a_lost_dispute() -> None:
    """R-84, R-96: the client has the money by the bank."""
    purchase = posted(reported(opened(refund_unsent()), "lost"))
    assert purchase.state.outcome == "charged_back"
    assert purchase.state.in_transit == 0


def test_a_refund_of_which_nothing_is_left_is_not_sent() -> None:
    """R-84: the dispute was opened and lost unseen, while the provider could not be asked for the
    refund. A request that is still being retried ends; it would give the money a second time."""
    purchase = reported(refund_unsent(), "lost")
    assert not is_pending(purchase.state, SendRefund(1))
    state = posted(purchase).state
    assert (state.outcome, state.reason) == ("charged_back", "bank_dispute_lost")


def test_a_refund_that_the_bank_has_kept_is_not_settled_on_top() -> None:
    """R-54, R-84: there is nothing in transit that a settlement could be posted from."""
    purchase = reported(refund_unsent(), "lost")
    purchase.fact(RefundReported(1, "settled", "re_1"))
    assert purchase.last.effects == (PostSettlement("re_1", purchase.now),)
    assert not is_pending(purchase.state, PostSettlement("re_1", purchase.now))


def test_a_refund_shrinks_by_what_the_bank_keeps() -> None:
    """R-86: the client gets the rest of the refund, and no more."""
    purchase = posted(reported(opened(refund_unsent(), 10_000), "lost", 10_000))
    assert SendRefund(1) in purchase.last.effects or purchase.state.in_transit == 15_000
    assert purchase.state.refund_amount == 15_000


def test_a_decision_is_not_posted_while_the_bank_has_the_money() -> None:
    """R-82: decided, not yet posted, and then disputed."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    opened(purchase)
    assert not is_pending(purchase.state, PostDecision(ESCROW, 0))
    before = purchase.state
    purchase.fact(DecisionPosted())
    assert purchase.state == before


def test_a_dispute_about_a_refund_that_was_sent_alerts_staff() -> None:
    """R-87: nothing more is paid; staff get the evidence, and a lost dispute is a loss."""
    purchase = refund_unsent()
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    opened(purchase)
    assert recipients(purchase) == {"operator"}
    assert "arn_7" in purchase.state.attention[0].text
    assert not purchase.state.frozen
    reported(purchase, "lost")
    assert [(m.kind, m.account, m.amount) for m in purchase.state.moves] == [
        ("bank_dispute_loss", "platform_losses", ESCROW)
    ]
    assert purchase.state.in_transit == ESCROW


@pytest.mark.parametrize(
    ("bears", "posted"),
    [
        ("platform", [("platform_losses", 25_000)]),
        ("freelancer", [("platform_losses", 10_000), ("freelancer_receivable", 15_000)]),
    ],
)
def test_the_policy_says_who_bears_what_was_released(
    bears: str, posted: list[tuple[str, int]]
) -> None:
    """R-79, R-87: `chargeback_after_release`; each account once, because the ledger's key is made
    of kind, account and dispute. A freelancer who owes is notified."""
    purchase = Purchase(chargeback_after_release=bears).disputed()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=10_000)
    purchase.posted().fact(RefundReported(1, "sent", "arn_7"))
    reported(opened(purchase), "lost")
    assert [(m.account, m.amount) for m in purchase.state.moves] == posted
    owes = {"freelancer"} if bears == "freelancer" else set()
    assert recipients(purchase) == {"operator"} | owes


def test_a_freelancer_owes_all_that_was_released_if_the_bank_kept_the_refund() -> None:
    """R-84: the refund was never sent, so nobody has paid it twice; the platform bears nothing."""
    purchase = Purchase(chargeback_after_release="freelancer").disputed()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=10_000)
    reported(opened(purchase.posted()), "lost")
    assert [(m.kind, m.account, m.amount) for m in purchase.state.moves] == [
        ("bank_dispute_opened", "in_transit", 10_000),
        ("bank_dispute_lost", "in_transit", 10_000),
        ("bank_dispute_loss", "freelancer_receivable", 15_000),
    ]


def test_a_dispute_about_a_sent_refund_that_ends_well_needs_nobody() -> None:
    """R-88: the alert is cleared."""
    purchase = refund_unsent()
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    reported(opened(purchase), "won")
    assert not purchase.state.attention


def test_an_open_dispute_needs_staff_also_if_another_one_has_ended() -> None:
    """R-87, R-88: the alert is about the one that the bank has not decided."""
    purchase = refund_unsent()
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    reported(opened(purchase), "opened")
    (alert,) = purchase.state.attention
    purchase.fact(BankDisputeReported("dp_2", "won", 1_000))
    assert purchase.state.attention == (alert,)


def test_an_inquiry_stops_nothing() -> None:
    """R-81: operators are notified; deadlines go on."""
    purchase = purchase_in(Stage.IN_PROGRESS)
    before = purchase.state.deadlines
    reported(purchase, "inquiry")
    assert purchase.state.deadlines == before
    assert recipients(purchase) == {"operator"}
    opened(purchase)
    assert purchase.state.frozen


def test_a_dispute_never_becomes_an_inquiry_again() -> None:
    """R-81: what the bank has taken stays taken, also if an older answer comes later."""
    purchase = opened(purchase_in(Stage.IN_PROGRESS))
    before = purchase.state
    reported(purchase, "inquiry")
    assert purchase.state == before


def test_a_repeated_report_changes_nothing() -> None:
    """R-82: webhooks come twice."""
    purchase = opened(purchase_in(Stage.IN_PROGRESS))
    before = purchase.state
    opened(purchase)
    assert purchase.state == before
    assert not purchase.notices


def test_a_bank_that_keeps_more_than_there_was_makes_a_loss() -> None:
    """R-84: 100.00 were refunded elsewhere before the bank kept all of the payment."""
    purchase = purchase_in(Stage.IN_PROGRESS)
    purchase.fact(RefundedElsewhere("re_x", 10_000))
    reported(opened(purchase), "lost")
    assert [(m.kind, m.amount) for m in purchase.state.moves][1:] == [
        ("bank_dispute_opened", 15_000),
        ("bank_dispute_lost", 15_000),
        ("bank_dispute_loss", 10_000),
    ]


def test_a_freelancer_owes_at_most_what_was_released() -> None:
    """R-87: the rest is the platform's loss."""
    purchase = Purchase(chargeback_after_release="freelancer").disputed()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=10_000)
    purchase.posted().fact(RefundReported(1, "sent", "arn_7"))
    for number in ("dp_1", "dp_2"):
        purchase.fact(BankDisputeReported(number, "lost", 20_000))
    owed = [m.amount for m in purchase.state.moves if m.account == "freelancer_receivable"]
    assert owed == [10_000, 5_000]


@pytest.mark.parametrize(
    ("first", "then"), [("won", "lost"), ("lost", "won"), ("won", "opened"), ("lost", "opened")]
)
def test_a_bank_that_changes_its_decision_calls_a_person(first: str, then: str) -> None:
    """R-89: nothing is booked twice under the same dispute, and nothing is paid until a person has
    looked into it. The parties wait for it, so they are notified."""
    purchase = reported(opened(purchase_in(Stage.IN_PROGRESS), 10_000), first, 10_000)
    moves = purchase.state.moves
    reported(purchase, then, 10_000)
    assert recipients(purchase) == EVERYBODY
    assert purchase.state.moves == moves
    reported(purchase, then, 10_000)
    assert not purchase.notices
    purchase.freelancer("give_refund")
    assert not is_pending(purchase.state, PostDecision(ESCROW, 0))
    purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    refund = purchase.state.escrow
    assert PostDecision(refund, 0) in purchase.last.effects
    assert is_pending(purchase.state, PostDecision(refund, 0))


@pytest.mark.parametrize(("lost", "claim"), [(ESCROW, None), (20_000, None), (10_000, 10_000)])
def test_no_notice_can_speak_of_a_negative_rest(lost: int, claim: int | None) -> None:
    """R-84, R-85: what is left after the claim is never less than nothing."""
    purchase = reported(opened(Purchase().contested(claim=10_000), lost), "lost", lost)
    assert purchase.state.claim == claim
    assert min(purchase.state.amounts.values()) >= 0


def test_a_dispute_that_was_opened_and_won_unseen_is_known_afterwards() -> None:
    """R-88: both webhooks were lost. The decision would wait for what it does not know."""
    purchase = reported(purchase_in(Stage.IN_PROGRESS), "won")
    assert [(d.dispute_id, d.status) for d in purchase.state.bank_disputes] == [(DISPUTE, "won")]
    assert recipients(purchase) == {"operator"}
    assert not purchase.state.attention


def test_two_disputes_freeze_until_both_have_ended() -> None:
    """R-82, R-83: each took a part of the escrow."""
    purchase = opened(purchase_in(Stage.IN_PROGRESS), 10_000)
    purchase.fact(BankDisputeReported("dp_2", "opened", 15_000))
    assert purchase.state.charged_back == ESCROW
    reported(purchase, "won", 10_000)
    assert purchase.state.frozen
    purchase.fact(BankDisputeReported("dp_2", "won", 15_000))
    assert not purchase.state.frozen
    assert purchase.state.held == ESCROW


def test_a_lost_dispute_that_was_never_reported_as_open_counts_whole() -> None:
    """R-84: a webhook was lost; the daily look finds the end."""
    purchase = posted(reported(purchase_in(Stage.DELIVERED), "lost"))
    assert purchase.state.outcome == "charged_back"
    assert [m.kind for m in purchase.state.moves] == ["bank_dispute_opened", "bank_dispute_lost"]


def test_a_failed_refund_is_not_sent_again_while_the_bank_has_the_money() -> None:
    """R-57, R-73, R-82: an operator's retry is rejected as FROZEN."""
    purchase = refund_unsent()
    for attempt in (1, 2):
        purchase.fact(RefundReported(attempt, "failed", f"re_{attempt}"))
    opened(purchase)
    answer = purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    rejected(answer, Code.FROZEN)
    proof = {"action": "mark_settled", "reference": "statement 7"}
    rejected(purchase.send(Role.OPERATOR, "resolve_attention", **proof), Code.FROZEN)


def test_a_look_at_the_payment_is_asked_of_the_provider() -> None:
    """R-80, R-98: `check_payment` asks the provider; the answer ends it."""
    purchase = purchase_in(Stage.IN_PROGRESS)
    purchase.send(Role.PAYMENTS, "check_payment")
    assert purchase.last.effects == (CheckPayment(1),)


def test_a_lost_dispute_needs_nobody_any_more() -> None:
    """R-84: no alert is left on a closed purchase."""
    purchase = posted(reported(opened(purchase_in(Stage.IN_PROGRESS)), "lost"))
    assert not purchase.state.needs(AttentionKind.BANK_DISPUTE)
