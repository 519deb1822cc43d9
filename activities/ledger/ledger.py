"""The ledger: its operations and its queries."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError

from activities.database.engine import first_line, read, transact
from activities.keys import LOCAL
from activities.ledger import forgetting, news, operations, purchases, refunds, schema, states
from activities.ledger.audit import audit
from activities.ledger.errors import LedgerRejected
from activities.ledger.history import Posting, closed_at, postings
from activities.ledger.operations import Operation
from activities.ledger.position import InTransit, Position, in_transit, positions
from activities.ledger.purchases import BoughtPurchase
from activities.ledger.recording import record
from activities.ledger.snapshot import (
    AccountBalance,
    PurchaseBalances,
    Snapshot,
    accounts,
    snapshot,
)
from activities.ledger.states import SavedState
from activities.ledger.watched import watched
from activities.requests import (
    Difference,
    HandledNews,
    Money,
    MoveAccount,
    NewsRecord,
    ProviderMoveKind,
)
from activities.spans import span


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
class Decision:
    """How a decision divided the escrow, in minor units, and when it was made."""

    refund: int
    release: int
    at: datetime


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

    `clearing_accounts`: over how many provider clearing accounts the purchases of a currency are
    divided. It may change at any time, and differ between processes.
    """

    def __init__(
        self, engine: Engine, deployment: str = LOCAL, *, clearing_accounts: int = 1
    ) -> None:
        self._engine = engine
        self._deployment = deployment
        self._clearing_accounts = clearing_accounts

    def register(self, purchase: BoughtPurchase, *, paid: bool = False) -> bool:
        """Record what is bought under a purchase id, before the client is charged.

        Returns whether this call recorded it; False for the same purchase again. Another first run
        with the same terms is the same purchase only if it is `paid` at the provider and not held
        yet. Once money was held, only `adopt` continues it: a new start would forget what was
        decided, and its deadlines.

        Raises PurchaseExists for any other purchase.
        """
        row = vars(purchase) | {"deployment": self._deployment}
        return transact(self._engine, lambda connection: purchases.register(connection, row, paid))

    def save_state(self, saved: SavedState) -> None:
        """Keep a state that a purchase can be continued from. The first one of a run stays."""
        transact(self._engine, lambda connection: states.save(connection, saved))

    def find_state(
        self, purchase_id: str, run_id: str = "", *, only_terms: bool = False
    ) -> SavedState | None:
        """Return the state of a run; without a run the newest one, or the purchase's terms if
        that was continued, if there is none, or if they are asked for."""
        newest = partial(states.newest, kinds=("terms",) if only_terms else ("state", "terms"))
        find = partial(states.find, run_id=run_id) if run_id else newest
        return read(self._engine, lambda connection: find(connection, purchase_id=purchase_id))

    def adopt(self, purchase_id: str, run_id: str, first_run: str) -> SavedState:
        """Return the state of an ended run to the workflow that continues it, which is the one with
        this first run from now on. Raises PurchaseExists."""

        def adopt(connection: Connection) -> SavedState:
            return states.adopt(connection, purchase_id, run_id, first_run)

        return transact(self._engine, adopt)

    def hold(
        self,
        *,
        key: str,
        purchase_id: str,
        amount: int,
        currency: str,
        at: datetime,
        charge: str = "",
    ) -> bool:
        """Move money from provider clearing to escrow, once per purchase.

        `charge`: the provider's name for the charge, which holds one purchase; empty if it has
        none. Returns whether this call applied the operation.

        Raises LedgerRejected: ALREADY_HELD, CHARGE_TAKEN, CURRENCY_MISMATCH.
        """
        return self._post(operations.hold(key, purchase_id, amount, currency, at, charge))

    def decide(
        self,
        *,
        key: str,
        purchase_id: str,
        refund: int,
        release: int,
        currency: str,
        at: datetime,
        first_run: str = "",
    ) -> bool:
        """Move the whole escrow to refunds in transit, to the freelancer's balance, or to both.

        Once per purchase; an amount of 0 has no leg. Waits for the end of a bank dispute.
        `first_run`: of the workflow that has decided; empty if it is not checked, as in `restore`.
        Returns whether this call applied the operation. Raises LedgerRejected: NO_HOLD,
        ALREADY_DECIDED, NOT_ENOUGH_MONEY, MONEY_LEFT_OVER, BANK_DISPUTE_OPEN, CURRENCY_MISMATCH,
        OTHER_WORKFLOW.
        """
        if first_run:
            read(self._engine, lambda c: purchases.check_run(c, purchase_id, first_run))
        return self._post(operations.decide(key, purchase_id, refund, release, currency, at))

    def check_refund(self, purchase_id: str, amount: Money, charge: str) -> None:
        """Check that this much is in transit, and that the purchase was paid by this charge.

        Raises LedgerRejected: NOT_IN_TRANSIT, OTHER_CHARGE.
        """
        read(self._engine, lambda c: refunds.check(c, purchase_id, amount, charge))

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

    def provider_moved(
        self,
        *,
        key: str,
        purchase_id: str,
        kind: ProviderMoveKind,
        account: MoveAccount,
        amount: int,
        currency: str,
        at: datetime,
        reference: str,
    ) -> bool:
        """Record money that moved at the provider without Recourse; see ProviderMoveKind.

        Any number of times per purchase, each under a key of its own. `reference`: the provider's
        name for the dispute or the refund. Returns whether this call applied the operation.

        Raises LedgerRejected: NO_HOLD, NOT_ENOUGH_MONEY (also for more than was settled or
        released), WRONG_ACCOUNT, CURRENCY_MISMATCH, INVALID_REQUEST.
        """
        return self._post(
            operations.provider_moved(
                key, purchase_id, kind, account, amount, currency, at, reference
            )
        )

    def balances(self, purchase_id: str) -> PurchaseBalances | None:
        """Return the balances of a purchase, or None if it has no hold."""
        view = schema.purchase_balances
        query = sa.select(view).where(view.c.purchase_id == purchase_id)
        row = read(self._engine, lambda connection: connection.execute(query).first())
        return PurchaseBalances(**row._mapping) if row else None

    def decision(self, purchase_id: str) -> Decision | None:
        """Return the decision about a purchase; None before its posting."""
        operation, transfer = schema.operation.c, schema.transfer.c
        query = (
            sa.select(operation.at, transfer.credit_account, transfer.amount)
            .join_from(schema.operation, schema.transfer, transfer.operation_key == operation.key)
            .where(transfer.purchase_id == purchase_id, transfer.kind.in_(operations.DECISIONS))
        )
        rows = read(self._engine, lambda connection: connection.execute(query).all())
        if not rows:
            return None
        moved = {row.credit_account: int(row.amount) for row in rows}
        return Decision(
            refund=moved.get(operations.refunds_in_transit(purchase_id), 0),
            release=moved.get(operations.freelancer_balance(purchase_id), 0),
            at=rows[0].at,
        )

    def purchase_of_charge(self, charge: str) -> str | None:
        """Return the id of the purchase that this charge of the provider holds, if any."""
        query = sa.select(schema.charge.c.purchase_id).where(schema.charge.c.reference == charge)
        return read(self._engine, lambda connection: connection.scalar(query))

    def purchases_of(self, fingerprints: Collection[str]) -> list[str]:
        """Return the ids of the purchases whose parties have one of these fingerprints, sorted."""
        return read(self._engine, lambda c: purchases.of_person(c, fingerprints))

    def forget(self, purchase_id: str, now: datetime, *, dry_run: bool = False) -> None:
        """Destroy the key of a purchase that has ended, and its entries in the index of people.

        Raises LedgerRejected: NOT_FOUND, MONEY_INSIDE, or TOO_EARLY during its aftercare window.
        """
        transact(
            self._engine,
            lambda connection: forgetting.forget(connection, purchase_id, now, dry_run=dry_run),
        )

    def record_news(self, record: NewsRecord) -> int:
        """Record the news that a purchase has handled; return how many were not there."""
        return transact(self._engine, lambda c: news.record(c, record.purchase_id, record.news))

    def handled_news(self, purchase_id: str) -> tuple[HandledNews, ...]:
        """Return the news about a purchase's payment that were handled, the oldest first."""
        return read(self._engine, lambda connection: news.handled(connection, purchase_id))

    def aftercare_ends(self, purchase_id: str) -> datetime | None:
        """Return until when news about a closed purchase opens an aftercare case; None if it is not
        registered, or was never closed."""
        ended = closed_at(purchase_id, self.postings(purchase_id))
        window = read(self._engine, lambda c: purchases.aftercare_window(c, purchase_id))
        return ended + window if ended and window is not None else None

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

    def postings(self, purchase_id: str) -> list[Posting]:
        """Return every leg of a purchase's applied operations, the oldest first."""
        return read(self._engine, lambda connection: postings(connection, purchase_id))

    def accounts(self) -> list[AccountBalance]:
        """Return the balance of every account, by name."""
        return read(self._engine, accounts)

    def positions(self) -> list[Position]:
        """Return the totals of each currency."""
        return read(self._engine, positions)

    def in_transit(self) -> list[InTransit]:
        """Return every refund in transit, the oldest first."""
        return read(self._engine, in_transit)

    def snapshot(self) -> Snapshot:
        """Return the whole ledger at one moment, audited. Reads every transfer."""
        return read(self._engine, snapshot)

    def watched(self, since: datetime, ids: Collection[str] = ()) -> dict[str, str]:
        """Return the purchases that have money inside or a posting made since, and those with these
        ids, if they were held: each with the provider's name for its charge."""
        return read(self._engine, lambda connection: watched(connection, since, ids))

    def audit(self, since: datetime | None = None) -> list[Difference]:
        """Return what is wrong in the ledger; empty if nothing is. Reads every transfer, or those
        of the purchases with an operation recorded since this instant, and every balance."""
        return read(self._engine, partial(audit, since=since))

    def _post(self, operation: Operation) -> bool:
        operation = operation.with_clearing_accounts(self._clearing_accounts)
        try:
            with span(f"ledger {operation.kind}", key=operation.key):
                recorded = transact(self._engine, lambda connection: record(connection, operation))
        except IntegrityError as error:
            raise LedgerRejected(
                "REJECTED_BY_DATABASE",
                f"The database rejected {operation.key}: {first_line(error)}. Run: recourse audit",
            ) from error
        if recorded.rejection:
            raise LedgerRejected(recorded.rejection.code, recorded.rejection.reason)
        return recorded.created
