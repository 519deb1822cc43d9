"""The books against themselves and against the server: `audit`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Group
from sqlalchemy import Engine
from temporalio.client import Client

from activities.amounts import format_amount
from activities.ledger import AccountBalance, Difference, Ledger
from activities.parts import Settings, open_database
from activities.requests import Model
from starter import show
from starter.failures import ExitStatus, Failure, run
from starter.options import Json
from starter.purchases import Purchase, running
from workflows.lifecycle.state import Payment
from workflows.messages import Status
from workflows.server import connect

PLACES = {
    "escrow": "held",
    "refunds-in-transit": "in_transit",
    "freelancer-balance": "released",
    "provider-clearing": "provider",
}
"""The kinds of accounts, and what their balances are called in the totals."""

ABANDONED = (
    "See what became of the workflow in the Web UI. Until its decision is carried out, this money "
    "belongs to the parties."
)
NOT_IN_BOOKS = "Compare with the payment provider's records before any more money moves."


class Total(Model):
    """All accounts of one kind added up, in minor units; the four of a currency sum to zero."""

    currency: str
    held: int = 0
    in_transit: int = 0
    released: int = 0
    provider: int = 0


class Audit(Model):
    """What the audit found; good books have no differences."""

    purchases: int
    totals: tuple[Total, ...]
    differences: tuple[Difference, ...]


@contextmanager
def opened() -> Iterator[Engine]:
    """The database of the environment. Raises WrongSetting or Unavailable with a sentence."""
    engine = open_database(Settings.from_environment())
    try:
        yield engine
    finally:
        engine.dispose()


def audit(as_json: Json = False) -> None:
    """Check the books against themselves and against the server; exit 1 on any difference."""
    run(_audit(as_json), as_json=as_json)


async def _audit(as_json: bool) -> int:
    client = await connect()
    with opened() as engine:
        found = await examine(client, Ledger(engine))
    show.answer(found, _shown(found), as_json=as_json)
    return ExitStatus.REFUSED if found.differences else 0


async def examine(client: Client, ledger: Ledger) -> Audit:
    """Audit the books while purchases go on: what is seen twice to be wrong is a difference."""
    accounts = ledger.accounts()
    known = {owner(item) for item in accounts if _place(item) == "held"}
    with_money = {
        owner(item) for item in accounts if item.balance and _place(item) in ("held", "in_transit")
    }
    active = set(await running(client))
    differences = ledger.audit()
    for purchase_id in sorted(with_money - active):
        differences += await _abandoned(Purchase(client, purchase_id), ledger)
    for purchase_id in sorted(active - known):
        differences += await _not_in_books(Purchase(client, purchase_id), ledger)
    return Audit(
        purchases=len(known), totals=tuple(_totals(accounts)), differences=tuple(differences)
    )


async def _abandoned(purchase: Purchase, ledger: Ledger) -> list[Difference]:
    """Money that no workflow looks after any more."""
    if await purchase.is_running():
        return []
    balances = ledger.balances(purchase.id)
    if balances is None or not (balances.held or balances.in_transit):
        return []
    held = format_amount(balances.held, balances.currency)
    in_transit = format_amount(balances.in_transit, balances.currency)
    what = (
        f"Purchase {purchase.id} has {held} in escrow and {in_transit} in transit, "
        "but no workflow of it is running."
    )
    return [Difference(purchase.id, what, ABANDONED)]


async def _not_in_books(purchase: Purchase, ledger: Ledger) -> list[Difference]:
    """A purchase that believes its money is held, while the books know of none."""
    try:
        status: Status = await purchase.status()
    except Failure as failure:
        if failure.status is not ExitStatus.REFUSED:
            raise
        return [Difference(purchase.id, failure.text, "Look at its workflow in the Web UI.")]
    if status.payment != Payment.HELD or ledger.balances(purchase.id) is not None:
        return []
    what = f"Purchase {purchase.id} counts on {status.price} in escrow; the books have no hold."
    return [Difference(purchase.id, what, NOT_IN_BOOKS)]


def owner(account: AccountBalance) -> str:
    """The purchase (or currency) that an account is of."""
    return account.account.partition(":")[2]


def _place(account: AccountBalance) -> str:
    return PLACES[account.account.partition(":")[0]]


def _totals(accounts: Iterable[AccountBalance]) -> list[Total]:
    sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(PLACES.values(), 0))
    for account in accounts:
        sums[account.currency][_place(account)] += int(account.balance)
    return [Total(currency=currency, **places) for currency, places in sorted(sums.items())]


def _shown(found: Audit) -> Group:
    totals = (
        [format_amount(amount, total.currency) for amount in _amounts(total)]
        for total in found.totals
    )
    columns = ("in escrow", "in transit", "released", "provider clearing")
    title = f"The books of {found.purchases} purchases"
    blocks = [show.table(title, columns, totals)]
    if not found.differences:
        return Group(*blocks, "No differences.")
    rows = ((item.purchase_id or "", item.what, item.what_to_do) for item in found.differences)
    columns_ = ("purchase", "what is wrong", "what to do")
    blocks.append(show.table(f"{len(found.differences)} differences", columns_, rows))
    return Group(*blocks)


def _amounts(total: Total) -> tuple[int, int, int, int]:
    return total.held, total.in_transit, total.released, total.provider
