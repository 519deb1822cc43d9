"""Which purchases an audit compares with the provider, though their charges may be old."""

import json
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.ledger import operations, schema

_INSIDE = (operations.escrow(""), operations.refunds_in_transit(""), operations.bank_disputes(""))


def watched(connection: Connection, since: datetime, ids: Collection[str]) -> dict[str, str]:
    """See `Ledger.watched`. A hold that cannot be read has no name; the audit reports it."""
    account, operation = schema.account.c, schema.operation.c
    inside = sa.or_(*(account.id.startswith(prefix) for prefix in _INSIDE))
    accounts = connection.scalars(sa.select(account.id).where(account.balance > 0, inside))
    recent = sa.select(operation.purchase_id).where(operation.at >= since).distinct()
    wanted = {*ids, *connection.scalars(recent)}
    wanted |= {name.partition(":")[2] for name in accounts}
    holds = sa.select(operation.purchase_id, operation.request).where(
        operation.kind == "hold", operation.status == "applied"
    )
    return {
        row.purchase_id: _reference(row.request)
        for row in connection.execute(holds)
        if row.purchase_id in wanted
    }


def _reference(request: str) -> str:
    try:
        return str(json.loads(request)["reference"])
    except (ValueError, KeyError, TypeError):
        return ""
