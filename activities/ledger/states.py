"""The states that purchases are continued from: each belongs to one run, and is continued once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from activities.database.engine import insert_if_absent
from activities.database.personal import PersonalData
from activities.ledger import schema
from activities.ledger.errors import PurchaseExists

Kind = Literal["terms", "state"]
TERMS = "terms"


@dataclass(frozen=True)
class SavedState:
    """`state`: the whole state of a purchase at the end of the run `run_id`. `terms`: only its
    terms, saved when it was registered, under a name instead of a run. `document`: sealed."""

    purchase_id: str
    run_id: str
    kind: Kind
    document: bytes


_STATE, _ADOPTION = schema.saved_state.c, schema.adoption.c
_FIELDS = (_STATE.purchase_id, _STATE.run_id, _STATE.kind, _STATE.document)


def save(connection: Connection, saved: SavedState) -> None:
    """Insert it; the first one of a run stays."""
    if find(connection, saved.purchase_id, saved.run_id) is None:
        connection.execute(
            insert_if_absent(connection, schema.saved_state), _row(connection, saved)
        )


def save_terms(connection: Connection, purchase_id: str, document: bytes) -> None:
    """Insert the terms of a purchase that is registered in this transaction, and so has none."""
    saved = SavedState(purchase_id, TERMS, "terms", document)
    connection.execute(insert_if_absent(connection, schema.saved_state), _row(connection, saved))


def save_again(connection: Connection, purchase_id: str, first_run: str) -> None:
    """Record that the workflow with this first run begins again with the terms of a purchase that
    was registered, paid and then lost by Temporal."""
    terms = find(connection, purchase_id, TERMS)
    assert terms is not None  # they were saved when it was registered
    name = f"{first_run}-started"  # the state of that run may be saved under its own name
    save(connection, SavedState(purchase_id, name, "terms", terms.document))
    adopt(connection, purchase_id, name, first_run)


def _row(connection: Connection, saved: SavedState) -> dict[str, object]:
    sealed = PersonalData(connection, saved.purchase_id).seal(saved.document)
    return vars(saved) | {"document": sealed}


def _opened(connection: Connection, row: Any) -> SavedState:
    document = PersonalData(connection, row.purchase_id).unseal(row.document)
    return SavedState(row.purchase_id, row.run_id, row.kind, document)


def find(connection: Connection, purchase_id: str, run_id: str) -> SavedState | None:
    """The state of a run. Raises Forgotten, like all that reads a document."""
    query = sa.select(*_FIELDS).where(_STATE.purchase_id == purchase_id, _STATE.run_id == run_id)
    row = connection.execute(query).first()
    return _opened(connection, row) if row else None


def newest(connection: Connection, purchase_id: str, kinds: Sequence[Kind]) -> SavedState | None:
    """The last state, unless a run has continued it: then, or without one, the terms."""
    is_adopted = sa.exists().where(
        _ADOPTION.purchase_id == _STATE.purchase_id, _ADOPTION.run_id == _STATE.run_id
    )
    newest = (
        sa.select(*_FIELDS, is_adopted.label("is_adopted"))
        .where(_STATE.purchase_id == purchase_id)
        .order_by(_STATE.saved_at.desc())
    )
    for kind in kinds:
        row = connection.execute(newest.where(_STATE.kind == kind)).first()
        if row and (kind == "terms" or not row.is_adopted):
            return _opened(connection, row)
    return None


def is_continued_by(connection: Connection, purchase_id: str, first_run: str) -> bool:
    """Whether `recourse adopt` began the workflow with this first run."""
    query = sa.select(_ADOPTION.run_id).filter_by(purchase_id=purchase_id, first_run=first_run)
    return connection.execute(query).first() is not None


def adopt(connection: Connection, purchase_id: str, run_id: str, first_run: str) -> SavedState:
    """The state of an ended run, for the workflow that continues it and whose first run this is.

    Raises PurchaseExists if another workflow continues it, or if there is no such state. The terms
    of a registered purchase are none: everybody knows their name.
    """
    saved = None if run_id == TERMS else find(connection, purchase_id, run_id)
    if saved is None:
        raise PurchaseExists(
            f"The ledger has no state of purchase {purchase_id} from the run {run_id}:"
            f" run recourse adopt {purchase_id}"
        )
    name = {"purchase_id": purchase_id, "run_id": run_id}
    query = sa.select(_ADOPTION.first_run).filter_by(**name)
    if connection.scalar(query) is None:
        row = name | {"first_run": first_run}
        connection.execute(insert_if_absent(connection, schema.adoption), row)
    by = connection.scalar(query)
    if by != first_run:
        raise PurchaseExists(
            f"Purchase {purchase_id} was continued from the run {run_id} before, by the run {by}"
        )
    return saved
