"""How an operation is recorded: once under its key, with its accounts locked in one order."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.database.engine import insert_if_absent
from activities.ledger import schema
from activities.ledger.operations import Operation
from activities.ledger.validate import Account, Rejection, charge_taken, check_returned, validate

# Statements are built once, because building one costs more than executing it. A list of variable
# length would be compiled for each length, so _LOCK always takes four names, some repeated.
_account = schema.account.c
_NAMES = ("first", "second", "third", "fourth")
_LOCK = (
    sa.select(_account.id, _account.currency, _account.balance)
    .where(_account.id.in_([sa.bindparam(name, type_=sa.Text) for name in _NAMES]))
    .order_by(_account.id)
    .with_for_update(key_share=True)  # ignored on SQLite, where the transaction locks the file
)
_COLUMNS = (
    "SELECT key, kind, purchase_id, currency, request, request_hash, status, code, reason"
    " FROM operation"
)
# The conditions repeat those of the partial indexes, as literals: a partial index is not used for a
# bound parameter.
_FIND = sa.text(
    f"{_COLUMNS} WHERE key = :key"
    f" UNION ALL {_COLUMNS} WHERE purchase_id = :id AND status = 'applied' AND kind = 'hold'"
    f" UNION ALL {_COLUMNS} WHERE purchase_id = :id AND status = 'applied'"
    " AND kind IN ('refund', 'release', 'split')"
)
_MADE = {"refund_returned": "settled", "refund_elsewhere_failed": "refunded_elsewhere"}
"""By kind of a return: the kind of what is returned."""
_REFUNDED = sa.text(
    "SELECT coalesce(sum(CASE kind WHEN :made THEN amount ELSE -amount END), 0) FROM transfer"
    " WHERE purchase_id = :id AND kind IN (:made, :returned)"
)
_INSERT_TRANSFERS = sa.insert(schema.transfer).inline()
_CHARGE = schema.charge.c


class Recorded(NamedTuple):
    """Whether this call recorded the operation, and why it is rejected."""

    created: bool
    rejection: Rejection | None


def record(connection: Connection, operation: Operation) -> Recorded:
    """Find or create the record of `operation`, with its accounts locked in one order."""
    accounts = _lock(connection, operation)
    found = connection.execute(_FIND, {"key": operation.key, "id": operation.purchase_id}).all()
    for row in found:
        if row.key == operation.key:
            return Recorded(False, _first_answer(row, operation))
    applied = {row.kind: row.currency for row in found}
    rejection = validate(operation, accounts, applied)
    if rejection is None and (made := _MADE.get(operation.kind)):
        names = {"id": operation.purchase_id, "made": made, "returned": operation.kind}
        rejection = check_returned(operation, int(connection.scalar(_REFUNDED, names)))
    if rejection is None and operation.kind == "hold":
        rejection = _claim_charge(connection, operation)
    if rejection and not rejection.is_final:
        return Recorded(False, rejection)
    if not rejection:
        _open_accounts(connection, operation, accounts)
    if _insert(connection, operation, rejection):
        return Recorded(True, rejection)
    # A concurrent transaction recorded the key first; its record is visible now.
    return record(connection, operation)


def _lock(connection: Connection, operation: Operation) -> dict[str, Account]:
    names = cycle(operation.locks)
    rows = connection.execute(_LOCK, dict(zip(_NAMES, names, strict=False)))
    return {row.id: Account(row.currency, int(row.balance)) for row in rows}


def _first_answer(row: sa.Row[Any], operation: Operation) -> Rejection | None:
    if row.request_hash != operation.request_hash:
        reason = (
            f"The key {row.key} belongs to the {row.kind} of purchase {row.purchase_id}, recorded"
            f" as {row.request}. Give a different operation another key."
        )
        return Rejection("KEY_REUSED", reason)
    return Rejection(row.code, row.reason) if row.code else None


def _claim_charge(connection: Connection, hold: Operation) -> Rejection | None:
    """Record the charge of a hold as this purchase's. Waits for a concurrent transaction."""
    if not hold.reference:
        return None
    query = sa.select(_CHARGE.purchase_id).where(_CHARGE.reference == hold.reference)
    owner = connection.scalar(query)
    if owner is None:
        row = {"reference": hold.reference, "purchase_id": hold.purchase_id}
        connection.execute(insert_if_absent(connection, schema.charge), row)
        owner = str(connection.scalar(query))  # a concurrent transaction may have been first
    return None if owner == hold.purchase_id else charge_taken(hold, owner)


def _open_accounts(
    connection: Connection, operation: Operation, existing: Mapping[str, Account]
) -> None:
    missing = sorted(operation.opens.keys() - existing.keys())
    if not missing:
        return
    rows = [
        {"id": name, "currency": operation.currency, "min_balance": operation.opens[name]}
        for name in missing
    ]
    connection.execute(insert_if_absent(connection, schema.account), rows)
    if any(row["min_balance"] is None for row in rows):
        # Concurrent operations may all insert an account that purchases share. Those that lost the
        # race have not locked it yet.
        _lock(connection, operation)


def _insert(connection: Connection, operation: Operation, rejection: Rejection | None) -> bool:
    row = {
        "key": operation.key,
        "kind": operation.kind,
        "purchase_id": operation.purchase_id,
        "currency": operation.currency,
        "request": operation.request,
        "request_hash": operation.request_hash,
        "at": operation.at,
    }
    if rejection:
        row |= {"status": "rejected", "code": rejection.code, "reason": rejection.reason}
        return _insert_operation(connection, row)
    legs = len(operation.legs)
    if not _insert_operation(connection, row | {"status": "applied", "legs": legs}):
        return False
    transfers = [
        {
            "operation_key": operation.key,
            "leg": number,
            "legs": legs,
            "kind": operation.kind,
            "purchase_id": operation.purchase_id,
            "debit_account": leg.debit,
            "credit_account": leg.credit,
            "currency": operation.currency,
            "amount": leg.amount,
        }
        for number, leg in enumerate(operation.legs, start=1)
    ]
    connection.execute(_INSERT_TRANSFERS, transfers)
    return True


def _insert_operation(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Return whether the row was inserted; False if its key or its purchase has one already."""
    statement = insert_if_absent(connection, schema.operation)
    return connection.execute(statement, row).rowcount == 1
