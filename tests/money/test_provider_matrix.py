"""Every stage × what the provider does without us × reports that are lost, doubled or reordered.

On a real server, with a real ledger and the sandbox. After each case: the books add up and agree
with the purchase, the provider and the audit; money goes out once; everybody is notified.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.audit import reconcile
from activities.payments import ProviderUnreachable
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import EventResult, SandboxEvent
from activities.requests import SEND_REFUND, Money
from activities.services import Services
from demo.runner import Handle, start, status, until
from demo.scenarios import PEOPLE
from temporal.directory import TemporalPurchaseDirectory
from tests.money.matrix import PENDING, PRICE, SENT_BEFORE, UNDECIDED, UNSENT, Case
from tests.purchases import PAYMENTS, purchase, purchase_of, under_way
from workflows import view
from workflows.messages import PurchaseResult, Role, Status
from workflows.workflow_state import WorkflowState

PARALLEL = 12
REPORTS = ("each", "lost", "doubled")
"""How the provider's webhooks come: each at once; none, until an operator asks for a look; each
twice, the newest first."""
ALL = os.environ.get("RECOURSE_MATRIX") == "all"
"""Play each case with all three. Otherwise each with one, in turn, so that each stage and each news
meets all of them."""
WEBHOOKS = {
    SandboxEvent.REFUND_SENT: "sent",
    SandboxEvent.REFUND_SETTLED: "settled",
    SandboxEvent.REFUND_FAILED: "failed",
    SandboxEvent.REFUND_RETURNED: "failed",
}
"""The status that a webhook about a refund has."""
PAID_TWICE_KNOWN = {"bank_dispute_after_payout", "refunded_elsewhere_late"}
"""Operators are notified that the client may get more than was paid."""

Step = Callable[["Played"], Awaitable[object]]


@dataclass
class Held:
    """The refunds that the provider cannot be asked for now, by workflow id."""

    workflows: set[str]


@pytest.fixture(scope="module")
def held_back(services: Services) -> Iterator[Held]:
    """Keeps refunds from reaching the provider."""
    found, refund = Held(set()), services.provider.refund

    def unreachable(refund_id: str, *given: object) -> object:
        if refund_id.rpartition("/")[0] in found.workflows:
            raise ProviderUnreachable("it is kept away")
        return refund(refund_id, *given)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services.provider, "refund", unreachable)
        patch.setattr("workflows.activity_calls.BLOCKED_AFTER", timedelta(seconds=3))
        yield found


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

    async def say(self, role: Role, name: str, **fields: object) -> None:
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
        return self.sandbox.make_happen(event, f"{self.handle.id}/hold", money, datetime.now(UTC))

    def notices(self) -> Counter[tuple[str, str]]:
        sent = self.services.notices.list(self.purchase_id)
        return Counter((notice.transition, notice.role[0]) for notice in sent)


# --- the shortest way to each stage


async def review(played: Played) -> None:
    await played.say(Role.CLIENT, "submit_requirements", requirements="A logo.")


async def delivered(played: Played) -> None:
    await review(played)
    await played.say(Role.FREELANCER, "deliver")


async def in_progress(played: Played) -> None:
    await delivered(played)
    await played.say(Role.CLIENT, "request_changes")


async def requested(played: Played) -> None:
    await in_progress(played)
    await played.say(Role.CLIENT, "cancel")


async def contested(played: Played) -> None:
    await requested(played)
    await played.say(Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)


async def disputed(played: Played) -> None:
    await contested(played)
    await played.say(Role.CLIENT, "open_dispute", reason="Nothing came.")


async def pending(played: Played) -> None:
    await in_progress(played)
    await played.say(Role.FREELANCER, "give_refund")
    await until(played.handle, lambda found: bool(found.refund and found.refund.status != "unsent"))


async def sent(played: Played) -> None:
    await pending(played)
    played.happen(SandboxEvent.REFUND_SENT)
    await played.signal("check_payment")
    await until(played.handle, lambda found: bool(found.refund and found.refund.status == "sent"))


async def unsent(played: Played) -> None:
    played.held.workflows.add(played.handle.id)
    await in_progress(played)
    await played.say(Role.FREELANCER, "give_refund")
    await until(played.handle, lambda found: bool(found.attention))


async def awaiting(played: Played) -> None:
    """A purchase begins here."""


OK, NEVER_SENT = "pm_sandbox_at_once", "pm_sandbox_refund_pending"
STAGES: dict[str, tuple[Step, tuple[Case, ...], str]] = {
    "awaiting_requirements": (awaiting, UNDECIDED, OK),
    "freelancer_review": (review, UNDECIDED, OK),
    "in_progress": (in_progress, UNDECIDED, OK),
    "delivered": (delivered, UNDECIDED, OK),
    "refund_requested": (requested, UNDECIDED, OK),
    "contested": (contested, UNDECIDED, OK),
    "disputed": (disputed, UNDECIDED, OK),
    "settling, refund not at the provider": (unsent, UNSENT, NEVER_SENT),
    "settling, refund pending": (pending, PENDING, NEVER_SENT),
    "settling, refund sent": (sent, SENT_BEFORE, NEVER_SENT),
}
"""By stage: how it is reached, what happens in it, and the payment method."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", STAGES)
async def test_what_the_provider_does_is_booked_paid_once_and_reported(
    stage: str,
    server: WorkflowEnvironment,
    worker: Worker,
    services: Services,
    held_back: Held,
) -> None:
    reach, cases, method = STAGES[stage]
    slots = asyncio.Semaphore(PARALLEL)

    async def played(case: Case, reports: str) -> tuple[str, str, Handle]:
        async with slots:
            handle = await start(server.client, purchase(method))
            one = Played(handle, services, held_back)
            await until(handle, lambda found: found.payment == "held")
            try:
                async with asyncio.timeout(60):
                    return await play(one, reach, case, reports), case.audit, handle
            except TimeoutError:
                shown = view.status(await one.state())
                done = [each.transition for each in shown.timeline]
                return f"stuck: {case.news}, reports {reports}: {done}", "", handle

    first = list(STAGES).index(stage)
    every = [
        (case, reports)
        for number, case in enumerate(cases, first)
        for reports in (REPORTS if ALL else (REPORTS[number % len(REPORTS)],))
    ]
    found = await asyncio.gather(*(played(*each) for each in every))
    problems = [problem for problem, _, _ in found if problem]
    problems += await audited(server, services, {purchase_of(h): audit for _, audit, h in found})
    for _, _, handle in found:
        if not (await status(handle)).outcome:
            await handle.terminate("seen")
    assert not problems, "\n\n".join(problems)


