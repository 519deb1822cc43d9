"""Whether the ledger has a refund in transit: checked before the provider is asked to send it."""

import json
from shlex import quote

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.ledger import schema
from activities.ledger.errors import LedgerRejected
from activities.requests import Money

_BALANCES = sa.select(schema.purchase_balances).where(
    schema.purchase_balances.c.purchase_id == sa.bindparam("id", type_=sa.Text)
)
# Literals, as in the condition of the partial index.
_HOLD = sa.text(
    "SELECT request FROM operation WHERE purchase_id = :id AND status = 'applied' AND kind = 'hold'"
)


def check(connection: Connection, purchase_id: str, amount: Money, charge: str) -> None:
    """Check that this much is in transit, and that `charge` paid for the purchase. Raises
    LedgerRejected. A hold of an early release has no charge."""
    name = {"id": purchase_id}
    found = connection.execute(_BALANCES, name).first()
    currency = found.currency if found else amount.currency
    in_transit = Money(amount=int(found.in_transit) if found else 0, currency=currency)
    if currency != amount.currency or in_transit.amount < amount.amount:
        raise LedgerRejected(
            "NOT_IN_TRANSIT",
            f"Purchase {purchase_id} has {in_transit} in transit, and {amount} are to be refunded. "
            "Nothing is sent before its decision is posted; if the ledger has lost it, run: "
            f"recourse restore {quote(purchase_id)}",
        )
    paid_by = json.loads(connection.scalar(_HOLD, name) or "{}").get("reference")
    if paid_by and paid_by != charge:
        raise LedgerRejected(
            "OTHER_CHARGE",
            f"Purchase {purchase_id} was paid by {paid_by}, and the refund is to be of {charge}. "
            "Nothing is sent.",
        )
