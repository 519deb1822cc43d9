"""Totals for monitoring: cheap enough for one query a minute."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.ledger import operations, schema


@dataclass(frozen=True)
class Position:
    """The money of one currency, in minor units. The four amounts sum to all holds."""

    currency: str
    held: int = 0
    in_transit: int = 0
    refunded: int = 0
    released: int = 0


@dataclass(frozen=True)
class InTransit:
    """A refund that is decided and not settled: its amount, and the instant of the decision."""

    purchase_id: str
    currency: str
    amount: int
    since: datetime


_account, _operation, _transfer = schema.account.c, schema.operation.c, schema.transfer.c


def _sum_of(prefix: str) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((_account.id.startswith(prefix), _account.balance)))


_BALANCES = (
    sa.select(
        _account.currency,
        _sum_of(operations.escrow("")).label("held"),
        _sum_of(operations.refunds_in_transit("")).label("in_transit"),
        _sum_of(operations.freelancer_balance("")).label("released"),
    )
    .group_by(_account.currency)
    .order_by(_account.currency)
)
_REFUNDED = (
    sa.select(_transfer.currency, sa.func.sum(_transfer.amount).label("refunded"))
    .where(_transfer.kind == "settled")
    .group_by(_transfer.currency)
)
_IN_TRANSIT = (
    sa.select(_operation.purchase_id, _account.currency, _account.balance, _operation.at)
    .join_from(
        schema.account,
        schema.operation,
        _account.id == sa.literal(operations.refunds_in_transit("")) + _operation.purchase_id,
    )
    .where(
        _account.balance > 0,
        _operation.kind.in_(operations.DECISIONS),
        _operation.status == "applied",
    )
    .order_by(_operation.at)
)


def positions(connection: Connection) -> list[Position]:
    """Return the position of each currency, by its code."""
    refunded = {row.currency: int(row.refunded) for row in connection.execute(_REFUNDED)}
    return [
        Position(
            row.currency,
            held=int(row.held),
            in_transit=int(row.in_transit),
            refunded=refunded.get(row.currency, 0),
            released=int(row.released),
        )
        for row in connection.execute(_BALANCES)
    ]


def in_transit(connection: Connection) -> list[InTransit]:
    """Return every refund in transit, the oldest first."""
    return [
        InTransit(row.purchase_id, row.currency, int(row.balance), row.at)
        for row in connection.execute(_IN_TRANSIT)
    ]
