"""Plays a script twice: on a real server with a real worker, and by the pure rules alone. Both
have to agree after every act."""

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
from activities.ledger import Transfer
from activities.money import MoneyActivities
from activities.services import Services
from demo import scenarios
from demo.runner import LOOK_EVERY, Handle, skip, start
from demo.scenarios import PEOPLE
from docs.rehearsal import Rehearsal
from tests.model.script import (
    Act,
    CancelWorkflow,
    Deadline,
    Script,
    Send,
    Sleep,
    WorkerReplaced,
)
from tests.purchases import purchase, purchase_of
from workflows import lifecycle, view
from workflows.lifecycle.state import Stage
from workflows.messages import Action, PurchaseStart, Role, Status

AGREE_WITHIN = 20
"""Seconds of real time in which the server comes to where the rules are."""

NEAR = timedelta(minutes=15)
"""The server's clock goes on while a script is played. So near to a deadline, and at midnight, when
days are counted, nobody speaks: which of them comes first, tests of their own say."""

ATTEMPTS = 5
ANSWERED_WITHIN = timedelta(seconds=5)
UNTIMED = ("requirements", "rejected", "rejected_count", "undelivered", "late_by")


Answer = TypeVar("Answer")


class Disagree(AssertionError):
    """Server and rules differ. Shows the script, to be pasted into `test_scripts_that_failed`."""


