"""Stories of purchases: payments, refunds, bank disputes, and refunds that others made."""

from typing import Any

from tests.lifecycle.builders import ESCROW
from tests.lifecycle.recorded import Recorded, story
from workflows.lifecycle.events import (
    BankDisputeReported,
    EffectBlocked,
    PaymentChecked,
    PaymentDeclined,
    PaymentHeld,
    PaymentNeedsClient,
    PaymentUnusable,
    PaymentVoided,
    PlatformCancelled,
    ProviderMovePosted,
    RefundedElsewhere,
    RefundReported,
    SettlementPosted,
)
from workflows.lifecycle.state import DeadlineName
from workflows.messages import Role


def dispute(purchase: Recorded, status: Any, amount: int = ESCROW, name: str = "dp_1") -> None:
    """The provider reports on a dispute of the client's bank."""
    purchase.after(days=1).fact(BankDisputeReported(name, status, amount, "fraudulent."))


def refunded(purchase: Recorded, amount: int, reference: str = "re_x") -> None:
    """Somebody refunds a part of the payment at the provider."""
    purchase.after(hours=1).fact(RefundedElsewhere(reference, amount))


def post_moves(purchase: Recorded) -> None:
    """The ledger gets what moved at the provider, one after the other."""
    for number, move in enumerate(purchase.state.moves):
        if not move.posted:
            purchase.fact(ProviderMovePosted(number))


def operator(purchase: Recorded, action: str, reference: str | None = None) -> None:
    """An operator looked into it."""
    purchase.send(Role.OPERATOR, "resolve_attention", action=action, reference=reference)


def refund_posted(purchase: Recorded, refund: int = ESCROW) -> Recorded:
    """The parties agreed on a split; the ledger has it, and the provider was not asked yet."""
    purchase.working().client("propose_split", refund=refund)
    purchase.freelancer("accept_split", refund=refund)
    return purchase.posted().from_here()


# --- payments


@story
def the_client_confirms_the_payment() -> Recorded:
    purchase = Recorded(held=False)
    purchase.fact(PaymentNeedsClient("https://pay.example/1"))
    purchase.fact(PaymentNeedsClient("https://pay.example/1"))
    purchase.send(Role.PAYMENTS, "check_payment")
    purchase.after(minutes=2).fact(PaymentHeld("ch_1"))
    purchase.send(Role.OPERATOR, "check_payment")
    purchase.send(Role.PAYMENTS, "check_payment")
    purchase.fact(PaymentChecked(3))
    return purchase


@story
def the_payment_is_declined_with_a_reason() -> Recorded:
    purchase = Recorded(held=False)
    purchase.client("propose_split", refund=5_000)
    purchase.fact(PaymentDeclined("The card has expired."))
    return purchase


@story
def the_payment_made_elsewhere_cannot_be_used() -> Recorded:
    purchase = Recorded(held=False)
    purchase.fact(PaymentUnusable("This payment belongs to another purchase."))
    return purchase


@story
def the_payment_is_declined_without_a_reason() -> Recorded:
    purchase = Recorded(held=False, requirements_needed=False)
    purchase.fact(PaymentDeclined())
    return purchase


