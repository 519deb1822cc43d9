"""Somebody refunds the payment at the provider without us; refunds that are sent, and payments
that need the client."""

import pytest

from activities.requests import Movement
from tests.lifecycle.builders import ESCROW, Purchase, any_undecided_stage, purchase_in, rejected
from tests.lifecycle.test_bank_disputes import EVERYBODY, posted, recipients, refund_unsent
from workflows.lifecycle import begin, is_pending
from workflows.lifecycle.events import (
    BankDisputeReported,
    CheckPayment,
    CheckRefund,
    DecisionPosted,
    PaymentChecked,
    PaymentHeld,
    PaymentNeedsClient,
    PostDecision,
    PostSettlement,
    ProviderMovePosted,
    RefundedElsewhere,
    RefundElsewhereFailed,
    RefundReported,
    SendRefund,
    SettlementPosted,
    TakePayment,
)
from workflows.lifecycle.state import AttentionKind, Code, DeadlineName, RefundStatus, Stage
from workflows.messages import Role

ELSEWHERE = "re_dashboard"


def refunded(purchase: Purchase, amount: int = ESCROW, reference: str = ELSEWHERE) -> Purchase:
    """Somebody refunds this much at the provider's dashboard."""
    purchase.fact(RefundedElsewhere(reference, amount))
    return purchase


@any_undecided_stage
def test_a_full_refund_elsewhere_ends_the_purchase(stage: Stage) -> None:
    """R-90, R-96: closed as refunded, and nothing is paid on top."""
    purchase = refunded(purchase_in(stage))
    assert recipients(purchase) == EVERYBODY
    state = posted(purchase).state
    assert (state.stage, state.outcome, state.reason) == (
        Stage.CLOSED,
        "refunded",
        "refunded_elsewhere",
    )
    assert (state.refunded, state.held, state.decision) == (ESCROW, 0, None)


@any_undecided_stage
def test_a_part_refunded_elsewhere_shrinks_the_escrow(stage: Stage) -> None:
    """R-92: what is decided later is about the rest."""
    purchase = posted(refunded(purchase_in(stage), 10_000))
    assert purchase.state.stage is stage
    assert (purchase.state.held, purchase.state.refunded) == (15_000, 10_000)
    purchase.freelancer("give_refund")
    assert PostDecision(15_000, 0) in purchase.last.effects


def test_an_offer_above_the_rest_lapses() -> None:
    """R-92: nobody can accept what is not there any more."""
    purchase = purchase_in(Stage.IN_PROGRESS)
    purchase.client("propose_split", refund=20_000)
    refunded(purchase, 10_000)
    assert purchase.state.offer is None
    rejected(purchase.freelancer("accept_split", refund=20_000), Code.NO_OFFER)


def test_a_claim_above_the_rest_lapses_and_the_freelancer_is_asked_again() -> None:
    """R-91: the request is open again, with a new window for the freelancer."""
    purchase = Purchase().contested(claim=20_000)
    refunded(purchase, 10_000)
    assert purchase.state.stage is Stage.REFUND_REQUESTED
    assert purchase.state.claim is None
    assert DeadlineName.REFUND_DECISION in purchase.state.deadlines


def failed(purchase: Purchase, reference: str = ELSEWHERE) -> Purchase:
    """The refund made elsewhere has failed."""
    purchase.fact(RefundElsewhereFailed(reference, "the account is closed"))
    return purchase


@any_undecided_stage
def test_a_refund_elsewhere_that_fails_is_in_escrow_again(stage: Stage) -> None:
    """R-75: the money is back, everybody knows, and a report that comes twice changes nothing."""
    purchase = failed(posted(refunded(purchase_in(stage), 10_000)))
    assert recipients(purchase) == EVERYBODY
    assert purchase.state.stage is stage
    assert (purchase.state.held, purchase.state.refunded) == (ESCROW, 0)
    move = purchase.state.moves[-1]
    assert (move.kind, move.account, move.amount) == ("refund_elsewhere_failed", "escrow", 10_000)
    (notice,) = purchase.notices
    assert notice.movements == (Movement(10_000, "the client's payment method", "escrow"),)
    before = purchase.state
    assert failed(purchase).state == before
    purchase.freelancer("give_refund")
    assert PostDecision(ESCROW, 0) in purchase.last.effects


