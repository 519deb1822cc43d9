"""The ledger's operations and what can be read from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from activities.ledger import operations, schema
from activities.ledger.audit import Difference, audit
from activities.ledger.engine import first_line, read, transact
from activities.ledger.errors import LedgerRejected
from activities.ledger.operations import Operation
from activities.ledger.position import InTransit, Position, in_transit, positions
from activities.ledger.validate import Account, Rejection, validate
from activities.spans import span


@dataclass(frozen=True)
class PurchaseBalances:
    """Where the money of one purchase is, in minor units. The four add up to its hold."""

    purchase_id: str
    currency: str
    held: int
    in_transit: int
    refunded: int
    released: int


@dataclass(frozen=True)
class Transfer:
    """One leg of an applied operation, in minor units; `created_at` is its business instant."""

    key: str
    leg: int
    debit_account: str
    credit_account: str
    currency: str
    amount: int
    created_at: datetime


@dataclass(frozen=True)
class AccountBalance:
    """Credits less debits of one account, in minor units."""

    account: str
    currency: str
    balance: int


@dataclass(frozen=True)
class Snapshot:
    """All the books at one moment. `proofs`: the reference under which a purchase's refund was
    posted as arrived, by purchase."""

    accounts: tuple[AccountBalance, ...]
    purchases: tuple[PurchaseBalances, ...]
    proofs: Mapping[str, str]
    differences: tuple[Difference, ...]
    """What is wrong inside the books."""


class Ledger:
    """Double-entry books of escrow money. One instance serves any number of threads.

    Each operation takes effect at most once: its `key` names it for ever. The same request under
    the same key is answered as before: False where it was applied, the same refusal where it was
    refused, even if the money has come since. Another request under that key is refused with
    KEY_REUSED. `at`, the business instant, and `reference`, the proof, are no part of the request:
    the first ones stand.

    Amounts are whole minor units from 1 to 2**53 - 1. Every method raises LedgerUnreachable when
    the database is away or overrun, and SchemaMismatch when it is not set up.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def hold(self, *, key: str, purchase_id: str, amount: int, currency: str, at: datetime) -> bool:
        """Provider clearing → escrow, once per purchase. True if this call did it.

        Raises LedgerRejected: ALREADY_HELD, CURRENCY_MISMATCH.
        """
        return self._post(operations.hold(key, purchase_id, amount, currency, at))

    def decide(
        self,
        *,
        key: str,
        purchase_id: str,
        refund: int,
        release: int,
        currency: str,
        at: datetime,
    ) -> bool:
        """Escrow → refunds in transit and/or freelancer balance, together all that is held.

        Once per purchase; a side of 0 has no leg. True if this call did it. Raises LedgerRejected:
        NO_HOLD, ALREADY_DECIDED, NOT_ENOUGH_MONEY, MONEY_LEFT_OVER, CURRENCY_MISMATCH.
        """
        return self._post(operations.decide(key, purchase_id, refund, release, currency, at))

    def settle(
        self,
        *,
        key: str,
        purchase_id: str,
        amount: int,
        currency: str,
        at: datetime,
        reference: str,
    ) -> bool:
        """Refunds in transit → provider clearing: the refund has arrived. True if this call did it.

        `reference` is the provider's proof. Raises LedgerRejected: NO_HOLD, NOT_ENOUGH_MONEY,
        CURRENCY_MISMATCH.
        """
        return self._post(operations.settle(key, purchase_id, amount, currency, at, reference))

    def balances(self, purchase_id: str) -> PurchaseBalances | None:
        """Where the purchase's money is; None if none was ever held."""
        view = schema.purchase_balances
        query = sa.select(view).where(view.c.purchase_id == purchase_id)
        row = read(self._engine, lambda connection: connection.execute(query).first())
        return PurchaseBalances(**row._mapping) if row else None

    def transfers(self, purchase_id: str) -> list[Transfer]:
        """Every movement of the purchase's money, oldest first."""
        moved, done = schema.transfer.c, schema.operation.c
        query = (
            sa.select(
                done.key,
                moved.leg,
                moved.debit_account,
                moved.credit_account,
                moved.currency,
                moved.amount,
                done.at.label("created_at"),
            )
            .join_from(schema.transfer, schema.operation, moved.operation_key == done.key)
            .where(moved.purchase_id == purchase_id)
            .order_by(moved.seq)
        )
        rows = read(self._engine, lambda connection: connection.execute(query).all())
        return [Transfer(**{**row._mapping, "amount": int(row.amount)}) for row in rows]

    def accounts(self) -> list[AccountBalance]:
        """Every account with its balance, by name."""
        return read(self._engine, _accounts)

    def positions(self) -> list[Position]:
        """Where all the money is, by currency."""
        return read(self._engine, positions)

    def in_transit(self) -> list[InTransit]:
        """Every refund that was decided and has not arrived, the oldest first."""
        return read(self._engine, in_transit)

    def snapshot(self) -> Snapshot:
        """All the books at one moment, audited. Reads every transfer."""
        return read(self._engine, _snapshot)

    def audit(self) -> list[Difference]:
        """What is wrong inside the books; empty when all is well. Reads every transfer."""
        return read(self._engine, audit)

    def _post(self, operation: Operation) -> bool:
        try:
            with span(f"ledger {operation.kind}", key=operation.key):
                recorded = transact(self._engine, lambda connection: _record(connection, operation))
        except IntegrityError as error:
            raise LedgerRejected(
                "REJECTED_BY_DATABASE",
                f"The ledger's own rules forbid {operation.key}: {first_line(error)}."
                " Run the audit.",
            ) from error
        if recorded.rejection:
            raise LedgerRejected(recorded.rejection.code, recorded.rejection.reason)
        return recorded.created


