"""What is recorded and notified for each fact: who acted, what happened, whom it concerns and which
money moves."""

from datetime import timedelta

import pytest

from activities.requests import Movement
from tests.lifecycle.builders import ESCROW, NOON, Purchase, purchase_in, refund_under_way
from workflows.lifecycle import begin, next_reminder, rejection_notice, reminder, texts
from workflows.lifecycle.events import (
    CheckRefund,
    DecisionPosted,
    EffectBlocked,
    Fact,
    PaymentDeclined,
    PaymentHeld,
    PaymentVoided,
    PlatformCancelled,
    RefundReported,
    Rejection,
    SettlementPosted,
)
from workflows.lifecycle.state import Code, DeadlineName, Stage
from workflows.messages import Role

METHOD = "the client's payment method"


def notified(purchase: Purchase) -> tuple[str, str, str, tuple[str, ...]]:
    """The one notice of the last event: which transition, by whom, in words, to whom."""
    (notice,) = purchase.notices
    assert notice.text.explanation.endswith(".")
    assert (purchase.last.transition, purchase.last.actor) == (notice.transition, notice.actor)
    return notice.transition, notice.actor, purchase.last.text, notice.recipients


def moved(purchase: Purchase) -> tuple[Movement, ...]:
    """The money that the one notice of the last event speaks of."""
    (notice,) = purchase.notices
    return notice.movements


# --- the payment


def test_a_purchase_begins_with_a_line_of_its_own() -> None:
    """(start): the first line of the timeline, before anything is paid."""
    first = begin(Purchase().state.terms, NOON)
    assert first.transition == "purchased"
    assert first.text == "Ana bought a project from Bo for 250.00 USD."


def test_a_hold_is_told_to_both() -> None:
    """(start): charged, and held in escrow."""
    purchase = Purchase(held=False)
    purchase.learns(PaymentHeld("ch_1"))
    assert notified(purchase) == (
        "payment_held",
        "system",
        "Ana paid 250.00 USD. The money is held in escrow.",
        ("client", "freelancer"),
    )
    assert moved(purchase) == (Movement(ESCROW, METHOD, "escrow"),)


@pytest.mark.parametrize(
    ("fact", "outcome", "what"),
    [
        (
            PaymentDeclined(),
            "payment_declined",
            "The payment provider declined Ana's payment of 250.00 USD. Nothing was charged, and "
            "the purchase is closed.",
        ),
        (
            PaymentVoided(),
            "payment_failed",
            "Ana's payment of 250.00 USD did not go through within 1 hour, so our system cancelled "
            "it. Nothing was charged, and the purchase is closed.",
        ),
    ],
)
def test_a_payment_that_fails_is_told_to_both(fact: Fact, outcome: str, what: str) -> None:
    """(start): declined, or called off; no money moves."""
    purchase = Purchase(held=False)
    purchase.learns(fact)
    assert notified(purchase) == (outcome, "payments", what, ("client", "freelancer"))
    assert moved(purchase) == ()


# --- the refund on its way


