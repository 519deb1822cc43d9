"""Reads Stripe's records for the audit: of all charges, or of those about which there may be news.

Stripe lists charges, refunds and disputes by the time at which they were made, and the refunds and
disputes of a charge are younger than it. So the lists since an instant have everything about the
charges made since. An older charge is read by itself, if the lists have a refund or a dispute of it
or the caller names it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import stripe

from activities.payments import ChargeRecord, RefundRecord, Statement, UnreadableRecord
from activities.payments.stripe_records import (
    Names,
    bank_dispute,
    by_payment,
    charge_record,
    id_of,
    is_paid,
    payment_of,
    refund_record,
)


def read_statement(
    client: stripe.StripeClient,
    names: Names,
    find: Callable[[str], stripe.Charge | None],
    since: datetime | None,
    also: Collection[str],
) -> Statement:
    """Return what Stripe has for one deployment; see `PaymentProvider.statement`. `find` returns
    the charge of a payment, if Stripe knows it."""
    calls = client.v1
    made: Any = {"limit": 100} | ({"created": {"gte": int(since.timestamp())}} if since else {})
    reader = _Reader(names)
    disputes = list(calls.disputes.list(made).auto_paging_iter())
    charges = list(calls.charges.list(made).auto_paging_iter())
    refunds = list(calls.refunds.list(made).auto_paging_iter())
    reader.read(charges, refunds, disputes)
    if since is None:
        return reader.statement
    listed = {each.id for each in charges} | {payment_of(each) for each in charges}
    older = {id_of(each.charge) for each in refunds} | {id_of(each.charge) for each in disputes}
    older |= {*also}
    for reference in sorted(older - listed - {""}):
        charge = find(reference)
        if charge and not {charge.id, payment_of(charge)} & listed:
            listed |= {charge.id, payment_of(charge)}
            of_this = by_payment(payment_of(charge), limit=100)
            reader.read(
                [charge],
                list(calls.refunds.list(of_this).auto_paging_iter()),
                list(calls.disputes.list(of_this).auto_paging_iter()),
            )
    return reader.statement


class _Reader:
    """Converts what was read. A refund is listed with its charge; one of ours also without."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._charges: list[ChargeRecord] = []
        self._refunds: dict[str, RefundRecord] = {}
        self._unreadable: list[UnreadableRecord] = []

    @property
    def statement(self) -> Statement:
        return Statement(
            tuple(self._charges), tuple(self._refunds.values()), tuple(self._unreadable)
        )

    def read(
        self,
        charges: list[stripe.Charge],
        refunds: list[stripe.Refund],
        disputes: list[stripe.Dispute],
    ) -> None:
        by_charge: defaultdict[str, list[stripe.Dispute]] = defaultdict(list)
        for dispute in disputes:
            by_charge[id_of(dispute.charge)].append(dispute)
        keys: dict[str, str] = {}
        for charge in charges:
            if is_paid(charge) and (key := self._names.key_of(charge)):
                keys[payment_of(charge)] = key
                with self._collected(key, charge.id):
                    known = tuple(bank_dispute(each) for each in by_charge[charge.id])
                    self._charges.append(charge_record(key, charge, known))
        for refund in refunds:
            if key := keys.get(payment_of(refund)) or self._names.refund_id_of(refund):
                with self._collected(key, refund.id):
                    self._refunds[refund.id] = refund_record(refund, self._names)

    @contextmanager
    def _collected(self, key: str, reference: str) -> Iterator[None]:
        """Collect a record that cannot be converted as unreadable."""
        try:
            yield
        except ValueError as error:
            self._unreadable.append(UnreadableRecord(key, reference, str(error)))
