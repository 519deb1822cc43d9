"""A purchase to which something happens at the provider, and what must be right afterwards: the
ledger, the notices, the audit."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.keys import workflow_id_of
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import EventResult, SandboxEvent
from activities.requests import SEND_REFUND, Money
from activities.services import Services
from demo.runner import Handle
from demo.scenarios import PEOPLE
from temporal.directory import TemporalPurchaseDirectory
from tests.money.matrix import PRICE, Case
from tests.purchases import PAYMENTS, purchase_of, under_way
from workflows.lifecycle.state import Stage
from workflows.messages import Role
from workflows.workflow_state import WorkflowState

REPORTS = ("each", "lost", "doubled")
"""How the provider's webhooks come: each at once; none, until somebody asks for a look; each twice,
the newest first."""
WEBHOOKS = {
    SandboxEvent.REFUND_SENT: "sent",
    SandboxEvent.REFUND_SETTLED: "settled",
}
"""The status that a webhook about a refund has."""
PAID_TWICE_KNOWN = {"bank_dispute_after_payout", "refunded_elsewhere_late"}
"""Operators are notified that the client may get more than was paid."""


Step = Callable[["Played"], Awaitable[object]]


@dataclass
class Held:
    """The refunds that the provider cannot be asked for now, by workflow id."""

    workflows: set[str]


@dataclass
class Played:
    """One case on the server."""

    handle: Handle
    services: Services
    held: Held

    @property
    def purchase_id(self) -> str:
        return purchase_of(self.handle)

    @property
    def sandbox(self) -> SandboxProvider:
        assert isinstance(self.services.provider, SandboxProvider)
        return self.services.provider

    async def send(self, role: Role, name: str, **fields: object) -> None:
        by = {"role": role.value, "id": PEOPLE[role]}
        await self.handle.signal(name, {"by": by, **fields})

    async def signal(self, name: str, **fields: object) -> None:
        await self.handle.signal(name, {"by": PAYMENTS, **fields})

    async def state(self) -> WorkflowState:
        (found,) = await self.handle.query("saved_state", result_type=list[WorkflowState])
        assert isinstance(found, WorkflowState)
        return found

    async def quiet(self) -> WorkflowState:
        """Wait until nothing is being done or sent any more."""
        while self._is_busy((await self.handle.describe()).raw_description):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        return await self.state()

    def _is_busy(self, described: Any) -> bool:
        """Whether a task or an activity is pending, but for a refund that is kept back."""
        if self.handle.id in self.held.workflows:
            waiting = {each.activity_type.name for each in described.pending_activities}
            return bool(described.HasField("pending_workflow_task") or waiting - {SEND_REFUND.name})
        return under_way(described)

    def happen(self, event: SandboxEvent, amount: int | None = None) -> EventResult:
        money = Money(amount=amount, currency="USD") if amount else None
        key = f"{workflow_id_of(self.purchase_id)}/hold"
        return self.sandbox.make_happen(event, key, money, datetime.now(UTC))

    def notices(self) -> Counter[tuple[str, str]]:
        sent = self.services.notices.list(self.purchase_id)
        return Counter((notice.transition, notice.role[0]) for notice in sent)


async def happens(played: Played, case: Case, reports: str) -> None:
    """The news, and their webhooks."""
    webhooks: list[tuple[str, dict[str, object]]] = []
    for event in case.news:
        kind, amount = event if isinstance(event, tuple) else (event, None)
        webhook: tuple[str, dict[str, object]] = ("check_payment", {})
        if kind in WEBHOOKS:
            refund = played.sandbox.refunds()
            ours = [each for each in refund if each.refund_id.startswith(f"{played.handle.id}/")]
            fields: dict[str, object] = {"refund_id": ours[-1].refund_id, "status": WEBHOOKS[kind]}
            webhook = ("settlement_update", fields)
        played.happen(kind, amount)
        webhooks.append(webhook)
        if reports == "each":
            await played.signal(webhook[0], **webhook[1])
            await played.quiet()
    if reports == "doubled":
        for name, given in [*reversed(webhooks), *webhooks]:
            await played.signal(name, **given)
    if reports == "lost":
        await played.send(Role.OPERATOR, "check_payment")


def wrong_balances(played: Played, state: WorkflowState, case: Case) -> Iterator[str]:
    """The ledger adds up, agrees with the purchase, and nothing went out twice."""
    balances, purchase = played.services.ledger.balances(played.purchase_id), state.purchase
    assert balances
    here = (
        balances.held,
        balances.in_transit,
        balances.refunded,
        balances.released,
        balances.charged_back,
    )
    there = (
        purchase.held,
        purchase.in_transit,
        purchase.refunded,
        purchase.released,
        purchase.charged_back,
    )
    if here != there:
        yield f"the ledger has {here}, the purchase {there}"
    if sum(here) != PRICE:
        yield f"{here} do not sum to the price"
    charge = played.sandbox.payment(purchase.charge_reference, datetime.now(UTC))
    assert charge
    out = sum(refund.amount.amount for refund in charge.refunds if refund.status != "failed")
    out += sum(d.amount.amount for d in charge.disputes if d.status in ("opened", "lost"))
    if out + purchase.released > PRICE and not PAID_TWICE_KNOWN & set(case.notified):
        yield f"{out} went out of {PRICE}"
    is_closed = purchase.stage is Stage.CLOSED
    if is_closed and (purchase.attention or balances.held or balances.in_transit):
        yield "it is closed with money inside"


def wrong_notices(
    played: Played, before: Counter[tuple[str, str]], case: Case, reports: str
) -> Iterator[str]:
    notified = case.notified
    if reports != "each" and case.notified_late is not None:
        notified = case.notified_late
    expected = Counter((name, role) for name, roles in notified.items() for role in roles)
    found = played.notices() - before
    loose = reports == "doubled" and case.notified_late is not None
    if found != expected and not (loose and not expected - found):
        yield f"notified were {sorted(found.elements())}, not {sorted(expected.elements())}"


async def audited(
    server: WorkflowEnvironment, services: Services, expected: dict[str, str]
) -> list[str]:
    """What the audit finds and should not, or should and does not."""
    directory = TemporalPurchaseDirectory(server.client)
    report = await reconcile(services.ledger, services.provider, directory)
    found = {each.purchase_id: each.what for each in report.differences}
    problems = [
        f"the audit finds: {found.get(purchase_id)}; expected: {what or 'nothing'}"
        for purchase_id, what in expected.items()
        if (what not in found.get(purchase_id, "")) or (not what and purchase_id in found)
    ]
    problems += [
        f"the audit would open another case of {purchase_id}"
        for purchase_id in report.news
        if purchase_id in expected
    ]
    assert not [each for each in report.differences if each.purchase_id is None]
    return problems
