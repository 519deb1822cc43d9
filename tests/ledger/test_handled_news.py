"""The ledger remembers which news about a closed purchase's payment was handled."""

from datetime import timedelta

from sqlalchemy import Engine

from activities.ledger import Ledger, schema
from activities.requests import HandledNews, NewsRecord
from tests.ledger.test_provider_moves import AT

INQUIRY = HandledNews(kind="dispute", reference="dp_1", status="inquiry", amount=100)
OPENED = INQUIRY.model_copy(update={"status": "opened"})
OTHER_DISPUTE = INQUIRY.model_copy(update={"reference": "dp_2"})
REFUND = HandledNews(kind="refund", reference="dp_1", status="inquiry", amount=100)
DIFFERENT = (INQUIRY, OPENED, OTHER_DISPUTE, REFUND)


def record(ledger: Ledger, *news: HandledNews, purchase_id: str = "p-1") -> int:
    return ledger.record_news(NewsRecord(purchase_id=purchase_id, news=news))


def test_news_is_recorded_once(ledger: Ledger) -> None:
    """A retry records nothing; what is new beside it is recorded. The first amount is kept."""
    assert record(ledger, INQUIRY) == 1
    assert record(ledger, INQUIRY.model_copy(update={"amount": 7})) == 0
    assert record(ledger, INQUIRY, OPENED) == 1
    assert record(ledger, OTHER_DISPUTE, OTHER_DISPUTE) == 1
    assert set(ledger.handled_news("p-1")) == {INQUIRY, OPENED, OTHER_DISPUTE}


def test_kind_reference_and_status_make_it_another_piece_of_news(ledger: Ledger) -> None:
    assert record(ledger, *DIFFERENT) == 4
    assert len(ledger.handled_news("p-1")) == 4


def test_no_news_is_recorded_for_a_purchase_that_had_none(ledger: Ledger) -> None:
    assert record(ledger) == 0
    assert ledger.handled_news("p-1") == ()


def test_news_is_of_one_purchase(ledger: Ledger) -> None:
    """The snapshot has that of all, by purchase."""
    assert record(ledger, INQUIRY, OPENED) == 2
    assert record(ledger, INQUIRY, purchase_id="p-2") == 1
    assert ledger.handled_news("p-2") == (INQUIRY,)
    assert ledger.handled_news("p-3") == ()
    found = {name: set(news) for name, news in ledger.snapshot().handled.items()}
    assert found == {"p-1": {INQUIRY, OPENED}, "p-2": {INQUIRY}}


def test_news_is_listed_oldest_first(ledger: Ledger, engine: Engine) -> None:
    """By when it was recorded, in whichever order the rows are stored."""
    with engine.begin() as connection:
        for days, each in enumerate((OTHER_DISPUTE, INQUIRY, REFUND, OPENED)):
            recorded = {"recorded_at": AT - timedelta(days=days)}
            row = {"purchase_id": "p-1", **each.model_dump(), **recorded}
            connection.execute(schema.handled_news.insert().inline(), row)
    assert ledger.handled_news("p-1") == (OPENED, REFUND, INQUIRY, OTHER_DISPUTE)
