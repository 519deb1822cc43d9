"""`recourse ledger` and `recourse audit` as they are printed."""

from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from activities.ledger import PurchaseBalances, Transfer
from activities.requests import AuditReport, Total
from starter import database, show

AT = datetime(2026, 11, 1, tzinfo=UTC)


def printed(shown: RenderableType) -> str:
    console = Console(width=250)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


@pytest.mark.parametrize(("charged_back", "is_shown"), [(6000, True), (0, False)])
def test_the_ledger_shows_what_a_bank_has_taken(charged_back: int, *, is_shown: bool) -> None:
    balances = PurchaseBalances("p-1", "USD", 4000, 0, 0, 0, charged_back)
    taken = Transfer("k", 1, "escrow:p-1", "bank-disputes:p-1", "USD", 6000, AT)
    text = printed(show.ledger(balances, [taken]))
    assert "bank-disputes:p-1" in text
    assert ("60.00 USD charged back" in text) is is_shown


def test_the_audit_shows_bank_disputes_and_losses() -> None:
    total = Total(
        currency="USD",
        in_dispute=100,
        platform_losses=-200,
        freelancer_receivables=-300,
        provider=400,
    )
    text = printed(database._shown(AuditReport(purchases=1, totals=(total,), differences=())))
    for shown in ("in bank disputes", "1.00 USD", "losses", "-2.00 USD", "-3.00 USD"):
        assert shown in text


def test_a_clean_audit_says_how_many_purchases_it_compared() -> None:
    found = AuditReport(purchases=3, compared=2, totals=(), differences=())
    assert "2 purchases compared with workflows and provider. No differences." in printed(
        database._shown(found)
    )
