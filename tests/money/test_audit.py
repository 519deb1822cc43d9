"""The audit reports every difference between ledger, workflows and provider, and nothing else."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from activities.audit import StatusUnavailable, reconcile
from activities.comparison import compare
from activities.ledger import PurchaseBalances
from activities.payments import (
    ChargeRecord,
    PaymentProvider,
    RefundRecord,
    Statement,
    UnreadableRecord,
)
from activities.records import PurchaseRecords, WorkflowStatus
from activities.requests import Money, Total, WorkflowPostings
from tests.money.environment import Environment, decision, payment, refund, run, settlement

PAID = Money(amount=25000, currency="USD")
HELD = PurchaseBalances("p-1", "USD", held=25000, in_transit=0, refunded=0, released=0)
CHARGE = ChargeRecord("purchase-p-1/hold", PAID, "ch_1")
REFUND = RefundRecord("purchase-p-1/refund", PAID, "re_1", "settled")

GOOD = PurchaseRecords("p-1", "open", balances=HELD, charges=(CHARGE,))
IN_TRANSIT = replace(GOOD, balances=replace(HELD, held=0, in_transit=25000))
REFUNDED = replace(
    GOOD,
    workflow="completed",
    balances=replace(HELD, held=0, refunded=25000),
    proof="re_1",
    refunds=(REFUND,),
)
RELEASED = replace(GOOD, workflow="completed", balances=replace(HELD, held=0, released=25000))
PART = replace(REFUND, amount=Money(amount=10000, currency="USD"))
SPLIT = replace(
    REFUNDED, balances=replace(HELD, held=0, refunded=10000, released=15000), refunds=(PART,)
)
FAILED, PENDING = replace(REFUND, status="failed"), replace(REFUND, status="pending")
OF_CHARGE = replace(REFUND, charge_reference="ch_1")
RETURNED = replace(OF_CHARGE, status="failed")
BY_HAND = replace(REFUND, refund_id="", reference="re_9")
DISPUTED = replace(CHARGE, disputed=True)
UNREADABLE = UnreadableRecord("purchase-p-1/hold", "ch_1", "an unknown currency")
SECOND = replace(REFUND, refund_id="purchase-p-1/refund-2", reference="re_2")


@pytest.mark.parametrize(
    "records",
    [
        GOOD,
        IN_TRANSIT,
        replace(IN_TRANSIT, refunds=(PENDING,)),
        replace(IN_TRANSIT, refunds=(FAILED,)),
        REFUNDED,
        replace(REFUNDED, refunds=(FAILED, SECOND), proof="re_2"),
        replace(REFUNDED, proof="purchase-p-1/refund"),
        replace(REFUNDED, proof="letter of the bank", refunds=(FAILED,)),
        replace(REFUNDED, proof="letter of the bank", refunds=()),
        replace(REFUNDED, proof="re_1, letter of the bank"),
        replace(IN_TRANSIT, charges=(replace(CHARGE, refunded=25000),), refunds=(OF_CHARGE,)),
        replace(IN_TRANSIT, charges=(replace(CHARGE, refunded=25000),), refunds=(RETURNED,)),
        replace(IN_TRANSIT, charges=(replace(CHARGE, refunded=0),), refunds=(RETURNED,)),
        RELEASED,
        SPLIT,
        PurchaseRecords("p-1", "open", charges=(CHARGE,)),
    ],
)
def test_a_consistent_purchase_has_no_difference(records: PurchaseRecords) -> None:
    assert list(compare(records)) == []


@pytest.mark.parametrize(
    ("records", "what", "what_to_do"),
    [
        (replace(GOOD, workflow="ended"), "250.00 USD in escrow", "adopt p-1"),
        (replace(IN_TRANSIT, workflow="ended"), "250.00 USD in transit", "adopt p-1"),
        (replace(GOOD, workflow="completed"), "250.00 USD in escrow", "restore p-1"),
        (replace(IN_TRANSIT, workflow=None), "250.00 USD in transit", "restore p-1"),
        (PurchaseRecords("p-1", "ended", charges=(CHARGE,)), "no hold", "restore p-1"),
        (PurchaseRecords("p-1", refunds=(REFUND,)), "no posting for it", "restore p-1"),
        (replace(GOOD, charges=()), "charged nothing", "Compare"),
        (replace(GOOD, charges=(replace(CHARGE, amount=PART.amount),)), "100.00 USD", "Compare"),
        (replace(GOOD, charges=(CHARGE, CHARGE)), "250.00 USD, 250.00 USD", "Compare"),
        (replace(GOOD, refunds=(PART,)), "refunded 100.00 USD", "restore p-1"),
        (replace(RELEASED, refunds=(REFUND,)), "to refund 0.00 USD", "who sent"),
        (replace(SPLIT, refunds=(REFUND,)), "to refund 100.00 USD", "who sent"),
        (replace(IN_TRANSIT, refunds=(PART,)), "refunded 100.00 USD", "who sent"),
        (replace(REFUNDED, refunds=(REFUND, SECOND)), "250.00 USD + 250.00 USD", "who sent"),
        (replace(REFUNDED, refunds=(FAILED,)), "at the provider it is failed", "aftercare case"),
        (replace(REFUNDED, refunds=(PENDING,)), "at the provider it is pending", "Send nothing"),
        (
            replace(REFUNDED, refunds=(), proof="purchase-p-1/refund"),
            "at the provider it is unknown",
            "another way",
        ),
    ],
)
def test_each_difference_says_what_to_do(
    records: PurchaseRecords, what: str, what_to_do: str
) -> None:
    (found,) = compare(records)
    assert found.purchase_id == "p-1"
    assert what in found.what
    assert what_to_do in found.what_to_do


@pytest.mark.parametrize(
    ("records", "what", "what_to_do"),
    [
        # A person's proof does not end the comparison.
        (replace(REFUNDED, proof="letter of the bank"), "another proof (letter", "gets it twice"),
        (
            replace(REFUNDED, proof="letter of the bank", refunds=(PENDING,)),
            "at the provider it is pending",
            "gets it twice",
        ),
        # Money that somebody else has moved, or the bank.
        (replace(IN_TRANSIT, refunds=(BY_HAND,)), "not for this purchase's", "asks for a refund"),
        (replace(GOOD, charges=(DISPUTED,)), "bank disputes the payment of 250.00", "no money"),
        (replace(RELEASED, charges=(DISPUTED,)), "bank disputes", "Answer the dispute"),
        (
            replace(GOOD, charges=(replace(CHARGE, refunded=10000),)),
            "counts 100.00 USD of ch_1 as refunded, and lists refunds of nothing",
            "Send no money",
        ),
        (
            replace(REFUNDED, charges=(replace(CHARGE, refunded=0),), refunds=(OF_CHARGE,)),
            "counts 0.00 USD of ch_1 as refunded, and lists refunds of 250.00 USD",
            "Send no money",
        ),
        # What the ledger does not know.
        (
            PurchaseRecords("p-1", charges=(CHARGE,), registered=False),
            "no hold",
            "Move no money. The ledger has never registered this purchase",
        ),
        (
            PurchaseRecords("p-1", "ended", charges=(CHARGE,), refunds=(REFUND,)),
            "was paid (250.00 USD) and refunded (250.00 USD)",
            "restore p-1",
        ),
        (replace(GOOD, charges=(), unreadable=(UNREADABLE,)), "ch_1 cannot be read", "by hand"),
        (PurchaseRecords("p-1", unreadable=(UNREADABLE,)), "unknown currency", "by hand"),
    ],
)
def test_the_advice_never_pays_twice(records: PurchaseRecords, what: str, what_to_do: str) -> None:
    (found,) = compare(records)
    assert what in found.what
    assert what_to_do in found.what_to_do


@pytest.mark.parametrize(
    ("records", "advice"),
    [
        (replace(GOOD, refunds=(PART,)), "Do not resume it: a part of the money was refunded"),
        (replace(IN_TRANSIT, refunds=(BY_HAND,)), "Do not resume it"),
        (replace(GOOD, charges=(DISPUTED,)), "Do not resume it yet. Answer the dispute"),
        (replace(IN_TRANSIT, refunds=(REFUND,)), "recourse adopt p-1"),
    ],
)
def test_an_ended_purchase_is_resumed_only_if_that_pays_nothing_twice(
    records: PurchaseRecords, advice: str
) -> None:
    first = next(compare(replace(records, workflow="ended")))
    assert "its workflow is not running" in first.what
    assert advice in first.what_to_do


async def test_a_refund_that_somebody_else_made_is_found_by_its_charge(
    environment: Environment, folder: Path
) -> None:
    """At the sandbox, under a name that is not ours."""
    run(environment.money.take_payment, payment())
    run(environment.money.post_decision, decision())
    run(environment.money.send_refund, refund(environment))
    with closing(sqlite3.connect(folder / "sandbox.db")) as database:
        database.execute("UPDATE refunds SET refund_id = 'by hand'")
        database.commit()
    (found,) = await differences(environment, FakeDirectory([{"p-1"}]))
    assert "refunded 250.00 USD, and not for this purchase's request" in found


def test_the_adopt_command_quotes_the_purchase_id() -> None:
    odd = replace(GOOD, purchase_id="a;b'c", workflow="ended")
    (found,) = compare(odd)
    assert found.what_to_do.endswith("""adopt 'a;b'"'"'c'""")


@dataclass
class FakeDirectory:
    """A PurchaseDirectory whose answers the test sets, `open` for each reading."""

    open: list[set[str]] = field(default_factory=list)
    now: set[str] = field(default_factory=set)
    recorded: WorkflowPostings = field(default_factory=WorkflowPostings)
    unavailable: bool = False
    stage: str = "settling"

    async def running(self) -> Mapping[str, str | None]:
        shown = self.open.pop(0) if len(self.open) > 1 else self.open[0]
        return dict.fromkeys(shown, self.stage)

    async def known(self) -> Collection[str]:
        return self.now

    async def workflow_status(self, purchase_id: str) -> WorkflowStatus | None:
        return "open" if purchase_id in self.now else "ended"

    async def check_payment_of(self, purchase_id: str) -> None:
        raise AssertionError("only the daily audit lets purchases look")

    async def postings(self, purchase_id: str) -> WorkflowPostings:
        if self.unavailable:
            raise StatusUnavailable(f"{purchase_id} does not answer.")
        return self.recorded


async def differences(environment: Environment, directory: FakeDirectory) -> tuple[str, ...]:
    report = await reconcile(environment.ledger, environment.sandbox, directory)
    return tuple(each.what for each in report.differences)


async def test_a_purchase_missing_from_the_list_is_looked_up(environment: Environment) -> None:
    run(environment.money.take_payment, payment())
    assert await differences(environment, FakeDirectory([set()], now={"p-1"})) == ()


@pytest.mark.parametrize("proved", [True, False])
async def test_a_refund_that_the_provider_does_not_have_needs_a_persons_proof(
    environment: Environment, *, proved: bool
) -> None:
    """An operator has completed `send_refund` by hand, as settled: nothing was sent."""
    run(environment.money.take_payment, payment())
    run(environment.money.post_decision, decision())
    run(environment.money.post_settlement, settlement())
    recorded = WorkflowPostings(held=True, settlement_posted=True, proved_by_person=proved)
    found = await differences(environment, FakeDirectory([set()], recorded=recorded))
    assert [("no person has proved it" in each) for each in found] == ([] if proved else [True])


async def test_a_difference_must_be_found_twice(environment: Environment) -> None:
    """Purchases continue while they are audited."""
    run(environment.money.take_payment, payment())
    assert await differences(environment, FakeDirectory([set(), {"p-1"}])) == ()
    (found,) = await differences(environment, FakeDirectory([set(), set()]))
    assert "its workflow is not running" in found


async def test_a_recorded_hold_must_be_in_the_ledger(environment: Environment) -> None:
    assert await differences(environment, FakeDirectory([{"p-1"}])) == ()
    recorded = WorkflowPostings(hold=payment(), held=True)
    (found,) = await differences(environment, FakeDirectory([{"p-1"}], recorded=recorded))
    assert found == "Purchase p-1 has recorded a hold of 250.00 USD; the ledger has none."
    assert await differences(environment, FakeDirectory([{"p-1"}], unavailable=True)) == (
        "p-1 does not answer.",
    )


async def test_a_decision_in_the_ledger_must_be_in_the_workflow(environment: Environment) -> None:
    """A workflow decides before it posts, so one without the decision was restored."""
    run(environment.money.take_payment, payment())
    run(environment.money.post_decision, decision(10000, 15000))
    held = WorkflowPostings(hold=payment(), held=True)
    restored = FakeDirectory([{"p-1"}], stage="delivered", recorded=held)
    assert await differences(environment, restored) == (
        "The ledger has a decision for purchase p-1: 100.00 USD to refund, 150.00 USD released. "
        "Its workflow has none.",
    )
    decided = held.model_copy(update={"decision": decision(10000, 15000)})
    assert await differences(environment, replace(restored, recorded=decided)) == ()
    assert await differences(environment, replace(restored, stage="settling")) == ()
    assert await differences(environment, replace(restored, unavailable=True)) == (
        "p-1 does not answer.",
    )


async def test_a_decision_posted_by_the_workflow_must_be_in_the_ledger(
    environment: Environment,
) -> None:
    """A ledger without it was restored."""
    run(environment.money.take_payment, payment())
    decided = WorkflowPostings(hold=payment(), held=True, decision=decision())
    assert await differences(environment, FakeDirectory([{"p-1"}], recorded=decided)) == ()
    posted = decided.model_copy(update={"decision_posted": True})
    assert await differences(environment, FakeDirectory([{"p-1"}], recorded=posted)) == (
        "The workflow of purchase p-1 has recorded its decision as posted; the ledger has none.",
    )


async def test_totals_include_the_balance_at_the_provider(environment: Environment) -> None:
    run(environment.money.take_payment, payment())
    run(environment.money.post_decision, decision(10000, 15000))
    run(environment.money.send_refund, refund(environment, 10000))
    run(environment.money.post_settlement, settlement(10000))
    report = await reconcile(environment.ledger, environment.sandbox, FakeDirectory([set()]))
    assert report.totals == (
        Total(currency="USD", released=15000, provider=-15000, at_provider=15000),
    )


async def test_differences_inside_the_ledger_are_reported(
    environment: Environment, folder: Path
) -> None:
    run(environment.money.take_payment, payment())
    with closing(sqlite3.connect(folder / "ledger.db")) as database:
        database.execute("DROP TRIGGER account_update")
        database.execute("UPDATE account SET balance = balance - 1 WHERE id = 'escrow:p-1'")
        database.commit()
    found = await differences(environment, FakeDirectory([{"p-1"}]))
    assert any("The balance of escrow:p-1 is 24999" in each for each in found)


async def test_an_unreadable_settlement_is_reported_and_ends_no_audit(
    environment: Environment, folder: Path
) -> None:
    run(environment.money.take_payment, payment())
    run(environment.money.post_decision, decision())
    run(environment.money.post_settlement, settlement())
    with closing(sqlite3.connect(folder / "ledger.db")) as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE operation SET request = 'x' WHERE kind = 'settled'")
        database.commit()
    found = await differences(environment, FakeDirectory([set()]))
    assert "The settlement of p-1 cannot be read." in found


async def test_a_wrong_provider_account_is_reported_for_every_purchase(
    environment: Environment,
) -> None:
    """The provider has none of the charges."""
    run(environment.money.take_payment, payment())
    elsewhere = cast(PaymentProvider, Elsewhere(()))
    report = await reconcile(environment.ledger, elsewhere, FakeDirectory([{"p-1"}]))
    (found,) = report.differences
    assert found.what == "Purchase p-1 has a hold of 250.00 USD; the provider charged nothing."


@dataclass(frozen=True)
class Elsewhere:
    charged: Iterable[Any]

    def statement(self, *_: object) -> Statement:
        return Statement(tuple(self.charged), ())
