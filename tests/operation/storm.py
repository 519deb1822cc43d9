"""Purchases under way all the time, on workers that come and go."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.client import Client

from demo.scenarios import PEOPLE, PRICE
from temporal.errors import Failure
from temporal.purchases import Purchase
from tests.purchases import purchase
from workflows.messages import MESSAGES, PurchaseResult, Role

PLAYERS = 8
CLAIM = 5_000

Said = tuple[Role, str, Mapping[str, Any]]
SCRIPTS: Sequence[tuple[tuple[int, int], tuple[Said, ...]]] = (
    (
        (PRICE, 0),
        (
            (Role.CLIENT, "cancel", {}),
            (Role.FREELANCER, "decide_refund", {"decision": "approve"}),
        ),
    ),
    ((PRICE, 0), ((Role.FREELANCER, "cancel", {}),)),
    (
        (PRICE - CLAIM, CLAIM),
        (
            (Role.CLIENT, "submit_requirements", {"requirements": "A logo."}),
            (Role.CLIENT, "cancel", {}),
            (Role.FREELANCER, "decide_refund", {"decision": "decline", "claim": CLAIM}),
            (Role.CLIENT, "accept_claim", {}),
        ),
    ),
    (
        (0, PRICE),
        (
            (Role.CLIENT, "submit_requirements", {"requirements": "A logo."}),
            (Role.FREELANCER, "deliver", {}),
            (Role.CLIENT, "accept_delivery", {}),
        ),
    ),
)
"""What is refunded and released in the end, and who says what until then."""


@dataclass
class Load:
    """Keep a number of purchases running, each started when another ends, until stopped."""

    client: Client
    results: list[tuple[PurchaseResult, tuple[int, int]]] = field(default_factory=list)
    slowest: float = 0.0
    _numbers: Any = field(default_factory=itertools.count)
    _stopping: bool = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """As long as the block lasts; what has begun then still ends."""
        self._stopping = False
        async with asyncio.TaskGroup() as players:
            for _ in range(PLAYERS):
                players.create_task(self._play())
            yield
            self._stopping = True

    async def goes_on(self) -> None:
        """Wait until all that is under way now is over, and as many more."""
        enough = len(self.results) + 2 * PLAYERS
        while len(self.results) < enough:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)

    async def _play(self) -> None:
        while not self._stopping:
            number = next(self._numbers)
            ends, script = SCRIPTS[number % len(SCRIPTS)]
            terms = purchase("pm_sandbox_at_once")
            bought = Purchase(self.client, terms.purchase_id)
            began = asyncio.get_running_loop().time()
            await bought.start(terms)
            await paid(bought)
            for step, (role, name, fields) in enumerate(script):
                await insist(bought, role, name, f"{number}-{step}", fields)
            self.results += [(await bought.handle.result(), ends)]
            self.slowest = max(self.slowest, asyncio.get_running_loop().time() - began)


async def paid(bought: Purchase) -> None:
    """Wait until a worker says that the payment is held."""
    while True:
        try:
            if (await bought.status()).payment == "held":
                return
        except Failure as failure:
            if failure.code != "NO_WORKER":
                raise
        await asyncio.sleep(0.05)


async def insist(
    bought: Purchase, role: Role, name: str, message_id: str, fields: Mapping[str, Any]
) -> None:
    """Send a message as the docs ask of other systems: with an id, retried until answered."""
    by = {"role": role.value, "id": PEOPLE[role]}
    given = {"by": by, "message_id": message_id, **fields}
    while True:
        try:
            await bought.send(MESSAGES[name].model_validate(given))
            return
        except Failure as failure:
            if failure.code != "NO_WORKER":
                raise


async def trouble(
    client: Client, purchase_id: str, gone: Collection[str], since: datetime
) -> Counter[str]:
    """What did not go smoothly in a purchase, by what its history says. A task is lost if one of
    the workers that are `gone` had it after `since`, when it began to stop. Before that, a
    worker was too slow, or the server lost the task: the moment in which another build becomes
    current, the server cancels polls to which it has just given a task."""
    found: Counter[str] = Counter()
    had: dict[int, str] = {}
    handle = client.get_workflow_handle(f"purchase-{purchase_id}")
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            found["workflow tasks failed"] += 1
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            had[event.event_id] = event.workflow_task_started_event_attributes.identity
        lost = event.workflow_task_timed_out_event_attributes
        if lost.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE:
            late = event.event_time.ToDatetime(UTC) > since
            found["workflow tasks lost"] += late and had[lost.started_event_id] in gone
        if event.activity_task_started_event_attributes.attempt > 1:
            found["activities tried again"] += 1
    return found
