"""Queries and updates of one purchase at the same time are all answered at once.

While every query evicted its run, sdk-core lost a task in 6 of 40 such rounds (temporal/runner.py).
"""

import asyncio
import time

from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal.purchases import Purchase
from tests.purchases import held, purchase_of
from workflows.messages import Role, Sender, SendMessage

PURCHASES = 3
ROUNDS = 12
AT_ONCE = 5.0
"""Seconds; the server repeats a lost task after 10."""


async def test_queries_and_updates_that_meet_are_all_answered(
    server: WorkflowEnvironment, worker: Worker
) -> None:
    """Two people read a purchase and send a message, again and again, at the same moment."""
    handles = [await held(server) for _ in range(PURCHASES)]

    async def read_and_send(purchase: Purchase, message_id: str) -> float:
        begin = time.monotonic()
        await purchase.status()
        sender = Sender(role=Role.CLIENT, id="ana")
        await purchase.send(SendMessage(by=sender, message_id=message_id, text="Hello"))
        return time.monotonic() - begin

    for number in range(ROUNDS):
        took = await asyncio.gather(
            *(
                read_and_send(Purchase(server.client, purchase_of(handle)), f"{number}-{person}")
                for handle in handles
                for person in range(2)
            )
        )
        assert max(took) < AT_ONCE
