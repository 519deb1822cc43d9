"""A payment provider without a bank, controlled by magic payment methods and by events.

Its records are in a SQLite file of their own, so that the audit compares the ledger with something
independent. The file survives `kill -9` and several processes may use it at once. The sandbox has
no clock: each answer depends on the `at` of the request, so that time skipped in a workflow settles
refunds. Several deployments may use one file: keys are stored with the deployment's name before
them, and a deployment finds only its own.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from activities.keys import LOCAL, own_key, provider_key
from activities.payments import (
    ChargeRecord,
    ChargeResult,
    PaymentReport,
    ProviderRejected,
    ProviderUnreachable,
    RefundRecord,
    RefundResult,
    Statement,
)
from activities.payments.sandbox_events import (
    EventResult,
    SandboxEvent,
    make_happen,
    make_payment,
)
from activities.payments.sandbox_methods import Method
from activities.payments.sandbox_records import (
    CHARGES,
    METADATA,
    REFUNDS,
    UNANSWERED,
    Charge,
    Dispute,
    Refund,
    disputes_of,
    insert,
    is_elsewhere,
    new_charge,
    new_dispute,
    new_refund,
    open_records,
    records,
    reference,
    refunds_of,
)
from activities.requests import Money

_VOIDED = "This charge was voided before it was made."

Requested = TypeVar("Requested", Charge, Refund)


class SandboxProvider:
    """The PaymentProvider of demo and tests, for one deployment.

    Creates the file at `path` and its folder if they do not exist. Raises ProviderUnreachable if
    the file cannot be used, OSError if the folder cannot be created. The caller closes it.
    """

    def __init__(self, path: str | Path, deployment: str = LOCAL) -> None:
        self._named = partial(provider_key, deployment)
        self._own = partial(own_key, deployment)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._engine = open_records(path)
        with self._transaction() as connection:
            METADATA.create_all(connection)

    def close(self) -> None:
        """Close every connection to the file."""
        self._engine.dispose()

    def charge(self, key: str, amount: Money, payment_method: str, at: datetime) -> ChargeResult:
        key, asked = self._named(key), (amount, payment_method)
        with self._call("charge", key) as call:
            charge = call.find(Charge, CHARGES.c.key == key)
            if charge is None:
                charge = call.insert(new_charge(key, amount, payment_method, at))
                if charge.method.disputed:
                    dispute = new_dispute(call.connection, charge, "opened", amount, at)
                    insert(call.connection, dispute)
            elif charge.status != "void" and (charge.amount, charge.payment_method) != asked:
                raise ProviderRejected("This idempotency key belongs to another charge.")
        return charge.result

    def find_charge(self, key: str) -> ChargeResult | None:
        key = self._named(key)
        with self._call("find_charge", key) as call:
            charge = call.find(Charge, CHARGES.c.key == key)
        return charge.result if charge else None

    def void(
        self, key: str, amount: Money, payment_method: str, at: datetime
    ) -> ChargeResult | None:
        key = self._named(key)
        with self._call("void", key) as call:
            charge = call.find(Charge, CHARGES.c.key == key)
            if charge is None:
                call.insert(Charge(key, "void", None, "", reference("ch", key), _VOIDED, at))
            elif charge.status == "needs_client":
                voided = CHARGES.update().where(CHARGES.c.key == key)
                call.connection.execute(voided.values(status="void", text=_VOIDED))
        return charge.result if charge and charge.status == "succeeded" else None

    def refund(
        self, refund_id: str, charge_reference: str, amount: Money, at: datetime
    ) -> RefundResult:
        refund_id = self._named(refund_id)
        with self._call("refund", refund_id) as call:
            charge = call.find(Charge, CHARGES.c.reference == charge_reference)
            if charge is None or charge.status != "succeeded":
                raise ProviderRejected("The sandbox does not know this charge.")
            if not self._own(charge.key):
                raise ProviderRejected(_of_others(charge))
            refund = call.find(Refund, REFUNDS.c.refund_id == refund_id)
            if refund is None:
                refund = call.insert(new_refund(call.connection, charge, refund_id, amount, at))
            elif (refund.charge_reference, refund.amount) != (charge_reference, amount):
                raise ProviderRejected("This refund id belongs to another refund.")
        return refund.result(at)

    def find_refund(
        self, refund_id: str, charge_reference: str, at: datetime
    ) -> RefundResult | None:
        refund_id = self._named(refund_id)
        of_charge = REFUNDS.c.charge_reference == charge_reference
        with self._call("find_refund", refund_id) as call:
            refund = call.find(Refund, REFUNDS.c.refund_id == refund_id, of_charge)
        return refund.result(at) if refund else None

    def account(self) -> str:
        return "sandbox"

    def payment(self, charge_reference: str, at: datetime) -> PaymentReport | None:
        with self._call("payment", charge_reference) as call:
            charge = call.find(Charge, CHARGES.c.reference == charge_reference)
            return self._report(call.connection, charge, at) if charge else None

    def claim(self, key: str, charge_reference: str, at: datetime) -> PaymentReport | None:
        key = self._named(key)
        with self._call("claim", key) as call:
            charge = call.find(Charge, CHARGES.c.reference == charge_reference)
            if charge is None:
                return None
            if charge.key != key:
                if self._own(charge.key):
                    raise ProviderRejected("This charge belongs to another purchase.")
                if not is_elsewhere(charge.key):
                    raise ProviderRejected(_of_others(charge))
                if records(call.connection, Charge, CHARGES.c.key == key):
                    raise ProviderRejected("This idempotency key belongs to another charge.")
                of_charge = CHARGES.c.reference == charge_reference
                call.connection.execute(CHARGES.update().where(of_charge).values(key=key))
            return self._report(call.connection, replace(charge, key=key), at)

    def make_happen(
        self, event: SandboxEvent, key: str, amount: Money | None, at: datetime
    ) -> EventResult:
        """Make an event happen at once to the charge with this key; `payment-made` makes a charge
        elsewhere, named after the key.

        `amount`: of the payment, dispute or refund; None: all that is left. Raises ValueError if an
        amount is missing or not taken, EventRejected if the event cannot happen now,
        ProviderUnreachable.
        """
        with self._transaction() as connection:
            if event is SandboxEvent.PAYMENT_MADE:
                return make_payment(connection, key, amount, at)
            return make_happen(connection, event, self._named(key), amount, at)

    def charges(self) -> list[Charge]:
        """Return every charge received, also declined and voided ones, the oldest first."""
        with self._transaction() as connection:
            found = records(connection, Charge, CHARGES.c.status != "unreached")
        return [replace(each, key=key) for each in found if (key := self._own(each.key))]

    def refunds(self) -> list[Refund]:
        """Return every refund, the oldest first."""
        with self._transaction() as connection:
            found = records(connection, Refund)
        return [
            replace(each, refund_id=key) for each in found if (key := self._own(each.refund_id))
        ]

    def statement(self, since: datetime | None = None, also: Collection[str] = ()) -> Statement:
        """Return the records. Refunds have their final status, because the sandbox has no clock."""
        with self._transaction() as connection:
            charges = records(connection, Charge, CHARGES.c.status == "succeeded")
            refunds = records(connection, Refund)
            disputes = records(connection, Dispute)
        made = [(each.charge_reference, each.made_at) for each in refunds]
        made += [(each.charge_reference, each.made_at) for each in disputes]
        listed = {*also, *(reference for reference, at in made if since and at >= since)}
        ours = {
            each.reference
            for each in charges
            if self._own(each.key)
            and (since is None or each.made_at >= since or each.reference in listed)
        }
        refunded = dict.fromkeys(ours, 0)
        found = [self._refund_record(each) for each in refunds if each.charge_reference in ours]
        for refund in found:
            refunded[refund.charge_reference] += refund.amount.amount * (refund.status != "failed")
        disputed = defaultdict(list)
        for dispute in disputes:
            disputed[dispute.charge_reference].append(dispute.report)
        return Statement(
            tuple(
                ChargeRecord(
                    self._own(each.key),
                    each.captured,
                    each.reference,
                    refunded=refunded[each.reference],
                    disputed=any(it.status != "inquiry" for it in disputed[each.reference]),
                    disputes=tuple(disputed[each.reference]),
                )
                for each in charges
                if each.reference in ours and each.captured
            ),
            tuple(found),
        )

    def _report(self, connection: sa.Connection, charge: Charge, at: datetime) -> PaymentReport:
        return PaymentReport(
            charge.reference,
            charge.captured,
            self._own(charge.key),
            tuple(self._refund_record(each, at) for each in refunds_of(connection, charge)),
            tuple(each.report for each in disputes_of(connection, charge)),
        )

    def _refund_record(self, refund: Refund, at: datetime | None = None) -> RefundRecord:
        result = refund.result(at)
        return RefundRecord(
            self._own(refund.refund_id),
            result.amount,
            result.reference,
            result.status,
            refund.charge_reference,
            result.text,
            cancelled=result.cancelled,
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

    def find(self, kind: type[Requested], *where: sa.ColumnElement[bool]) -> Requested | None:
        for record in records(self.connection, kind, *where):
            self.method = record.method
            return record
        return None

    def insert(self, record: Requested) -> Requested:
        self.method = record.method
        return insert(self.connection, record)


def _is_answered(connection: sa.Connection, call: str, key: str, method: Method) -> bool:
    """Return whether the fault of the payment method lets this call be answered."""
    if method.fault == "flaky":
        first = sqlite.insert(UNANSWERED).values(call=call, key=key).on_conflict_do_nothing()
        return connection.execute(first).rowcount == 0
    return method.fault is None or (method.fault == "charge_lost" and call != "charge")


def _of_others(charge: Charge) -> str:
    if is_elsewhere(charge.key):
        return "This charge was made elsewhere and not claimed."
    return "This charge was made by another deployment."
