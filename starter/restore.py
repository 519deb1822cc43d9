"""`restore`: posts again what a ledger lacks that was restored from an old backup."""

from contextlib import closing
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from activities.amounts import format_amount
from activities.ledger import Ledger
from activities.restore import RestoreReport, restore
from activities.services import Settings, provider_of
from starter import show
from starter.database import opened
from starter.exits import ExitStatus, command
from starter.options import Json, read_purchase
from temporal.client import connect, seal_of
from temporal.directory import TemporalPurchaseDirectory
from workflows.card import instant

Restored = Annotated[
    str | None, typer.Argument(metavar="PURCHASE", help="The purchase's id; without it: all.")
]


@command
async def restore_(purchase_id: Restored = None, as_json: Json = False) -> int:
    """Post again what the ledger has lost, by workflows and provider; exit 1 if a person must look.

    Nothing else changes: no workflow, no deadline, no notice, nothing at the provider.
    """
    if purchase_id is not None:
        purchase_id = read_purchase(purchase_id)
    client = await connect()
    settings = Settings.from_environment()
    with opened() as engine, closing(provider_of(settings)) as provider:
        directory = TemporalPurchaseDirectory(client)
        ledger = Ledger(engine, settings.deployment)
        found = await restore(ledger, provider, directory, purchase_id, seal_of())
    show.answer(found, _shown(found), as_json=as_json)
    return ExitStatus.REJECTED if found.differences else 0


def _shown(found: RestoreReport) -> RenderableType:
    blocks: list[RenderableType] = []
    if found.rebuilt:
        rows = (
            (
                each.purchase_id,
                each.key,
                format_amount(each.amount, each.currency),
                instant(each.at),
            )
            for each in found.rebuilt
        )
        columns = ("purchase", "key", "amount", "when")
        blocks.append(show.table("Posted again", columns, rows))
    if found.differences:
        rows_ = ((each.purchase_id or "", each.what, each.what_to_do) for each in found.differences)
        columns_ = ("purchase", "what is wrong", "what to do")
        blocks.append(show.table("For a person; not posted", columns_, rows_))
    agreed = len(found.agreed)
    blocks.append(f"{agreed} purchase{'' if agreed == 1 else 's'} had nothing to restore.")
    return Group(*blocks)
