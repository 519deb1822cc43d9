"""Where the money is: the hold, what is decided, the refund on its way, and what needs a person."""

import pytest

from tests.lifecycle.builders import (
    BOTH,
    ESCROW,
    Purchase,
    becomes,
    refund_under_way,
    rejected,
    settles,
)
from workflows.lifecycle import is_pending
from workflows.lifecycle.events import (
    Accepted,
    CheckRefund,
    DecisionPosted,
    EffectBlocked,
    PaymentDeclined,
    PaymentHeld,
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
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, Payment, Stage
from workflows.messages import Role

FIRST, SECOND, THIRD = (f"purchase-p-1/refund{n}" for n in ("", "-2", "-3"))


def money(purchase: Purchase) -> dict[str, int]:
    """Where the money is; places without any are left out."""
    names = ("held", "in_transit", "refunded", "released")
    return {name: amount for name in names if (amount := getattr(purchase.state, name))}


def hears(purchase: Purchase, refund_id: str, status: str, **more: str) -> Accepted | Rejection:
    """The payment provider reports."""
    fields = {"refund_id": refund_id, "status": status, **more}
    return purchase.staff(Role.PAYMENTS, "settlement_update", **fields)


def closes(purchase: Purchase, outcome: str, reason: str) -> None:
    """The books have the settlement: closed, nothing in escrow and nothing in transit."""
    assert any(isinstance(effect, PostSettlement) for effect in purchase.last.effects)
    purchase.learns(SettlementPosted())
    becomes(purchase, Stage.CLOSED)
    assert (purchase.state.outcome, purchase.state.reason) == (outcome, reason)
    assert purchase.state.closed_at == purchase.now
    assert set(money(purchase)) <= {"refunded", "released"}


def failed_twice() -> Purchase:
    """The provider could not send the refund, and not the second time either."""
    purchase = refund_under_way()
    hears(purchase, FIRST, "failed")
    hears(purchase, SECOND, "failed")
    return purchase


# --- hold


def test_money_is_held_from_the_hold_to_the_posting() -> None:
    """hold: provider clearing → escrow."""
    purchase = Purchase(held=False)
    assert money(purchase) == {}
    purchase.learns(PaymentHeld("ch_1"))
    assert money(purchase) == {"held": ESCROW}
    (notice,) = purchase.notices
    (movement,) = notice.movements
    assert (movement.amount, movement.target) == (ESCROW, "escrow")
    purchase.freelancer("give_refund")
    assert money(purchase) == {"held": ESCROW}


@pytest.mark.parametrize("again", [PaymentHeld(), PaymentDeclined(), PaymentVoided()])
def test_the_first_answer_about_the_payment_counts(
    again: PaymentHeld | PaymentDeclined | PaymentVoided,
) -> None:
    """Held once is held; nothing said later about the charge undoes it here."""
    purchase = Purchase()
    before = purchase.state
    assert purchase.learns(again).effects == ()
    assert purchase.state == before


def test_a_charge_that_is_being_called_off_may_still_be_made() -> None:
    """payment called off and held cross each other: what the provider has, counts."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    assert not is_pending(purchase.state, TakePayment())
    assert is_pending(purchase.state, VoidPayment())
    purchase.learns(PaymentHeld())
    assert money(purchase) == {"held": ESCROW}
    assert not is_pending(purchase.state, VoidPayment())


def test_the_payment_window_runs_on_after_an_early_decision() -> None:
    """Decided while the hold is pending: the charge is still called off in time."""
    purchase = Purchase(held=False)
    purchase.freelancer("give_refund")
    assert set(purchase.state.deadlines) == {DeadlineName.PAYMENT}
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.learns(PaymentVoided())
    becomes(purchase, Stage.CLOSED)
    assert purchase.state.outcome == "payment_failed"


def test_a_release_decided_before_the_hold_is_posted_after_it() -> None:
    """Delivered and accepted while the hold is still being made."""
    purchase = Purchase(held=False, requirements_needed=False)
    purchase.freelancer("deliver")
    purchase.client("accept_delivery")
    purchase.learns(PaymentHeld())
    assert PostDecision(0, ESCROW) in purchase.last.effects
    purchase.learns(DecisionPosted())
    assert (purchase.state.outcome, money(purchase)) == ("released", {"released": ESCROW})


def test_the_platform_cancels_before_the_hold() -> None:
    """workflow cancellation while the hold is pending: charged, then refunded."""
    purchase = Purchase(held=False)
    purchase.learns(PlatformCancelled())
    becomes(purchase, Stage.SETTLING)
    purchase.learns(PaymentHeld())
    settles(purchase, "cancelled_by_platform", refund=ESCROW, release=0, moved=False)


@pytest.mark.parametrize("fact", [PaymentDeclined(), PaymentVoided()])
def test_without_a_payment_nothing_is_open_any_more(
    fact: PaymentDeclined | PaymentVoided,
) -> None:
    """closed/payment_declined, closed/payment_failed: no deadline runs, no offer stands, nobody is
    needed, whatever was going on meanwhile."""
    purchase = Purchase(held=False)
    purchase.client("cancel")
    purchase.client("propose_split", refund=15_000)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.learns(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    purchase.learns(fact)
    state = purchase.state
    assert (state.stage, state.payment) == (Stage.CLOSED, Payment.NONE)
    assert (state.deadlines, state.attention, state.offer, state.stage_before_request) == (
        {},
        (),
        None,
        None,
    )


# --- refund, release, split


def test_a_refund_goes_through_transit() -> None:
    """refund r: escrow → refunds in transit; settled: in transit → provider clearing."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.calendar(DeadlineName.SETTLEMENT)
    purchase.learns(DecisionPosted())
    assert money(purchase) == {"in_transit": ESCROW}
    assert purchase.last.effects == (SendRefund(1),)
    purchase.learns(RefundReported(1, "pending", "re_1"))
    hears(purchase, FIRST, "settled")
    assert money(purchase) == {"in_transit": ESCROW}
    closes(purchase, "refunded", "freelancer_gave_refund")
    assert money(purchase) == {"refunded": ESCROW}


def test_a_release_closes_as_soon_as_the_books_have_it() -> None:
    """release w: escrow → freelancer balance; nothing to wait for."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    purchase.learns(DecisionPosted())
    assert purchase.state.stage is Stage.CLOSED
    assert (purchase.state.outcome, purchase.state.reason) == ("released", "delivery_accepted")
    assert money(purchase) == {"released": ESCROW}


def test_a_split_does_both() -> None:
    """refund and release in one decision; closed when the refund has arrived."""
    purchase = Purchase().contested(claim=10_000)
    purchase.client("accept_claim")
    purchase.posted()
    assert money(purchase) == {"in_transit": 15_000, "released": 10_000}
    purchase.learns(RefundReported(1, "settled", "re_1"))
    closes(purchase, "split", "claim_accepted")
    assert money(purchase) == {"refunded": 15_000, "released": 10_000}


@pytest.mark.parametrize(
    ("refund", "outcome"), [(0, "released"), (15_000, "split"), (ESCROW, "refunded")]
)
def test_the_outcome_is_what_the_amounts_say(refund: int, outcome: str) -> None:
    """refunded, released, split: whoever decided it."""
    purchase = Purchase().disputed()
    purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=refund)
    purchase.calendar(DeadlineName.SETTLEMENT)
    purchase.learns(DecisionPosted())
    if refund:
        purchase.learns(RefundReported(1, "settled"))
        purchase.learns(SettlementPosted())
    assert (purchase.state.outcome, purchase.state.reason) == (outcome, "dispute_resolved")


# --- settlement_update


@pytest.mark.parametrize("name", [FIRST, "re_1"])
def test_the_provider_may_use_our_name_or_its_own(name: str) -> None:
    """settlement_update, payments, settling: settled → leg done."""
    purchase = refund_under_way()
    hears(purchase, name, "settled", reference="re_1")
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_a_settlement_message_may_overtake_the_answer_to_our_own_request() -> None:
    """Reordered: settled is reported before the provider has answered the sending."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    hears(purchase, FIRST, "settled", reference="re_1")
    assert not is_pending(purchase.state, SendRefund(1))
    purchase.learns(RefundReported(1, "pending", "re_1"))
    closes_after = purchase.learns(SettlementPosted())
    assert closes_after.state.stage is Stage.CLOSED


@pytest.mark.parametrize("status", ["settled", "failed"])
def test_a_settlement_message_after_the_arrival_changes_nothing(status: str) -> None:
    """repeated → nothing twice; failed for a leg already settled is left to the audit."""
    purchase = refund_under_way()
    hears(purchase, FIRST, "settled")
    before = purchase.state
    assert isinstance(hears(purchase, FIRST, status), Accepted)
    assert (purchase.state, purchase.last.effects) == (before, ())


@pytest.mark.parametrize("name", ["of-another", SECOND, "purchase-p-2/refund"])
def test_a_settlement_message_for_an_unknown_refund_is_refused(name: str) -> None:
    """unknown → refused and shown."""
    purchase = refund_under_way()
    rejected(hears(purchase, name, "settled"), Code.NOT_ALLOWED_NOW, f"no refund {name}")


def test_a_settlement_message_without_a_refund_is_refused() -> None:
    """settlement_update before anything is settling."""
    rejected(hears(Purchase().working(), FIRST, "settled"), Code.NOT_ALLOWED_NOW, "in progress")


def test_an_unknown_answer_is_no_failure() -> None:
    """provider times out → the same attempt is asked about; never a new key."""
    purchase = refund_under_way()
    assert purchase.last.effects == (CheckRefund(1),)
    purchase.learns(EffectBlocked(CheckRefund.kind, "the provider does not answer"))
    assert purchase.state.refund
    assert purchase.state.refund.attempt == 1
    assert is_pending(purchase.state, CheckRefund(1))
    purchase.learns(RefundReported(1, "settled"))
    assert not is_pending(purchase.state, CheckRefund(1))


# --- failed refunds


def test_a_failed_refund_is_retried_once_under_a_new_reference() -> None:
    """settlement_update failed → retried once, by the same provider; still in transit."""
    purchase = refund_under_way()
    hears(purchase, FIRST, "failed")
    becomes(purchase, Stage.SETTLING, told={"client", "operator"})
    assert SendRefund(2) in purchase.last.effects
    assert purchase.state.refund_id(2) == SECOND
    assert money(purchase) == {"in_transit": ESCROW}
    assert purchase.state.attention == ()
    hears(purchase, FIRST, "failed")
    assert purchase.last.effects == ()
    purchase.learns(RefundReported(2, "settled"))
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_a_refund_that_fails_again_needs_attention() -> None:
    """failed again → needs_attention, told to the client too; the money is safe in transit."""
    purchase = failed_twice()
    becomes(purchase, Stage.SETTLING, told={"client", "operator"})
    assert purchase.state.needs(AttentionKind.REFUND_FAILED)
    assert "mark_settled" in purchase.state.attention[0].text
    assert money(purchase) == {"in_transit": ESCROW}
    assert not any(isinstance(effect, SendRefund) for effect in purchase.last.effects)


def test_operator_retries_a_failed_refund() -> None:
    """resolve_attention retry, operator, needs_attention → a third attempt, under a new name."""
    purchase = failed_twice()
    purchase.staff(Role.OPERATOR, "resolve_attention", action="retry")
    becomes(purchase, Stage.SETTLING, told={"operator"})
    assert SendRefund(3) in purchase.last.effects
    assert purchase.state.attention == ()
    hears(purchase, THIRD, "settled")
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_operator_marks_a_refund_as_settled_with_the_proof() -> None:
    """resolve_attention mark_settled, operator, with a reference to the proof."""
    purchase = failed_twice()
    answer = purchase.staff(Role.OPERATOR, "resolve_attention", action="mark_settled")
    rejected(answer, Code.INVALID_MESSAGE, "reference", "proof")
    proof = {"action": "mark_settled", "reference": "bank statement 7"}
    purchase.staff(Role.OPERATOR, "resolve_attention", **proof)
    assert PostSettlement("bank statement 7", purchase.now) in purchase.last.effects
    again = purchase.staff(Role.OPERATOR, "resolve_attention", **proof)
    assert isinstance(again, Rejection)
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_an_attempt_given_up_may_arrive_after_all() -> None:
    """An old attempt arrives: it counts, and operators compare with the provider."""
    purchase = refund_under_way()
    hears(purchase, FIRST, "failed")
    hears(purchase, FIRST, "settled")
    (notice,) = purchase.notices
    assert (notice.transition, notice.recipients) == ("refund_doubtful", ("operator",))
    assert not is_pending(purchase.state, SendRefund(2))
    closes(purchase, "refunded", "freelancer_gave_refund")
    assert money(purchase) == {"refunded": ESCROW}


def test_operators_have_nothing_to_resolve_while_all_goes_well() -> None:
    """resolve_attention without needs_attention → NOT_ALLOWED_NOW."""
    for purchase in (Purchase().working(), refund_under_way()):
        for fields in ({"action": "retry"}, {"action": "mark_settled", "reference": "x"}):
            answer = purchase.staff(Role.OPERATOR, "resolve_attention", **fields)
            rejected(answer, Code.NOT_ALLOWED_NOW, "resolve_attention is not possible")


# --- late refunds


def test_operator_asks_about_a_late_refund_at_once() -> None:
    """resolve_attention retry on a late refund → asked now; it stays late until it arrives."""
    purchase = refund_under_way()
    purchase.deadline(DeadlineName.SETTLEMENT)
    purchase.staff(Role.OPERATOR, "resolve_attention", action="retry")
    assert CheckRefund(1) in purchase.last.effects
    assert purchase.state.needs(AttentionKind.SETTLEMENT_LATE)
    purchase.learns(RefundReported(1, "settled", "re_1"))
    assert purchase.state.attention == ()
    closes(purchase, "refunded", "freelancer_gave_refund")


def test_a_refund_that_has_not_arrived_closes_nothing() -> None:
    """A settlement in the books counts when the purchase has asked for it, and once."""
    purchase = refund_under_way()
    before = purchase.state
    assert purchase.learns(SettlementPosted()).effects == ()
    assert purchase.state == before


def test_both_are_told_when_the_money_has_arrived() -> None:
    """The end of a refund is told to both, with what moved."""
    purchase = refund_under_way()
    hears(purchase, FIRST, "settled")
    purchase.learns(SettlementPosted())
    (notice,) = purchase.notices
    assert set(notice.recipients) == BOTH
    assert "250.00 USD has arrived" in purchase.last.text