@story
def the_payment_window_ends() -> Recorded:
    purchase = Recorded(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(EffectBlocked("void_payment", "The provider does not answer."))
    purchase.after(hours=1).fact(EffectBlocked("void_payment", "The provider is down."))
    operator(purchase, "retry")
    operator(purchase, "retry")
    purchase.fact(PaymentVoided())
    return purchase


@story
def the_payment_arrives_after_its_window() -> Recorded:
    purchase = Recorded(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(EffectBlocked("void_payment", "The provider does not answer."))
    purchase.after(minutes=5).fact(PaymentHeld("ch_1"))
    return purchase


@story
def the_freelancer_cancels_before_the_payment_is_held() -> Recorded:
    purchase = Recorded(held=False)
    purchase.freelancer("cancel", reason="no time")
    purchase.after(minutes=5).fact(PaymentHeld("ch_1"))
    purchase.fact(EffectBlocked("post_decision", "The ledger is away."))
    purchase.posted()
    return purchase


# --- refunds


@story
def a_split_is_sent_and_presumed_to_arrive() -> Recorded:
    purchase = Recorded().working().from_here()
    purchase.client("propose_split", refund=10_000, note="for the sketches")
    purchase.freelancer("propose_split", refund=5_000)
    purchase.freelancer("accept_split", refund=5_000)
    purchase.client("accept_split", refund=10_000)
    purchase.client("accept_split", refund=5_000)
    purchase.posted()
    purchase.fact(RefundReported(1, "pending", "re_1"))
    purchase.fact(RefundReported(1, "pending", "re_2", "The balance is too low."))
    purchase.fact(RefundReported(1, "pending", "", "The balance is too low."))
    purchase.fact(RefundReported(1, "pending"))
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    purchase.deadline(DeadlineName.SETTLEMENT)
    purchase.fact(SettlementPosted())
    return purchase


@story
def a_refund_without_a_name_of_the_provider_is_presumed_to_arrive() -> Recorded:
    purchase = refund_posted(Recorded())
    purchase.fact(RefundReported(1, "sent"))
    purchase.deadline(DeadlineName.SETTLEMENT)
    purchase.fact(SettlementPosted())
    return purchase


@story
def a_refund_fails_twice_and_an_operator_sends_it_again() -> Recorded:
    purchase = refund_posted(Recorded(), 10_000)
    purchase.fact(EffectBlocked("send_refund", "The provider is busy."))
    purchase.fact(RefundReported(1, "failed", "re_1", "Declined with code X."))
    purchase.fact(EffectBlocked("send_refund", "The provider is away."))
    purchase.fact(RefundReported(2, "failed", "re_2", "The account is closed."))
    operator(purchase, "retry")
    purchase.fact(RefundReported(1, "failed", "re_1"))
    purchase.fact(RefundReported(3, "pending", "re_3"))
    purchase.send(Role.PAYMENTS, "settlement_update", refund_id="re_9", status="settled")
    purchase.send(Role.PAYMENTS, "settlement_update", refund_id="re_3", status="settled")
    operator(purchase, "mark_settled", "proof 1")
    purchase.fact(SettlementPosted())
    return purchase


@story
def a_refund_is_proved_by_a_person() -> Recorded:
    purchase = refund_posted(Recorded(), 10_000)
    purchase.fact(RefundReported(1, "failed", "re_1"))
    purchase.fact(RefundReported(2, "failed"))
    operator(purchase, "mark_settled")
    operator(purchase, "mark_settled", "transfer 7")
    purchase.fact(EffectBlocked("post_settlement", "The ledger is away."))
    operator(purchase, "mark_settled", "transfer 8")
    purchase.fact(SettlementPosted())
    return purchase


@story
def a_refund_that_had_failed_was_settled() -> Recorded:
    purchase = refund_posted(Recorded())
    purchase.fact(RefundReported(1, "failed", "re_1"))
    purchase.fact(RefundReported(2, "pending", "re_2"))
    purchase.fact(RefundReported(1, "settled", "arn_1"))
    purchase.fact(SettlementPosted())
    return purchase


@story
def a_refund_is_late_then_sent_then_settled() -> Recorded:
    purchase = refund_posted(Recorded(arrival="proved"))
    purchase.fact(RefundReported(1, "pending", "re_1"))
    purchase.deadline(DeadlineName.SETTLEMENT)
    operator(purchase, "retry")
    purchase.fact(RefundReported(1, "sent"))
    purchase.calendar(DeadlineName.SETTLEMENT, days=3)
    purchase.calendar(DeadlineName.SETTLEMENT, days=2)
    purchase.deadline(DeadlineName.SETTLEMENT)
    purchase.fact(RefundReported(1, "settled"))
    purchase.fact(SettlementPosted())
    return purchase


@story
def a_refund_is_blocked_and_the_provider_says_why() -> Recorded:
    purchase = refund_posted(Recorded())
    purchase.fact(EffectBlocked("send_refund", "Nobody answers."))
    purchase.fact(PaymentChecked(1))
    purchase.fact(RefundReported(1, "pending", "re_1"))
    return purchase


# --- bank disputes


@story
def a_bank_asks_then_takes_a_part_and_gives_it_back() -> Recorded:
    purchase = Recorded().working().from_here()
    dispute(purchase, "inquiry", 7_000)
    dispute(purchase, "opened", 10_000)
    purchase.freelancer("give_refund")
    purchase.freelancer("deliver")
    dispute(purchase, "opened", 5_000, "dp_2")
    dispute(purchase, "won", 10_000)
    dispute(purchase, "won", 5_000, "dp_2")
    post_moves(purchase)
    return purchase


@story
def a_bank_takes_everything_and_keeps_it() -> Recorded:
    purchase = Recorded().delivered().from_here()
    dispute(purchase, "opened", ESCROW + 500)
    dispute(purchase, "opened", 5_000, "dp_2")
    dispute(purchase, "won", 5_000, "dp_2")
    dispute(purchase, "lost", ESCROW + 500)
    post_moves(purchase)
    return purchase


@story
def a_bank_keeps_more_than_it_took_first() -> Recorded:
    purchase = Recorded(chargeback_after_release="freelancer").contested(18_000).from_here()
    purchase.client("propose_split", refund=20_000)
    dispute(purchase, "opened", 10_000)
    dispute(purchase, "lost", 12_000)
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=15_001)
    post_moves(purchase)
    return purchase


@story
def a_bank_keeps_a_part_that_nobody_had_reported() -> Recorded:
    purchase = Recorded().reviewed().from_here()
    dispute(purchase, "inquiry", 10_000)
    dispute(purchase, "lost", 10_000)
    post_moves(purchase)
    dispute(purchase, "won", 10_000)
    operator(purchase, "retry")
    dispute(purchase, "lost", 10_000)
    return purchase


@story
def an_inquiry_ends_well() -> Recorded:
    purchase = Recorded().reviewed().from_here()
    dispute(purchase, "inquiry", 10_000)
    dispute(purchase, "won", 10_000)
    return purchase


@story
def a_bank_takes_what_is_decided_and_gives_it_back() -> Recorded:
    purchase = Recorded().delivered().from_here()
    purchase.client("accept_delivery")
    dispute(purchase, "opened", ESCROW + 500)
    dispute(purchase, "won", ESCROW + 500)
    purchase.posted()
    return purchase


@story
def a_bank_keeps_a_part_of_what_was_decided() -> Recorded:
    purchase = Recorded().working().from_here()
    purchase.freelancer("give_refund")
    purchase.calendar(DeadlineName.SETTLEMENT)
    dispute(purchase, "opened", 10_000)
    dispute(purchase, "lost", 10_000)
    post_moves(purchase)
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=5_000)
    return purchase


