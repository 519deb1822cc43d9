"""The ledger: its operations and its queries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from activities.database.engine import first_line, insert_if_absent, read, transact
from activities.keys import LOCAL
from activities.ledger import operations, purchases, schema, states
from activities.ledger.audit import WHAT_TO_DO, audit
from activities.ledger.errors import LedgerRejected
from activities.ledger.operations import Operation
from activities.ledger.position import InTransit, Position, in_transit, positions
from activities.ledger.purchases import BoughtPurchase
from activities.ledger.states import SavedState
from activities.ledger.validate import Account, Rejection, validate
from activities.requests import Difference
from activities.spans import span


@dataclass(frozen=True)
class PurchaseBalances:
    """The money of one purchase, in minor units. The four amounts sum to its hold."""

    purchase_id: str
    currency: str
    held: int
    in_transit: int
    refunded: int
    released: int


@dataclass(frozen=True)
class Transfer:
    """One leg of an applied operation, in minor units; `created_at` is the operation's `at`."""

    key: str
    leg: int
    debit_account: str
    credit_account: str
    currency: str
    amount: int
    created_at: datetime


@dataclass(frozen=True)
class AccountBalance:
    """The balance of one account: credits minus debits, in minor units."""

    account: str
    currency: str
    balance: int


@dataclass(frozen=True)
class Snapshot:
    """The whole ledger at one moment."""

    accounts: tuple[AccountBalance, ...]
    purchases: tuple[PurchaseBalances, ...]
    proofs: Mapping[str, str]
    """By purchase id: the reference with which its refund was settled."""
    differences: tuple[Difference, ...]
    """What the audit of the ledger found."""
    registered: frozenset[str] = frozenset()
    """The ids of all purchases that were registered before their client was charged."""


