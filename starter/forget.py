"""`forget`: destroys what identifies the persons of a purchase that has ended."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from activities.ledger import Ledger
from starter import show
from starter.database import opened
from starter.exits import command
from starter.options import Json, PurchaseId, read_purchase
from temporal.client import connect
from temporal.forgetting import forget as forget_

Yes = Annotated[bool, typer.Option("--yes", help="Forget. Without it, only say what would be.")]


@command
async def forget(purchase_id: PurchaseId, yes: Yes = False, as_json: Json = False) -> None:
    """Destroy names, addresses and texts of a purchase that has ended; without --yes, only check.

    It is possible when the time for news about its payment, the policy's aftercare_window, is over.
    Ids, amounts, times and policy stay in the ledger. This cannot be undone.
    """
    purchase_id = read_purchase(purchase_id)
    client = await connect()
    with opened() as engine:
        found = await forget_(
            client, Ledger(engine), purchase_id, datetime.now(UTC), dry_run=not yes
        )
    verb = "are destroyed" if yes else "would be destroyed; --yes destroys them"
    soon = " The server may need a minute to delete the histories." if yes else ""
    histories = f"{found.histories} {'history' if found.histories == 1 else 'histories'}"
    text = (
        f"Names, addresses, texts and notices of purchase {purchase_id}, and {histories} at the "
        f"Temporal server, {verb}. Its ids, amounts and times stay.{soon}"
    )
    show.answer(found, text, as_json=as_json)