@story
def the_platform_cancels_while_a_bank_has_the_money() -> Recorded:
    purchase = Recorded().requested().from_here()
    dispute(purchase, "opened")
    purchase.fact(PlatformCancelled())
    dispute(purchase, "won")
    return purchase


@story
def a_bank_takes_a_refund_before_it_is_sent_and_gives_it_back() -> Recorded:
    purchase = refund_posted(Recorded(), 10_000)
    dispute(purchase, "opened", 4_000)
    dispute(purchase, "won", 4_000)
    post_moves(purchase)
    return purchase


@story
def a_bank_keeps_a_part_of_a_refund() -> Recorded:
    purchase = refund_posted(Recorded(chargeback_after_release="freelancer"), 10_000)
    dispute(purchase, "opened", 4_000)
    dispute(purchase, "lost", 4_000)
    post_moves(purchase)
    return purchase


@story
def a_bank_keeps_a_refund_that_had_failed() -> Recorded:
    purchase = refund_posted(Recorded(chargeback_after_release="freelancer"), 10_000)
    purchase.fact(RefundReported(1, "failed", "re_1"))
    purchase.fact(RefundReported(2, "failed", "re_2"))
    dispute(purchase, "opened", ESCROW)
    post_moves(purchase)
    operator(purchase, "retry")
    operator(purchase, "mark_settled", "transfer 7")
    dispute(purchase, "lost", ESCROW)
    post_moves(purchase)
    return purchase


@story
def a_bank_keeps_money_that_was_paid() -> Recorded:
    purchase = refund_posted(Recorded(chargeback_after_release="freelancer"), 10_000)
    purchase.fact(RefundReported(1, "sent", "arn_7"))
    dispute(purchase, "opened", 12_000)
    dispute(purchase, "lost", 12_000)
    dispute(purchase, "lost", ESCROW, "dp_2")
    post_moves(purchase)
    purchase.fact(RefundReported(1, "settled", "arn_7"))
    purchase.fact(SettlementPosted())
    return purchase


