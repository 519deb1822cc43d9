"""The news about payments that closed purchases and their aftercare cases have handled."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.database.engine import insert_if_absent
from activities.ledger import schema
from activities.requests import HandledNews

_NEWS = schema.handled_news.c
_FIELDS = (_NEWS.kind, _NEWS.reference, _NEWS.status, _NEWS.amount)


def record(connection: Connection, purchase_id: str, news: Iterable[HandledNews]) -> int:
    """Insert what is not there yet; return how many that were."""
    known = {each.name for each in handled(connection, purchase_id)}
    new = {each.name: each for each in news if each.name not in known}
    rows = [{"purchase_id": purchase_id, **each.model_dump()} for each in new.values()]
    if rows:
        connection.execute(insert_if_absent(connection, schema.handled_news), rows)
    return len(rows)


def handled(connection: Connection, purchase_id: str) -> tuple[HandledNews, ...]:
    """The news about one purchase, the oldest first."""
    query = (
        sa.select(*_FIELDS)
        .where(_NEWS.purchase_id == sa.bindparam("id", type_=sa.Text))
        .order_by(_NEWS.recorded_at)
    )
    rows = connection.execute(query, {"id": purchase_id})
    return tuple(HandledNews(**row._mapping) for row in rows)


def all_handled(connection: Connection) -> Mapping[str, tuple[HandledNews, ...]]:
    """The news about every purchase, by its id."""
    found: dict[str, tuple[HandledNews, ...]] = defaultdict(tuple)
    for row in connection.execute(sa.select(_NEWS.purchase_id, *_FIELDS)):
        fields = dict(row._mapping)
        found[fields.pop("purchase_id")] += (HandledNews(**fields),)
    return found