class Ledger:
    """A double-entry ledger of escrow money. One instance serves any number of threads.

    Each operation takes effect at most once, under its idempotency `key`. A retry of an applied
    operation returns False. A rejection is recorded under the key only if nothing could change it
    (`validate.FINAL`); a retry then gets it again. Any other rejection (no hold, not enough money)
    leaves no record, and a retry is validated again. A different request with a recorded key is
    rejected with KEY_REUSED. `at` (when it happened) and `reference` (the proof) may differ in a
    retry; the first values are kept.

    Amounts are whole minor units from 1 to MAX_AMOUNT. Every method raises DatabaseUnreachable when
    the database is away or overloaded, and SchemaMismatch when it is not set up.
    """

    def __init__(self, engine: Engine, deployment: str = LOCAL) -> None:
        self._engine = engine
        self._deployment = deployment

    def register(self, purchase: BoughtPurchase, *, paid: bool = False) -> bool:
        """Record what is bought under a purchase id, before the client is charged.

        Returns whether this call recorded it; False for the same purchase again. Another first run
        with the same terms is the same purchase only while the money of the first is inside: in
        escrow, in transit, or `paid` at the provider and not held yet. So a purchase that Temporal
        has lost can be started again, and one that has ended cannot.

        Raises PurchaseExists for any other purchase.
        """
        row = vars(purchase) | {"deployment": self._deployment}
        return transact(self._engine, lambda connection: purchases.register(connection, row, paid))

    def save_state(self, saved: SavedState) -> None:
        """Keep a state that a purchase can be continued from. The first one of a run stays."""
        transact(self._engine, lambda connection: states.save(connection, saved))

    def find_state(self, purchase_id: str, run_id: str = "") -> SavedState | None:
        """Return the state of a run; without a run the newest one, or the purchase's terms if
        that was continued or there is none."""
        find = partial(states.find, run_id=run_id) if run_id else states.newest
        return read(self._engine, lambda connection: find(connection, purchase_id=purchase_id))

    def adopt(self, purchase_id: str, run_id: str, first_run: str) -> SavedState:
        """Return the state of an ended run to the workflow that continues it, which is the one with
        this first run from now on. Raises PurchaseExists."""

        def adopt(connection: Connection) -> SavedState:
            return states.adopt(connection, purchase_id, run_id, first_run)

        return transact(self._engine, adopt)

    def hold(self, *, key: str, purchase_id: str, amount: int, currency: str, at: datetime) -> bool:
        """Move money from provider clearing to escrow, once per purchase.

        Returns whether this call applied the operation.

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
        """Move the whole escrow to refunds in transit, to the freelancer's balance, or to both.

        Once per purchase; an amount of 0 has no leg. Returns whether this call applied the
        operation. Raises LedgerRejected: NO_HOLD, ALREADY_DECIDED, NOT_ENOUGH_MONEY,
        MONEY_LEFT_OVER, CURRENCY_MISMATCH.
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
        """Move a settled refund from refunds in transit to provider clearing.

        `reference` is the proof of the settlement. Returns whether this call applied the
        operation. Raises LedgerRejected: NO_HOLD, NOT_ENOUGH_MONEY, CURRENCY_MISMATCH.
        """
        return self._post(operations.settle(key, purchase_id, amount, currency, at, reference))

    def balances(self, purchase_id: str) -> PurchaseBalances | None:
        """Return the balances of a purchase, or None if it has no hold."""
        view = schema.purchase_balances
        query = sa.select(view).where(view.c.purchase_id == purchase_id)
        row = read(self._engine, lambda connection: connection.execute(query).first())
        return PurchaseBalances(**row._mapping) if row else None

    def decided_at(self, purchase_id: str) -> datetime | None:
        """Return when the decision about a purchase was made; None before its posting."""
        operation = schema.operation.c
        query = sa.select(operation.at).where(
            operation.purchase_id == purchase_id,
            operation.status == "applied",
            operation.kind.in_(operations.DECISIONS),
        )
        return read(self._engine, lambda connection: connection.scalar(query))

    def transfers(self, purchase_id: str) -> list[Transfer]:
        """Return every transfer of a purchase, the oldest first."""
        transfer, operation = schema.transfer.c, schema.operation.c
        query = (
            sa.select(
                operation.key,
                transfer.leg,
                transfer.debit_account,
                transfer.credit_account,
                transfer.currency,
                transfer.amount,
                operation.at.label("created_at"),
            )
            .join_from(schema.transfer, schema.operation, transfer.operation_key == operation.key)
            .where(transfer.purchase_id == purchase_id)
            .order_by(transfer.seq)
        )
        rows = read(self._engine, lambda connection: connection.execute(query).all())
        return [Transfer(**{**row._mapping, "amount": int(row.amount)}) for row in rows]

    def accounts(self) -> list[AccountBalance]:
        """Return the balance of every account, by name."""
        return read(self._engine, _accounts)

    def positions(self) -> list[Position]:
        """Return the totals of each currency."""
        return read(self._engine, positions)

    def in_transit(self) -> list[InTransit]:
        """Return every refund in transit, the oldest first."""
        return read(self._engine, in_transit)

    def snapshot(self) -> Snapshot:
        """Return the whole ledger at one moment, audited. Reads every transfer."""
        return read(self._engine, _snapshot)

    def audit(self) -> list[Difference]:
        """Return what is wrong in the ledger; empty if nothing is. Reads every transfer."""
        return read(self._engine, audit)

    def _post(self, operation: Operation) -> bool:
        try:
            with span(f"ledger {operation.kind}", key=operation.key):
                recorded = transact(self._engine, lambda connection: _record(connection, operation))
        except IntegrityError as error:
            raise LedgerRejected(
                "REJECTED_BY_DATABASE",
                f"The database rejected {operation.key}: {first_line(error)}. Run: recourse audit",
            ) from error
        if recorded.rejection:
            raise LedgerRejected(recorded.rejection.code, recorded.rejection.reason)
        return recorded.created


def _accounts(connection: Connection) -> list[AccountBalance]:
    view = schema.account_balances
    rows = connection.execute(sa.select(view).order_by(view.c.account))
    return [AccountBalance(**row._mapping) for row in rows]


