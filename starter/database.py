"""Commands that read the database: ledger, notices, audit."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from activities.amounts import format_amount
from activities.audit import WINDOW, reconcile
from activities.keys import hint_for
from activities.ledger import Ledger
from activities.notices.log import DeliveryLog, effective_status
from activities.payments import PaymentProvider
from activities.people import fingerprints_for
from activities.requests import AuditReport
from activities.services import (
    Settings,
    Unavailable,
    WrongSetting,
    check_exists,
    open_existing,
    provider_of,
    sandbox_file,
)
from starter import show
from starter.exits import ExitStatus, command
from starter.options import Json, PurchaseId, read_purchase
from temporal import undelivered
from temporal.client import connect, seal_of
from temporal.directory import TemporalPurchaseDirectory
from temporal.errors import InvalidInput, Rejected
from workflows.messages import Status


@contextmanager
def opened() -> Iterator[Engine]:
    """Open the configured database, which must exist. Raises WrongSetting or Unavailable."""
    engine = open_existing(Settings.from_environment())
    try:
        yield engine
    finally:
        engine.dispose()


def opened_provider() -> closing[PaymentProvider]:
    """Open the configured provider; a sandbox must exist. Raises WrongSetting or Unavailable."""
    settings = Settings.from_environment()
    check_exists(sandbox_file(settings), "sandbox", "RECOURSE_PAYMENTS")
    return closing(provider_of(settings))


def purchases_of(person: str) -> list[str]:
    """The ids of the purchases that have a party with this mail address, name or word of a name."""
    with opened() as engine:
        return Ledger(engine).purchases_of(fingerprints_for(person, seal_of()))


def without_arrived(status: Status) -> Status:
    """The status without what has arrived since it was given up, if the database opens here."""
    with suppress(Unavailable, WrongSetting, SQLAlchemyError), opened() as engine:
        log = DeliveryLog(engine).deliveries(status.purchase_id)
        return undelivered.without_arrived(status, log)
    return status


def check_known(engine: Engine, purchase_id: str) -> None:
    """Raise Rejected `NOT_FOUND` if the ledger knows nothing of the purchase."""
    ledger = Ledger(engine)
    if ledger.find_state(purchase_id) or ledger.balances(purchase_id):
        return
    if not DeliveryLog(engine).deliveries(purchase_id):
        text = f"The ledger has no purchase {purchase_id}; check its id.{hint_for(purchase_id)}"
        raise Rejected("NOT_FOUND", text)


Number = Annotated[
    int | None, typer.Option("--show", min=1, metavar="N", help="Show notice N as it was sent.")
]


@command
async def ledger(purchase_id: PurchaseId, as_json: Json = False) -> None:
    """Show every movement of a purchase's money, and its balances."""
    purchase_id = read_purchase(purchase_id)
    with opened() as engine:
        found = Ledger(engine)
        balances, transfers = found.balances(purchase_id), found.transfers(purchase_id)
    if balances is None:
        text = (
            f"The ledger has no purchase {purchase_id}: no money was held.{hint_for(purchase_id)}"
        )
        raise Rejected("NOT_FOUND", text)
    document = {"balances": balances, "transfers": transfers}
    show.answer(document, show.ledger(balances, transfers), as_json=as_json)


@command
async def notices(purchase_id: PurchaseId, number: Number = None, as_json: Json = False) -> None:
    """Show the notices to both parties, and whether they were delivered."""
    purchase_id = read_purchase(purchase_id)
    with opened() as engine:
        now = datetime.now(UTC)
        sent = [effective_status(notice, now) for notice in DeliveryLog(engine).list(purchase_id)]
    if not sent:
        text = f"Purchase {purchase_id} has no notices; check its id.{hint_for(purchase_id)}"
        raise Rejected("NOT_FOUND", text)
    if number is None:
        show.answer(sent, show.notices(purchase_id, sent), as_json=as_json)
    elif number > len(sent):
        raise InvalidInput(f"--show: there are {len(sent)} notices, so 1 to {len(sent)}.")
    else:
        notice = sent[number - 1]
        show.answer(notice, show.notice(notice), as_json=as_json)


Everything = Annotated[
    bool, typer.Option("--all", help="Compare every purchase ever made, not only recent ones.")
]


@command
async def audit(everything: Everything = False, as_json: Json = False) -> int:
    """Compare the ledger with the workflows and the provider; exit 1 on any difference.

    It compares purchases with money inside, running ones, and those with a posting or a change at
    the provider in the last 127 days.
    """
    client = await connect()
    since = None if everything else datetime.now(UTC) - WINDOW
    with opened() as engine, opened_provider() as provider, show.progress() as report:
        found = await reconcile(
            Ledger(engine),
            provider,
            TemporalPurchaseDirectory(client),
            since=since,
            report_progress=report,
        )
    show.answer(found, _shown(found), as_json=as_json)
    return ExitStatus.REJECTED if found.differences else 0


def _shown(found: AuditReport) -> Group:
    is_whole = all(of.at_provider is not None for of in found.totals)
    columns = (
        "in escrow",
        "in transit",
        "released",
        "in bank disputes",
        "losses",
        "receivables",
        "provider clearing",
        *(["kept at the provider"] if is_whole else []),
    )
    totals = (
        [
            format_amount(amount, of.currency)
            for amount in (
                of.held,
                of.in_transit,
                of.released,
                of.in_dispute,
                of.platform_losses,
                of.freelancer_receivables,
                of.provider,
                *([of.at_provider] if of.at_provider is not None else []),
            )
        ]
        for of in found.totals
    )
    title = f"Ledger totals of {count(found.purchases, 'purchase')}"
    shown = show.table(title, columns, totals)
    compared = f"{count(found.compared, 'purchase')} compared with workflows and provider."
    if not found.differences:
        return Group(shown, f"{compared} No differences.")
    rows = ((item.purchase_id or "", item.what, item.what_to_do) for item in found.differences)
    title = count(len(found.differences), "difference")
    differences = show.table(title, ("purchase", "what is wrong", "what to do"), rows)
    return Group(shown, compared, differences)


def count(number: int, what: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