def _accounts(connection: Connection) -> list[AccountBalance]:
    view = schema.account_balances
    rows = connection.execute(sa.select(view).order_by(view.c.account))
    return [AccountBalance(**row._mapping) for row in rows]


def _snapshot(connection: Connection) -> Snapshot:
    view, done = schema.purchase_balances, schema.operation.c
    rows = connection.execute(sa.select(view).order_by(view.c.purchase_id))
    purchases = tuple(PurchaseBalances(**row._mapping) for row in rows)
    settled = sa.select(done.purchase_id, done.request).where(
        done.kind == "settled", done.status == "applied"
    )
    proofs = {row.purchase_id: json.loads(row.request) for row in connection.execute(settled)}
    return Snapshot(
        tuple(_accounts(connection)),
        purchases,
        {purchase_id: request["reference"] for purchase_id, request in proofs.items()},
        tuple(audit(connection)),
    )


# Built once: building a statement costs more than carrying it out. An account's name may be given
# several times over: a list of changing length would be built anew each time.
_account = schema.account.c
_NAMES = ("first", "second", "third")
_LOCK = (
    sa.select(_account.id, _account.currency, _account.balance)
    .where(_account.id.in_([sa.bindparam(name, type_=sa.Text) for name in _NAMES]))
    .order_by(_account.id)
    .with_for_update(key_share=True)  # on SQLite the transaction has the whole file
)
_KNOWN = "SELECT key, kind, purchase_id, request, request_hash, status, code, reason FROM operation"
# In the words of the partial indexes: such an index answers only for constants.
_LOOK = sa.text(
    f"{_KNOWN} WHERE key = :key"
    f" UNION ALL {_KNOWN} WHERE purchase_id = :id AND status = 'applied' AND kind = 'hold'"
    f" UNION ALL {_KNOWN} WHERE purchase_id = :id AND status = 'applied'"
    " AND kind IN ('refund', 'release', 'split')"
)
_MOVE = sa.insert(schema.transfer).inline()


@cache
def _once(dialect: str, table: sa.Table) -> sa.Executable:
    """Insert a row unless something unique in it is taken, waiting for whoever is taking it.

    No unique key is named: PostgreSQL would raise when the race is lost on another one.
    """
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    once = insert(table).inline().on_conflict_do_nothing()
    return once.execution_options(preserve_rowcount=True)


class _Recorded(NamedTuple):
    created: bool
    rejection: Rejection | None


def _record(connection: Connection, operation: Operation) -> _Recorded:
    """Find or make the one record of `operation`, with all its accounts locked in one order."""
    accounts = _lock(connection, operation)
    found = connection.execute(_LOOK, {"key": operation.key, "id": operation.purchase_id}).all()
    for row in found:
        if row.key == operation.key:
            return _Recorded(False, _first_answer(row, operation))
    done = {row.kind for row in found}
    rejection = validate(operation, accounts, done)
    if operation.kind == "hold" and not rejection:
        _open_accounts(connection, operation, accounts)
    if _insert(connection, operation, rejection):
        return _Recorded(True, rejection)
    # Somebody recorded the key while this call waited: that record is now there to be found.
    return _record(connection, operation)


def _lock(connection: Connection, operation: Operation) -> dict[str, Account]:
    names = sorted(operation.accounts)
    given = dict(zip(_NAMES, [*names, *names[:1]], strict=False))
    rows = connection.execute(_LOCK, given)
    return {row.id: Account(row.currency, int(row.balance)) for row in rows}


def _first_answer(row: sa.Row[Any], operation: Operation) -> Rejection | None:
    if row.request_hash != operation.request_hash:
        reason = (
            f"{row.key} already names the {row.kind} of purchase {row.purchase_id}, asked for as"
            f" {row.request}. A different operation needs a key of its own."
        )
        return Rejection("KEY_REUSED", reason)
    return Rejection(row.code, row.reason) if row.code else None


def _open_accounts(
    connection: Connection, operation: Operation, there: Mapping[str, Account]
) -> None:
    purchase_id, currency = operation.purchase_id, operation.currency
    floors: dict[str, int | None] = {
        operations.escrow(purchase_id): 0,
        operations.freelancer_balance(purchase_id): 0,
        operations.provider_clearing(currency): None,
        operations.refunds_in_transit(purchase_id): 0,
    }
    rows = [
        {"id": name, "currency": currency, "floor": floors[name]}
        for name in sorted(floors.keys() - there.keys())
    ]
    connection.execute(_once(connection.dialect.name, schema.account), rows)
    if operations.provider_clearing(currency) not in there:
        # The first payments of a currency all come to open it: for all but one it is another's.
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
        row |= {"status": "refused", "code": rejection.code, "reason": rejection.reason}
        return _insert_once(connection, row)
    legs = len(operation.legs)
    if not _insert_once(connection, row | {"status": "applied", "legs": legs}):
        return False
    moves = [
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
    connection.execute(_MOVE, moves)
    return True


def _insert_once(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Whether the row is new."""
    once = _once(connection.dialect.name, schema.operation)
    return connection.execute(once, row).rowcount == 1
