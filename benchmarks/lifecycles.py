"""Whole purchases by the hundred: how many a second, and what one costs a worker."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle

from benchmarks import floor, sides
from benchmarks.measure import Finding, Pair, in_turn
from demo.scenarios import PEOPLE, SCENARIOS
from temporal import embedded
from temporal.client import TASK_QUEUE
from workflows.messages import PurchaseStart, Role

FIRST_BATCH = 50
LIFECYCLES = 100
ROUNDS = 5
WINDOW = 1.0
"""Seconds in which the requirements do not come."""

numbers = itertools.count()
Play = Callable[[Client], Coroutine[Any, Any, None]]


def terms(**policy: Any) -> PurchaseStart:
    """A purchase whose refund is there at once, as most are at a real provider."""
    given = SCENARIOS[0].start(f"bench-{next(numbers)}").model_dump(mode="json")
    changed = {"payment_method": "pm_sandbox_at_once", "policy": policy}
    return PurchaseStart.model_validate({**given, **changed})


def by(role: Role, **fields: Any) -> dict[str, Any]:
    """A message."""
    return {"by": {"role": role.value, "id": PEOPLE[role]}, **fields}


async def bought(client: Client, start: PurchaseStart) -> WorkflowHandle[Any, Any]:
    """One of ours, begun."""
    return await client.start_workflow(
        "ProjectPurchase", start, id=f"purchase-{start.purchase_id}", task_queue=TASK_QUEUE
    )


async def our_auto_cancel(client: Client) -> None:
    """The requirements never come."""
    await (await bought(client, terms(requirements_window=f"PT{WINDOW}S"))).result()


async def approved(client: Client) -> WorkflowHandle[Any, Any]:
    """A purchase to which requirements, cancellation and approval were sent."""
    handle = await bought(client, terms())
    await handle.signal("submit_requirements", by(Role.CLIENT, requirements="A lighthouse."))
    await handle.signal("cancel", by(Role.CLIENT))
    await handle.signal("decide_refund", by(Role.FREELANCER, decision="approve"))
    return handle


async def our_approved_refund(client: Client) -> None:
    """Until the refund has arrived."""
    await (await approved(client)).result()


async def bare_auto_cancel(client: Client, shows: bool = False) -> None:
    """The same on the floor."""
    number = f"floor-{next(numbers)}"
    await client.execute_workflow(
        floor.AutoCancel.run, args=[WINDOW, shows], id=number, task_queue=floor.QUEUE
    )


async def bare_approved_refund(client: Client, shows: bool = False) -> None:
    """The same on the floor."""
    number = f"floor-{next(numbers)}"
    handle = await client.start_workflow(
        floor.ApprovedRefund.run, shows, id=number, task_queue=floor.QUEUE
    )
    for name in ("submit_requirements", "cancel", "decide_refund"):
        await handle.signal(name, "x")
    await handle.result()


STORIES_PLAYED: dict[str, tuple[Play, Callable[[Client, bool], Coroutine[Any, Any, None]]]] = {
    "approved refund": (our_approved_refund, bare_approved_refund),
    "auto-cancel": (our_auto_cancel, bare_auto_cancel),
}
FLOORS = {False: "the engine's floor", True: "the floor with our search attributes"}
"""By whether it shows itself."""


async def play(client: Client, one: Play, worker: int) -> dict[str, float]:
    """So many lifecycles, some at a time: per second, and milliseconds of worker CPU for each."""
    room = asyncio.Semaphore(FIRST_BATCH)

    async def alone() -> None:
        async with room:
            await one(client)

    began, cpu = time.monotonic(), sides.cpu(worker)
    await asyncio.gather(*(alone() for _ in range(LIFECYCLES)))
    took = time.monotonic() - began
    return {
        "per second": LIFECYCLES / took,
        "cpu": (sides.cpu(worker) - cpu) / LIFECYCLES * 1000,
    }


async def measure() -> list[Finding]:
    """Both stories, with the workflow alone and with all that belongs to it."""
    findings = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            bare = stack.enter_context(sides.at_work(sides.floor_worker, place))
            for serve, what, floors in (
                (sides.workflow_alone, "workflow alone", (False, True)),
                (sides.whole_product, "books and mail included", (False,)),
            ):
                with sides.at_work(serve, place) as mine:
                    for (scenario, (our, other)), shows in itertools.product(
                        STORIES_PLAYED.items(), floors
                    ):
                        found = await in_turn(
                            partial(play, server.client, our, mine),
                            partial(play, server.client, partial(other, shows=shows), bare),
                            ROUNDS,
                        )
                        findings += _findings(f"{scenario}, {what}", FLOORS[shows], found)
    return findings


def _findings(what: str, against: str, found: dict[str, Pair]) -> list[Finding]:
    return [
        found["per second"].finding(
            f"lifecycles per second: {what}", against, 0.9, "/s", better="more"
        ),
        found["cpu"].finding(f"CPU of the worker per lifecycle: {what}", against, 1.25, "ms"),
    ]
