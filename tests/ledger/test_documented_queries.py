"""The queries of docs/money.md, on both databases."""

import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from activities.ledger import Ledger
from tests.ledger.test_provider_moves import (
    decide,
    elsewhere,
    hold,
    loss,
    lost,
    opened,
    returned,
    settle,
)

PAGE = Path(__file__).parents[2] / "docs" / "money.md"


def test_the_queries_for_an_auditor_answer_as_the_page_says(ledger: Ledger, engine: Engine) -> None:
    queries = re.findall(r"```sql\n(.+?);\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for step in (
        hold(),
        hold("p-2", currency="EUR"),
        opened(40),
        lost(40),
        elsewhere(10),
        decide(30, 20),
        settle(30),
        returned(30),
        loss(25, "platform_losses"),
        loss(7, "freelancer_receivable"),
    ):
        step(ledger)
    with engine.connect() as connection:
        to_zero, somewhere, taken = (
            [tuple(row) for row in connection.execute(sa.text(query))] for query in queries
        )
    assert (to_zero, somewhere) == ([], [])
    assert taken == [("EUR", 0, 0, 0), ("USD", 40, 25, 7)]
