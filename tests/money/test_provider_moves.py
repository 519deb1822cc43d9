"""Bank disputes, refunds made elsewhere and returned refunds, in audit, restore and activities."""

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError

from activities.audit import reconcile
from activities.comparison import compare
from activities.ledger import Decision, ProviderMove, PurchaseBalances
from activities.payments import (
    BankDispute,
    ChargeRecord,
    PaymentProvider,
    RefundRecord,
    Statement,
)
from activities.records import PurchaseRecords
from activities.requests import (
    ErrorType,
    Money,
    MoveAccount,
    ProviderMoveKind,
    ProviderMovePosting,
    Total,
    WorkflowPostings,
)
from activities.restore import examine, post, restore
from tests.money.environment import (
    CHARGE,
    NOW,
    Environment,
    decision,
    payment,
    run,
    settlement,
)
from tests.money.test_audit import FakeDirectory

PAID = Money(amount=25000, currency="USD")
HELD = PurchaseBalances("p-1", "USD", 25000, 0, 0, 0)
PAYMENT = ChargeRecord("purchase-p-1/pay", PAID, CHARGE)
OPENED = BankDispute("dp_1", "opened", PAID)
LOST, WON, INQUIRY = (replace(OPENED, status=each) for each in ("lost", "won", "inquiry"))


def usd(amount: int) -> Money:
    return Money(amount=amount, currency="USD")


def disputed(*disputes: BankDispute) -> tuple[ChargeRecord, ...]:
    return (replace(PAYMENT, disputed=True, disputes=disputes),)


def move(
    kind: ProviderMoveKind,
    account: MoveAccount = "escrow",
    amount: int = 25000,
    reference: str = "dp_1",
) -> ProviderMovePosting:
    return ProviderMovePosting(
        key=f"purchase-p-1/{kind}-{reference}",
        purchase_id="p-1",
        kind=kind,
        account=account,
        amount=amount,
        currency="USD",
        reference=reference,
        at=NOW,
    )


TAKEN, BACK, GONE = (
    move("bank_dispute_opened"),
    move("bank_dispute_won"),
    move("bank_dispute_lost"),
)
LOSS = move("bank_dispute_loss", "platform_losses")
ELSEWHERE = move("refunded_elsewhere", amount=10000, reference="re_9")
RETURNED = move("refund_returned", "in_transit", reference="re_1")


def booked(
    environment: Environment, *postings: Any, decided: tuple[int, int] | None = None
) -> PurchaseRecords:
    """What the ledger has after these postings; the workflow is running."""
    run(environment.money.take_payment, payment())
    ledger = environment.ledger
    if decided:
        ledger.decide(
            key="purchase-p-1/decide",
            purchase_id="p-1",
            refund=decided[0],
            release=decided[1],
            currency="USD",
            at=NOW,
        )
    for posting in postings:
        assert post(ledger, posting)
    snapshot = ledger.snapshot()
    assert snapshot.differences == ()
    return PurchaseRecords(
        "p-1",
        "open",
        snapshot.purchases[0],
        snapshot.proofs.get("p-1"),
        (PAYMENT,),
        posted=snapshot.moves.get("p-1", ()),
    )


BY_HAND = RefundRecord("", usd(10000), "re_9", "settled", CHARGE)
REFUND = RefundRecord("purchase-p-1/refund", PAID, "re_1", "settled", CHARGE)


def test_what_the_ledger_has_of_a_dispute_is_no_difference(environment: Environment) -> None:
    records = booked(environment, TAKEN)
    assert list(compare(replace(records, charges=disputed(OPENED)))) == []
    assert post(environment.ledger, BACK)
    snapshot = environment.ledger.snapshot()
    won = replace(records, balances=snapshot.purchases[0], posted=snapshot.moves["p-1"])
    assert list(compare(replace(won, charges=disputed(WON)))) == []
    assert (
        list(compare(replace(won, charges=disputed(WON, replace(INQUIRY, dispute_id="2"))))) == []
    )


