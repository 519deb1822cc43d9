"""Every end of a purchase × what the provider does afterwards × reports that are lost, doubled or
reordered.

On a real server, with a real ledger and the sandbox. A report opens the aftercare case; if it is
lost, the audit does, once, unless there is nothing that anybody has to know.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from uuid import uuid4

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.audit import reconcile
from activities.payments.sandbox_events import SandboxEvent
from activities.services import Services
from demo.runner import start, until
from temporal.aftercare import AftercareCase, open_case, report_news
from temporal.directory import TemporalPurchaseDirectory
from tests.money.matrix import CLOSED, PART, Case
from tests.money.played import REPORTS, Held, Played, audited, wrong_balances, wrong_notices
from tests.purchases import PAYMENTS, purchase
from workflows.messages import CheckPayment, Role, Sender
from workflows.workflow_state import WorkflowState

PARALLEL = 6


async def refunded(played: Played) -> None:
    await played.send(Role.FREELANCER, "give_refund")


async def released(played: Played) -> None:
    await played.send(Role.CLIENT, "submit_requirements", requirements="A logo.")
    await played.send(Role.FREELANCER, "deliver")
    await played.send(Role.CLIENT, "accept_delivery")


async def split(played: Played) -> None:
    await played.send(Role.CLIENT, "propose_split", refund=12_500)
    await played.send(Role.FREELANCER, "accept_split", refund=12_500)


async def refunded_elsewhere(played: Played) -> None:
    played.happen(SandboxEvent.REFUND_ELSEWHERE)
    await played.signal("check_payment")


async def partly_charged_back(played: Played) -> None:
    for event, amount in ((SandboxEvent.DISPUTE_OPENED, PART), (SandboxEvent.DISPUTE_LOST, None)):
        played.happen(event, amount)
        await played.signal("check_payment")
        await played.quiet()
    await played.send(Role.FREELANCER, "give_refund")


ENDS: dict[str, Callable[[Played], Awaitable[None]]] = {
    "refunded": refunded,
    "released": released,
    "split": split,
    "refunded_elsewhere": refunded_elsewhere,
    "partly charged back": partly_charged_back,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", ENDS)
async def test_what_the_provider_does_after_the_end_is_booked_and_reported(
    end: str, server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    slots = asyncio.Semaphore(PARALLEL)

    async def played(case: Case, reports: str) -> tuple[str, AfterTheEnd]:
        async with slots:
            handle = await start(server.client, purchase("pm_sandbox_at_once"))
            one = AfterTheEnd(server, Played(handle, services, Held(set())), case, reports)
            try:
                async with asyncio.timeout(90):
                    await until(handle, lambda found: found.payment == "held")
                    await ENDS[end](one.purchase)
                    await handle.result()
                    problems = await one.play()
            except TimeoutError:
                problems = ["it is stuck"]
            named = f"{[str(each) for each in case.news]}, reports {reports}: "
            return named + "; ".join(problems) if problems else "", one

    first = list(ENDS).index(end)
    every = [(case, REPORTS[n % len(REPORTS)]) for n, case in enumerate(CLOSED[end], first)]
    found = await asyncio.gather(*(played(*each) for each in every))
    problems = [problem for problem, _ in found if problem]
    expected = {one.purchase.purchase_id: one.case.audit for _, one in found}
    problems += await audited(server, services, expected)
    for _, one in found:
        if one.case.finish == "bank":
            await one.found.handle.terminate("seen")
    assert not problems, "\n\n".join(problems)


class AfterTheEnd:
    """What happens to the payment of one closed purchase. `found` takes the messages: its aftercare
    case, if there is one."""

    def __init__(
        self, server: WorkflowEnvironment, purchase: Played, case: Case, reports: str
    ) -> None:
        self.server, self.purchase, self.case, self.reports = server, purchase, case, reports
        self.found = purchase

    async def play(self) -> list[str]:
        """Play it; what is wrong afterwards."""
        await self.purchase.quiet()
        before, losses = self.purchase.notices(), self._booked_losses()
        for event in self.case.news:
            kind, amount = event if isinstance(event, tuple) else (event, None)
            self.purchase.happen(kind, amount)
            if self.reports == "each":
                await self._report(opens=True)
                await self.found.quiet()
        if self.reports == "doubled":
            for _ in self.case.news:
                await self._report(opens=True)
                await self._report(opens=True)
        if self.reports == "lost":
            await self._audit()
        state = await self.found.quiet()
        problems = [
            *wrong_balances(self.found, state, self.case),
            *wrong_notices(self.purchase, before, self.case, self.reports),
        ]
        await self._finish()
        state = await self.found.quiet()
        problems += wrong_balances(self.found, state, self.case)
        problems += self._wrong_end(state)
        lost = losses - self._booked_losses()
        if lost != self.case.loss:
            problems.append(f"the platform lost {lost}")
        return problems

    async def _report(self, *, opens: bool) -> None:
        news = CheckPayment(by=Sender.model_validate(PAYMENTS), message_id=str(uuid4()))
        await report_news(self.server.client, self.purchase.purchase_id, news, opens=opens)
        self._go_on_in_the_case()

    def _go_on_in_the_case(self) -> None:
        case = AftercareCase(self.server.client, self.purchase.purchase_id)
        self.found = Played(case.handle, self.purchase.services, self.purchase.held)

    async def _audit(self) -> None:
        services, directory = self.purchase.services, TemporalPurchaseDirectory(self.server.client)
        report = await reconcile(services.ledger, services.provider, directory)
        if self.purchase.purchase_id in report.news:
            await open_case(self.server.client, self.purchase.purchase_id)
            self._go_on_in_the_case()

    async def _finish(self) -> None:
        if self.found is self.purchase or self.case.finish in ("", "bank"):
            return
        action, proof = "retry", {}
        if self.case.finish == "mark":
            action, proof = "mark_settled", {"reference": "bank transfer 7"}
        await self.found.send(Role.OPERATOR, "resolve_attention", action=action, **proof)

    def _wrong_end(self, state: WorkflowState) -> Iterator[str]:
        is_open = state.purchase.closed_at is None or state.purchase.stage != "closed"
        if is_open is not (self.case.finish == "bank"):
            yield f"its case is {'open' if is_open else 'over'}"

    def _booked_losses(self) -> int:
        """The transfers of this purchase from the platform's losses, as a balance."""
        transfers = self.purchase.services.ledger.transfers(self.purchase.purchase_id)
        return -sum(t.amount for t in transfers if t.debit_account.startswith("platform-losses:"))