async def play(played: Played, reach: Step, case: Case, reports: str) -> str:
    """Play a case; what is wrong afterwards, or nothing."""
    try:
        await reach(played)
        await played.quiet()
        before = played.notices()
        await happens(played, case, reports)
        after = await played.quiet()
        problems = [
            *wrong_books(played, after, case),
            *wrong_notices(played, before, case, reports),
        ]
        problems += await finish(played, case)
        state = await played.quiet()
        problems += wrong_books(played, state, case)
    except AssertionError as error:
        problems = [repr(error)]
    named = f"{[str(each) for each in case.news]}, reports {reports}: "
    return named + "; ".join(problems) if problems else ""


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
        await played.say(Role.OPERATOR, "check_payment")


def wrong_books(played: Played, state: WorkflowState, case: Case) -> Iterator[str]:
    """The books add up, agree with the purchase, and nothing went out twice."""
    books, purchase = played.services.ledger.balances(played.purchase_id), state.purchase
    assert books
    here = (books.held, books.in_transit, books.refunded, books.released, books.charged_back)
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
    if purchase.outcome and (purchase.attention or books.held or books.in_transit):
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


async def finish(played: Played, case: Case) -> list[str]:
    """Bring the purchase to its end."""
    match case.finish:
        case "give":
            await played.say(Role.FREELANCER, "give_refund")
        case "frozen":
            return await frozen(played)
        case "settle" | "retry":
            await settle(played)
        case "mark":
            made = (await played.state()).purchase.refunds_elsewhere[0].reference
            await played.say(
                Role.OPERATOR, "resolve_attention", action="mark_settled", reference=made
            )
    result = await played.handle.result()
    return list(wrong_result(result, (await played.state()).purchase.charged_back, case))


async def frozen(played: Played) -> list[str]:
    await played.say(Role.FREELANCER, "give_refund")
    found = view.status(await played.quiet())
    problems = [] if found.frozen else ["it is not frozen"]
    code = "ALREADY_SETTLED" if found.stage == "settling" else "FROZEN"
    if [each.code for each in found.rejected] != [code]:
        problems.append(f"a refund is rejected as {[each.code for each in found.rejected]}")
    return problems


async def settle(played: Played) -> None:
    """The provider gets the refund, and settles it."""
    if played.handle.id in played.held.workflows:
        played.held.workflows.discard(played.handle.id)
        await played.say(Role.OPERATOR, "resolve_attention", action="retry")

    def at_provider(found: Status) -> bool:
        return bool(found.refund and found.refund.status in ("pending", "sent"))

    found = await until(played.handle, at_provider)
    assert found.refund
    played.happen(SandboxEvent.REFUND_SETTLED)
    await played.signal("settlement_update", refund_id=found.refund.refund_id, status="settled")


def wrong_result(result: PurchaseResult, charged_back: int, case: Case) -> Iterator[str]:
    ended = (result.outcome, result.reason, result.refunded, result.released, charged_back)
    # A look that finds both applies refunds before disputes, and the last one is the reason.
    last = "bank_dispute_lost", "refunded_elsewhere"
    if ended != case.ends and not (
        case.ends and {ended[1], case.ends[1]} == set(last) and ended[2:] == case.ends[2:]
    ):
        yield f"it ended {ended}, not {case.ends}"


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
    assert not [each for each in report.differences if each.purchase_id is None]
    return problems
