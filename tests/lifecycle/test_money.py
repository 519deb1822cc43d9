"""Where the money is: payment, decision, refund, and what needs a person (R-03 to R-06, R-50 to
R-61, R-73, R-74)."""

import pytest

from tests.lifecycle.builders import (
    ESCROW,
    Purchase,
    becomes,
    pending_refund,
    rejected,
    settles,
)
from workflows.lifecycle import is_pending, texts
from workflows.lifecycle.draft import PAYMENT_METHOD
from workflows.lifecycle.events import (
    Accepted,
    CheckRefund,
    DecisionPosted,
    EffectBlocked,
    PaymentDeclined,
    PaymentHeld,
    PaymentUnusable,
    PaymentVoided,
    PlatformCancelled,
    PostDecision,
    PostSettlement,
    RefundReported,
    Rejection,
    SendRefund,
    SettlementPosted,
    TakePayment,
    VoidPayment,
)
from workflows.lifecycle.state import (
    AttentionKind,
    Code,
    DeadlineName,
    Payment,
    Settlement,
    Stage,
)
from workflows.lifecycle.texts import DECISION_WAITS, REFUND_TAKES
from workflows.messages import Role

FIRST, SECOND, THIRD = (f"purchase-p-1/refund{n}" for n in ("", "-2", "-3"))


def money(purchase: Purchase) -> dict[str, int]:
    """Where the money is; places without money are left out."""
    names = ("held", "in_transit", "refunded", "released")
    return {name: amount for name in names if (amount := getattr(purchase.state, name))}


def reports(purchase: Purchase, refund_id: str, status: str, **more: str) -> Accepted | Rejection:
    """The payment provider sends settlement_update."""
    fields = {"refund_id": refund_id, "status": status, **more}
    return purchase.send(Role.PAYMENTS, "settlement_update", **fields)


def closes(purchase: Purchase, outcome: str, reason: str) -> None:
    """The ledger has the settlement: closed, with nothing in escrow and nothing in transit."""
    assert any(isinstance(effect, PostSettlement) for effect in purchase.last.effects)
    purchase.fact(SettlementPosted())
    becomes(purchase, Stage.CLOSED)
    assert (purchase.state.outcome, purchase.state.reason) == (outcome, reason)
    assert purchase.state.closed_at == purchase.now
    assert set(money(purchase)) <= {"refunded", "released"}


def failed_twice() -> Purchase:
    """Both the first and the second attempt to refund failed."""
    purchase = pending_refund()
    reports(purchase, FIRST, "failed")
    reports(purchase, SECOND, "failed")
    return purchase


# --- the payment


@pytest.mark.parametrize("paid", [True, False], ids=["payment held", "payment failed"])
def test_a_decision_before_the_payment_promises_no_money(paid: bool) -> None:
    """R-20, R-09, R-04: until the payment is held, the notice shows no movement and says that the
    money waits for the payment; then the notice of the payment shows both movements, and does not
    say that the money stays in escrow."""
    purchase = Purchase(held=False).requested()
    purchase.freelancer("decide_refund", decision="approve")
    (notice,) = purchase.notices
    assert notice.movements == ()
    assert notice.money_text == DECISION_WAITS
    purchase.fact(PaymentHeld("ch_1") if paid else PaymentDeclined())
    (notice,) = purchase.notices
    to_client = [move for move in notice.movements if move.target == PAYMENT_METHOD]
    assert [move.amount for move in to_client] == ([ESCROW] if paid else [])
    assert notice.money_text == (REFUND_TAKES if paid else None)
    assert notice.text == (texts.PAYMENT_HELD_AND_DECIDED if paid else texts.PAYMENT_DECLINED)


def test_money_is_held_from_the_payment_until_the_decision_is_posted() -> None:
    """R-03, R-46: the payment moves the money to escrow; a decision alone does not move it on."""
    purchase = Purchase(held=False)
    assert money(purchase) == {}
    purchase.fact(PaymentHeld("ch_1"))
    assert money(purchase) == {"held": ESCROW}
    (notice,) = purchase.notices
    (movement,) = notice.movements
    assert (movement.amount, movement.target) == (ESCROW, "escrow")
    purchase.freelancer("give_refund")
    assert money(purchase) == {"held": ESCROW}