def test_a_decision_refunds_also_what_failed_elsewhere() -> None:
    """R-75: it was made when the client seemed to have that part, and it is not posted yet."""
    purchase = posted(refunded(Purchase().contested(claim=10_000), 10_000))
    purchase.client("accept_claim")
    failed(purchase)
    assert PostDecision(15_000, 10_000) in purchase.last.effects
    assert not is_pending(purchase.state, PostDecision(5_000, 10_000))


def test_after_the_decision_a_person_pays_what_failed_elsewhere() -> None:
    """R-76: the ledger takes one decision about each purchase."""
    purchase = posted(refunded(Purchase().working(), 10_000))
    purchase.freelancer("give_refund")
    purchase.fact(DecisionPosted())
    failed(purchase)
    assert recipients(purchase) == {"operator"}
    assert purchase.state.needs(AttentionKind.REFUND_ELSEWHERE_FAILED)
    assert ELSEWHERE in purchase.state.attention[-1].text
    assert purchase.last.text.endswith(" (the account is closed). Pay it another way.")
    assert purchase.state.refunded == 10_000


def test_a_refund_waits_no_longer_for_one_elsewhere_that_fails() -> None:
    """R-76: nobody is paid twice any more, so it is sent."""
    purchase = failed(refunded(refund_unsent()))
    assert recipients(purchase) == {"operator"}
    assert not purchase.state.attention
    assert SendRefund(1) in purchase.last.effects
    assert purchase.last.text.endswith(" (the account is closed). So nobody is paid twice.")


def test_a_refund_waits_until_every_doubt_about_it_is_gone() -> None:
    """R-76: of two refunds that others made after the decision, one has failed."""
    purchase = refunded(refunded(refund_unsent(), 10_000), 10_000, "re_other")
    failed(purchase)
    assert purchase.state.needs(AttentionKind.REFUNDED_ELSEWHERE)
    assert not is_pending(purchase.state, SendRefund(1))
    failed(purchase, "re_other")
    assert not purchase.state.attention
    assert SendRefund(1) in purchase.last.effects


def test_a_refund_elsewhere_that_has_left_escrow_is_no_doubt() -> None:
    """R-76: the decision was about the rest; only the one after it could pay twice."""
    purchase = posted(refunded(Purchase().working(), 10_000))
    purchase.freelancer("give_refund")
    refunded(purchase.posted(), 15_000, "re_other")
    assert purchase.state.needs(AttentionKind.REFUNDED_ELSEWHERE)
    failed(purchase, "re_other")
    assert not purchase.state.attention
    assert SendRefund(1) in purchase.last.effects


def test_a_full_refund_elsewhere_leaves_no_claim() -> None:
    """R-90: no notice can speak of a negative rest."""
    purchase = refunded(Purchase().contested(claim=20_000))
    assert purchase.state.claim is None
    assert min(purchase.state.amounts.values()) >= 0


def test_a_claim_within_the_rest_stands() -> None:
    """R-92: the rest after the claim shrinks."""
    purchase = refunded(Purchase().contested(claim=10_000), 10_000)
    purchase.client("accept_claim")
    assert PostDecision(5_000, 10_000) in purchase.last.effects


def test_a_decided_refund_shrinks_by_what_was_refunded_elsewhere() -> None:
    """R-93: found before the decision is posted; the client gets the rest, once."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    refunded(purchase, 10_000)
    assert PostDecision(15_000, 0) in purchase.last.effects


def test_a_decision_that_has_shrunk_is_not_posted_with_its_old_amount() -> None:
    """R-93: it would run before the posting of what was refunded elsewhere; the ledger would reject
    it, and neither would end."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    refunded(purchase, 10_000)
    assert not is_pending(purchase.state, PostDecision(ESCROW, 0))
    assert is_pending(purchase.state, PostDecision(15_000, 0))


def test_a_decided_refund_that_was_made_elsewhere_closes_the_purchase() -> None:
    """R-90: the client has all of it already."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    posted(refunded(purchase))
    assert purchase.state.outcome == "refunded"
    assert purchase.state.refunded == ESCROW


def test_a_mediator_decides_when_a_release_meets_a_refund_elsewhere() -> None:
    """R-94: more was refunded than was decided; nothing is paid on top without a person."""
    purchase = Purchase().delivered()
    purchase.client("accept_delivery")
    refunded(purchase, 10_000)
    assert purchase.state.stage is Stage.DISPUTED
    assert purchase.state.decision is None
    assert purchase.state.held == 15_000


def test_a_refund_that_is_posted_waits_for_a_person() -> None:
    """R-95, R-73: alerted with both references; only an operator's retry sends it too."""
    purchase = refunded(refund_unsent())
    assert recipients(purchase) == {"operator"}
    assert purchase.state.needs(AttentionKind.REFUNDED_ELSEWHERE)
    assert not is_pending(purchase.state, SendRefund(1))
    assert ELSEWHERE in purchase.state.attention[0].text
    purchase.send(Role.OPERATOR, "resolve_attention", action="retry")
    assert SendRefund(1) in purchase.last.effects


