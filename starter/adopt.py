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
from starter.options import Json, PurchaseId, read_purchase, read_sender
from temporal.adoption import Adoption
from temporal.client import connect, seal_of
from temporal.errors import InvalidInput
from workflows.messages import Role

FromTerms = Annotated[
    bool,
    typer.Option(
        "--from-terms",
        help="If Temporal has lost its history: begin again with its terms and new deadlines.",
    ),
]
AsOperator = Annotated[
    str,
    typer.Option(
        "--as", metavar="operator:ID", help="Who you are, for the timeline: operator:o-1."
    ),
]


@command
async def adopt(
    purchase_id: PurchaseId,
    from_terms: FromTerms = False,
    as_operator: AsOperator = "",
    as_json: Json = False,
) -> None:
    """Continue a purchase that was terminated with money in escrow; no money moves twice.

    It keeps its stage, deadlines and answered messages, except with --from-terms. A second `adopt`
    is rejected.
    """
    purchase_id = read_purchase(purchase_id)
    by = _operator(as_operator) if as_operator else ""
    client = await connect()
    with opened() as engine:
        adoption = Adoption(client, Ledger(engine), seal_of(), _paid, by)
        adopted = await adoption.adopt(purchase_id, from_terms=from_terms)
    show.answer(adopted, Text(adopted.what), as_json=as_json)


def _operator(text: str) -> str:
    """The id of `operator:ID`. Raises Failure."""
    sender = read_sender(text)
    if sender.role is not Role.OPERATOR:
        raise InvalidInput("--as: only an operator adopts; write operator:ID.")
    return sender.id


def _paid(purchase_id: str) -> Money | None:
    """Return the amount that the provider has charged for a purchase."""
    with opened_provider() as provider:
        charge = provider.find_charge(f"{workflow_id_of(purchase_id)}/hold")
    return charge.charged if charge else None
