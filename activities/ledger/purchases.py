"""What was bought: one row per purchase id, which never stands for another purchase."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.engine import Connection

from activities.amounts import format_amount
from activities.database.engine import insert_if_absent
from activities.ledger import operations, schema, states
from activities.ledger.errors import LedgerRejected, PurchaseExists
from activities.people import fingerprints_of
from activities.requests import PaymentRequest
from activities.sealing import Seal


@dataclass(frozen=True)
class BoughtPurchase:
    """What the ledger keeps of a purchase: ids and terms, but no name, address, title or payment
    method. These are in `document`, all of the start input, sealed; `terms_hash` is its SHA-256
    before it was sealed.

    `first_run` is the id of the workflow's first run. Resets, retries and continue-as-new keep it;
    a workflow that is started again has another one.
    """

    purchase_id: str
    client: str
    freelancer: str
    amount: int
    currency: str
    terms: str
    terms_hash: str
    first_run: str
    at: datetime
    document: bytes
    people: frozenset[str] = frozenset()
    """Fingerprints of the parties, to find the purchase by."""


def bought(request: PaymentRequest, seal: Seal) -> BoughtPurchase:
    """What is bought with this payment."""
    return BoughtPurchase(
        purchase_id=request.purchase_id,
        client=request.client,
        freelancer=request.freelancer,
        amount=request.price.amount,
        currency=request.price.currency,
        terms=request.terms,
        terms_hash=hashlib.sha256(request.document.encode()).hexdigest(),
        first_run=request.first_run,
        at=request.at,
        document=seal.seal(request.document),
        people=fingerprints_of(request.document, seal),
    )


_FIND = sa.select(schema.purchase).where(
    schema.purchase.c.purchase_id == sa.bindparam("id", type_=sa.Text)
)
_BALANCES = sa.select(schema.purchase_balances).where(
    schema.purchase_balances.c.purchase_id == sa.bindparam("id", type_=sa.Text)
)

_BALANCE = sa.select(schema.account.c.balance).where(
    schema.account.c.id == sa.bindparam("id", type_=sa.Text)
)


def register(connection: Connection, purchase: Mapping[str, Any], paid: bool) -> bool:
    """Insert the row of a purchase. False if it is there. Raises PurchaseExists."""
    name = {"id": purchase["purchase_id"]}
    found = connection.execute(_FIND, name).first()
    if found is None:
        inserted = connection.execute(insert_if_absent(connection, schema.purchase), purchase)
        if inserted.rowcount != 1:  # a concurrent transaction was first; its row is visible now
            return register(connection, purchase, paid)
        states.save_terms(connection, purchase["purchase_id"], purchase["document"])
        _index(connection, purchase["purchase_id"], purchase["people"])
        return True
    if found.first_run == purchase["first_run"]:
        return False
    if states.is_continued_by(connection, found.purchase_id, purchase["first_run"]):
        return False
    advice = "An id is used once: start it with a new id."
    if found.terms_hash == purchase["terms_hash"]:
        balances = connection.execute(_BALANCES, name).first()
        if balances is None and paid:
            states.save_again(connection, found.purchase_id, purchase["first_run"])
            return False
        disputed = {"id": operations.bank_disputes(found.purchase_id)}
        if balances and (
            balances.held or balances.in_transit or connection.scalar(_BALANCE, disputed)
        ):
            advice = (
                "Its money is inside, and a new start would forget its messages and deadlines: "
                f"run recourse adopt {quote(found.purchase_id)}"
            )
    raise PurchaseExists(
        f"Purchase {found.purchase_id} was bought before, by {found.client} from"
        f" {found.freelancer} for {format_amount(int(found.amount), found.currency)} on"
        f" {found.at:%Y-%m-%d}. {advice}"
    )


def check_run(connection: Connection, purchase_id: str, first_run: str) -> None:
    """Check that the workflow with this first run is the one that was registered, or one that has
    continued it. Raises LedgerRejected. Nothing is known of a purchase that an early release held.
    """
    found = connection.execute(_FIND, {"id": purchase_id}).first()
    if (
        found is None
        or found.first_run == first_run
        or states.is_continued_by(connection, purchase_id, first_run)
    ):
        return
    raise LedgerRejected(
        "OTHER_WORKFLOW",
        f"Purchase {purchase_id} belongs to the workflow with the first run {found.first_run}. "
        f"This one began with {first_run}, and the ledger has not recorded that it continues the "
        "other. Nothing is posted. Find out who started it. If the ledger was restored from an "
        f"older backup, terminate it and run: recourse adopt {quote(purchase_id)}",
    )


_DURATION = TypeAdapter(timedelta)


def aftercare_window(connection: Connection, purchase_id: str) -> timedelta | None:
    """The window of its policy; None if it is not registered, or its terms have none."""
    found = connection.execute(_FIND, {"id": purchase_id}).first()
    if found is None:
        return None
    window = json.loads(found.terms).get("policy", {}).get("aftercare_window")
    return None if window is None else _DURATION.validate_python(window)


def _index(connection: Connection, purchase_id: str, people: Collection[str]) -> None:
    rows = [{"fingerprint": each, "purchase_id": purchase_id} for each in sorted(people)]
    if rows:
        connection.execute(insert_if_absent(connection, schema.person), rows)


def of_person(connection: Connection, fingerprints: Collection[str]) -> list[str]:
    """The ids of the purchases that are indexed under one of these fingerprints, sorted."""
    found = sa.select(schema.person.c.purchase_id).where(
        schema.person.c.fingerprint.in_(fingerprints)
    )
    return sorted(set(connection.scalars(found)))
