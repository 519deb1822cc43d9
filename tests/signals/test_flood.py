"""A flood of bad and repeated signals: no good message among them is lost, nothing else changes.

`RECOURSE_FLOOD=10000 pytest tests/signals/test_flood.py` sends as many as are specified;
the normal suite sends fewer. They are sent as fast as this machine can, while the purchase answers
and continues as new again and again. `test_burst` sends while no worker runs.
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
from tests.signals.payloads import failed_tasks, whole_history
from tests.signals.sample_signals import GOOD_COUNT, Signal, bad, good, is_bad
from workflows.budget import LARGEST_STATE, REJECTED_KEPT
from workflows.messages import Receipt

FLOOD = int(os.environ.get("RECOURSE_FLOOD", "2000"))
PARALLEL = 20

KNOWN = {"by": CLIENT, "message_id": "known", "text": "Hello?"}


def flood() -> Iterator[Signal]:
    """Bad signals; every second one repeats an accepted message, and a few good ones are among
    them."""
    for number in range(FLOOD):
        yield bad(number // 2) if number % 2 else ("send_message", KNOWN)
        if number % (FLOOD // GOOD_COUNT) == 0:
            yield good(number)


def carried_bytes(run: list[HistoryEvent]) -> int:
    """The size of a run's input in bytes."""
    return run[0].workflow_execution_started_event_attributes.input.ByteSize()


async def until_rejected(handle: Handle, rejected: int) -> None:
    """Wait until this many signals were rejected."""
    await until(handle, lambda found: found.rejected_count >= rejected)


async def test_a_flood_of_signals_loses_no_good_message_and_moves_no_deadline(
    server: WorkflowEnvironment, worker: object
) -> None:
    """Every good message counts once, the carried state is bounded, and the purchase continues as
    new."""
    handle = await held(server)
    before = await status(handle)
    await handle.execute_update("send_message", KNOWN, result_type=Receipt)
    gate = asyncio.Semaphore(PARALLEL)

    async def send(signal: Signal) -> None:
        async with gate:
            await handle.signal(signal[0], signal[1])

    signals = list(flood())
    await asyncio.gather(*map(send, signals))
    await until_rejected(handle, sum(map(is_bad, signals)))
    after = await status(handle)
    await asyncio.gather(*(send(good(number)) for number in range(0, FLOOD, FLOOD // GOOD_COUNT)))
    again = await status(handle)

    assert again.rejected_count == FLOOD // 2
    assert len(again.rejected) == REJECTED_KEPT
    accepted_messages = [entry.transition for entry in again.timeline].count("message_sent")
    assert accepted_messages == 1 + GOOD_COUNT
    assert (after.stage, after.deadlines) == (before.stage, before.deadlines)
    runs = await whole_history(server.client, handle)
    assert len(runs) > 1
    assert len(runs[-1]) < 3 * LONG_HISTORY
    assert not failed_tasks(runs)
    assert max(map(carried_bytes, runs)) < LARGEST_STATE
    await skip(server, handle)
    result = await handle.result()
    assert (result.reason, result.refunded) == ("requirements_timeout", PRICE)
