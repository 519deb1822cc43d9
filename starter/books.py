"""`audit`: checks the ledger and compares it with the workflows and the provider."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from rich.console import Group
from sqlalchemy import Engine

from activities.amounts import format_amount
from activities.audit import reconcile
from activities.ledger import Ledger
from activities.requests import AuditReport, Total
from activities.services import Settings, open_database, provider_of
from starter import show
from starter.exits import ExitStatus, command
from starter.options import Json
from temporal.client import connect
from temporal.directory import TemporalPurchaseDirectory


@contextmanager
def opened() -> Iterator[Engine]:
    """Open the configured database. Raises WrongSetting or Unavailable."""
    engine = open_database(Settings.from_environment())
    try:
        yield engine
    finally:
        engine.dispose()


@command
async def audit(as_json: Json = False) -> int:
    """Compare the ledger with the workflows and the provider; exit 1 on any difference."""
    client = await connect()
    with opened() as engine, closing(provider_of(Settings.from_environment())) as provider:
        found = await reconcile(Ledger(engine), provider, TemporalPurchaseDirectory(client))
    show.answer(found, _shown(found), as_json=as_json)
    return ExitStatus.REJECTED if found.differences else 0


def _shown(found: AuditReport) -> Group:
    totals = (
        [format_amount(amount, total.currency) for amount in _amounts(total)]
        for total in found.totals
    )
    columns = ("in escrow", "in transit", "released", "provider clearing", "kept at the provider")
    title = f"Ledger totals of {_count(found.purchases, 'purchase')}"
    blocks = [show.table(title, columns, totals)]
    if not found.differences:
        return Group(*blocks, "No differences.")
    rows = ((item.purchase_id or "", item.what, item.what_to_do) for item in found.differences)
    columns_ = ("purchase", "what is wrong", "what to do")
    blocks.append(show.table(_count(len(found.differences), "difference"), columns_, rows))
    return Group(*blocks)


def _amounts(total: Total) -> tuple[int, ...]:
    return total.held, total.in_transit, total.released, total.provider, total.at_provider


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