def _snapshot(connection: Connection) -> Snapshot:
    view, operation = schema.purchase_balances, schema.operation.c
    rows = connection.execute(sa.select(view).order_by(view.c.purchase_id))
    purchases = tuple(PurchaseBalances(**row._mapping) for row in rows)
    settled = sa.select(operation.purchase_id, operation.request).where(
        operation.kind == "settled", operation.status == "applied"
    )
    proofs, differences = {}, audit(connection)
    for row in connection.execute(settled):
        try:
            proofs[row.purchase_id] = str(json.loads(row.request)["reference"])
        except (ValueError, KeyError, TypeError):
            what = f"The settlement of {row.purchase_id} cannot be read."
            differences.append(
                Difference(purchase_id=row.purchase_id, what=what, what_to_do=WHAT_TO_DO)
            )
    registered = frozenset(connection.execute(sa.select(schema.purchase.c.purchase_id)).scalars())
    return Snapshot(tuple(_accounts(connection)), purchases, proofs, tuple(differences), registered)


# Statements are built once, because building one costs more than executing it. A list of variable
# length would be compiled for each length, so _LOCK always takes three names, some repeated.
_account = schema.account.c
_NAMES = ("first", "second", "third")
_LOCK = (
    sa.select(_account.id, _account.currency, _account.balance)
    .where(_account.id.in_([sa.bindparam(name, type_=sa.Text) for name in _NAMES]))
    .order_by(_account.id)
    .with_for_update(key_share=True)  # ignored on SQLite, where the transaction locks the file
)
_COLUMNS = (
    "SELECT key, kind, purchase_id, request, request_hash, status, code, reason FROM operation"
)
# The conditions repeat those of the partial indexes, as literals: a partial index is not used for a
# bound parameter.
_FIND = sa.text(
    f"{_COLUMNS} WHERE key = :key"
    f" UNION ALL {_COLUMNS} WHERE purchase_id = :id AND status = 'applied' AND kind = 'hold'"
    f" UNION ALL {_COLUMNS} WHERE purchase_id = :id AND status = 'applied'"
    " AND kind IN ('refund', 'release', 'split')"
)
_INSERT_TRANSFERS = sa.insert(schema.transfer).inline()


class _Recorded(NamedTuple):
    created: bool
    rejection: Rejection | None


def _record(connection: Connection, operation: Operation) -> _Recorded:
    """Find or create the record of `operation`, with its accounts locked in one order."""
    accounts = _lock(connection, operation)
    found = connection.execute(_FIND, {"key": operation.key, "id": operation.purchase_id}).all()
    for row in found:
        if row.key == operation.key:
            return _Recorded(False, _first_answer(row, operation))
    applied = {row.kind for row in found}
    rejection = validate(operation, accounts, applied)
    if rejection and not rejection.is_final:
        return _Recorded(False, rejection)
    if operation.kind == "hold" and not rejection:
        _open_accounts(connection, operation, accounts)
    if _insert(connection, operation, rejection):
        return _Recorded(True, rejection)
    # A concurrent transaction recorded the key first; its record is visible now.
    return _record(connection, operation)


def _lock(connection: Connection, operation: Operation) -> dict[str, Account]:
    names = sorted(operation.accounts)
    given = dict(zip(_NAMES, [*names, *names[:1]], strict=False))
    rows = connection.execute(_LOCK, given)
    return {row.id: Account(row.currency, int(row.balance)) for row in rows}


def _first_answer(row: sa.Row[Any], operation: Operation) -> Rejection | None:
    if row.request_hash != operation.request_hash:
        reason = (
            f"The key {row.key} belongs to the {row.kind} of purchase {row.purchase_id}, recorded"
            f" as {row.request}. Give a different operation another key."
        )
        return Rejection("KEY_REUSED", reason)
    return Rejection(row.code, row.reason) if row.code else None


def _open_accounts(
    connection: Connection, operation: Operation, existing: Mapping[str, Account]
) -> None:
    purchase_id, currency = operation.purchase_id, operation.currency
    min_balances: dict[str, int | None] = {
        operations.escrow(purchase_id): 0,
        operations.freelancer_balance(purchase_id): 0,
        operations.provider_clearing(currency): None,
        operations.refunds_in_transit(purchase_id): 0,
    }
    rows = [
        {"id": name, "currency": currency, "min_balance": min_balances[name]}
        for name in sorted(min_balances.keys() - existing.keys())
    ]
    connection.execute(insert_if_absent(connection, schema.account), rows)
    if operations.provider_clearing(currency) not in existing:
        # The first holds of a currency may all insert this account. Those that lost the race have
        # not locked it yet.
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