def test_an_operator_records_that_the_refund_elsewhere_was_the_refund() -> None:
    """R-95, R-74: settled by the refund that somebody made; nothing is sent."""
    purchase = refunded(refund_unsent())
    purchase.send(Role.OPERATOR, "resolve_attention", action="mark_settled", reference=ELSEWHERE)
    assert purchase.last.effects == (PostSettlement(ELSEWHERE, purchase.now),)
    purchase.fact(SettlementPosted())
    assert purchase.state.outcome == "refunded"


def test_the_same_refund_elsewhere_counts_once() -> None:
    """R-92: webhooks come twice."""
    purchase = refunded(refunded(purchase_in(Stage.IN_PROGRESS), 10_000), 10_000)
    assert purchase.state.held == 15_000


def test_a_posted_move_is_not_posted_again() -> None:
    """R-97: the ledger's answer comes once."""
    purchase = posted(refunded(purchase_in(Stage.IN_PROGRESS), 10_000))
    assert [move.posted for move in purchase.state.moves] == [True]
    before = purchase.state
    purchase.fact(ProviderMovePosted(0))
    assert purchase.state == before


def test_a_refund_elsewhere_while_frozen_takes_what_is_left() -> None:
    """R-82, R-92: the bank has a part, somebody refunds the other."""
    purchase = purchase_in(Stage.IN_PROGRESS)
    purchase.fact(BankDisputeReported("dp_1", "opened", 10_000))
    refunded(purchase, 15_000)
    assert (purchase.state.held, purchase.state.charged_back) == (0, 10_000)
    purchase.fact(BankDisputeReported("dp_1", "lost", 10_000))
    posted(purchase)
    assert purchase.state.outcome == "charged_back"
    assert (purchase.state.refunded, purchase.state.charged_back) == (15_000, 10_000)


def test_a_refund_of_more_than_the_bank_left_ends_nothing_until_the_bank_has_decided() -> None:
    """R-82, R-83, R-92: what the bank gives back is still to be decided on."""
    purchase = purchase_in(Stage.IN_PROGRESS)
    purchase.fact(BankDisputeReported("dp_1", "opened", 5_000))
    refunded(purchase)
    assert purchase.state.stage is Stage.IN_PROGRESS
    purchase.fact(BankDisputeReported("dp_1", "won", 5_000))
    assert (purchase.state.stage, purchase.state.held) == (Stage.IN_PROGRESS, 5_000)


def test_a_refund_of_money_that_the_bank_has_waits_for_a_person() -> None:
    """R-92, R-95: the client would be paid by both, so nothing is paid until a person looks."""
    undecided, decided = purchase_in(Stage.IN_PROGRESS), Purchase().working()
    decided.freelancer("give_refund")
    for purchase in (undecided, decided):
        purchase.fact(BankDisputeReported("dp_1", "opened", ESCROW))
        refunded(purchase)
        purchase.fact(BankDisputeReported("dp_1", "won", ESCROW))
        assert purchase.state.needs(AttentionKind.REFUNDED_ELSEWHERE)
    assert decided.state.decision
    assert not is_pending(decided.state, PostDecision(ESCROW, 0))
    assert "250.00 USD are decided here" in decided.state.attention[0].text


def test_a_loss_is_posted_also_after_the_end() -> None:
    """R-87, R-97: the settlement was posted first, and closed the purchase."""
    purchase = refund_unsent()
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    purchase.fact(BankDisputeReported("dp_1", "lost", ESCROW))
    purchase.fact(RefundReported(1, "settled", "arn_7"))
    purchase.fact(SettlementPosted())
    assert purchase.state.stage is Stage.CLOSED
    purchase.fact(ProviderMovePosted(0))
    assert purchase.state.moves[0].posted


# --- refunds that are sent


def sent() -> Purchase:
    """The provider has sent the refund."""
    purchase = refund_unsent()
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    return purchase


def test_a_sent_refund_is_on_its_way() -> None:
    """R-58: both are notified with the reference; the provider is still asked."""
    purchase = sent()
    assert purchase.state.stage is Stage.SETTLING
    assert purchase.state.refund
    assert purchase.state.refund.status is RefundStatus.SENT
    assert purchase.last.effects == (CheckRefund(1),)
    assert "arn_7" in purchase.last.text
    assert recipients(purchase) == {"client", "freelancer"}


