"""Which news about its payment a purchase has handled at its end, and what its case makes of it."""

from typing import Any

import pytest

from activities.requests import HandledNews, ProviderMoveKind, ProviderMovePosting
from tests.lifecycle.builders import ESCROW, NOON, Purchase
from tests.lifecycle.test_aftercare import Case
from workflows.lifecycle import handled_news
from workflows.lifecycle.events import (
    BankDisputeReported,
    RefundedElsewhere,
    RefundElsewhereFailed,
)
from workflows.lifecycle.state import BankDispute, RefundElsewhere


def dispute(status: str, reference: str = "dp_1", amount: int = 10_000) -> HandledNews:
    return HandledNews(kind="dispute", reference=reference, status=status, amount=amount)


def refund(status: str, reference: str = "re_x", amount: int = 5_000) -> HandledNews:
    return HandledNews(kind="refund", reference=reference, status=status, amount=amount)


def posted(
    kind: ProviderMoveKind, account: Any = "escrow", amount: int = 10_000, reference: str = "dp_1"
) -> ProviderMovePosting:
    """The ledger has this posting."""
    return ProviderMovePosting(
        key=f"{reference}/{kind}",
        purchase_id="p-1",
        kind=kind,
        account=account,
        amount=amount,
        currency="USD",
        reference=reference,
        at=NOON,
    )


def reported(purchase: Purchase, status: Any) -> None:
    """The bank reports on its dispute."""
    purchase.fact(BankDisputeReported("dp_1", status, 10_000))


OPENED, WON = posted("bank_dispute_opened"), posted("bank_dispute_won")
MADE = posted("refunded_elsewhere", amount=5_000, reference="re_x")
FAILED = posted("refund_elsewhere_failed", amount=5_000, reference="re_x")

# --- at the end


def test_a_purchase_without_news_has_handled_none() -> None:
    assert list(handled_news(Purchase().working().state)) == []


def test_a_bank_dispute_is_handled_with_its_newest_status() -> None:
    """Also one in which the bank has changed its decision."""
    purchase = Purchase().working()
    for status in ("inquiry", "opened", "won"):
        reported(purchase, status)
        assert list(handled_news(purchase.state)) == [dispute(status)]
    case = Case(0)
    for status in ("lost", "won"):
        reported(case, status)
        assert list(handled_news(case.state)) == [dispute(status)]


def test_a_refund_elsewhere_that_failed_is_two_pieces_of_news() -> None:
    """The provider lists both; beside it, one that did not fail is one."""
    purchase = Purchase().working()
    purchase.fact(RefundedElsewhere("re_x", 5_000))
    assert list(handled_news(purchase.state)) == [refund("made")]
    purchase.fact(RefundedElsewhere("re_y", 1_000))
    purchase.fact(RefundElsewhereFailed("re_x"))
    assert list(handled_news(purchase.state)) == [
        refund("made", "re_y", 1_000),
        refund("made"),
        refund("failed"),
    ]


# --- in a case


@pytest.mark.parametrize("status", ["inquiry", "opened", "won", "lost"])
def test_a_dispute_that_was_handled_without_a_posting_is_known(status: Any) -> None:
    """As it was then; the same report is no news."""
    case = Case(0, handled=(refund("made"), dispute(status)))
    assert case.state.bank_disputes == (BankDispute("dp_1", status, 10_000, NOON),)
    reported(case, status)
    assert not case.notices


def test_of_a_dispute_that_was_handled_twice_the_last_counts() -> None:
    case = Case(0, handled=(dispute("inquiry"), dispute("lost")))
    assert case.state.bank_disputes == (BankDispute("dp_1", "lost", 10_000, NOON),)


@pytest.mark.parametrize(
    ("moves", "handled", "status", "changed_to"),
    [
        ((OPENED, WON), "lost", "won", "lost"),
        ((OPENED, WON), "won", "won", ""),
        ((OPENED,), "inquiry", "opened", ""),
    ],
    ids=["the bank changed it", "as it was booked", "not decided"],
)
def test_a_dispute_that_the_ledger_has_stays_as_it_was_booked(
    moves: tuple[ProviderMovePosting, ...], handled: str, status: Any, changed_to: str
) -> None:
    """What the bank said later is kept beside it, and is no news."""
    case = Case(0, moves=moves, handled=(dispute(handled),))
    expected = BankDispute("dp_1", status, 10_000, NOON, "", "escrow", changed_to)
    assert case.state.bank_disputes == (expected,)


@pytest.mark.parametrize(
    ("moves", "handled", "expected"),
    [
        ((), (refund("made"),), RefundElsewhere("re_x", 5_000)),
        ((), (refund("made"), refund("failed")), RefundElsewhere("re_x", 5_000, failed=True)),
        ((MADE,), (refund("made", amount=7),), RefundElsewhere("re_x", 5_000)),
        ((MADE,), (refund("failed"),), RefundElsewhere("re_x", 5_000, failed=True)),
        ((MADE, FAILED), (), RefundElsewhere("re_x", 5_000, failed=True)),
        ((MADE,), (dispute("lost", "re_x"),), RefundElsewhere("re_x", 5_000)),
        ((MADE,), (refund("failed", "re_y"),), RefundElsewhere("re_x", 5_000)),
    ],
    ids=[
        "made",
        "failed",
        "the amount of the ledger counts",
        "booked, then failed",
        "booked as failed",
        "a dispute of that name",
        "another one failed",
    ],
)
def test_a_refund_elsewhere_that_was_handled_is_known(
    moves: tuple[ProviderMovePosting, ...],
    handled: tuple[HandledNews, ...],
    expected: RefundElsewhere,
) -> None:
    case = Case(0, moves=moves, handled=handled)
    assert case.state.refunds_elsewhere == (expected,)
    case.fact(RefundedElsewhere("re_x", ESCROW))
    assert not case.notices


def test_a_case_hands_on_what_it_was_given() -> None:
    """So the next case knows it, too."""
    given = (dispute("lost"), dispute("inquiry", "dp_2", 7), refund("made"), refund("failed"))
    case = Case(0, handled=given)
    assert tuple(handled_news(case.state)) == given
