"""What is recorded and notified for each fact: actor, summary, recipients and movements of
money."""

from dataclasses import replace
from datetime import timedelta

import pytest

from activities.requests import Movement
from tests.lifecycle.builders import ESCROW, NOON, Purchase, pending_refund, purchase_in
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
    """The only notice of the last event: transition, actor, summary, recipients."""
    (notice,) = purchase.notices
    assert notice.text.explanation.endswith(".")
    assert (purchase.last.transition, purchase.last.actor) == (notice.transition, notice.actor)
    return notice.transition, notice.actor, purchase.last.text, notice.recipients


def moved(purchase: Purchase) -> tuple[Movement, ...]:
    """The movements of money in the only notice of the last event."""
    (notice,) = purchase.notices
    return notice.movements


# --- the payment


def test_the_purchase_is_the_first_line_of_the_timeline() -> None:
    """R-01: the purchase is recorded before anything is paid."""
    first = begin(Purchase().state.terms, NOON)
    assert (first.transition, first.actor) == ("purchased", "client")
    assert first.text == "Ana bought a project from Bo for 250.00 USD."


def test_amounts_keep_the_decimals_of_the_terms() -> None:
    """A currency whose decimals change later changes no running purchase."""
    first = begin(replace(Purchase().state.terms, decimals=3), NOON)
    assert first.text == "Ana bought a project from Bo for 25.000 USD."


def test_both_parties_are_notified_of_a_held_payment() -> None:
    """R-03: the client paid, and the money is in escrow."""
    purchase = Purchase(held=False)
    purchase.fact(PaymentHeld("ch_1"))
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
            PaymentDeclined("Your card has expired."),
            "payment_declined",
            "The payment provider declined Ana's payment of 250.00 USD (Your card has "
            "expired). No money was taken for this purchase, and it is closed.",
        ),
        (
            PaymentVoided(),
            "payment_failed",
            "Ana's payment of 250.00 USD did not go through within 1 hour, so our system cancelled "
            "it. Nothing was charged, and the purchase is closed.",
        ),
    ],
)
def test_both_parties_are_notified_of_a_failed_payment(fact: Fact, outcome: str, what: str) -> None:
    """R-04, R-05: declined or voided, the purchase closes and no money moves."""
    purchase = Purchase(held=False)
    purchase.fact(fact)
    assert notified(purchase) == (outcome, "payments", what, ("client", "freelancer"))
    assert moved(purchase) == ()


