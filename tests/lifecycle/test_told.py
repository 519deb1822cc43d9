"""What is told of each thing that happens outside the tables: who did it, what it was, whom it
concerns and which money moves. (What the rows of the tables tell is in the rows.)"""

from datetime import timedelta

import pytest

from tests.lifecycle.given import ESCROW, NOON, Purchase, purchase_in, refund_under_way
from workflows.lifecycle import begin, next_reminder, rejection, reminder
from workflows.lifecycle.state import (
    CheckRefund,
    Code,
    DeadlineName,
    DecisionPosted,
    EffectBlocked,
    Fact,
    Movement,
    Notify,
    PaymentDeclined,
    PaymentHeld,
    PaymentVoided,
    PlatformCancelled,
    RefundAnswered,
    Rejection,
    SettlementPosted,
    Stage,
)
from workflows.messages import Role

METHOD = "the client's payment method"


def told(purchase: Purchase) -> tuple[str, str, str, tuple[str, ...]]:
    """The one notice of the last event: what happened, by whom, in words, to whom."""
    (notice,) = purchase.notices
    assert notice.rule.endswith(".")
    assert (purchase.last.transition, purchase.last.text) == (notice.transition, notice.what)
    return notice.transition, notice.by, notice.what, notice.recipients


def moved(purchase: Purchase) -> tuple[Movement, ...]:
    """The money that the one notice of the last event speaks of."""
    (notice,) = purchase.notices
    return notice.movements


# --- the payment


def test_a_purchase_begins_with_a_line_of_its_own() -> None:
    """(start): the first line of the timeline, before anything is paid."""
    first = begin(Purchase().state.terms, NOON)
    assert first.transition == "purchased"
    assert first.text == "Ana bought a project of Bo for 250.00 USD."


def test_a_hold_is_told_to_both() -> None:
    """(start): charged, and held in escrow."""
    purchase = Purchase(held=False)
    purchase.learns(PaymentHeld("ch_1"))
    assert told(purchase) == (
        "payment_held",
        "system",
        "Ana paid 250.00 USD; it is held in escrow.",
        ("client", "freelancer"),
    )
    assert moved(purchase) == (Movement(ESCROW, METHOD, "escrow"),)


@pytest.mark.parametrize(
    ("fact", "outcome", "what"),
    [
        (
            PaymentDeclined(),
            "payment_declined",
            "The payment was declined; nothing was paid.",
        ),
        (
            PaymentVoided(),
            "payment_failed",
            "The payment could not be made and was called off; nothing was paid.",
        ),
    ],
)
def test_a_payment_that_fails_is_told_to_both(fact: Fact, outcome: str, what: str) -> None:
    """(start): declined, or called off; no money moves."""
    purchase = Purchase(held=False)
    purchase.learns(fact)
    assert told(purchase) == (outcome, "payments", what, ("client", "freelancer"))
    assert moved(purchase) == ()


# --- the refund on its way


def test_a_refund_that_is_sent_is_told_of_when_it_arrives() -> None:
    """Posted and sent: both know already what was decided. Arrived: both are told."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    for fact in (DecisionPosted(), RefundAnswered(1, "pending", "re_1")):
        purchase.learns(fact)
        assert (purchase.notices, purchase.last.transition, purchase.last.text) == ([], "", "")
    purchase.learns(RefundAnswered(1, "settled"))
    purchase.learns(SettlementPosted())
    assert told(purchase) == (
        "refund_settled",
        "payments",
        "The refund of 250.00 USD has arrived at Ana.",
        ("client", "freelancer"),
    )
    assert moved(purchase) == (Movement(ESCROW, "refunds in transit", METHOD),)


@pytest.mark.parametrize(
    ("said", "why"),
    [("", ""), ("The account is closed.", " (The account is closed)"), ("Code X.", " (Code X)")],
)
def test_a_refund_that_fails_is_told_with_the_providers_reason(said: str, why: str) -> None:
    """settlement failed: tried once more; failed again: our staff. The client and operators are
    told each time, with the provider's own words where there are any."""
    purchase = refund_under_way()
    purchase.learns(RefundAnswered(1, "failed", "re_1", said))
    begun = f"The provider could not send the refund of 250.00 USD{why}"
    concerned = ("client", "operator")
    assert told(purchase) == (
        "refund_retried",
        "payments",
        f"{begun}; it is tried once more.",
        concerned,
    )
    purchase.learns(RefundAnswered(2, "failed", "re_2", said))
    assert told(purchase) == (
        "refund_failed",
        "payments",
        f"{begun}; our staff looks into it.",
        concerned,
    )
    (item,) = purchase.state.attention
    assert item.text.startswith(f"{begun}. The money is in transit.")
    assert item.since == purchase.now