def test_a_client_who_has_paid_elsewhere_is_not_asked_to_pay_again() -> None:
    """R-19: staff are notified, because the client's money may be at the provider."""
    purchase = Purchase(held=False)
    purchase.fact(PaymentUnusable("This payment belongs to another purchase."))
    becomes(purchase, Stage.CLOSED, notified={"client", "freelancer", "operator"})
    assert purchase.state.outcome == "payment_declined"
    (notice,) = purchase.notices
    assert notice.text == texts.PAYMENT_UNUSABLE
    assert "No money was taken" not in notice.text.summary


@pytest.mark.parametrize("again", [PaymentHeld(), PaymentDeclined(), PaymentVoided()])
def test_the_first_answer_about_the_payment_counts(
    again: PaymentHeld | PaymentDeclined | PaymentVoided,
) -> None:
    """R-03, R-04, R-05: once held, the payment stays held."""
    purchase = Purchase()
    before = purchase.state
    assert purchase.fact(again).effects == ()
    assert purchase.state == before


def test_a_payment_that_is_being_voided_may_still_be_held() -> None:
    """R-03, R-06: the charge that the provider has counts, and the void is no longer pending."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    assert not is_pending(purchase.state, TakePayment())
    assert is_pending(purchase.state, VoidPayment())
    purchase.fact(PaymentHeld())
    assert money(purchase) == {"held": ESCROW}
    assert not is_pending(purchase.state, VoidPayment())


def test_the_payment_window_stays_open_after_an_early_decision() -> None:
    """R-05, R-06, R-46: decided while the payment is pending, the payment is still voided in
    time."""
    purchase = Purchase(held=False)
    purchase.freelancer("give_refund")
    assert set(purchase.state.deadlines) == {DeadlineName.PAYMENT}
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(PaymentVoided())
    becomes(purchase, Stage.CLOSED)
    assert purchase.state.outcome == "payment_failed"


def test_a_release_decided_before_the_payment_is_posted_after_it() -> None:
    """R-02, R-09, R-15, R-52: delivered and accepted while the payment is pending."""
    purchase = Purchase(held=False, requirements_needed=False)
    purchase.freelancer("deliver")
    purchase.client("accept_delivery")
    purchase.fact(PaymentHeld())
    assert PostDecision(0, ESCROW) in purchase.last.effects
    purchase.fact(DecisionPosted())
    assert (purchase.state.outcome, money(purchase)) == ("released", {"released": ESCROW})


def test_the_platform_cancels_before_the_payment_is_held() -> None:
    """R-09, R-50: the payment is still made, then refunded."""
    purchase = Purchase(held=False)
    purchase.fact(PlatformCancelled())
    becomes(purchase, Stage.SETTLING)
    purchase.fact(PaymentHeld())
    settles(purchase, "cancelled_by_platform", refund=ESCROW, release=0, moved=False)


@pytest.mark.parametrize("fact", [PaymentDeclined(), PaymentVoided()])
def test_a_purchase_without_a_payment_has_nothing_open(
    fact: PaymentDeclined | PaymentVoided,
) -> None:
    """R-04, R-05: the failed payment ends the open request, the offer, every deadline and every
    alert."""
    purchase = Purchase(held=False)
    purchase.client("cancel")
    purchase.client("propose_split", refund=15_000)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    purchase.fact(fact)
    state = purchase.state
    assert (state.stage, state.payment) == (Stage.CLOSED, Payment.NONE)
    assert (state.deadlines, state.attention, state.offer, state.stage_before_request) == (
        {},
        (),
        None,
        None,
    )


# --- refund, release, split


def test_a_refund_is_in_transit_until_it_is_settled() -> None:
    """R-51, R-54, R-59: from escrow to refunds in transit, then to the client."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.calendar(DeadlineName.SETTLEMENT)
    purchase.fact(DecisionPosted())
    assert money(purchase) == {"in_transit": ESCROW}
    assert purchase.last.effects == (SendRefund(1),)
    purchase.fact(RefundReported(1, "pending", "re_1"))
    reports(purchase, FIRST, "settled")
    assert money(purchase) == {"in_transit": ESCROW}
    closes(purchase, "refunded", "freelancer_gave_refund")
    assert money(purchase) == {"refunded": ESCROW}