def test_nobody_is_notified_when_the_payment_window_ends() -> None:
    """R-06: the timeline says so; the parties are notified when the payment is held or cancelled
    (R-03, R-05)."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    assert purchase.last.transition == "payment_window_expired"
    assert purchase.notices == []


# --- the refund


def test_both_parties_are_notified_of_a_refund_when_it_is_settled() -> None:
    """R-51, R-53, R-54, R-59: posting and sending are silent; the settlement is notified, with the
    movement."""
    purchase = Purchase().working()
    purchase.freelancer("give_refund")
    purchase.posted()
    for fact in (DecisionPosted(), RefundReported(1, "pending", "re_1")):
        purchase.fact(fact)
        assert (purchase.notices, purchase.last.transition, purchase.last.text) == ([], "", "")
    purchase.fact(RefundReported(1, "settled"))
    purchase.fact(SettlementPosted())
    assert notified(purchase) == (
        "refund_settled",
        "payments",
        "Ana's refund of 250.00 USD has arrived.",
        ("client", "freelancer"),
    )
    assert moved(purchase) == (Movement(ESCROW, "refunds in transit", METHOD),)


@pytest.mark.parametrize(
    ("reason", "why"),
    [("", ""), ("The account is closed.", " (The account is closed)"), ("Code X.", " (Code X)")],
)
def test_a_failed_refund_is_notified_with_the_providers_reason(reason: str, why: str) -> None:
    """R-56, R-57: the client and operators are notified of the second attempt, then of the failure,
    each with the reason if there is one."""
    purchase = pending_refund()
    purchase.fact(RefundReported(1, "failed", "re_1", reason))
    begun = f"Ana's refund of 250.00 USD did not arrive{why}"
    concerned = ("client", "operator")
    assert notified(purchase) == (
        "refund_retried",
        "payments",
        f"{begun}. The payment provider is sending it again. Ana need not do anything.",
        concerned,
    )
    purchase.fact(RefundReported(2, "failed", "re_2", reason))
    assert notified(purchase) == (
        "refund_failed",
        "payments",
        f"{begun}. Our staff is looking into it. Ana need not do anything.",
        concerned,
    )
    (item,) = purchase.state.attention
    assert item.text.startswith(
        f"The provider could not send the refund of 250.00 USD{why}. The money is in transit."
    )
    assert item.since == purchase.now


@pytest.mark.parametrize(
    ("report", "hidden"),
    [(RefundReported(2, "failed"), True), (RefundReported(1, "settled"), False)],
)
def test_notices_hide_the_settlement_deadline_once_staff_looks_into_the_refund(
    report: RefundReported, hidden: bool
) -> None:
    """R-55, R-57: a failed refund may arrive later than its deadline says, so only operators see
    the deadline; R-55 is for operators anyway."""
    purchase = pending_refund()
    purchase.fact(RefundReported(1, "failed"))
    purchase.fact(report)
    (notice,) = purchase.notices
    assert notice.hide_settlement_deadline is hidden


def test_a_settlement_reported_by_message_is_in_the_timeline() -> None:
    """R-54: an answer of the provider is recorded silently, a message of its own is not."""
    purchase = pending_refund()
    purchase.send(Role.PAYMENTS, "settlement_update", refund_id="re_1", status="settled")
    assert (purchase.last.transition, purchase.last.actor) == ("refund_confirmed", "payments")
    assert purchase.last.text == (
        "The payment provider says that Ana's refund of 250.00 USD is settled."
    )
    assert purchase.notices == []


def test_a_failure_reported_by_message_has_no_reason() -> None:
    """R-56: settlement_update has no field for a reason."""
    purchase = pending_refund()
    purchase.send(Role.PAYMENTS, "settlement_update", refund_id="re_1", status="failed")
    assert purchase.last.text == (
        "Ana's refund of 250.00 USD did not arrive. The payment provider is sending it again. "
        "Ana need not do anything."
    )


def test_operators_are_notified_of_a_refund_that_may_be_paid_twice() -> None:
    """R-55: the first attempt settles after it was reported as failed, and a second one is being
    sent."""
    purchase = pending_refund()
    purchase.fact(RefundReported(1, "failed"))
    purchase.fact(RefundReported(1, "settled"))
    assert notified(purchase) == (
        "refund_doubtful",
        "payments",
        "Refund attempt 1, once reported as failed, is settled; attempt 2 may be settled, too. "
        "Compare with the payment provider.",
        ("operator",),
    )


# --- staff


def test_operators_are_notified_of_a_blocked_effect() -> None:
    """R-71: the notice and the alert name the effect and the problem."""
    purchase = pending_refund()
    purchase.fact(EffectBlocked(CheckRefund.kind, "the provider does not answer"))
    assert notified(purchase) == (
        "effect_blocked",
        "system",
        "“check refund” is blocked: the provider does not answer",
        ("operator",),
    )
    (item,) = purchase.state.attention
    problem = "the provider does not answer"
    assert item.text == f"{problem}. It is tried again every 15 minutes."
    assert item.since == purchase.now
    (notice,) = purchase.notices
    values = {"effect": "check refund", "problem": problem, "interval": "15 minutes"}
    assert notice.values == values
    assert notice.note is None, "A problem is not a note that somebody wrote."


def test_both_parties_are_notified_when_the_platform_cancels() -> None:
    """R-50: the actor is an operator, and the movement is the whole escrow."""
    purchase = Purchase().working()
    purchase.fact(PlatformCancelled())
    assert notified(purchase) == (
        "cancelled_by_platform",
        "operator",
        "Our staff cancelled the purchase: all of the money, 250.00 USD, goes back to Ana.",
        ("client", "freelancer"),
    )
    assert moved(purchase) == (Movement(ESCROW, "escrow", METHOD),)


# --- the parties


def test_a_notice_names_the_party_that_acted_and_quotes_its_note() -> None:
    """R-45, R-47: actor, summary and note of an offer and of its acceptance."""
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


def test_a_message_between_the_parties_is_not_about_money() -> None:
    """R-45, R-48, R-49: a notice of a message does not say where the money is; others do."""
    purchase = Purchase().working()
    for sender in (Role.CLIENT, Role.FREELANCER):
        purchase.send(sender, "send_message", text="hello")
        (notice,) = purchase.notices
        assert (notice.note, notice.about_money) == ("hello", False)
    purchase.freelancer("propose_split", refund=15_000)
    (notice,) = purchase.notices
    assert notice.about_money is True


def test_the_system_is_the_actor_when_a_deadline_expires() -> None:
    """R-17: a lapsed review is no act of a party."""
    purchase = Purchase().delivered()
    purchase.deadline(DeadlineName.REVIEW)
    (notice,) = purchase.notices
    assert (notice.transition, notice.actor, notice.note) == ("review_lapsed", "system", None)


def test_a_reminder_names_its_deadline() -> None:
    """A reminder is about one deadline (here of R-35) and goes to the party that has to act."""
    found = reminder(Purchase().requested().state, DeadlineName.REFUND_DECISION)
    assert (found.transition, found.actor) == ("reminder", "system")
    assert found.text is texts.REFUND_DECISION_REMINDER
    assert found.recipients == ("freelancer",)
    assert found.deadline is DeadlineName.REFUND_DECISION
    assert found.about_money is False


def test_a_reminder_is_due_once() -> None:
    """After its instant, the next reminder of the deadline (here of R-11) is due."""
    state = purchase_in(Stage.AWAITING_REQUIREMENTS).state
    first, last = NOON + timedelta(hours=24), NOON + timedelta(hours=44)
    assert next_reminder(state, first - timedelta(seconds=1), {}) == (
        first,
        (DeadlineName.REQUIREMENTS,),
    )
    assert next_reminder(state, first, {}) == (last, (DeadlineName.REQUIREMENTS,))
    assert next_reminder(state, last, {}) is None


def test_a_rejection_notice_quotes_message_code_and_sentence() -> None:
    """A rejection (here of R-45) is notified to its sender only."""
    answer = Rejection(Code.NO_OFFER, "No offer stands.")
    found = rejection_notice("accept_split", answer, "client")
    assert (found.transition, found.actor) == ("message_rejected", "system")
    assert (found.recipients, found.about_money) == (("client",), False)
    assert found.values == {
        "message": "accept split",
        "code": "NO_OFFER",
        "answer": "No offer stands.",
    }
    assert found.text.heading == "Message not accepted"
    assert found.text.summary == (
        "Your message “{message}” was not accepted. There is no offer to accept."
    )
    assert found.text.explanation == "The exact answer: {code}. {answer}"


@pytest.mark.parametrize("code", [Code.INVALID_MESSAGE, Code.UNKNOWN_MESSAGE])
def test_operators_are_notified_of_a_message_that_cannot_be_read(code: Code) -> None:
    """The program that sent it is at fault, not the party in whose name it did."""
    answer = Rejection(code, "note is longer than 2,000 characters.")
    found = rejection_notice("send_message", answer, "client")
    assert (found.recipients, found.text) == (("operator",), texts.UNREADABLE)
    assert found.values == {
        "message": "send message",
        "sender": "client",
        "code": code.value,
        "answer": answer.text,
    }
