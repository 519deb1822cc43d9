"""Forgetting the persons of a purchase: destroys its key and its index, keeps its transfers."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.amounts import format_amount
from activities.database import personal
from activities.ledger import operations, schema
from activities.ledger.errors import LedgerRejected
from activities.ledger.purchases import aftercare_window

_AT = schema.operation.c.at
_FORGET_ERRORS = sa.text("UPDATE notices SET last_error = '' WHERE purchase_id = :purchase_id")
"""A mail server's answer may quote the address."""


def forget(connection: Connection, purchase_id: str, now: datetime, *, dry_run: bool) -> None:
    """Destroy the purchase's key and its entries in the index; `dry_run`: only check. Raises
    LedgerRejected."""
    name = {"purchase_id": purchase_id}
    bought = connection.execute(sa.select(schema.purchase).filter_by(**name)).first()
    if bought is None:
        raise LedgerRejected("NOT_FOUND", f"The ledger has no purchase {purchase_id}.")
    _check_money(connection, purchase_id)
    last = connection.scalar(sa.select(sa.func.max(_AT)).filter_by(**name)) or bought.at
    window = aftercare_window(connection, purchase_id)
    assert window is not None  # it is registered with its policy
    if now <= last + window:
        raise LedgerRejected(
            "TOO_EARLY",
            f"News about the payment of purchase {purchase_id} may come until "
            f"{last + window:%Y-%m-%d %H:%M} UTC, and its client has to be notified then. Forget "
            "it after that.",
        )
    if not dry_run:
        connection.execute(sa.delete(schema.person).filter_by(**name))
        personal.forget(connection, purchase_id)
        connection.execute(_FORGET_ERRORS, name)


def _check_money(connection: Connection, purchase_id: str) -> None:
    row = connection.execute(
        sa.select(schema.purchase_balances).filter_by(purchase_id=purchase_id)
    ).first()
    disputed = connection.scalar(
        sa.select(schema.account.c.balance).filter_by(id=operations.bank_disputes(purchase_id))
    )
    inside = int((row.held + row.in_transit if row else 0) + (disputed or 0))
    if row and inside:
        amount = format_amount(inside, row.currency)
        raise LedgerRejected(
            "MONEY_INSIDE", f"Purchase {purchase_id} still has {amount} inside; it has not ended."
        )
