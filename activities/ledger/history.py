"""Everything that the ledger has posted for one purchase."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.ledger import schema
from activities.ledger.operations import bank_disputes, escrow, refunds_in_transit


@dataclass(frozen=True)
class Posting:
    """One leg of an applied operation, in minor units. `reference`: the charge of a hold, the proof
    of a settlement, the provider's name for what moved without Recourse."""

    key: str
    kind: str
    debit_account: str
    credit_account: str
    amount: int
    at: datetime
    reference: str


def postings(connection: Connection, purchase_id: str) -> list[Posting]:
    """Every leg of a purchase's applied operations, the oldest first."""
    operation, transfer = schema.operation.c, schema.transfer.c
    query = (
        sa.select(
            operation.key,
            operation.kind,
            transfer.debit_account,
            transfer.credit_account,
            transfer.amount,
            operation.at,
            operation.request,
        )
        .join_from(schema.transfer, schema.operation, transfer.operation_key == operation.key)
        .where(transfer.purchase_id == purchase_id)
        .order_by(transfer.seq)
    )
    found = []
    for row in connection.execute(query):
        fields = dict(row._mapping)
        reference = str(json.loads(fields.pop("request"))["reference"])
        found.append(Posting(**fields | {"amount": int(row.amount)}, reference=reference))
    return found


def closed_at(purchase_id: str, posted: Iterable[Posting]) -> datetime | None:
    """When nothing was inside for the first time: neither in escrow, in transit nor at a bank."""
    inside = 0
    accounts = escrow(purchase_id), refunds_in_transit(purchase_id), bank_disputes(purchase_id)
    for each in posted:
        inside += each.amount * (each.credit_account in accounts)
        inside -= each.amount * (each.debit_account in accounts)
        if not inside:
            return each.at
    return None