@pytest.mark.parametrize(
    ("postings", "decided", "refunds", "dispute"),
    [
        ((TAKEN, GONE), None, (), LOST),
        ((), (0, 25000), (), WON),
        ((LOSS,), (0, 25000), (), LOST),
        ((LOSS, settlement()), (25000, 0), (REFUND,), LOST),
        ((ELSEWHERE,), None, (BY_HAND,), None),
        ((settlement(), RETURNED), (25000, 0), (replace(REFUND, status="failed"),), None),
        ((settlement(),), (25000, 0), (replace(REFUND, status="sent"),), None),
    ],
)
def test_what_both_have_is_no_difference(
    environment: Environment,
    postings: tuple[Any, ...],
    decided: tuple[int, int] | None,
    refunds: tuple[RefundRecord, ...],
    dispute: BankDispute | None,
) -> None:
    records = booked(environment, *postings, decided=decided)
    charges = disputed(dispute) if dispute else records.charges
    assert list(compare(replace(records, charges=charges, refunds=refunds))) == []


def test_a_settlement_may_be_proved_by_the_banks_name_of_the_refund(
    environment: Environment,
) -> None:
    """An ARN, which the provider knows some days after it has sent the refund."""
    proved = settlement().model_copy(update={"reference": "74537604221431003881234"})
    records = booked(environment, proved, decided=(25000, 0))
    named = replace(REFUND, status="sent", bank_reference="74537604221431003881234")
    assert list(compare(replace(records, refunds=(named,)))) == []
    (found,) = compare(replace(records, refunds=(replace(REFUND, status="sent"),)))
    assert "by another proof" in found.what


def test_a_refund_after_one_made_elsewhere_is_the_decided_one(environment: Environment) -> None:
    rest = replace(REFUND, amount=usd(15000))
    records = booked(environment, ELSEWHERE)
    post(environment.ledger, decision(15000))
    balances = environment.ledger.balances("p-1")
    both = replace(records, balances=balances, refunds=(BY_HAND, rest))
    assert list(compare(both)) == []
    (found,) = compare(replace(both, refunds=(BY_HAND, REFUND)))
    assert (
        "the provider refunded 250.00 USD; the ledger's decision is to refund 150.00" in found.what
    )


@pytest.mark.parametrize(
    ("postings", "dispute", "what", "what_to_do"),
    [
        ((), OPENED, "dp_1: opened at the provider); the ledger has 0.00", "Answer the dispute"),
        ((), LOST, "lost at the provider); the ledger has 0.00", "keeps this money"),
        ((TAKEN,), LOST, "the ledger has 250.00 USD at the bank, 0.00 USD of it lost", "Compare"),
        ((TAKEN,), WON, "won at the provider); the ledger has 250.00 USD", "Compare"),
        ((TAKEN, GONE), OPENED, "250.00 USD of it lost", "Compare"),
        ((TAKEN,), None, "has the bank dispute dp_1, which the provider has not", "Compare"),
        ((TAKEN,), replace(OPENED, amount=usd(1)), "disputes 0.01 USD", "Compare"),
        (
            (TAKEN,),
            replace(OPENED, amount=Money(amount=25000, currency="EUR")),
            "disputes 250.00 EUR",
            "Compare",
        ),
    ],
)
def test_a_dispute_that_one_of_them_does_not_know_is_a_difference(
    environment: Environment,
    postings: tuple[Any, ...],
    dispute: BankDispute | None,
    what: str,
    what_to_do: str,
) -> None:
    records = booked(environment, *postings)
    (found,) = compare(replace(records, charges=disputed(dispute) if dispute else (PAYMENT,)))
    assert what in found.what
    assert what_to_do in found.what_to_do


def test_a_refund_elsewhere_that_the_provider_has_not_is_a_difference(
    environment: Environment,
) -> None:
    (found,) = compare(booked(environment, ELSEWHERE))
    assert "refunds of 100.00 USD made elsewhere, the provider 0.00 USD" in found.what