def test_a_failure_reported_by_message_has_no_reason() -> None:
    """settlement_update failed: the message has no field for one."""
    purchase = refund_under_way()
    purchase.staff(Role.PAYMENTS, "settlement_update", refund_id="re_1", status="failed")
    (notice,) = purchase.notices
    assert notice.what == (
        "The provider could not send the refund of 250.00 USD; it is tried once more."
    )


def test_a_refund_that_may_arrive_twice_is_told_to_operators() -> None:
    """An attempt that had failed arrives after all, and another one is on its way."""
    purchase = refund_under_way()
    purchase.learns(RefundAnswered(1, "failed"))
    purchase.learns(RefundAnswered(1, "settled"))
    assert told(purchase) == (
        "refund_doubtful",
        "payments",
        "Refund attempt 1, once reported as failed, has arrived; attempt 2 may arrive, too. "
        "Compare with the payment provider.",
        ("operator",),
    )


# --- staff


def test_a_step_that_is_held_up_is_told_to_operators() -> None:
    """needs_attention: which step, and what stood in its way."""
    purchase = refund_under_way()
    purchase.learns(EffectBlocked(CheckRefund.kind, "the provider does not answer"))
    assert told(purchase) == (
        "effect_blocked",
        "system",
        "The step “check refund” is held up: the provider does not answer",
        ("operator",),
    )
    (item,) = purchase.state.attention
    assert (item.text, item.since) == ("the provider does not answer", purchase.now)


def test_the_platforms_cancellation_is_told_to_both() -> None:
    """workflow cancellation: by an operator, with what goes back."""
    purchase = Purchase().working()
    purchase.learns(PlatformCancelled())
    assert told(purchase) == (
        "cancelled_by_platform",
        "operator",
        "The platform cancelled the purchase; 250.00 USD goes back to Ana.",
        ("client", "freelancer"),
    )
    assert moved(purchase) == (Movement(ESCROW, "escrow", METHOD),)


# --- the parties


def test_what_a_party_did_is_told_in_its_name_and_with_its_words() -> None:
    """Each row's notice says who acted, and passes on the text, reason or note that came along."""
    purchase = Purchase().working()
    purchase.freelancer("propose_split", refund=15_000, note="half is done")
    (notice,) = purchase.notices
    assert (notice.transition, notice.by) == ("split_proposed", "freelancer")
    assert notice.what == "Bo offers a split: 150.00 USD to Ana, 100.00 USD to Bo."
    assert notice.words == "half is done"
    purchase.client("accept_split", refund=15_000)
    (notice,) = purchase.notices
    assert (notice.transition, notice.by) == ("mutual_split", "client")
    assert notice.what == "Ana accepted the split: 150.00 USD to Ana, 100.00 USD to Bo."
    assert notice.words is None


def test_silence_is_told_in_the_name_of_the_system() -> None:
    """A deadline that takes effect is nobody's act."""
    purchase = Purchase().delivered()
    purchase.deadline(DeadlineName.REVIEW)
    (notice,) = purchase.notices
    assert (notice.transition, notice.by, notice.words) == ("review_lapsed", "system", None)


def test_a_reminder_names_its_deadline() -> None:
    """Of one deadline, to whose turn it is."""
    assert reminder(DeadlineName.REFUND_DECISION) == Notify(
        "reminder",
        "system",
        "A reminder: it is your turn (refund decision).",
        "We remind you before a deadline passes.",
        ("freelancer",),
        deadline=DeadlineName.REFUND_DECISION,
    )


def test_a_reminder_is_due_once() -> None:
    """At its instant it is no longer to come: the next one is."""
    state = purchase_in(Stage.AWAITING_REQUIREMENTS).state
    first, last = NOON + timedelta(hours=24), NOON + timedelta(hours=44)
    assert next_reminder(state, first - timedelta(seconds=1)) == (
        first,
        (DeadlineName.REQUIREMENTS,),
    )
    assert next_reminder(state, first) == (last, (DeadlineName.REQUIREMENTS,))
    assert next_reminder(state, last) is None


def test_a_refusal_is_told_in_the_words_of_the_rules() -> None:
    """To the sender only: the message's name, the code and the sentence."""
    answer = Rejection(Code.NO_OFFER, "No offer stands.")
    assert rejection("accept_split", answer, "client") == Notify(
        "message_rejected",
        "system",
        "Your message accept_split could not be accepted (NO_OFFER).",
        "No offer stands.",
        ("client",),
        rejected=("accept_split", Code.NO_OFFER),
    )
