"""A payment provider without a bank, controlled by magic payment methods.

Its records are in a SQLite file of their own, so that the audit compares the ledger with something
independent. The file survives `kill -9` and several processes may use it at once. The sandbox has
no clock: each answer depends on the `at` of the request, so that time skipped in a workflow settles
refunds. Several deployments may use one file: keys are stored with the deployment's name before
them, and a deployment finds only its own.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from activities.calendar import business_deadline
from activities.database.sqlite import open_file
from activities.database.types import Instant
from activities.keys import LOCAL, own_key, provider_key
from activities.payments import (
    ChargeRecord,
    ChargeResult,
    ProviderRejected,
    ProviderUnreachable,
    RefundRecord,
    RefundResult,
    Statement,
)
from activities.payments.sandbox_methods import FAILS_AFTER, METHODS, UNKNOWN_METHOD, Method
from activities.requests import BusinessDeadlineRequest, Money

BUSY_TIMEOUT_SECONDS = 30
"""Bounds how long a call waits for another process that writes to the file."""


_VOIDED = "This charge was voided before it was made."
_REFUND_CAME_BACK = "The client's bank sent the money back: the account cannot receive it."


@dataclass(frozen=True)
class Charge:
    """One charge on record. `void`: voided before it was made, so it has no amount. `unreached`:
    requested while the sandbox was unreachable, never made."""

    key: str
    status: Literal["succeeded", "declined", "void", "unreached"]
    amount: Money | None
    payment_method: str
    reference: str
    text: str
    made_at: datetime

    @property
    def method(self) -> Method:
        return METHODS.get(self.payment_method, UNKNOWN_METHOD)

    @property
    def result(self) -> ChargeResult:
        if self.status == "succeeded":
            return ChargeResult("succeeded", self.amount, self.reference)
        return ChargeResult("declined", None, self.reference, self.text)


@dataclass(frozen=True)
class Refund:
    """One refund on record: `pending` until `done_at`, then its `outcome`."""

    refund_id: str
    charge_reference: str
    amount: Money
    payment_method: str
    reference: str
    made_at: datetime
    outcome: Literal["settled", "failed"]
    done_at: datetime

    @property
    def method(self) -> Method:
        return METHODS[self.payment_method]

    def result(self, at: datetime) -> RefundResult:
        """Return the status of the refund at `at`."""
        if at < self.done_at:
            return RefundResult("pending", self.amount, self.reference)
        text = _REFUND_CAME_BACK if self.outcome == "failed" else ""
        return RefundResult(self.outcome, self.amount, self.reference, text)


_metadata = sa.MetaData()
_charges = sa.Table(
    "charges",
    _metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("amount", sa.Integer, sa.CheckConstraint("amount > 0")),
    sa.Column("currency", sa.Text),
    sa.Column("payment_method", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False, unique=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sqlite_strict=True,
)
_refunds = sa.Table(
    "refunds",
    _metadata,
    sa.Column("refund_id", sa.Text, primary_key=True),
    sa.Column(
        "charge_reference", sa.Text, sa.ForeignKey(_charges.c.reference), nullable=False, index=True
    ),
    sa.Column("amount", sa.Integer, sa.CheckConstraint("amount > 0"), nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("payment_method", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("done_at", Instant, nullable=False),
    sqlite_strict=True,
)
_unanswered = sa.Table(
    "unanswered",
    _metadata,
    sa.Column("call", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sqlite_strict=True,
)


_TABLES: Mapping[type, sa.Table] = {Charge: _charges, Refund: _refunds}

Record = TypeVar("Record", Charge, Refund)


class SandboxProvider:
    """The PaymentProvider of demo and tests, for one deployment.

    Creates the file at `path` and its folder if they do not exist. Raises ProviderUnreachable if
    the file cannot be used, OSError if the folder cannot be created. The caller closes it.
    """

    def __init__(self, path: str | Path, deployment: str = LOCAL) -> None:
        self._named = partial(provider_key, deployment)
        self._own = partial(own_key, deployment)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(path)
        with self._transaction() as connection:
            _metadata.create_all(connection)

    def close(self) -> None:
        """Close every connection to the file."""
        self._engine.dispose()

    def charge(self, key: str, amount: Money, payment_method: str, at: datetime) -> ChargeResult:
        key, asked = self._named(key), (amount, payment_method)
        with self._call("charge", key) as call:
            charge = call.find(Charge, _charges.c.key == key)
            if charge is None:
                charge = call.insert(_new_charge(key, amount, payment_method, at))
            elif charge.status != "void" and (charge.amount, charge.payment_method) != asked:
                raise ProviderRejected("This idempotency key belongs to another charge.")
        return charge.result

    def find_charge(self, key: str) -> ChargeResult | None:
        key = self._named(key)
        with self._call("find_charge", key) as call:
            charge = call.find(Charge, _charges.c.key == key)
        return charge.result if charge else None

    def void(
        self, key: str, amount: Money, payment_method: str, at: datetime
    ) -> ChargeResult | None:
        key = self._named(key)
        with self._call("void", key) as call:
            charge = call.find(Charge, _charges.c.key == key)
            if charge is None:
                call.insert(Charge(key, "void", None, "", _reference("ch", key), _VOIDED, at))
        return charge.result if charge and charge.status == "succeeded" else None

    def refund(
        self, refund_id: str, charge_reference: str, amount: Money, at: datetime
    ) -> RefundResult:
        refund_id = self._named(refund_id)
        with self._call("refund", refund_id) as call:
            charge = call.find(Charge, _charges.c.reference == charge_reference)
            if charge is None or charge.status != "succeeded":
                raise ProviderRejected("The sandbox does not know this charge.")
            if not self._own(charge.key):
                raise ProviderRejected("This charge was made by another deployment.")
            refund = call.find(Refund, _refunds.c.refund_id == refund_id)
            if refund is None:
                refund = call.insert(_new_refund(call.connection, charge, refund_id, amount, at))
            elif (refund.charge_reference, refund.amount) != (charge_reference, amount):
                raise ProviderRejected("This refund id belongs to another refund.")
        return refund.result(at)

    def find_refund(
        self, refund_id: str, charge_reference: str, at: datetime
    ) -> RefundResult | None:
        refund_id = self._named(refund_id)
        of_charge = _refunds.c.charge_reference == charge_reference
        with self._call("find_refund", refund_id) as call:
            refund = call.find(Refund, _refunds.c.refund_id == refund_id, of_charge)
        return refund.result(at) if refund else None

    def account(self) -> str:
        return "sandbox"

    def refunds_of(self, charge_reference: str, at: datetime) -> tuple[RefundResult, ...]:
        with self._call("refunds_of", charge_reference) as call:
            call.find(Charge, _charges.c.reference == charge_reference)
            refunds = _records(
                call.connection, Refund, _refunds.c.charge_reference == charge_reference
            )
        return tuple(refund.result(at) for refund in refunds)

    def charges(self) -> list[Charge]:
        """Return every charge received, also declined and voided ones, the oldest first."""
        with self._transaction() as connection:
            found = _records(connection, Charge, _charges.c.status != "unreached")
        return [replace(each, key=key) for each in found if (key := self._own(each.key))]

    def refunds(self) -> list[Refund]:
        """Return every refund, the oldest first."""
        return [
            replace(each, refund_id=key)
            for each in self._all_refunds()
            if (key := self._own(each.refund_id))
        ]

    def _all_refunds(self) -> list[Refund]:
        with self._transaction() as connection:
            return _records(connection, Refund)

    def statement(self) -> Statement:
        """Return all records. Refunds have their final status, because the sandbox has no clock."""
        charges = [each for each in self.charges() if each.status == "succeeded" and each.amount]
        ours = {each.reference for each in charges}
        refunds = [
            RefundRecord(
                self._own(each.refund_id),
                each.amount,
                each.reference,
                each.outcome,
                each.charge_reference,
            )
            for each in self._all_refunds()
            if each.charge_reference in ours
        ]
        refunded = dict.fromkeys(ours, 0)
        for each in refunds:
            refunded[each.charge_reference] += each.amount.amount * (each.status != "failed")
        return Statement(
            tuple(
                ChargeRecord(each.key, each.amount, each.reference, refunded[each.reference])
                for each in charges
                if each.amount
            ),
            tuple(refunds),
        )

    @contextmanager
    def _call(self, name: str, key: str) -> Iterator["_Call"]:
        """Run one call in a transaction; what it changed stays, also if its answer is lost."""
        with self._transaction() as connection:
            call = _Call(connection)
            yield call
            answered = _is_answered(connection, name, key, call.method)
        if not answered:
            raise ProviderUnreachable("the sandbox did not answer")

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """Open a transaction that locks the file from its first statement on."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
            where = self._engine.url.database
            raise ProviderUnreachable(f"the sandbox's file {where} cannot be used") from error


