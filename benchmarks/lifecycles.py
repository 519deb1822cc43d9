"""Measures whole purchases: how many per second, and the worker's CPU time for each."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from temporalio.client import Client, WorkflowHandle

from activities.requests import TASK_QUEUE
from benchmarks import bare, sides
from benchmarks.measure import Finding, Pair, in_turn
from demo.scenarios import PEOPLE, SCENARIOS
from temporal import embedded
from workflows.messages import PurchaseStart, Role

CONCURRENT = 50
LIFECYCLES = 100
ROUNDS = 5
WINDOW = 1.0
"""Seconds until the requirements deadline, which expires."""

numbers = itertools.count()
Lifecycle = Callable[[Client], Coroutine[Any, Any, None]]


def terms(**policy: Any) -> PurchaseStart:
    """A start input whose refund settles at once, as most do at a real provider."""
    template = SCENARIOS[0].start(f"bench-{next(numbers)}").model_dump(mode="json")
    changed = {"payment_method": "pm_sandbox_at_once", "policy": policy}
    return PurchaseStart.model_validate({**template, **changed})


def message(role: Role, **fields: Any) -> dict[str, Any]:
    """The payload of a message."""
    return {"by": {"role": role.value, "id": PEOPLE[role]}, **fields}


async def buy(client: Client, start: PurchaseStart) -> WorkflowHandle[Any, Any]:
    """Start a purchase in Recourse."""
    return await client.start_workflow(
        "ProjectPurchase", start, id=f"purchase-{start.purchase_id}", task_queue=TASK_QUEUE
    )


async def our_auto_cancel(client: Client) -> None:
    """Run a purchase whose requirements never arrive."""
    await (await buy(client, terms(requirements_window=f"PT{WINDOW}S"))).result()


async def approved(client: Client) -> WorkflowHandle[Any, Any]:
    """Start a purchase, and send requirements, cancellation and approval."""
    handle = await buy(client, terms())
    await handle.signal("submit_requirements", message(Role.CLIENT, requirements="A lighthouse."))
    await handle.signal("cancel", message(Role.CLIENT))
    await handle.signal("decide_refund", message(Role.FREELANCER, decision="approve"))
    return handle


async def our_approved_refund(client: Client) -> None:
    """Run a purchase until its refund is settled."""
    await (await approved(client)).result()


async def bare_auto_cancel(client: Client, indexed: bool = False) -> None:
    """Run the same on the bare engine."""
    workflow_id = f"bare-{next(numbers)}"
    await client.execute_workflow(
        bare.AutoCancel.run, args=[WINDOW, indexed], id=workflow_id, task_queue=bare.QUEUE
    )


async def bare_approved_refund(client: Client, indexed: bool = False) -> None:
    """Run the same on the bare engine."""
    workflow_id = f"bare-{next(numbers)}"
    handle = await client.start_workflow(
        bare.ApprovedRefund.run, indexed, id=workflow_id, task_queue=bare.QUEUE
    )
    for name in ("submit_requirements", "cancel", "decide_refund"):
        await handle.signal(name, "x")
    await handle.result()


class BareLifecycle(Protocol):
    """Runs one lifecycle on the bare engine."""

    def __call__(self, client: Client, indexed: bool = False) -> Coroutine[Any, Any, None]: ...


SCENARIOS_COMPARED: dict[str, tuple[Lifecycle, BareLifecycle]] = {
    "approved refund": (our_approved_refund, bare_approved_refund),
    "auto-cancel": (our_auto_cancel, bare_auto_cancel),
}
BASELINES = {False: "the bare engine", True: "the bare engine with our search attributes"}
"""By whether the bare workflow updates our search attributes."""


async def run_many(client: Client, lifecycle: Lifecycle, worker: int) -> dict[str, float]:
    """Run lifecycles, several at a time; returns how many per second, and the worker's CPU time for
    each in milliseconds."""
    slots = asyncio.Semaphore(CONCURRENT)

    async def run_one() -> None:
        async with slots:
            await lifecycle(client)

    began, cpu = time.monotonic(), sides.cpu(worker)
    await asyncio.gather(*(run_one() for _ in range(LIFECYCLES)))
    took = time.monotonic() - began
    return {
        "per second": LIFECYCLES / took,
        "cpu": (sides.cpu(worker) - cpu) / LIFECYCLES * 1000,
    }


async def measure() -> list[Finding]:
    """Measure both scenarios, with the workflow alone and with ledger and mail."""
    findings = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        async with embedded.server() as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            bare_process = stack.enter_context(sides.running(sides.bare_worker, place))
            for serve, what, baselines, *targets in (
                (sides.workflow_alone, "workflow alone", (False, True), 1.3, 1.25),
                (sides.whole_product, "ledger and mail included", (False,), 0.75, 2.5),
            ):
                with sides.running(serve, place) as our_process:
                    for (scenario, (our, other)), indexed in itertools.product(
                        SCENARIOS_COMPARED.items(), baselines
                    ):
                        found = await in_turn(
                            partial(run_many, server.client, our, our_process),
                            partial(
                                run_many,
                                server.client,
                                partial(other, indexed=indexed),
                                bare_process,
                            ),
                            ROUNDS,
                        )
                        findings += _findings(
                            f"{scenario}, {what}", BASELINES[indexed], found, *targets
                        )
    return findings


def _findings(
    what: str, against: str, found: dict[str, Pair], more: float, cpu: float
) -> list[Finding]:
    return [
        found["per second"].finding(
            f"lifecycles per second: {what}", against, more, "/s", better="more"
        ),
        found["cpu"].finding(f"CPU of the worker per lifecycle: {what}", against, cpu, "ms"),
    ]
