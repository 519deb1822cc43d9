"""`adopt`: continue a purchase whose workflow was terminated with money in escrow."""

from typing import Annotated

import typer
from rich.text import Text

from activities.keys import workflow_id_of
from activities.ledger import Ledger
from activities.requests import Money
from starter import show
from starter.database import opened, opened_provider
from starter.exits import command
from starter.options import Json, PurchaseId, read_purchase
from temporal.adoption import Adoption
from temporal.client import connect, seal_of

FromTerms = Annotated[
    bool,
    typer.Option(
        "--from-terms",
        help="If Temporal has lost its history: begin again with its terms and new deadlines.",
    ),
]


@command
async def adopt(
    purchase_id: PurchaseId, from_terms: FromTerms = False, as_json: Json = False
) -> None:
    """Continue a purchase that was terminated with money in escrow; no money moves twice.

    It keeps its stage, deadlines and answered messages, except with --from-terms. A second `adopt`
    is rejected.
    """
    purchase_id = read_purchase(purchase_id)
    client = await connect()
    with opened() as engine:
        adoption = Adoption(client, Ledger(engine), seal_of(), _paid)
        adopted = await adoption.adopt(purchase_id, from_terms=from_terms)
    show.answer(adopted, Text(adopted.what), as_json=as_json)


def _paid(purchase_id: str) -> Money | None:
    """Return the amount that the provider has charged for a purchase."""
    with opened_provider() as provider:
        charge = provider.find_charge(f"{workflow_id_of(purchase_id)}/hold")
    return charge.charged if charge else None