@dataclass
class _Call:
    """A call in its transaction. `method`: that of the charge or refund that it is about."""

    connection: sa.Connection
    method: Method = field(default_factory=Method)

    def find(self, kind: type[Record], *where: sa.ColumnElement[bool]) -> Record | None:
        for record in _records(self.connection, kind, *where):
            self.method = record.method
            return record
        return None

    def insert(self, record: Record) -> Record:
        money = record.amount.model_dump() if record.amount else {"amount": None}
        self.connection.execute(_TABLES[type(record)].insert().values(asdict(record) | money))
        self.method = record.method
        return record


def _records(
    connection: sa.Connection, kind: type[Record], *where: sa.ColumnElement[bool]
) -> list[Record]:
    """All of a kind that match, the oldest first."""
    query = sa.select(_TABLES[kind]).where(*where).order_by(sa.text("rowid"))
    return [kind(**_with_money(row)) for row in connection.execute(query).mappings()]


def _with_money(row: sa.RowMapping) -> dict[str, Any]:
    values = dict(row)
    amount, currency = values["amount"], values.pop("currency")
    return values | {"amount": amount and Money(amount=amount, currency=currency)}


def _engine(path: str | Path) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    engine = open_file(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _new_charge(key: str, amount: Money, payment_method: str, at: datetime) -> Charge:
    method = METHODS.get(payment_method, UNKNOWN_METHOD)
    status: Literal["succeeded", "declined", "unreached"] = "succeeded"
    if method.fault == "unreachable":
        status = "unreached"
    elif method.declined:
        status = "declined"
    return Charge(key, status, amount, payment_method, _reference("ch", key), method.declined, at)


def _new_refund(
    connection: sa.Connection, charge: Charge, refund_id: str, amount: Money, at: datetime
) -> Refund:
    charged = charge.amount
    assert charged is not None
    earlier = _records(connection, Refund, _refunds.c.charge_reference == charge.reference)
    refunded = sum(each.amount.amount for each in earlier if each.result(at).status != "failed")
    remaining = charged.amount - refunded
    if amount.currency != charged.currency:
        raise ProviderRejected(
            f"The charge is in {charged.currency}, the refund in {amount.currency}."
        )
    if amount.amount > remaining:
        raise ProviderRejected(
            f"The refund of {amount.amount} exceeds the remaining charge of {remaining} of "
            f"{charged.amount} (minor units, {charged.currency})."
        )
    fails = len(earlier) < charge.method.failing_refunds
    return Refund(
        refund_id,
        charge.reference,
        amount,
        charge.payment_method,
        _reference("re", refund_id),
        at,
        outcome="failed" if fails else "settled",
        done_at=at + FAILS_AFTER if fails else _noon_of(charge.method.settles_on, at),
    )


def _noon_of(business_day: int, at: datetime) -> datetime:
    if not business_day:
        return at
    request = BusinessDeadlineRequest(start=at, days=business_day, country="US", timezone="UTC")
    return business_deadline(request).at - timedelta(hours=12)


def _is_answered(connection: sa.Connection, call: str, key: str, method: Method) -> bool:
    """Return whether the fault of the payment method lets this call be answered."""
    if method.fault == "flaky":
        first = insert(_unanswered).values(call=call, key=key).on_conflict_do_nothing()
        return connection.execute(first).rowcount == 0
    return method.fault is None or (method.fault == "charge_lost" and call != "charge")


def _reference(kind: str, key: str) -> str:
    return f"{kind}_{hashlib.sha256(key.encode()).hexdigest()[:24]}"