@dataclass
class Troupe:
    """A server, books, and a worker that can be replaced. `steps`: acts that were compared."""

    environment: WorkflowEnvironment
    services: Services
    threads: ThreadPoolExecutor
    rules_parts: Services
    steps: int = 0
    scripts: int = 0
    replaced: int = 0
    _end: asyncio.Event = field(default_factory=asyncio.Event)
    _working: asyncio.Task[None] | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def replace_worker(self) -> None:
        """The worker is stopped wherever it is; another one goes on."""
        async with self._one:
            await self.stop_worker()
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._end = asyncio.Event()
            self._working = asyncio.create_task(self._work(ready, self._end))
            await asyncio.wait({ready, self._working}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                self._working.result()  # raises: it could not begin
            self.replaced += 1

    async def _work(self, ready: asyncio.Future[None], end: asyncio.Event) -> None:
        async with worker.build_worker(self.environment.client, self.services, self.threads):
            ready.set_result(None)
            await end.wait()

    async def stop_worker(self) -> None:
        """Stop the worker, if there is one."""
        self._end.set()
        if self._working:
            await asyncio.wait({self._working})
            self._working.result()

    async def play(self, script: Script) -> None:
        """Play a script. Raises Disagree."""
        terms = purchase(
            script.method, policy=script.policy, requirements_needed=script.requirements_needed
        )
        handle = await start(self.environment.client, terms)
        begun = (await asked(handle, "status", Status)).timeline[0].at
        both = Both(self, script, handle, Rules(self.rules_parts, terms, begun))
        await both.agree("the start")
        self.scripts += 1
        for act in script.acts:
            if both.rules.closed:
                break
            await both.perform(act)
            self.steps += 1
            await both.agree(act)
        if both.rules.closed:
            await both.agree_on_the_end()
        else:
            await handle.terminate("the script is over")


@asynccontextmanager
async def troupe(
    environment: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    rules_parts: Services,
) -> AsyncIterator[Troupe]:
    """A troupe with a worker."""
    found = Troupe(environment, services, threads, rules_parts)
    await found.replace_worker()
    try:
        yield found
    finally:
        await found.stop_worker()


class Rules(Rehearsal):
    """The rules alone, on a clock that is set, with books of their own."""

    def __init__(self, services: Services, terms: PurchaseStart, now: datetime) -> None:
        super().__init__(MoneyActivities(services.ledger, services.provider), terms, now)
        self._carry_out = {name: _retried(carry) for name, carry in self._carry_out.items()}
        self.play()

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.memory.state.stage is Stage.CLOSED

    def next(self) -> datetime | None:
        """When the next clock runs out."""
        return min(self.memory.state.deadlines.values(), default=None)

    @property
    def is_near_something(self) -> bool:
        """Whether a few seconds more or less could make a difference now."""
        midnight = (self.now + NEAR).date() != (self.now - NEAR).date()
        return midnight or any(
            abs(at - self.now) < NEAR for at in self.memory.state.deadlines.values()
        )


def _retried(carry_out: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def attempt(request: Any) -> Any:
        for _ in range(ATTEMPTS - 1):
            try:
                return carry_out(request)
            except ApplicationError as error:
                if error.non_retryable:
                    raise
        return carry_out(request)

    return attempt


@dataclass
class Both:
    """One purchase on the server, and the same by the rules alone."""

    troupe: Troupe
    script: Script
    handle: Handle
    rules: Rules
    rejected: list[str] = field(default_factory=list)
    said: int = 0

    async def perform(self, act: Act) -> None:
        """The same act in both worlds."""
        match act:
            case Send():
                await self._away_from_deadlines()
                await self._say(act)
            case Sleep(hours):
                await self._wait(timedelta(hours=hours))
            case Deadline():
                at = self.rules.next()
                await self._wait(at - self.rules.now + NEAR * 2 if at else NEAR)
            case CancelWorkflow():
                await self._away_from_deadlines()
                await self.handle.cancel()
                self.rules.play(scenarios.CancelWorkflow())
            case WorkerReplaced():
                await self.troupe.replace_worker()

    async def _away_from_deadlines(self) -> None:
        while self.rules.is_near_something and not self.rules.closed:
            await self._wait(NEAR * 2)
            await self.agree("away from a deadline")

    async def _wait(self, duration: timedelta) -> None:
        self.rules.play(scenarios.Sleep(duration))
        await skip(self.troupe.environment, self.handle, duration)

    async def _say(self, act: Send) -> None:
        if self.rules.closed:
            return
        role, fields = Role(act.role), dict(act.fields)
        if "refund_id" in fields:
            fields["refund_id"] = f"{self.handle.id}/{fields['refund_id']}"
        rejection = self.rules.hear(role, act.message, fields)
        self.rules.play()
        expected = rejection.code.value if rejection else None
        self.said += 1
        given = {"by": {"role": role.value, "id": PEOPLE[role]}, **fields}
        if act.twice:
            given["message_id"] = f"m-{self.said}"
        if act.signal:
            await self.handle.signal(act.message, given)
            self.rejected += [expected] if expected else []
        else:
            answered = await self._update(act.message, given)
            self._same("the answer", answered, expected, act)
        if act.twice and not self.rules.closed:
            await self._again(act, given, expected)

    async def _again(self, act: Send, given: dict[str, Any], expected: str | None) -> None:
        """The same message id once more: the same answer, and nothing happens."""
        if act.signal:
            await self.handle.signal(act.message, given)
        elif expected is None:
            answered = await self._update(act.message, given)
            self._same("the second answer", answered, None, act)

    async def _update(self, message: str, given: dict[str, Any]) -> str | None:
        """The code of its refusal, if it is refused."""
        try:
            await self.handle.execute_update(message, given)
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError):
                return error.cause.type
            raise
        return None

    # --- comparing

    async def agree(self, after: object) -> None:
        """Wait until both are at the same; fails if they are not soon."""
        give_up = asyncio.get_running_loop().time() + AGREE_WITHIN
        expected = {**shown(view.status(self.rules.memory)), "rejected": self.rejected}
        while True:
            found = await asked(self.handle, "status", Status)
            here = {**shown(found), "rejected": [each.code for each in found.rejected]}
            books = self.troupe.services.ledger.balances(found.purchase_id)
            alike = close(here, expected) and (books is None) == (found.payment != "held")
            if alike or asyncio.get_running_loop().time() > give_up:
                break
            await asyncio.sleep(LOOK_EVERY)
        self._same("the status", here, expected, after)
        where = found.escrow
        if books:
            booked = (books.held, books.in_transit, books.refunded, books.released)
            shown_to = (where.held, where.in_transit, where.refunded, where.released)
            self._same("the ledger", booked, shown_to, after)
        await self._agree_on_actions(after)

    async def _agree_on_actions(self, after: object) -> None:
        role = list(Role)[self.said % len(Role)]
        found = await asked(self.handle, "actions", list[Action], role.value)
        expected = lifecycle.actions(self.rules.memory.state, role, self.rules.now)
        here, there = ([(a.message, a.allowed, a.code) for a in each] for each in (found, expected))
        self._same(f"what the {role} may do", here, there, after)

    async def agree_on_the_end(self) -> None:
        """The result, and every movement of money."""
        found = (await self.handle.result()).model_dump(mode="python")
        expected = view.result(self.rules.memory).model_dump(mode="python")
        self._same("the result", found, expected, "the end")
        name = purchase_of(self.handle)
        ours = [_moved(each) for each in self.troupe.services.ledger.transfers(name)]
        theirs = [_moved(each) for each in self.troupe.rules_parts.ledger.transfers(name)]
        self._same("the transfers", ours, theirs, "the end")

    def _same(self, what: str, found: object, expected: object, after: object) -> None:
        if not close(found, expected):
            raise Disagree(
                f"After {after}, {what} is\n  {_only(found, expected)}\nby the rules it is\n  "
                f"{_only(expected, found)}\n{self.script!r}"
            )


async def asked(handle: Handle, query: str, kind: type[Answer], *given: str) -> Answer:
    """The answer to a query; asked again if it was on its way to a worker that stopped."""
    while True:
        try:
            answer: Answer = await handle.query(
                query, args=given, result_type=kind, rpc_timeout=ANSWERED_WITHIN
            )
        except RPCError as error:
            if error.status not in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
                raise
        else:
            return answer


def _moved(transfer: Transfer) -> tuple[object, ...]:
    return (
        transfer.key,
        transfer.leg,
        transfer.debit_account,
        transfer.credit_account,
        transfer.currency,
        transfer.amount,
    )


def shown(found: Status) -> dict[str, Any]:
    """A status without what is compared otherwise, and without sentences: they contain times."""
    status = found.model_dump(mode="python", exclude=set(UNTIMED))
    for entry in status["timeline"]:
        del entry["text"]
    return status


def close(one: object, other: object) -> bool:
    """Whether they are the same, but for some minutes."""
    match one, other:
        case datetime(), datetime():
            return abs(one - other) < NEAR
        case dict(), dict():
            return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
        case ((list() | tuple()), (list() | tuple())):
            return len(one) == len(other) and all(map(close, one, other))
    return one == other


def _only(one: object, other: object) -> object:
    """What is different in one."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: value for key, value in one.items() if not close(value, other.get(key))}
    return one
