"""What `restore` posts again, what it leaves to a person, and what the ledger then accepts."""

from dataclasses import replace

import pytest
from temporalio.exceptions import ApplicationError

from activities.ledger import PurchaseBalances
from activities.payments import ChargeRecord, RefundRecord, UnreadableRecord
from activities.records import PurchaseRecords
from activities.requests import Difference, ErrorType, Money, WorkflowPostings
from activities.restore import Posting, examine, post
from tests.money.environment import (
    CHARGE,
    LATER,
    NOW,
    PRICE,
    Environment,
    decision,
    payment,
    refund,
    run,
    settlement,
)

PART = Money(amount=10000, currency="USD")
PAID = ChargeRecord("purchase-p-1/pay", PRICE, CHARGE)
SENT = RefundRecord("purchase-p-1/refund", PRICE, "re_1", "pending", CHARGE)
SENT_PART = replace(SENT, amount=PART)
FAILED = replace(SENT, status="failed")
BY_HAND = replace(SENT, refund_id="", reference="re_2")

LOST = PurchaseRecords("p-1", "open", charges=(PAID,))
HELD = replace(LOST, balances=PurchaseBalances("p-1", "USD", 25000, 0, 0, 0))
DECIDED = replace(LOST, balances=PurchaseBalances("p-1", "USD", 0, 10000, 0, 15000))

CLOSED = replace(
    LOST, workflow="completed", balances=PurchaseBalances("p-1", "USD", 0, 0, 0, 25000)
)
ODD = UnreadableRecord("purchase-p-1/pay", "ch_1", "an unknown currency")

NOT_PAID = WorkflowPostings()
PENDING = WorkflowPostings(hold=payment())
HOLDS = WorkflowPostings(hold=payment(), held=True)
DECIDES = HOLDS.model_copy(update={"decision": decision()})
REFUNDS = DECIDES.model_copy(update={"decision_posted": True})
SPLITS = REFUNDS.model_copy(update={"decision": decision(10000, 15000)})
RELEASES = REFUNDS.model_copy(update={"decision": decision(0, 25000)})
SETTLES = REFUNDS.model_copy(update={"settlement": settlement(), "settlement_posted": True})
PROVES = SETTLES.model_copy(update={"proved_by_person": True})


@pytest.mark.parametrize(
    ("records", "workflow", "missing"),
    [
        (HELD, HOLDS, ()),
        (LOST, HOLDS, (payment(),)),
        (LOST, PENDING, ()),
        (PurchaseRecords("p-1", "open"), PENDING, ()),
        (HELD, DECIDES, ()),
        (LOST, REFUNDS, (payment(), decision())),
        (replace(HELD, refunds=(SENT,)), REFUNDS, (decision(),)),
        (replace(HELD, refunds=(SENT,)), DECIDES, (decision(),)),
        (replace(HELD, refunds=(BY_HAND,)), DECIDES, (decision(),)),
        (replace(HELD, refunds=(FAILED,)), REFUNDS, (decision(),)),
        (replace(LOST, refunds=(SENT_PART,)), SPLITS, (payment(), decision(10000, 15000))),
        (replace(DECIDED, refunds=(SENT_PART,)), SPLITS, ()),
        (LOST, RELEASES, (payment(), decision(0, 25000))),
        (replace(LOST, refunds=(SENT,)), SETTLES, (payment(), decision(), settlement())),
        (replace(LOST, refunds=(FAILED,)), PROVES, (payment(), decision(), settlement())),
        (PurchaseRecords("p-1", "completed"), WorkflowPostings(), ()),
        (replace(DECIDED, workflow=None, balances=None, charges=()), WorkflowPostings(), ()),
        # Never paid by this run, and given back or paid out before.
        (replace(LOST, workflow="completed", refunds=(SENT,)), NOT_PAID, ()),
        (CLOSED, NOT_PAID, ()),
        (replace(CLOSED, workflow="ended"), PENDING, ()),
    ],
)
def test_what_workflow_and_provider_agree_on_is_posted_again(
    records: PurchaseRecords, workflow: WorkflowPostings, missing: tuple[Posting, ...]
) -> None:
    """In order, as the workflow requested it; what it is still requesting is left to it."""
    assert tuple(examine(records, workflow)) == missing


