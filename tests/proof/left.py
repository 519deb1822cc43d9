"""What is left of a purchase when it is over: all that must be the same, whoever died meanwhile."""

import email
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from activities.notices.message import message_id
from activities.services import Services
from starter.failures import Failure
from temporal.purchases import Purchase
from workflows.messages import PurchaseResult, Status
from workflows.notifying import TAKEN_OVER, PurchaseNotices

SENDS_FROM = "recourse.invalid"
ASKED_AT_MOST = 4
ENTERS = {"purchased": 0, "payment_held": 1}
"""What stands first in a timeline, wherever it came."""


@dataclass(frozen=True)
class Left:
    """Free of what differs between two purchases of one story: their id and their times."""

    outcome: tuple[str, str, int, int]
    timeline: list[tuple[str, str]]
    rejected: list[str]
    attention: list[str]
    undelivered: int
    balances: tuple[int, ...] | None
    transfers: list[tuple[str, int, str, str, int]]
    charges: list[tuple[str, str]]
    refunds: list[tuple[str, str, str]]
    told: dict[str, list[tuple[str, str]]]
    """Each reader's notices by their dates: which, and whether it was sent."""

    def but_for(self, expected: "Left") -> dict[str, tuple[object, object]]:
        """What differs, and what was expected instead."""
        pairs = ((name, getattr(self, name), getattr(expected, name)) for name in vars(self))
        return {name: (mine, other) for name, mine, other in pairs if mine != other}


async def left_of(
    client: Client, services: Services, mailbox: Path, result: PurchaseResult
) -> Left:
    """Looks it up everywhere, and checks that nobody was told anything twice: `mailbox` is where
    the purchase's mail arrives. Needs a worker."""
    purchase_id = result.purchase_id
    found = await status_of(Purchase(client, purchase_id))
    given_up = [notice for notice in found.undelivered if notice.why != TAKEN_OVER]
    if len(given_up) < len(found.undelivered):
        await last_notices(client, purchase_id)
    balances = services.ledger.balances(purchase_id)

    def bare(text: str) -> str:
        return text.replace(purchase_id, "P")

    statement = services.provider.statement()
    check_each_once(services, mailbox, purchase_id)
    told: dict[str, list[tuple[str, str]]] = {}
    for notice in sorted(
        services.notices.list(purchase_id), key=lambda one: (one.at, number(one.transition_id))
    ):
        transition = notice.transition_id.partition("-")[2]
        told.setdefault(notice.role, []).append((transition, notice.status))
    return Left(
        outcome=(result.outcome, result.reason, result.refunded, result.released),
        timeline=in_order([(entry.transition, entry.by) for entry in found.timeline]),
        rejected=[item.code for item in found.rejected],
        attention=[item.kind for item in found.attention],
        undelivered=len(given_up),
        balances=(balances.held, balances.in_transit, balances.refunded, balances.released)
        if balances
        else None,
        transfers=[
            (bare(t.key), t.leg, bare(t.debit_account), bare(t.credit_account), t.amount)
            for t in services.ledger.transfers(purchase_id)
        ],
        charges=[
            (bare(each.key), str(each.amount))
            for each in statement.charges
            if each.key.startswith(f"purchase-{purchase_id}/")
        ],
        refunds=[
            (bare(each.refund_id), str(each.amount), each.status)
            for each in statement.refunds
            if each.refund_id.startswith(f"purchase-{purchase_id}/")
        ],
        told={role: in_order(notices) for role, notices in told.items()},
    )


async def status_of(purchase: Purchase) -> Status:
    """Its status; asked again while the worker is only about to come."""
    for _ in range(ASKED_AT_MOST - 1):
        try:
            return await purchase.status()
        except Failure as failure:
            if failure.code != "NO_WORKER":
                raise
    return await purchase.status()


async def last_notices(client: Client, purchase_id: str) -> None:
    """Wait for those that the purchase handed on when it closed: they arrive, too."""
    purchase = client.get_workflow_handle(f"purchase-{purchase_id}")
    run_id = (await purchase.describe()).run_id
    last = client.get_workflow_handle_for(PurchaseNotices.run, f"{purchase.id}/notices/{run_id}")
    assert await last.result() == []


def in_order(entries: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """As they came, but for the payment: a message that is recorded while its answer waits for a
    worker is heard before it (`RULES.md`, Races)."""
    return sorted(entries, key=lambda entry: ENTERS.get(entry[0], len(ENTERS)))


def number(transition_id: str) -> int:
    """Transitions are counted: `3-client_cancelled`."""
    return int(transition_id.partition("-")[0])


def check_each_once(services: Services, mailbox: Path, purchase_id: str) -> None:
    """The mailbox has what the log says was sent, each message once, under the id that follows from
    what it is about. A mail server that was cut off before it could say that it has a message gets
    it again, the same to the byte: that is one."""
    logged = [
        message_id(purchase_id, one.transition_id, one.role, one.channel, SENDS_FROM)
        for one in services.notices.list(purchase_id)
    ]
    arrived = map(email.message_from_bytes, {file.read_bytes() for file in mailbox.glob("new/*")})
    assert sorted(str(message["Message-ID"]) for message in arrived) == sorted(logged)