def test_a_release_closes_when_the_ledger_has_it() -> None:
    """R-52: from escrow to the freelancer's balance; there is nothing to wait for."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.fact(DecisionPosted())
    assert purchase.state.stage is Stage.CLOSED
    assert (purchase.state.outcome, purchase.state.reason) == ("released", "delivery_accepted")
    assert money(purchase) == {"released": ESCROW}


def test_a_split_releases_and_refunds() -> None:
    """R-22, R-51, R-59: one posting for both parts; closed when the refund is settled."""
    purchase = Purchase().contested(claim=10_000)
    purchase.client("accept_claim")
    purchase.posted()
    assert money(purchase) == {"in_transit": 15_000, "released": 10_000}
    purchase.fact(RefundReported(1, "settled", "re_1"))
    closes(purchase, "split", "claim_accepted")
    assert money(purchase) == {"refunded": 15_000, "released": 10_000}


@pytest.mark.parametrize(
    ("refund", "outcome"),
    [(0, "released"), (1, "split"), (15_000, "split"), (ESCROW, "refunded")],
)
def test_the_outcome_follows_from_the_amounts(refund: int, outcome: str) -> None:
    """R-41, R-52, R-59: refunded, released or split, also of the smallest amount."""
    purchase = Purchase().disputed()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=refund)
    purchase.calendar(DeadlineName.SETTLEMENT)
    purchase.fact(DecisionPosted())
    if refund:
        purchase.fact(RefundReported(1, "settled"))
        purchase.fact(SettlementPosted())
    assert (purchase.state.outcome, purchase.state.reason) == (outcome, "dispute_resolved")


# --- settlement_update


@pytest.mark.parametrize("name", [FIRST, "re_1"])
def test_the_provider_may_use_our_id_or_its_own_reference(name: str) -> None:
    """R-54: settlement_update finds the attempt by either."""
    purchase = pending_refund()
    reports(purchase, name, "settled", reference="re_1")
    assert purchase.state.settlement == Settlement("re_1", purchase.now, proved_by_person=False)
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_a_settlement_report_may_come_before_the_providers_answer() -> None:
    """R-53, R-54, R-59: the later answer that the refund is pending changes nothing."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    reports(purchase, FIRST, "settled", reference="re_1")
    assert not is_pending(purchase.state, SendRefund(1))
    purchase.fact(RefundReported(1, "pending", "re_1"))
    closes_after = purchase.fact(SettlementPosted())
    assert closes_after.state.stage is Stage.CLOSED


@pytest.mark.parametrize("status", ["settled", "failed"])
def test_a_report_on_a_settled_refund_changes_nothing(status: str) -> None:
    """R-65: accepted, without an effect; the audit compares a late failure with the provider."""
    purchase = pending_refund()
    reports(purchase, FIRST, "settled")
    before = purchase.state
    assert isinstance(reports(purchase, FIRST, status), Accepted)
    assert (purchase.state, purchase.last.effects) == (before, ())


@pytest.mark.parametrize("name", ["of-another", SECOND, "purchase-p-2/refund"])
def test_a_report_on_an_unknown_refund_is_rejected(name: str) -> None:
    """R-65: the rejection names the unknown refund."""
    purchase = pending_refund()
    rejected(reports(purchase, name, "settled"), Code.NOT_ALLOWED_NOW, f"no refund {name}")


def test_a_report_is_rejected_before_anything_is_settling() -> None:
    """R-65: NOT_ALLOWED_NOW while the work is in progress."""
    rejected(reports(Purchase().working(), FIRST, "settled"), Code.NOT_ALLOWED_NOW, "in progress")


def test_an_unknown_answer_starts_no_new_attempt() -> None:
    """R-53, R-54, R-71: when the provider does not answer, the same attempt is checked again."""
    purchase = pending_refund()
    assert purchase.last.effects == (CheckRefund(1),)
    purchase.fact(EffectBlocked(CheckRefund.kind, "the provider does not answer"))
    assert purchase.state.refund
    assert purchase.state.refund.attempt == 1
    assert is_pending(purchase.state, CheckRefund(1))
    purchase.fact(RefundReported(1, "settled"))
    assert not is_pending(purchase.state, CheckRefund(1))


# --- failed refunds