@story
def a_bank_disputes_a_sent_refund_and_changes_its_decision() -> Recorded:
    purchase = refund_posted(Recorded())
    purchase.fact(RefundReported(1, "sent"))
    dispute(purchase, "opened", 10_000)
    dispute(purchase, "won", 10_000)
    dispute(purchase, "won", 1_000, "dp_2")
    dispute(purchase, "lost", 10_000)
    dispute(purchase, "lost", 10_000)
    operator(purchase, "retry")
    dispute(purchase, "won", 10_000)
    purchase.fact(RefundReported(1, "settled"))
    return purchase


@story
def a_bank_changes_its_decision_about_a_refund_that_is_not_sent() -> Recorded:
    purchase = refund_posted(Recorded(), 10_000)
    dispute(purchase, "opened", 10_000)
    dispute(purchase, "won", 10_000)
    dispute(purchase, "lost", 10_000)
    operator(purchase, "retry")
    return purchase


# --- refunds made elsewhere


@story
def what_a_bank_has_is_refunded_elsewhere() -> Recorded:
    """Nothing is held, so nothing can be taken from the decision before a person has looked."""
    purchase = Recorded().working().from_here()
    purchase.freelancer("give_refund")
    dispute(purchase, "opened")
    refunded(purchase, 10_000)
    dispute(purchase, "won")
    return purchase


@story
def a_second_attempt_without_a_name_is_disputed_and_refunded_elsewhere() -> Recorded:
    purchase = refund_posted(Recorded(), 10_000)
    purchase.fact(RefundReported(1, "failed", "re_1"))
    purchase.fact(RefundReported(2, "sent"))
    dispute(purchase, "opened")
    refunded(purchase, 10_000)
    purchase.deadline(DeadlineName.SETTLEMENT)
    return purchase


@story
def everything_is_refunded_elsewhere() -> Recorded:
    purchase = Recorded().contested(20_000).from_here()
    purchase.client("propose_split", refund=20_000)
    refunded(purchase, ESCROW)
    post_moves(purchase)
    return purchase


@story
def more_is_refunded_elsewhere_than_is_held() -> Recorded:
    purchase = Recorded().working().from_here()
    dispute(purchase, "opened", 5_000)
    refunded(purchase, ESCROW)
    operator(purchase, "retry")
    dispute(purchase, "won", 5_000)
    return purchase


@story
def a_claim_and_an_offer_exceed_what_a_refund_elsewhere_leaves() -> Recorded:
    purchase = Recorded().contested(20_000).from_here()
    purchase.client("propose_split", refund=15_001)
    refunded(purchase, 10_000)
    return purchase


@story
def a_claim_and_an_offer_are_exactly_what_a_refund_elsewhere_leaves() -> Recorded:
    purchase = Recorded().contested(15_000).from_here()
    purchase.client("propose_split", refund=15_000)
    refunded(purchase, 10_000)
    refunded(purchase, 10_000)
    post_moves(purchase)
    return purchase


@story
def a_decided_refund_was_partly_made_elsewhere() -> Recorded:
    purchase = Recorded().working().from_here()
    purchase.freelancer("give_refund")
    refunded(purchase, 10_000)
    refunded(purchase, 15_000, "re_y")
    post_moves(purchase)
    return purchase


@story
def a_decided_refund_was_made_elsewhere_and_the_rest_is_released() -> Recorded:
    purchase = Recorded().disputed().from_here()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=10_000, note="half of it")
    refunded(purchase, 10_000)
    purchase.posted()
    return purchase


@story
def more_is_refunded_elsewhere_than_was_decided() -> Recorded:
    purchase = Recorded().disputed().from_here()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=10_000)
    purchase.calendar(DeadlineName.SETTLEMENT)
    refunded(purchase, 12_000)
    post_moves(purchase)
    return purchase


@story
def a_posted_refund_was_made_elsewhere_too_and_is_sent() -> Recorded:
    purchase = refund_posted(Recorded(), 10_000)
    refunded(purchase, 10_000)
    operator(purchase, "retry")
    return purchase


@story
def a_failed_refund_was_made_elsewhere() -> Recorded:
    purchase = refund_posted(Recorded(), 10_000)
    purchase.fact(RefundReported(1, "failed", "re_1"))
    purchase.fact(RefundReported(2, "failed", "re_2"))
    refunded(purchase, 10_000)
    operator(purchase, "mark_settled", "re_x")
    purchase.fact(SettlementPosted())
    return purchase
