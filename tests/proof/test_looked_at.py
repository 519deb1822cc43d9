"""Somebody who only looks at a purchase changes nothing about it, whenever they look."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from temporalio.testing import WorkflowEnvironment

from activities.parts import Parts
from starter.theatre import LOOK_EVERY, Handle, say, skip, start, status, until
from tests.purchases import CLIENT, purchase
from worker import build_worker
from workflows.messages import Role, Status

LOOKED_AT = 12
"""Purchases. Which of its two tasks a worker takes first, the look or the message, is chance."""


async def quiet(handle: Handle, holds: Callable[[Status], bool]) -> Status:
    """Wait until the status is as wished, and the purchase waits for messages and time alone."""
    await until(handle, holds)
    while under_way((await handle.describe()).raw_description):  # noqa: ASYNC110 - another process
        await asyncio.sleep(LOOK_EVERY)
    return await status(handle)


def under_way(described: Any) -> bool:
    """Whether a step or a task is."""
    return bool(described.pending_activities) or described.HasField("pending_workflow_task")


async def test_a_look_that_waited_for_a_worker_changes_nothing(
    lonely: WorkflowEnvironment, parts: Parts, threads: ThreadPoolExecutor
) -> None:
    """Somebody opens purchases while no worker is there; then messages come; then a worker, who may
    be given the look first, with messages in it that no task has brought yet. The next worker
    finds the same, and nobody stands still."""
    handles = [
        await start(lonely.client, purchase(purchase_id=f"looked-at-{number}"))
        for number in range(LOOKED_AT)
    ]
    async with build_worker(lonely.client, parts, threads):
        for handle in handles:
            await quiet(handle, lambda found: found.payment == "held")
    for handle in handles:
        await skip(lonely, handle, timedelta(hours=1))

    looks = [asyncio.create_task(status(handle)) for handle in handles]
    await asyncio.sleep(0.5)  # nothing shows from outside that a look waits
    for handle in handles:
        await handle.signal("cancel", {"by": CLIENT})
    answers = [
        asyncio.create_task(say(handle, Role.FREELANCER, "decide_refund", decision="approve"))
        for handle in handles[::2]
    ]
    async with build_worker(lonely.client, parts, threads):
        await asyncio.gather(*looks, *answers)
        first = [
            await quiet(handle, lambda found: found.stage != "awaiting_requirements")
            for handle in handles
        ]
    async with build_worker(lonely.client, parts, threads):
        assert await asyncio.gather(*map(status, handles)) == first
