"""Totals for monitoring: cheap enough for one query a minute."""

from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.ledger import operations, schema


@dataclass(frozen=True)
class Position:
    """The money of one currency, in minor units. The first five amounts sum to all holds.

    `charged_back`: what banks have withdrawn and not given back, before anything was paid out.
    `platform_losses`, `freelancer_receivables`: what they took back after it was paid out.
    """

    currency: str
    held: int = 0
    in_transit: int = 0
    refunded: int = 0
    released: int = 0
    charged_back: int = 0
    platform_losses: int = 0
    freelancer_receivables: int = 0


@dataclass(frozen=True)
class InTransit:
    """A refund that is decided and not settled: its amount, and the instant of the decision."""

    purchase_id: str
    currency: str
    amount: int
    since: datetime


_account, _operation, _transfer = schema.account.c, schema.operation.c, schema.transfer.c


def _balance_of(prefix: str) -> sa.ColumnElement[int]:
    of_kind = sa.case((_account.id.startswith(prefix), _account.balance))
    return sa.func.coalesce(sa.func.sum(of_kind), 0)


def _moved(*kinds: str) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((_transfer.kind.in_(kinds), _transfer.amount), else_=0))


_BALANCES = (
    sa.select(
        _account.currency,
        _balance_of(operations.escrow("")).label("held"),
        _balance_of(operations.refunds_in_transit("")).label("in_transit"),
        _balance_of(operations.freelancer_balance("")).label("released"),
        _balance_of(operations.bank_disputes("")).label("charged_back"),
        (-_balance_of(operations.platform_losses(""))).label("platform_losses"),
        (-_balance_of(operations.freelancer_receivable(""))).label("freelancer_receivables"),
    )
    .group_by(_account.currency)
    .order_by(_account.currency)
)
_REFUNDED, _RETURNED = (
    ("settled", "refunded_elsewhere"),
    ("refund_returned", "refund_elsewhere_failed"),
)
_LEFT = (*_REFUNDED, *_RETURNED, "bank_dispute_lost")
_LEFT_FOR_GOOD = (
    sa.select(
        _transfer.currency,
        (_moved(*_REFUNDED) - _moved(*_RETURNED)).label("refunded"),
        _moved("bank_dispute_lost").label("charged_back"),
    )
    .where(_transfer.kind.in_(_LEFT))
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
    found = {}
    for row in connection.execute(_BALANCES):
        amounts = {name: int(value) for name, value in row._mapping.items() if name != "currency"}
        found[row.currency] = Position(row.currency, **amounts)
    for row in connection.execute(_LEFT_FOR_GOOD):
        before = found[row.currency]
        found[row.currency] = replace(
            before,
            refunded=int(row.refunded),
            charged_back=before.charged_back + int(row.charged_back),
        )
    return list(found.values())


def in_transit(connection: Connection) -> list[InTransit]:
    """Return every refund in transit, the oldest first."""
    return [
        InTransit(row.purchase_id, row.currency, int(row.balance), row.at)
        for row in connection.execute(_IN_TRANSIT)
    ]