@pytest.mark.parametrize(
    ("records", "workflow", "what", "what_to_do"),
    [
        (replace(LOST, charges=()), HOLDS, "the provider charged nothing", "Compare"),
        (
            replace(LOST, charges=(replace(PAID, amount=PART),)),
            HOLDS,
            "charged 100.00 USD",
            "Compare",
        ),
        (
            replace(HELD, balances=PurchaseBalances("p-1", "USD", 1, 0, 0, 0)),
            HOLDS,
            "the ledger 0.01 USD",
            "Compare",
        ),
        (replace(HELD, refunds=(SENT,)), HOLDS, "refunded 250.00 USD", "who sent"),
        (replace(HELD, refunds=(SENT,)), RELEASES, "refunded 250.00 USD", "who sent"),
        (replace(HELD, refunds=(SENT,)), SPLITS, "refund 100.00 USD; the", "who sent"),
        (
            replace(HELD, refunds=(replace(BY_HAND, amount=PART),)),
            SPLITS,
            "refunded 100.00 USD",
            "who sent",
        ),
        (
            replace(HELD, refunds=(SENT_PART, replace(SENT_PART, reference="re_2"))),
            SPLITS,
            "100.00 USD + 100.00 USD",
            "who sent",
        ),
        (DECIDED, HOLDS, "100.00 USD to refund, 150.00 USD released", "messages that led"),
        (DECIDED, REFUNDS, "decided to refund 250.00 USD; the ledger has 100", "Compare"),
        (replace(LOST, workflow="completed"), WorkflowPostings(), "without a payment", "Refund"),
        (replace(LOST, workflow="completed", refunds=(SENT_PART,)), NOT_PAID, "00 USD.", "150.00"),
        (replace(HELD, workflow="completed"), NOT_PAID, "without a payment", "Compare"),
        (
            replace(DECIDED, workflow="completed", refunds=(SENT_PART,)),
            WorkflowPostings(hold=payment(), held=True),
            "100.00 USD to refund",
            "messages that led",
        ),
        (
            replace(LOST, workflow="completed", registered=False),
            NOT_PAID,
            "without a payment",
            "Move no money. The ledger has never registered this purchase",
        ),
        (
            replace(LOST, workflow="completed", charges=(replace(PAID, disputed=True),)),
            NOT_PAID,
            "without a payment",
            "Answer the dispute",
        ),
        (replace(LOST, workflow="ended"), PENDING, "ended when 250.00 USD was paid", "adopt p-1"),
        (
            replace(LOST, workflow="ended", refunds=(BY_HAND,)),
            PENDING,
            "ended when 250.00 USD was paid",
            "Do not resume it",
        ),
        (replace(HELD, charges=(), unreadable=(ODD,)), REFUNDS, "ch_1 cannot be read", "by hand"),
        (
            replace(LOST, workflow=None, registered=False),
            None,
            "charged 250.00 USD.",
            "Move no money",
        ),
        (
            replace(LOST, workflow=None, refunds=(SENT,)),
            None,
            "refunded 250.00 USD.",
            "The client has the money back",
        ),
        (replace(HELD, workflow="ended"), HOLDS, "ended with money inside", "adopt p-1"),
        (replace(HELD, workflow=None), None, "no workflow of it", "the same terms"),
        (replace(LOST, workflow=None), None, "charged 250.00 USD.", "the same terms"),
        (PurchaseRecords("p-1"), None, "do not know it", "Check its id"),
    ],
)
def test_what_does_not_agree_is_left_to_a_person(
    records: PurchaseRecords, workflow: WorkflowPostings | None, what: str, what_to_do: str
) -> None:
    """One difference, and nothing is posted."""
    (found,) = examine(records, workflow)
    assert isinstance(found, Difference)
    assert found.what.startswith("Purchase p-1: ")
    assert what in found.what
    assert what_to_do in found.what_to_do


@pytest.mark.parametrize(("sent", "advice"), [(SENT, "adopt p-1"), (BY_HAND, "Do not resume it")])
def test_an_ended_purchase_is_resumed_if_the_refund_is_its_own(
    sent: RefundRecord, advice: str
) -> None:
    decided, found = examine(replace(HELD, workflow="ended", refunds=(sent,)), REFUNDS)
    assert decided == decision()
    assert isinstance(found, Difference)
    assert advice in found.what_to_do


def test_a_settlement_whose_refund_failed_is_not_posted() -> None:
    """What comes before it is."""
    hold, decided, found = examine(replace(LOST, refunds=(FAILED,)), SETTLES)
    assert (hold, decided) == (payment(), decision())
    assert isinstance(found, Difference)
    assert "as settled (re_1)" in found.what


def test_a_terminated_purchase_is_rebuilt_first() -> None:
    """Then `adopt` continues it."""
    hold, found = examine(replace(LOST, workflow="ended"), HOLDS)
    assert hold == payment()
    assert isinstance(found, Difference)
    assert "adopt p-1" in found.what_to_do


# --- the ledger after it was restored from an old backup


def _sent_before(environment: Environment) -> None:
    """The refund that was sent before the ledger lost its decision."""
    lost = refund(environment)
    environment.sandbox.refund(lost.refund_id, lost.charge_reference, lost.amount, NOW)


def test_no_decision_is_accepted_while_the_provider_shows_an_unknown_refund(
    environment: Environment,
) -> None:
    """The ledger has lost the decision that sent it: any other one would pay twice."""
    run(environment.money.take_payment, payment())
    _sent_before(environment)
    for other in (decision(0, 25000), decision(10000, 15000), decision()):
        with pytest.raises(ApplicationError, match=r"recourse restore p-1") as failure:
            run(environment.money.post_decision, other)
        assert failure.value.type == ErrorType.UNKNOWN_REFUND
        assert "has refunded 250.00 USD" in failure.value.message
    assert environment.balances == (25000, 0, 0, 0)
    post(environment.ledger, decision())
    assert not run(environment.money.post_decision, decision()).created
    assert environment.balances == (0, 25000, 0, 0)


def test_a_purchases_own_steps_never_meet_an_unknown_refund(environment: Environment) -> None:
    """A retry of the posting after the refund was sent is recognised by its key."""
    run(environment.money.take_payment, payment())
    assert run(environment.money.post_decision, decision()).created
    run(environment.money.send_refund, refund(environment))
    assert not run(environment.money.post_decision, decision()).created


def test_a_failed_refund_blocks_no_decision(environment: Environment) -> None:
    """The provider has the money back."""
    run(environment.money.take_payment, payment("pm_sandbox_refund_fails"))
    _sent_before(environment)
    early = decision().model_copy(update={"at": NOW})
    found = [environment.sandbox.payment(CHARGE, at) for at in (NOW, LATER)]
    assert [each and each.refunds[0].status for each in found] == ["pending", "failed"]
    assert run(environment.money.post_decision, early.model_copy(update={"at": LATER})).created