def test_a_refund_that_is_sent_is_told_of_when_it_arrives() -> None:
    """Posted and sent: both know already what was decided. Arrived: both are told."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    for fact in (DecisionPosted(), RefundReported(1, "pending", "re_1")):
        purchase.learns(fact)
        assert (purchase.notices, purchase.last.transition, purchase.last.text) == ([], "", "")
    purchase.learns(RefundReported(1, "settled"))
    purchase.learns(SettlementPosted())
    assert notified(purchase) == (
        "refund_settled",
        "payments",
        "Ana's refund of 250.00 USD has arrived.",
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
    purchase.learns(RefundReported(1, "failed", "re_1", said))
    begun = f"The payment provider could not send Ana's refund of 250.00 USD{why}"
    concerned = ("client", "operator")
    assert notified(purchase) == (
        "refund_retried",
        "payments",
        f"{begun}; a second attempt is being sent. There is nothing Ana must do.",
        concerned,
    )
    purchase.learns(RefundReported(2, "failed", "re_2", said))
    assert notified(purchase) == (
        "refund_failed",
        "payments",
        f"{begun}. Our staff is looking into it; there is nothing Ana must do.",
        concerned,
    )
    (item,) = purchase.state.attention
    assert item.text.startswith(
        f"The provider could not send the refund of 250.00 USD{why}. The money is in transit."
    )
    assert item.since == purchase.now


def test_a_failure_reported_by_message_has_no_reason() -> None:
    """settlement_update failed: the message has no field for one."""
    purchase = refund_under_way()
    purchase.staff(Role.PAYMENTS, "settlement_update", refund_id="re_1", status="failed")
    assert purchase.last.text == (
        "The payment provider could not send Ana's refund of 250.00 USD; a second attempt is being "
        "sent. There is nothing Ana must do."
    )


def test_a_refund_that_may_arrive_twice_is_told_to_operators() -> None:
    """An attempt that had failed arrives after all, and another one is on its way."""
    purchase = refund_under_way()
    purchase.learns(RefundReported(1, "failed"))
    purchase.learns(RefundReported(1, "settled"))
    assert notified(purchase) == (
        "refund_doubtful",
        "payments",
        "Refund attempt 1, once reported as failed, is settled; attempt 2 may be settled, too. "
        "Compare with the payment provider.",
        ("operator",),
    )


# --- staff


def test_a_step_that_is_held_up_is_told_to_operators() -> None:
    """needs_attention: which step, and what stood in its way."""
    purchase = refund_under_way()
    purchase.learns(EffectBlocked(CheckRefund.kind, "the provider does not answer"))
    assert notified(purchase) == (
        "effect_blocked",
        "system",
        "“check refund” is blocked: the provider does not answer",
        ("operator",),
    )
    (item,) = purchase.state.attention
    assert (item.text, item.since) == ("the provider does not answer", purchase.now)


def test_the_platforms_cancellation_is_told_to_both() -> None:
    """workflow cancellation: by an operator, with what goes back."""
    purchase = Purchase().working()
    purchase.learns(PlatformCancelled())
    assert notified(purchase) == (
        "cancelled_by_platform",
        "operator",
        "Our staff cancelled the purchase: all of the money, 250.00 USD, goes back to Ana.",
        ("client", "freelancer"),
    )
    assert moved(purchase) == (Movement(ESCROW, "escrow", METHOD),)


# --- the parties


def test_what_a_party_did_is_told_in_its_name_and_with_its_words() -> None:
    """Each row's notice says who acted, and passes on the text, reason or note that came along."""
    purchase = Purchase().working()
    purchase.freelancer("propose_split", refund=15_000, note="half is done")
    (notice,) = purchase.notices
    assert (notice.transition, notice.actor) == ("split_proposed", "freelancer")
    assert purchase.last.text == (
        "Bo offered a split: 150.00 USD would go back to Ana and 100.00 USD would go to Bo."
    )
    assert notice.note == "half is done"
    purchase.client("accept_split", refund=15_000)
    (notice,) = purchase.notices
    assert (notice.transition, notice.actor) == ("mutual_split", "client")
    assert purchase.last.text == (
        "Ana accepted the split: 150.00 USD goes back to Ana and 100.00 USD goes to Bo."
    )
    assert notice.note is None


def test_silence_is_told_in_the_name_of_the_system() -> None:
    """A deadline that takes effect is nobody's act."""
    purchase = Purchase().delivered()
    purchase.deadline(DeadlineName.REVIEW)
    (notice,) = purchase.notices
    assert (notice.transition, notice.actor, notice.note) == ("review_lapsed", "system", None)


def test_a_reminder_names_its_deadline() -> None:
    """Of one deadline, to whose turn it is."""
    found = reminder(Purchase().requested().state, DeadlineName.REFUND_DECISION)
    assert (found.transition, found.actor) == ("reminder", "system")
    assert found.text is texts.REFUND_DECISION_REMINDER
    assert found.recipients == ("freelancer",)
    assert found.deadline is DeadlineName.REFUND_DECISION


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


def test_a_rejection_notice_quotes_message_code_and_sentence() -> None:
    """To the sender only."""
    answer = Rejection(Code.NO_OFFER, "No offer stands.")
    found = rejection_notice("accept_split", answer, "client")
    assert (found.transition, found.recipients) == ("message_rejected", ("client",))
    assert found.values == {
        "message": "accept split",
        "code": "NO_OFFER",
        "answer": "No offer stands.",
    }
    assert found.text.summary.endswith("There is no offer to accept.")
