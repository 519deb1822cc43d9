"""The sandbox's records: charges, refunds and bank disputes in its SQLite file."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import sqlalchemy as sa

from activities.calendar import business_deadline
from activities.database.sqlite import open_file
from activities.database.types import Instant
from activities.keys import provider_key
from activities.payments import (
    BankDispute,
    ChargeResult,
    ProviderRejected,
    RefundResult,
    RefundStatus,
)
from activities.payments.sandbox_methods import (
    FAILS_AFTER,
    METHODS,
    RETURNED_AFTER,
    UNKNOWN_METHOD,
    Method,
)
from activities.requests import BusinessDeadlineRequest, Money

BUSY_TIMEOUT_SECONDS = 30
"""Bounds how long a call waits for another process that writes to the file."""

CONFIRM_URL = "https://sandbox.invalid/confirm/"
DISPUTE_REASON = "product not received"

Outcome = RefundStatus | Literal["returned", "cancelled"]
"""What becomes of a refund. `returned` and `cancelled` are `failed` to others."""

_CAME_BACK = "The account cannot receive money."
_TEXTS = {
    "failed": _CAME_BACK,
    "returned": _CAME_BACK,
    "cancelled": "Somebody cancelled the refund at the provider.",
    "pending": "Insufficient balance: the provider sends the refund when the account has money.",
}
"""The text of a refund by its outcome."""


@dataclass(frozen=True)
class Charge:
    """One charge on record. `void`: voided before it was paid; without an amount if it was never
    requested. `unreached`: requested while the sandbox was unreachable, never made."""

    key: str
    status: Literal["succeeded", "declined", "needs_client", "void", "unreached"]
    amount: Money | None
    payment_method: str
    reference: str
    text: str
    made_at: datetime

    @property
    def method(self) -> Method:
        return METHODS.get(self.payment_method, UNKNOWN_METHOD)

    @property
    def captured(self) -> Money | None:
        """What the client has paid."""
        return self.amount if self.status == "succeeded" else None

    @property
    def result(self) -> ChargeResult:
        if self.status == "succeeded":
            return ChargeResult("succeeded", self.amount, self.reference)
        if self.status == "needs_client":
            url = CONFIRM_URL + self.reference
            return ChargeResult("needs_client", None, self.reference, confirm_url=url)
        return ChargeResult("declined", None, self.reference, self.text)


@dataclass(frozen=True)
class Refund:
    """One refund on record: until `done_at` it is pending, or sent if it is returned later; then it
    has its `outcome`."""

    refund_id: str
    charge_reference: str
    amount: Money
    payment_method: str
    reference: str
    made_at: datetime
    outcome: Outcome
    done_at: datetime

    @property
    def method(self) -> Method:
        return METHODS[self.payment_method]

    def result(self, at: datetime | None = None) -> RefundResult:
        """Return the status of the refund at `at`; None: the last one, without events."""
        if at and at < self.done_at:
            return RefundResult(
                "sent" if self.outcome == "returned" else "pending", self.amount, self.reference
            )
        status: RefundStatus = "failed"
        if self.outcome != "returned" and self.outcome != "cancelled":
            status = self.outcome
        text, cancelled = _TEXTS.get(self.outcome, ""), self.outcome == "cancelled"
        return RefundResult(status, self.amount, self.reference, text, cancelled)


@dataclass(frozen=True)
class Dispute:
    """One bank dispute on record."""

    dispute_id: str
    charge_reference: str
    amount: Money
    status: Literal["inquiry", "opened", "won", "lost"]
    reason: str
    made_at: datetime

    @property
    def report(self) -> BankDispute:
        return BankDispute(self.dispute_id, self.status, self.amount, self.reason)

    @property
    def withdrawn(self) -> int:
        """What the bank has withdrawn, in minor units."""
        return self.amount.amount if self.status in ("opened", "lost") else 0


METADATA = sa.MetaData()
"""The tables. One that an older file lacks is added when the file is opened; a column is not."""
CHARGES = sa.Table(
    "charges",
    METADATA,
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
REFUNDS = sa.Table(
    "refunds",
    METADATA,
    sa.Column("refund_id", sa.Text, primary_key=True),
    sa.Column(
        "charge_reference", sa.Text, sa.ForeignKey(CHARGES.c.reference), nullable=False, index=True
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
DISPUTES = sa.Table(
    "disputes",
    METADATA,
    sa.Column("dispute_id", sa.Text, primary_key=True),
    sa.Column(
        "charge_reference", sa.Text, sa.ForeignKey(CHARGES.c.reference), nullable=False, index=True
    ),
    sa.Column("amount", sa.Integer, sa.CheckConstraint("amount > 0"), nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sqlite_strict=True,
)
UNANSWERED = sa.Table(
    "unanswered",
    METADATA,
    sa.Column("call", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sqlite_strict=True,
)

_TABLES: Mapping[type, sa.Table] = {Charge: CHARGES, Refund: REFUNDS, Dispute: DISPUTES}

Record = TypeVar("Record", Charge, Refund, Dispute)


def open_records(path: str | Path) -> sa.Engine:
    """Open the file; each transaction locks it from its first statement on."""
    url = sa.URL.create("sqlite", database=str(path))
    engine = open_file(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def records(
    connection: sa.Connection, kind: type[Record], *where: sa.ColumnElement[bool]
) -> list[Record]:
    """Return all of a kind that match, the oldest first."""
    query = sa.select(_TABLES[kind]).where(*where).order_by(sa.text("rowid"))
    return [kind(**_with_money(row)) for row in connection.execute(query).mappings()]


def insert(connection: sa.Connection, record: Record) -> Record:
    """Add a record; return it."""
    money = record.amount.model_dump() if record.amount else {"amount": None}
    connection.execute(_TABLES[type(record)].insert().values(asdict(record) | money))
    return record


def refunds_of(connection: sa.Connection, charge: Charge) -> list[Refund]:
    """Return every refund of a charge, also those that others made."""
    return records(connection, Refund, REFUNDS.c.charge_reference == charge.reference)


def disputes_of(connection: sa.Connection, charge: Charge) -> list[Dispute]:
    """Return every bank dispute of a charge."""
    return records(connection, Dispute, DISPUTES.c.charge_reference == charge.reference)


def withdrawn_from(connection: sa.Connection, charge: Charge) -> int:
    """Return what bank disputes have withdrawn from a charge, in minor units."""
    return sum(each.withdrawn for each in disputes_of(connection, charge))


def not_refunded(connection: sa.Connection, charge: Charge, at: datetime) -> int:
    """Return what of a charge is not refunded at `at`, in minor units; failed refunds do not
    count."""
    refunds = (each.result(at) for each in refunds_of(connection, charge))
    captured = charge.captured.amount if charge.captured else 0
    return captured - sum(each.amount.amount for each in refunds if each.status != "failed")


def new_charge(key: str, amount: Money, payment_method: str, at: datetime) -> Charge:
    """Return the charge that the payment method makes of a request."""
    method = METHODS.get(payment_method, UNKNOWN_METHOD)
    status: Literal["succeeded", "declined", "needs_client", "unreached"] = "succeeded"
    if method.fault == "unreachable":
        status = "unreached"
    elif method.declined:
        status = "declined"
    elif method.needs_client:
        status = "needs_client"
    return Charge(key, status, amount, payment_method, reference("ch", key), method.declined, at)


def new_refund(
    connection: sa.Connection, charge: Charge, refund_id: str, amount: Money, at: datetime
) -> Refund:
    """Return the refund that the payment method makes of a request. Raises ProviderRejected."""
    charged = charge.captured
    assert charged is not None
    remaining = not_refunded(connection, charge, at)
    withdrawn = withdrawn_from(connection, charge)
    if amount.currency != charged.currency:
        raise ProviderRejected(
            f"The charge is in {charged.currency}, the refund in {amount.currency}."
        )
    if amount.amount > remaining:
        raise ProviderRejected(
            f"The refund of {amount.amount} exceeds the remaining charge of {remaining} of "
            f"{charged.amount} (minor units, {charged.currency})."
        )
    if amount.amount > remaining - withdrawn:
        raise ProviderRejected(
            f"The charge is disputed: the client's bank has withdrawn {withdrawn} of "
            f"{charged.amount} (minor units, {charged.currency})."
        )
    outcome, done_at = _outcome_of(charge.method, len(refunds_of(connection, charge)), at)
    sent = outcome in ("sent", "returned")
    name = arn(refund_id) if sent else reference("re", refund_id)
    return Refund(
        refund_id, charge.reference, amount, charge.payment_method, name, at, outcome, done_at
    )


def _outcome_of(method: Method, earlier: int, at: datetime) -> tuple[Outcome, datetime]:
    """Return what becomes of a refund, and when. `earlier`: the refunds of the charge before."""
    if earlier < method.failing_refunds:
        return "failed", at + FAILS_AFTER
    match method.refunds:
        case "settle":
            return "settled", _noon_of(method.settles_on, at)
        case "returned":
            return "returned", at + RETURNED_AFTER
        case unchanging:
            return unchanging, at


def new_dispute(
    connection: sa.Connection,
    charge: Charge,
    status: Literal["inquiry", "opened"],
    amount: Money,
    at: datetime,
) -> Dispute:
    """Return a new bank dispute of a charge."""
    number = len(disputes_of(connection, charge)) + 1
    dispute_id = reference("dp", f"{charge.reference}#{number}")
    return Dispute(dispute_id, charge.reference, amount, status, DISPUTE_REASON, at)


def elsewhere(name: str) -> str:
    """Return the key of what was made without Recourse: no deployment's name is empty."""
    return provider_key("", name)


def is_elsewhere(key: str) -> bool:
    """Whether this is the key of what was made without Recourse."""
    return key.startswith(elsewhere(""))


def reference(kind: str, key: str) -> str:
    """Return the sandbox's name for what has this key, such as `ch_…`."""
    return f"{kind}_{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def arn(refund_id: str) -> str:
    """Return the bank's name for a refund that was sent: like an ARN, it has 23 digits."""
    digits = int(hashlib.sha256(refund_id.encode()).hexdigest(), 16) % 10**22
    return f"7{digits:022d}"


def _with_money(row: sa.RowMapping) -> dict[str, Any]:
    values = dict(row)
    amount, currency = values["amount"], values.pop("currency")
    return values | {"amount": amount and Money(amount=amount, currency=currency)}


def _noon_of(business_day: int, at: datetime) -> datetime:
    if not business_day:
        return at
    request = BusinessDeadlineRequest(start=at, days=business_day, country="US", timezone="UTC")
    return business_deadline(request).at - timedelta(hours=12)
