"""A flood of bad and repeated signals: no good message among them is lost, nothing else changes.

`RECOURSE_FLOOD=10000 pytest tests/signals/test_flood.py` sends as many as the specification names;
the normal suite sends fewer. All come as fast as this machine sends, while the purchase answers and
begins one fresh history after the other. `test_burst` sends while no worker is there.
"""

import asyncio
import os
from collections.abc import Iterator

from temporalio.api.history.v1 import HistoryEvent
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, skip, status, until
from demo.scenarios import PRICE
from tests.conftest import LONG_HISTORY
from tests.purchases import CLIENT, held
from tests.signals.crowd import GOOD_ONES, Signal, bad, good, is_bad
from tests.signals.payloads import failed_tasks, whole_history
from workflows.messages import Receipt
from workflows.workflow_state import REJECTED_KEPT

FLOOD = int(os.environ.get("RECOURSE_FLOOD", "2000"))
FIRST_BATCH = 20
LARGEST_MEMORY = 1_000_000
"""Bytes that pass from run to run. The server ends a purchase that carries more than 2 MB."""

KNOWN = {"by": CLIENT, "message_id": "known", "text": "Hello?"}


def flood() -> Iterator[Signal]:
    """Every second signal repeats one that was answered; a few good ones are hidden among them."""
    for number in range(FLOOD):
        yield bad(number // 2) if number % 2 else ("send_message", KNOWN)
        if number % (FLOOD // GOOD_ONES) == 0:
            yield good(number)


def workflow_state(run: list[HistoryEvent]) -> int:
    """How many bytes a run was given to begin with."""
    return run[0].workflow_execution_started_event_attributes.input.ByteSize()


async def heard(handle: Handle, rejected: int) -> None:
    """Wait until so many signals were refused."""
    await until(handle, lambda found: found.rejected_count >= rejected)


async def test_flood_loses_no_good_message_and_moves_no_deadline(
    server: WorkflowEnvironment, worker: object
) -> None:
    """Each good message counts once; the memory is bounded, and the history begins anew."""
    handle = await held(server)
    before = await status(handle)
    await handle.execute_update("send_message", KNOWN, result_type=Receipt)
    gate = asyncio.Semaphore(FIRST_BATCH)

    async def send(signal: Signal) -> None:
        async with gate:
            await handle.signal(signal[0], signal[1])

    signals = list(flood())
    await asyncio.gather(*map(send, signals))
    await heard(handle, sum(map(is_bad, signals)))
    after = await status(handle)
    await asyncio.gather(*(send(good(number)) for number in range(0, FLOOD, FLOOD // GOOD_ONES)))
    again = await status(handle)

    assert again.rejected_count == FLOOD // 2
    assert len(again.rejected) == REJECTED_KEPT
    told = [entry.transition for entry in again.timeline].count("message_sent")
    assert told == 1 + GOOD_ONES
    assert (after.stage, after.deadlines) == (before.stage, before.deadlines)
    runs = await whole_history(server.client, handle)
    assert len(runs) > 1
    assert len(runs[-1]) < 3 * LONG_HISTORY
    assert not failed_tasks(runs)
    assert max(map(workflow_state, runs)) < LARGEST_MEMORY
    await skip(server, handle)
    result = await handle.result()
    assert (result.reason, result.refunded) == ("requirements_timeout", PRICE)