def test_a_message_may_report_that_the_refund_was_sent() -> None:
    """R-58: `settlement_update` with status `sent`."""
    purchase = refund_unsent()
    purchase.send(
        Role.PAYMENTS, "settlement_update", refund_id="purchase-p-1/refund", status="sent"
    )
    assert purchase.state.refund
    assert purchase.state.refund.status is RefundStatus.SENT


def test_a_sent_refund_is_presumed_to_have_arrived() -> None:
    """R-64, R-63: it did not come back within the settlement window."""
    purchase = sent()
    purchase.deadline(DeadlineName.SETTLEMENT)
    assert PostSettlement("arn_7", purchase.now) in purchase.last.effects
    purchase.fact(SettlementPosted())
    assert purchase.last.transition == "refund_presumed"
    assert purchase.state.outcome == "refunded"
    assert "should be" in purchase.last.text


def test_a_refund_that_is_sent_late_gets_a_window_of_its_own() -> None:
    """R-61, R-58, R-64: late, then sent, then presumed; it always ends."""
    purchase = refund_unsent()
    purchase.fact(RefundReported(1, "pending", "re_1"))
    purchase.deadline(DeadlineName.SETTLEMENT)
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    assert not purchase.state.attention
    purchase.calendar(DeadlineName.SETTLEMENT)
    purchase.deadline(DeadlineName.SETTLEMENT)
    assert purchase.state.settlement
    assert purchase.state.settlement.presumed


def test_a_policy_may_ask_for_proof() -> None:
    """R-61: with `arrival: proved`, a sent refund without proof is late."""
    purchase = Purchase(arrival="proved").working()
    purchase.freelancer("give_refund")
    purchase.posted().fact(RefundReported(1, "sent", "arn_7"))
    purchase.deadline(DeadlineName.SETTLEMENT)
    assert purchase.state.needs(AttentionKind.SETTLEMENT_LATE)
    assert purchase.state.stage is Stage.SETTLING


def test_a_sent_refund_that_comes_back_is_sent_again() -> None:
    """R-56: returned while settling counts as failed."""
    purchase = sent()
    purchase.fact(RefundReported(1, "failed", "arn_7", "account closed"))
    assert SendRefund(2) in purchase.last.effects


def test_a_pending_refund_shows_the_providers_reason_once() -> None:
    """R-62: the provider's balance is too low; R-53: the same answer again is no news."""
    purchase = refund_unsent()
    purchase.fact(RefundReported(1, "pending", "re_1", "insufficient balance"))
    assert recipients(purchase) == {"client", "operator"}
    assert "insufficient balance" in purchase.last.text
    purchase.fact(RefundReported(1, "pending", "re_1", "insufficient balance"))
    assert not purchase.notices


# --- payments that need the client


def test_the_clients_bank_wants_a_confirmation() -> None:
    """R-07: the payment is not declined; the client is notified once, and it waits."""
    purchase = Purchase(held=False)
    purchase.fact(PaymentNeedsClient("https://pay.example/1"))
    assert recipients(purchase) == {"client"}
    assert is_pending(purchase.state, TakePayment())
    purchase.fact(PaymentNeedsClient("https://pay.example/1"))
    assert not purchase.notices
    purchase.fact(PaymentHeld("ch_1"))
    assert purchase.state.confirm_url == ""


@pytest.mark.parametrize("role", [Role.PAYMENTS, Role.OPERATOR])
def test_somebody_asks_to_look_at_the_payment(role: Role) -> None:
    """R-80, R-98: while the payment is pending, it is tried again; once held, it is looked at."""
    purchase = Purchase(held=False)
    purchase.send(role, "check_payment")
    assert not purchase.last.effects
    assert purchase.state.payment_checks == 1
    purchase.fact(PaymentHeld("ch_1"))
    purchase.send(role, "check_payment")
    assert purchase.last.effects == (CheckPayment(2),)
    assert is_pending(purchase.state, CheckPayment(2))
    purchase.fact(PaymentChecked(2))
    assert not is_pending(purchase.state, CheckPayment(2))


def test_a_purchase_begins_without_news() -> None:
    """R-01: no dispute, no move, no refund elsewhere."""
    first = begin(Purchase().state.terms, Purchase().now).state
    assert (first.bank_disputes, first.moves, first.refunds_elsewhere) == ((), (), ())