def test_a_failed_refund_is_retried_once_under_a_new_id() -> None:
    """R-56: no person is needed, the money stays in transit, and a repeated report changes
    nothing."""
    purchase = pending_refund()
    reports(purchase, FIRST, "failed")
    becomes(purchase, Stage.SETTLING, notified={"client", "operator"})
    assert SendRefund(2) in purchase.last.effects
    assert purchase.state.refund_id(2) == SECOND
    assert money(purchase) == {"in_transit": ESCROW}
    assert purchase.state.attention == ()
    reports(purchase, FIRST, "failed")
    assert purchase.last.effects == ()
    purchase.fact(RefundReported(2, "settled"))
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_a_refund_that_fails_again_needs_a_person() -> None:
    """R-57: the client is notified, too; the money stays in transit and no third attempt is
    sent."""
    purchase = failed_twice()
    becomes(purchase, Stage.SETTLING, notified={"client", "operator"})
    assert purchase.state.needs(AttentionKind.REFUND_FAILED)
    assert "mark_settled" in purchase.state.attention[0].text
    assert money(purchase) == {"in_transit": ESCROW}
    assert not any(isinstance(effect, SendRefund) for effect in purchase.last.effects)


def test_an_operator_retries_a_failed_refund() -> None:
    """R-73: a third attempt under a new id."""
    purchase = failed_twice()
    purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    becomes(purchase, Stage.SETTLING, notified={"operator"})
    assert SendRefund(3) in purchase.last.effects
    assert purchase.state.attention == ()
    reports(purchase, THIRD, "settled")
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_an_operator_marks_a_refund_as_settled_with_the_proof() -> None:
    """R-74: mark_settled needs a reference to the proof, and is accepted once."""
    purchase = failed_twice()
    answer = purchase.send(Role.OPERATOR, "resolve_attention", action="mark_settled")
    rejected(answer, Code.INVALID_MESSAGE, "reference", "proof")
    proof = {"action": "mark_settled", "reference": "bank statement 7"}
    purchase.send(Role.OPERATOR, "resolve_attention", **proof)
    settled = Settlement("bank statement 7", purchase.now, proved_by_person=True)
    assert purchase.state.settlement == settled
    assert PostSettlement("bank statement 7", purchase.now) in purchase.last.effects
    again = purchase.send(Role.OPERATOR, "resolve_attention", **proof)
    assert isinstance(again, Rejection)
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_a_failed_attempt_may_settle_after_all() -> None:
    """R-55: the settlement counts, the second attempt is not sent, and operators compare with the
    provider."""
    purchase = pending_refund()
    reports(purchase, FIRST, "failed")
    reports(purchase, FIRST, "settled")
    (notice,) = purchase.notices
    assert (notice.transition, notice.recipients) == ("refund_doubtful", ("operator",))
    assert not is_pending(purchase.state, SendRefund(2))
    closes(purchase, "refunded", "freelancer_gave_refund")
    assert money(purchase) == {"refunded": ESCROW}


def test_resolve_attention_is_rejected_while_no_person_is_needed() -> None:
    """R-73, R-74: NOT_ALLOWED_NOW in progress and while a refund is pending."""
    for purchase in (Purchase().working(), pending_refund()):
        for fields in ({"action": "retry"}, {"action": "mark_settled", "reference": "x"}):
            answer = purchase.send(Role.OPERATOR, "resolve_attention", **fields)
            rejected(answer, Code.NOT_ALLOWED_NOW, "resolve_attention is not possible")


# --- late refunds


def test_an_operator_checks_a_late_refund_at_once() -> None:
    """R-61, R-73: the refund stays late until it is settled."""
    purchase = pending_refund()
    purchase.deadline(DeadlineName.SETTLEMENT)
    purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    assert CheckRefund(1) in purchase.last.effects
    assert purchase.state.needs(AttentionKind.SETTLEMENT_LATE)
    purchase.fact(RefundReported(1, "settled", "re_1"))
    assert purchase.state.attention == ()
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_a_posted_settlement_of_a_pending_refund_changes_nothing() -> None:
    """R-59: a posted settlement counts only after the refund is settled."""
    purchase = pending_refund()
    before = purchase.state
    assert purchase.fact(SettlementPosted()).effects == ()
    assert purchase.state == before