def test_money_in_a_bank_dispute_needs_a_running_workflow(environment: Environment) -> None:
    records = replace(booked(environment, TAKEN), workflow="ended", charges=disputed(OPENED))
    (found,) = compare(records)
    assert "and 250.00 USD in a bank dispute, but its workflow is not running" in found.what
    assert "recourse adopt p-1" in found.what_to_do
    lost = replace(records, posted=(*records.posted, _lost(records.posted[0])))
    assert list(compare(replace(lost, charges=disputed(LOST)))) == []


def _lost(opened: ProviderMove) -> ProviderMove:
    return replace(
        opened,
        key="lost",
        kind="bank_dispute_lost",
        debit_account=opened.credit_account,
        credit_account="provider-clearing:USD",
    )


@dataclass(frozen=True)
class Provider:
    charges: tuple[ChargeRecord, ...]
    refunds: tuple[RefundRecord, ...] = ()

    def statement(self, *_: object) -> Statement:
        return Statement(self.charges, self.refunds)


async def audited(
    environment: Environment,
    charges: tuple[ChargeRecord, ...],
    workflow: WorkflowPostings,
    stage: str = "in_progress",
) -> tuple[list[str], tuple[Total, ...]]:
    directory = FakeDirectory([{"p-1"}], now={"p-1"}, recorded=workflow, stage=stage)
    provider = cast(PaymentProvider, Provider(charges))
    report = await reconcile(environment.ledger, provider, directory)
    return [f"{each.what} {each.what_to_do}" for each in report.differences], report.totals


async def test_a_dispute_about_money_that_was_paid_out_is_known_by_the_workflow(
    environment: Environment,
) -> None:
    """Nothing is posted until it is lost."""
    booked(environment, decided=(0, 25000))
    known = WorkflowPostings(decision=decision(0, 25000), disputes=("dp_1",))
    found, totals = await audited(environment, disputed(OPENED), known, "settling")
    assert found == []
    assert totals == (Total(currency="USD", released=25000, provider=-25000, at_provider=0),)
    unknown = known.model_copy(update={"disputes": ()})
    (difference,) = (await audited(environment, disputed(OPENED), unknown, "settling"))[0]
    assert "the client's bank disputes 250.00 USD (dp_1: opened" in difference


async def test_a_frozen_purchase_without_a_decision_is_no_difference(
    environment: Environment,
) -> None:
    """Nothing is left in escrow, and its stage is still before the decision."""
    booked(environment, TAKEN)
    found, totals = await audited(environment, disputed(OPENED), WorkflowPostings(moves=(TAKEN,)))
    assert found == []
    assert totals == (Total(currency="USD", in_dispute=25000, provider=-25000, at_provider=0),)


async def test_losses_and_receivables_are_in_the_totals(environment: Environment) -> None:
    owed = move("bank_dispute_loss", "freelancer_receivable", 5000, "dp_2")
    booked(environment, LOSS, owed, decided=(0, 25000))
    _, totals = await audited(environment, disputed(LOST), WorkflowPostings(), "settling")
    assert totals == (
        Total(
            currency="USD",
            released=25000,
            platform_losses=-25000,
            freelancer_receivables=-5000,
            provider=5000,
            at_provider=0,
        ),
    )


async def test_a_move_that_the_ledger_has_lost_is_restored(environment: Environment) -> None:
    booked(environment)
    workflow = WorkflowPostings(hold=payment(), held=True, moves=(TAKEN, BACK))
    charges = disputed(WON, replace(OPENED, dispute_id="dp_2"))
    (difference,) = (await audited(environment, charges, workflow))[0]
    assert difference.startswith("The workflow of purchase p-1 has recorded what moved")
    assert difference.endswith("recourse restore p-1")

    directory = FakeDirectory([{"p-1"}], now={"p-1"}, recorded=workflow)
    provider = cast(PaymentProvider, Provider(charges))
    report = await restore(environment.ledger, provider, directory, "p-1")
    assert [each.key for each in report.rebuilt] == [TAKEN.key, BACK.key]
    assert report.differences == ()
    again = await restore(environment.ledger, provider, directory, "p-1")
    assert (again.rebuilt, again.agreed) == ((), ("p-1",))


