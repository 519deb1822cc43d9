"""The audit names every disagreement of books, workflows and provider, and nothing else."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from activities.audit import PurchaseRecords, StatusUnavailable, compare, reconcile
from activities.ledger import PurchaseBalances
from activities.payments import ChargeRecord, PaymentProvider, RefundRecord, Statement
from activities.requests import Money, Total
from tests.money.environment import House, decision, payment, refund, run, settlement

PAID = Money(amount=25000, currency="USD")
HELD = PurchaseBalances("p-1", "USD", held=25000, in_transit=0, refunded=0, released=0)
CHARGE = ChargeRecord("purchase-p-1/hold", PAID, "ch_1")
REFUND = RefundRecord("purchase-p-1/refund", PAID, "re_1", "settled")

GOOD = PurchaseRecords("p-1", running=True, balances=HELD, charges=(CHARGE,))
IN_TRANSIT = replace(GOOD, balances=replace(HELD, held=0, in_transit=25000))
REFUNDED = replace(
    GOOD,
    running=False,
    balances=replace(HELD, held=0, refunded=25000),
    proof="re_1",
    refunds=(REFUND,),
)
RELEASED = replace(GOOD, running=False, balances=replace(HELD, held=0, released=25000))
PART = replace(REFUND, amount=Money(amount=10000, currency="USD"))
SPLIT = replace(
    REFUNDED, balances=replace(HELD, held=0, refunded=10000, released=15000), refunds=(PART,)
)
FAILED, PENDING = replace(REFUND, status="failed"), replace(REFUND, status="pending")
SECOND = replace(REFUND, refund_id="purchase-p-1/refund-2", reference="re_2")


@pytest.mark.parametrize(
    "seen",
    [
        GOOD,
        IN_TRANSIT,
        replace(IN_TRANSIT, refunds=(PENDING,)),
        replace(IN_TRANSIT, refunds=(FAILED,)),
        REFUNDED,
        replace(REFUNDED, refunds=(FAILED, SECOND), proof="re_2"),
        replace(REFUNDED, proof="purchase-p-1/refund"),
        replace(REFUNDED, proof="letter of the bank", refunds=(FAILED,)),
        RELEASED,
        SPLIT,
        PurchaseRecords("p-1", running=True, charges=(CHARGE,)),
    ],
)
def test_what_happens_every_day_is_no_difference(seen: PurchaseRecords) -> None:
    assert list(compare(seen)) == []


@pytest.mark.parametrize(
    ("seen", "what", "what_to_do"),
    [
        (replace(GOOD, running=False), "250.00 USD in escrow", "adopt p-1"),
        (replace(IN_TRANSIT, running=False), "250.00 USD in transit", "adopt p-1"),
        (PurchaseRecords("p-1", running=False, charges=(CHARGE,)), "no hold", "adopt p-1"),
        (PurchaseRecords("p-1", running=False, refunds=(REFUND,)), "no posting for it", "Compare"),
        (replace(GOOD, charges=()), "charged nothing", "Compare"),
        (replace(GOOD, charges=(replace(CHARGE, amount=PART.amount),)), "100.00 USD", "Compare"),
        (replace(GOOD, charges=(CHARGE, CHARGE)), "250.00 USD, 250.00 USD", "Compare"),
        (replace(GOOD, refunds=(PART,)), "refunded 100.00 USD", "who sent"),
        (replace(RELEASED, refunds=(REFUND,)), "to refund 0.00 USD", "who sent"),
        (replace(SPLIT, refunds=(REFUND,)), "to refund 100.00 USD", "who sent"),
        (replace(IN_TRANSIT, refunds=(PART,)), "refunded 100.00 USD", "who sent"),
        (replace(REFUNDED, refunds=(REFUND, SECOND)), "250.00 USD + 250.00 USD", "who sent"),
        (replace(REFUNDED, refunds=(FAILED,)), "at the provider it is failed", "another way"),
        (replace(REFUNDED, refunds=(PENDING,)), "at the provider it is pending", "another way"),
        (
            replace(REFUNDED, refunds=(), proof="purchase-p-1/refund"),
            "at the provider it is unknown",
            "another way",
        ),
    ],
)
def test_each_disagreement_is_named_with_what_to_do(
    seen: PurchaseRecords, what: str, what_to_do: str
) -> None:
    (found,) = compare(seen)
    assert found.purchase_id == "p-1"
    assert what in found.what
    assert what_to_do in found.what_to_do


def test_an_id_with_odd_letters_can_be_pasted_into_a_shell() -> None:
    odd = replace(GOOD, purchase_id="a;b'c", running=False)
    (found,) = compare(odd)
    assert found.what_to_do.endswith("""adopt 'a;b'"'"'c'""")


@dataclass
class Town:
    """A census of which the test decides what it says, look by look."""

    open: list[set[str]] = field(default_factory=list)
    now: set[str] = field(default_factory=set)
    expected: str | None = None
    mute: bool = False
    stage: str = "settling"
    undecided: bool = False

    async def running(self) -> Mapping[str, str | None]:
        shown = self.open.pop(0) if len(self.open) > 1 else self.open[0]
        return dict.fromkeys(shown, self.stage)

    async def is_undecided(self, purchase_id: str) -> bool:
        if self.mute:
            raise StatusUnavailable(f"{purchase_id} cannot say.")
        return self.undecided

    async def is_running(self, purchase_id: str) -> bool:
        return purchase_id in self.now

    async def expected_hold(self, purchase_id: str) -> str | None:
        if self.mute:
            raise StatusUnavailable(f"{purchase_id} cannot say.")
        return self.expected


async def examined(house: House, town: Town) -> tuple[str, ...]:
    report = await reconcile(house.ledger, house.sandbox, town)
    return tuple(each.what for each in report.differences)


async def test_a_purchase_that_the_list_does_not_have_yet_is_asked_about(house: House) -> None:
    run(house.money.take_payment, payment())
    assert await examined(house, Town([set()], now={"p-1"})) == ()


async def test_what_was_wrong_once_and_then_right_is_no_difference(house: House) -> None:
    """Purchases go on while they are audited."""
    run(house.money.take_payment, payment())
    assert await examined(house, Town([set(), {"p-1"}])) == ()
    (found,) = await examined(house, Town([set(), set()]))
    assert "its workflow is not running" in found


async def test_a_running_purchase_must_find_its_hold_in_the_books(house: House) -> None:
    assert await examined(house, Town([{"p-1"}])) == ()
    (found,) = await examined(house, Town([{"p-1"}], expected="250.00 USD"))
    assert found == "Purchase p-1 has recorded a hold of 250.00 USD; the ledger has none."
    assert await examined(house, Town([{"p-1"}], mute=True)) == ("p-1 cannot say.",)


async def test_a_decision_in_the_books_must_be_known_to_the_workflow(house: House) -> None:
    """It decides before it posts: if it does not know, it was restored from before."""
    run(house.money.take_payment, payment())
    run(house.money.post_decision, decision(10000, 15000))
    behind = Town([{"p-1"}], stage="delivered", undecided=True)
    assert await examined(house, behind) == (
        "The ledger has a decision for purchase p-1: 100.00 USD to refund, 150.00 USD released. "
        "Its workflow has none.",
    )
    assert await examined(house, replace(behind, undecided=False)) == ()
    assert await examined(house, replace(behind, stage="settling")) == ()
    assert await examined(house, replace(behind, mute=True)) == ("p-1 cannot say.",)


async def test_totals_say_what_the_provider_should_still_have(house: House) -> None:
    run(house.money.take_payment, payment())
    run(house.money.post_decision, decision(10000, 15000))
    run(house.money.send_refund, refund(house, 10000))
    run(house.money.post_settlement, settlement(10000))
    report = await reconcile(house.ledger, house.sandbox, Town([set()]))
    assert report.totals == (
        Total(currency="USD", released=15000, provider=-15000, at_provider=15000),
    )


async def test_books_that_were_bent_are_told_beside_everything_else(
    house: House, folder: Path
) -> None:
    run(house.money.take_payment, payment())
    with closing(sqlite3.connect(folder / "ledger.db")) as books:
        books.execute("DROP TRIGGER account_update")
        books.execute("UPDATE account SET balance = balance - 1 WHERE id = 'escrow:p-1'")
        books.commit()
    found = await examined(house, Town([{"p-1"}]))
    assert any("The balance of escrow:p-1 is 24999" in each for each in found)


async def test_books_and_provider_of_different_houses_do_not_agree(house: House) -> None:
    """A wrong provider account shows at every purchase."""
    run(house.money.take_payment, payment())
    elsewhere = cast(PaymentProvider, Elsewhere(()))
    report = await reconcile(house.ledger, elsewhere, Town([{"p-1"}]))
    (found,) = report.differences
    assert found.what == "Purchase p-1 has a hold of 250.00 USD; the provider charged nothing."


@dataclass(frozen=True)
class Elsewhere:
    charged: Iterable[Any]

    def statement(self) -> Statement:
        return Statement(tuple(self.charged), ())
