"""Read-only commands that ask the workflows: status, actions, list."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from temporalio.common import SearchAttributeKey

from starter import show
from starter.exits import command
from starter.options import As, Json, PurchaseId, read_id, read_purchase, read_sender
from temporal.aftercare import current, status_of
from temporal.client import connect
from temporal.errors import InvalidInput, Rejected
from temporal.listing import MOST_OF_PERSON, among, find, too_many
from temporal.purchases import Purchase
from workflows import view
from workflows.lifecycle.state import Stage
from workflows.messages import Role, Status

Most = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="The newest N only.")]
REFRESH_EVERY = timedelta(seconds=2)

Watch = Annotated[bool, typer.Option("--watch", help="Refresh until it is closed, or Ctrl-C.")]
Client = Annotated[str | None, typer.Option(metavar="ID", help="Bought by this client.")]
Freelancer = Annotated[str | None, typer.Option(metavar="ID", help="Sold by this freelancer.")]
InStage = Annotated[Stage | None, typer.Option("--stage", help="Now in this stage.")]
Attention = Annotated[bool, typer.Option("--needs-attention", help="Waiting for a person.")]
Person = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Bought or sold by this mail address, name or word of a name."
    ),
]
NeverStarted = Annotated[
    bool, typer.Option("--never-started", help="Not begun: the start input was invalid.")
]


@command
async def status(purchase_id: PurchaseId, watch: Watch = False, as_json: Json = False) -> None:
    """Show stage, who must act, money, deadlines and what has happened."""
    if watch and as_json:
        raise InvalidInput("--json prints one document; leave --watch out.")
    purchase = await _purchase(purchase_id)
    if watch:
        with suppress(asyncio.CancelledError):  # Ctrl-C
            await _watch(purchase)
    else:
        found = await _status(purchase)
        show.answer(found, show.status(found), as_json=as_json)


async def _purchase(purchase_id: str) -> Purchase:
    purchase_id = read_purchase(purchase_id)
    return await Purchase(await connect(), purchase_id).begun()


async def _status(purchase: Purchase) -> Status:
    """The status; what has arrived since it was given up is not undelivered."""
    found = await status_of(purchase)
    if not found.undelivered:
        return found
    from starter.database import without_arrived  # the database's library takes a while to load

    return await asyncio.to_thread(without_arrived, found)


async def _watch(purchase: Purchase) -> None:
    screen = show.console()
    if not screen.is_terminal:
        await _report(purchase, screen)
        return
    found = await _status(purchase)
    with Live(show.status(found), console=screen, auto_refresh=False) as live:
        while found.stage != Stage.CLOSED:
            await asyncio.sleep(REFRESH_EVERY.total_seconds())
            found = await _status(purchase)
            live.update(show.status(found), refresh=True)


async def _report(purchase: Purchase, screen: Console) -> None:
    """Print each change below the previous one, for output without a terminal."""
    printed: Status | None = None
    while printed is None or printed.stage != Stage.CLOSED:
        if printed:
            await asyncio.sleep(REFRESH_EVERY.total_seconds())
        found = await _status(purchase)
        if found != printed:
            screen.print(show.status(found))
            screen.file.flush()
        printed = found


@command
async def actions(purchase_id: PurchaseId, sender: As, as_json: Json = False) -> None:
    """Show which messages a role may send now, and until when."""
    by = read_sender(sender)
    purchase = await (await _purchase(purchase_id)).begun()
    terms = await purchase.terms()
    parties = {Role.CLIENT: terms.client.id, Role.FREELANCER: terms.freelancer.id}
    if by.id != parties.get(by.role, by.id):
        raise Rejected("NOT_A_PARTY", f"{by.id!r} is not the {by.role} of this purchase.")
    found = await (await current(purchase)).actions(by.role)
    show.answer(found, show.actions(by.role, found), as_json=as_json)


@command
async def list_(
    client: Client = None,
    freelancer: Freelancer = None,
    stage: InStage = None,
    needs_attention: Attention = False,
    never_started: NeverStarted = False,
    person: Person = None,
    limit: Most = None,
    as_json: Json = False,
) -> None:
    """List purchases, the newest first."""
    conditions: list[str] = []
    if person is not None:
        from starter.database import purchases_of  # the database's library takes a while to load

        ids = await asyncio.to_thread(purchases_of, person)
        if not ids:
            raise Rejected(
                "NOT_FOUND",
                "No purchase has a party with that mail address or name. Give the whole address, "
                "the whole name, or one whole word of it.",
            )
        if len(ids) > MOST_OF_PERSON:
            text = f"{too_many(ids)} To list by id: --client or --freelancer."
            raise Rejected("TOO_MANY", text)
        conditions.append(among(ids))
    wanted: dict[SearchAttributeKey[Any], str | bool] = {}
    if client is not None:
        wanted[view.CLIENT] = read_id(client, "--client")
    if freelancer is not None:
        wanted[view.FREELANCER] = read_id(freelancer, "--freelancer")
    if stage is not None:
        wanted[view.STAGE] = stage.value
    if needs_attention:
        wanted[view.NEEDS_ATTENTION] = True
    most = limit + 1 if limit else None
    found = await find(await connect(), wanted, conditions, never_started=never_started, most=most)
    listed = found[:limit]
    show.answer(listed, show.purchases(listed, len(found) > len(listed)), as_json=as_json)
