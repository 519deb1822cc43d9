"""The final state of a closed purchase: everything that must be the same whichever process
failed."""

import email
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from activities.notices.message import message_id
from activities.services import Services
from temporal.errors import Failure
from temporal.purchases import Purchase
from workflows.messages import PurchaseResult, Status
from workflows.notifying import TAKEN_OVER, PurchaseNotices

SENDER_DOMAIN = "recourse.invalid"
STATUS_ATTEMPTS = 4
FIRST_ENTRIES = {"purchased": 0, "payment_held": 1}
"""Transitions that are sorted to the beginning of a timeline before timelines are compared."""


@dataclass(frozen=True)
class FinalState:
    """A closed purchase without what differs between two runs of a scenario: ids and times."""

    outcome: tuple[str, str, int, int]
    timeline: list[tuple[str, str]]
    rejected: list[str]
    attention: list[str]
    undelivered: int
    balances: tuple[int, ...] | None
    transfers: list[tuple[str, int, str, str, int]]
    charges: list[tuple[str, str]]
    refunds: list[tuple[str, str, str]]
    notices: dict[str, list[tuple[str, str]]]
    """Per recipient, in the order of their dates: the transition of each notice and its status."""

    def differences_from(self, expected: "FinalState") -> dict[str, tuple[object, object]]:
        """The fields that differ, each with its value here and the expected value."""
        pairs = ((name, getattr(self, name), getattr(expected, name)) for name in vars(self))
        return {name: (mine, other) for name, mine, other in pairs if mine != other}


async def final_state(
    client: Client, services: Services, mailbox: Path, result: PurchaseResult
) -> FinalState:
    """Read the final state from workflow, ledger, provider and notice log, and check that no notice
    was sent twice. `mailbox` is where the purchase's mail arrives. Needs a running worker."""
    purchase_id = result.purchase_id
    found = await status_of(Purchase(client, purchase_id))
    undelivered = [notice for notice in found.undelivered if notice.why != TAKEN_OVER]
    if len(undelivered) < len(found.undelivered):
        await last_notices(client, purchase_id)
    balances = services.ledger.balances(purchase_id)

    def without_id(text: str) -> str:
        return text.replace(purchase_id, "P")

    statement = services.provider.statement()
    check_each_notice_arrived_once(services, mailbox, purchase_id)
    notices: dict[str, list[tuple[str, str]]] = {}
    for notice in sorted(
        services.notices.list(purchase_id), key=lambda one: (one.at, number(one.transition_id))
    ):
        transition = notice.transition_id.partition("-")[2]
        notices.setdefault(notice.role, []).append((transition, notice.status))
    return FinalState(
        outcome=(result.outcome, result.reason, result.refunded, result.released),
        timeline=in_order([(entry.transition, entry.by) for entry in found.timeline]),
        rejected=[item.code for item in found.rejected],
        attention=[item.kind for item in found.attention],
        undelivered=len(undelivered),
        balances=(balances.held, balances.in_transit, balances.refunded, balances.released)
        if balances
        else None,
        transfers=[
            (
                without_id(t.key),
                t.leg,
                without_id(t.debit_account),
                without_id(t.credit_account),
                t.amount,
            )
            for t in services.ledger.transfers(purchase_id)
        ],
        charges=[
            (without_id(each.key), str(each.amount))
            for each in statement.charges
            if each.key.startswith(f"purchase-{purchase_id}/")
        ],
        refunds=[
            (without_id(each.refund_id), str(each.amount), each.status)
            for each in statement.refunds
            if each.refund_id.startswith(f"purchase-{purchase_id}/")
        ],
        notices={role: in_order(entries) for role, entries in notices.items()},
    )


async def status_of(purchase: Purchase) -> Status:
    """The purchase's status. Retried, since the worker may still be starting."""
    for _ in range(STATUS_ATTEMPTS - 1):
        try:
            return await purchase.status()
        except Failure as failure:
            if failure.code != "NO_WORKER":
                raise
    return await purchase.status()


async def last_notices(client: Client, purchase_id: str) -> None:
    """Wait until the notices are delivered that were pending when the purchase closed. They are
    sent by a separate workflow."""
    purchase = client.get_workflow_handle(f"purchase-{purchase_id}")
    run_id = (await purchase.describe()).run_id
    last = client.get_workflow_handle_for(PurchaseNotices.run, f"{purchase.id}/notices/{run_id}")
    assert await last.result() == []


def in_order(entries: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Entries in their order, with the purchase and its payment first. Their place may differ: a
    message that is recorded while the payment's answer waits for a worker is processed before that
    answer."""
    return sorted(entries, key=lambda entry: FIRST_ENTRIES.get(entry[0], len(FIRST_ENTRIES)))


def number(transition_id: str) -> int:
    """The number in the id of a transition, such as 3 in `3-client_cancelled`."""
    return int(transition_id.partition("-")[0])


def check_each_notice_arrived_once(services: Services, mailbox: Path, purchase_id: str) -> None:
    """Check that the mailbox has each logged notice once, under the id derived from its contents. A
    message that arrived again with the same bytes counts once: the mail server was cut off before
    it could confirm the first delivery."""
    logged = [
        message_id(purchase_id, one.transition_id, one.role, one.channel, SENDER_DOMAIN)
        for one in services.notices.list(purchase_id)
    ]
    arrived = map(email.message_from_bytes, {file.read_bytes() for file in mailbox.glob("new/*")})
    assert sorted(str(message["Message-ID"]) for message in arrived) == sorted(logged)
