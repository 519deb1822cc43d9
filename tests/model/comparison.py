"""Runs a script twice, on a real server with a real worker and by the pure rules alone, and checks
after every step that both agree."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

import worker
from activities.ledger import PurchaseBalances, Transfer
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import EventRejected
from activities.requests import Money
from activities.services import Services
from demo import scenarios
from demo.runner import POLL_EVERY, Handle, skip, start
from demo.scenarios import CURRENCY, PEOPLE
from docs.rehearsal import Rehearsal, Rehearsed
from temporal.executions import last_event_at
from tests.model.strategies import (
    CancelWorkflow,
    Deadline,
    Happens,
    Script,
    Send,
    Sleep,
    Step,
    WorkerReplaced,
)
from tests.purchases import purchase, purchase_of
from workflows import lifecycle, view
from workflows.lifecycle.state import RefundStatus, Stage
from workflows.messages import Permission, PurchaseStart, Role, Status

AGREE_TIMEOUT = 20
"""Seconds of real time within which the server has to reach the state of the rules."""

MARGIN = timedelta(minutes=15)
"""The server's clock goes on while a script runs, so its times may differ from the rules' by this
much. No step is taken so close to a deadline or to midnight (where business days change); what
happens there is tested in `test_deadline_races`."""

MONEY_ATTEMPTS = 5
QUERY_TIMEOUT = timedelta(seconds=5)
NOT_COMPARED = ("requirements", "rejected", "rejected_count", "undelivered", "late_by")


Answer = TypeVar("Answer")


class Mismatch(AssertionError):
    """Server and rules differ. The message shows the script, to be added to `EARLIER_FAILURES`."""


@dataclass
class ComparisonServer:
    """A server, its ledger and provider, and a worker that can be replaced. `steps` is the number
    of compared steps."""

    environment: WorkflowEnvironment
    services: Services
    threads: ThreadPoolExecutor
    rules_services: Services
    steps: int = 0
    scripts: int = 0
    replaced: int = 0
    _end: asyncio.Event = field(default_factory=asyncio.Event)
    _working: asyncio.Task[None] | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def replace_worker(self) -> None:
        """Stop the worker in the middle of its work, and start another one."""
        async with self._one:
            await self.stop_worker()
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._end = asyncio.Event()
            self._working = asyncio.create_task(self._work(ready, self._end))
            await asyncio.wait({ready, self._working}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                self._working.result()  # raises what kept the worker from starting
            self.replaced += 1

    async def _work(self, ready: asyncio.Future[None], end: asyncio.Event) -> None:
        async with worker.build_worker(self.environment.client, self.services, self.threads):
            ready.set_result(None)
            await end.wait()

    async def stop_worker(self) -> None:
        """Stop the worker, if one is running."""
        self._end.set()
        if self._working:
            await asyncio.wait({self._working})
            self._working.result()

    async def play(self, script: Script) -> None:
        """Run a script and compare after every step. Raises Mismatch."""
        terms = purchase(
            script.method, policy=script.policy, requirements_needed=script.requirements_needed
        )
        handle = await start(self.environment.client, terms)
        began_at = (await read_query(handle, "status", Status)).timeline[0].at
        terms = terms.model_copy(update={"purchased_at": (await handle.describe()).start_time})
        comparison = Comparison(
            self, script, handle, RulesModel(self.rules_services, terms, began_at)
        )
        await comparison.check_agreement("the start")
        self.scripts += 1
        for step in script.steps:
            if comparison.rules.closed:
                break
            await comparison.perform(step)
            self.steps += 1
            await comparison.check_agreement(step)
        if comparison.rules.closed:
            await comparison.check_end()
        else:
            await handle.terminate("the script is over")


@asynccontextmanager
async def open_comparison_server(
    environment: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    rules_services: Services,
) -> AsyncIterator[ComparisonServer]:
    """A comparison server with a running worker."""
    found = ComparisonServer(environment, services, threads, rules_services)
    await found.replace_worker()
    try:
        yield found
    finally:
        await found.stop_worker()


class RulesModel(Rehearsal):
    """The rules alone, with a simulated clock and with their own ledger and provider."""

    def __init__(self, services: Services, terms: PurchaseStart, now: datetime) -> None:
        assert isinstance(services.provider, SandboxProvider)
        super().__init__(Rehearsed(services.ledger, services.provider), terms, now)
        self._activities = {name: _retried(run) for name, run in self._activities.items()}
        self.run()

    @property
    def closed(self) -> bool:
        """Whether the purchase is closed."""
        return self.state.purchase.stage is Stage.CLOSED

    def next(self) -> datetime | None:
        """When the next deadline expires, if there is one."""
        return min(self.state.purchase.deadlines.values(), default=None)

    @property
    def is_near_a_boundary(self) -> bool:
        """Whether a small difference between the clocks could change what follows."""
        midnight = (self.now + MARGIN).date() != (self.now - MARGIN).date()
        return midnight or any(
            abs(at - self.now) < MARGIN for at in self.state.purchase.deadlines.values()
        )


def _retried(carry_out: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def attempt(request: Any) -> Any:
        for _ in range(MONEY_ATTEMPTS - 1):
            try:
                return carry_out(request)
            except ApplicationError as error:
                if error.non_retryable:
                    raise
        return carry_out(request)

    return attempt


@dataclass
class Comparison:
    """One purchase on the server, and the same purchase by the rules alone."""

    comparison_server: ComparisonServer
    script: Script
    handle: Handle
    rules: RulesModel
    rejected: list[str] = field(default_factory=list)
    messages_sent: int = 0

    async def perform(self, step: Step) -> None:
        """Take the same step on the server and in the rules."""
        match step:
            case Send():
                await self._move_away_from_deadlines()
                await self._send(step)
            case Happens():
                await self._move_away_from_deadlines()
                await self._happen(step)
            case Sleep() | Deadline() if self.is_checking:
                pass
            case Sleep(hours):
                await self._wait(timedelta(hours=hours))
            case Deadline():
                at = self.rules.next()
                await self._wait(at - self.rules.now + MARGIN * 2 if at else MARGIN)
            case CancelWorkflow():
                await self._move_away_from_deadlines()
                await self.handle.cancel()
                self.rules.run(scenarios.CancelWorkflow())
            case WorkerReplaced():
                await self.comparison_server.replace_worker()

    @property
    def is_checking(self) -> bool:
        """Whether the provider is asked about a refund every day. A time-skipping server retries
        that too early and lets timers pass, so no time is skipped meanwhile."""
        refund = self.rules.state.purchase.refund
        return refund is not None and refund.status in (RefundStatus.PENDING, RefundStatus.SENT)

    async def _happen(self, step: Happens) -> None:
        """It happens at both providers, or at neither; then the purchase looks at its payment."""
        key, amount = f"{self.handle.id}/hold", step.amount
        money = Money(amount=amount, currency=CURRENCY) if amount else None
        of_server = await last_event_at(self.comparison_server.environment.client, self.handle.id)
        assert of_server
        codes = []
        for services, at in (
            (self.comparison_server.services, of_server),
            (self.comparison_server.rules_services, self.rules.now),
        ):
            assert isinstance(services.provider, SandboxProvider)
            try:
                services.provider.make_happen(step.event, key, money, at)
                codes.append("")
            except EventRejected as rejected:
                codes.append(rejected.code)
        self._check_equal("the provider's answer", codes[0], codes[1], step)
        await self._send(Send("payments", "check_payment", signal=amount is None))

    async def _move_away_from_deadlines(self) -> None:
        if self.is_checking:
            return
        while self.rules.is_near_a_boundary and not self.rules.closed:
            await self._wait(MARGIN * 2)
            await self.check_agreement("away from a deadline")

    async def _wait(self, duration: timedelta) -> None:
        self.rules.run(scenarios.Sleep(duration))
        await skip(self.comparison_server.environment, self.handle, duration)

    async def _send(self, step: Send) -> None:
        if self.rules.closed:
            return
        role, fields = Role(step.role), dict(step.fields)
        if "refund_id" in fields:
            fields["refund_id"] = f"{self.handle.id}/{fields['refund_id']}"
        rejection = self.rules.receive(role, step.message, fields)
        self.rules.run()
        expected = rejection.code.value if rejection else None
        self.messages_sent += 1
        given = {"by": {"role": role.value, "id": PEOPLE[role]}, **fields}
        if step.twice:
            given["message_id"] = f"m-{self.messages_sent}"
        if step.signal:
            await self.handle.signal(step.message, given)
            self.rejected += [expected] if expected else []
        else:
            answer = await self._update(step.message, given)
            self._check_equal("the answer", answer, expected, step)
        if step.twice and not self.rules.closed:
            await self._send_again(step, given, expected)

    async def _send_again(self, step: Send, given: dict[str, Any], expected: str | None) -> None:
        """Send a message again under its id: it gets the same answer and changes nothing."""
        if step.signal:
            await self.handle.signal(step.message, given)
        elif expected is None:
            answer = await self._update(step.message, given)
            self._check_equal("the second answer", answer, None, step)

    async def _update(self, message: str, given: dict[str, Any]) -> str | None:
        """Send an update; the code of its rejection, or None if it is accepted."""
        try:
            await self.handle.execute_update(message, given)
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError):
                return error.cause.type
            raise
        return None

    # --- comparing

    async def check_agreement(self, after: object) -> None:
        """Wait until server and rules agree. Raises Mismatch after `AGREE_TIMEOUT`."""
        give_up = asyncio.get_running_loop().time() + AGREE_TIMEOUT
        expected = {**comparable(view.status(self.rules.state)), "rejected": self.rejected}
        while True:
            found = await read_query(self.handle, "status", Status)
            here = {**comparable(found), "rejected": [each.code for each in found.rejected]}
            balances = self.comparison_server.services.ledger.balances(found.purchase_id)
            alike = equal_but_for_time(here, expected) and (
                self._is_booked(found, balances) or found.payment != "held"
            )
            if alike or asyncio.get_running_loop().time() > give_up:
                break
            await asyncio.sleep(POLL_EVERY)
        self._check_equal("the status", here, expected, after)
        where = found.escrow
        if balances:
            names = ("held", "in_transit", "refunded", "released", "charged_back")
            booked, shown = (
                tuple(getattr(each, name) for name in names) for each in (balances, where)
            )
            self._check_equal("the ledger", booked, shown, after)
        await self._check_actions(after)

    def _is_booked(self, found: Status, balances: PurchaseBalances | None) -> bool:
        """Whether the ledger has what the status shows. A move of the provider is posted later."""
        where = found.escrow
        return balances is not None and (balances.held, balances.charged_back) == (
            where.held,
            where.charged_back,
        )

    async def _check_actions(self, after: object) -> None:
        role = list(Role)[self.messages_sent % len(Role)]
        found = await read_query(self.handle, "actions", list[Permission], role.value)
        expected = lifecycle.permissions(self.rules.state.purchase, role, self.rules.now)
        here, there = ([(a.message, a.allowed, a.code) for a in each] for each in (found, expected))
        self._check_equal(f"what the {role} may do", here, there, after)

    async def check_end(self) -> None:
        """Compare the results and all transfers of the closed purchase."""
        found = (await self.handle.result()).model_dump(mode="python")
        expected = view.result(self.rules.state).model_dump(mode="python")
        self._check_equal("the result", found, expected, "the end")
        name = purchase_of(self.handle)
        on_server = [
            transfer_fields(each) for each in self.comparison_server.services.ledger.transfers(name)
        ]
        by_rules = [
            transfer_fields(each)
            for each in self.comparison_server.rules_services.ledger.transfers(name)
        ]
        self._check_equal("the transfers", on_server, by_rules, "the end")

    def _check_equal(self, what: str, found: object, expected: object, after: object) -> None:
        if not equal_but_for_time(found, expected):
            raise Mismatch(
                f"After {after}, {what} on the server is\n  {only_different(found, expected)}\n"
                f"By the rules it is\n  {only_different(expected, found)}\n"
                f"Script:\n{self.script!r}"
            )


async def read_query(handle: Handle, query: str, kind: type[Answer], *given: str) -> Answer:
    """The answer to a query. Repeated if the worker that should answer it has stopped."""
    while True:
        try:
            answer: Answer = await handle.query(
                query, args=given, result_type=kind, rpc_timeout=QUERY_TIMEOUT
            )
        except RPCError as error:
            if error.status not in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
                raise
        else:
            return answer


def transfer_fields(transfer: Transfer) -> tuple[object, ...]:
    return (
        transfer.key,
        transfer.leg,
        transfer.debit_account,
        transfer.credit_account,
        transfer.currency,
        transfer.amount,
    )


def comparable(found: Status) -> dict[str, Any]:
    """A status without the fields that are compared in other ways, and without texts, which contain
    times."""
    status = found.model_dump(mode="python", exclude=set(NOT_COMPARED))
    for entry in status["timeline"]:
        del entry["text"]
    return status


def equal_but_for_time(one: object, other: object) -> bool:
    """Whether two values are equal, where times may differ by less than `MARGIN`."""
    match one, other:
        case datetime(), datetime():
            return abs(one - other) < MARGIN
        case dict(), dict():
            return one.keys() == other.keys() and all(
                equal_but_for_time(one[key], other[key]) for key in one
            )
        case ((list() | tuple()), (list() | tuple())):
            return len(one) == len(other) and all(map(equal_but_for_time, one, other))
    return one == other


def only_different(one: object, other: object) -> object:
    """The entries of `one` that differ from `other`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            key: value
            for key, value in one.items()
            if not equal_but_for_time(value, other.get(key))
        }
    return one