def test_a_lost_ledger_is_rebuilt_in_the_order_that_the_ledger_accepts(
    environment: Environment,
) -> None:
    again = move("bank_dispute_opened", "in_transit", 15000, "dp_2")
    back = move("bank_dispute_won", "in_transit", 15000, "dp_2")
    returned = move("refund_returned", "in_transit", 15000, "re_1")
    workflow = WorkflowPostings(
        hold=payment(),
        held=True,
        decision=decision(15000),
        decision_posted=True,
        settlement=settlement(15000),
        settlement_posted=True,
        moves=(TAKEN, BACK, ELSEWHERE, again, back, returned, LOSS),
    )
    records = PurchaseRecords(
        "p-1",
        "completed",
        charges=disputed(WON, replace(WON, dispute_id="dp_2")),
        refunds=(
            BY_HAND,
            replace(REFUND, amount=usd(15000), status="failed"),
            replace(REFUND, refund_id="purchase-p-1/refund-2", amount=usd(15000), reference="re_2"),
        ),
    )
    postings = list(examine(records, workflow))
    assert all(post(environment.ledger, cast(Any, each)) for each in postings)
    assert environment.ledger.balances("p-1") == PurchaseBalances("p-1", "USD", 0, 15000, 10000, 0)
    assert environment.ledger.snapshot().differences == ()


@pytest.mark.parametrize(
    ("asked", "refunds", "what"),
    [
        (TAKEN, (), "bank dispute opened of 250.00 USD (dp_1)"),
        (ELSEWHERE, (), "refunded elsewhere of 100.00 USD (re_9)"),
        (RETURNED, (REFUND,), "refund returned of 250.00 USD (re_1)"),
    ],
)
def test_a_move_that_the_provider_has_not_is_left_to_a_person(
    asked: ProviderMovePosting, refunds: tuple[RefundRecord, ...], what: str
) -> None:
    workflow = WorkflowPostings(
        hold=payment(),
        held=True,
        decision=decision(),
        settlement=settlement(),
        settlement_posted=True,
        decision_posted=True,
        moves=(asked,),
    )
    records = PurchaseRecords("p-1", "open", charges=(PAYMENT,), refunds=refunds)
    *_, found = examine(records, workflow)
    assert what in getattr(found, "what", "")


def test_a_decision_is_read_from_the_ledger_as_it_was_made(environment: Environment) -> None:
    """Also if a bank or somebody else has moved money around it: `adopt` continues with it."""
    booked(environment, ELSEWHERE)
    assert environment.ledger.decision("p-1") is None
    post(environment.ledger, decision(9000, 6000))
    post(environment.ledger, move("bank_dispute_opened", "in_transit", 4000))
    post(environment.ledger, settlement(5000))
    assert environment.ledger.decision("p-1") == Decision(refund=9000, release=6000, at=NOW)


def test_the_activity_posts_a_move_once(environment: Environment) -> None:
    run(environment.money.take_payment, payment())
    assert run(environment.money.post_provider_move, TAKEN).created
    assert not run(environment.money.post_provider_move, TAKEN).created
    balances = environment.ledger.balances("p-1")
    assert balances is not None
    assert balances.charged_back == 25000


def test_a_rejected_move_needs_a_person(environment: Environment) -> None:
    with pytest.raises(ApplicationError, match="has no hold") as rejected:
        run(environment.money.post_provider_move, TAKEN)
    assert (rejected.value.type, rejected.value.non_retryable) == (ErrorType.LEDGER_REJECTED, True)


def test_a_charge_of_another_purchase_is_not_held_again(environment: Environment) -> None:
    environment.ledger.hold(
        key="x", purchase_id="p-0", amount=1, currency="USD", at=NOW, charge=CHARGE
    )
    with pytest.raises(ApplicationError, match="holds purchase p-0") as rejected:
        run(environment.money.take_payment, payment())
    assert rejected.value.details == ("CHARGE_TAKEN",)
