"""A flood of large signals does not end a purchase on a server with the settings of `deploy/`."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from temporalio.service import RPCError, RPCStatusCode

from activities.services import Services
from demo.runner import POLL_EVERY, Handle, status, until
from temporal import embedded
from temporal.limits import LARGEST_PAYLOAD, SETTINGS
from tests.purchases import CLIENT, held
from tests.signals.payloads import failed_tasks, whole_history
from worker import build_worker
from workflows import budget

SHIPPED: dict[str, int] = {
    name: values[0]["value"]
    for name, values in yaml.safe_load((Path(__file__).parents[2] / SETTINGS).read_text()).items()
}
SIGNALS = SHIPPED["history.maximumSignalsPerExecution"]
LOADED = 100_000_000
"""Bytes of history that a worker on two cores loads within the ten seconds of a workflow task. It
did not load 160 MB, in any attempt."""


def test_the_settings_fit_the_budget() -> None:
    """What a purchase carries fits into one payload. What signals can add to one run is far from
    the server's limit, and a worker can load it."""
    assert SHIPPED["limit.blobSize.error"] == LARGEST_PAYLOAD > budget.LARGEST_STATE
    assert SIGNALS == 2 * budget.SIGNALS_PER_RUN
    assert SIGNALS * LARGEST_PAYLOAD + 2 * budget.LONG_HISTORY < LOADED
    assert SHIPPED["limit.historySize.error"] > 2 * LOADED


async def send(handle: Handle, size: int) -> bool:
    """Send a signal of this size; whether the server accepts it. A busy server is asked again."""
    message: dict[str, Any] = {"by": CLIENT, "text": "x" * size}
    try:
        await handle.signal("send_message", message)
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            return await send(handle, size)
        return False
    return True


async def test_a_flood_of_large_signals_does_not_end_a_purchase(
    services: Services, threads: ThreadPoolExecutor
) -> None:
    """The server rejects 27 signals of 1.9 MB, and more signals than fit into one run. The purchase
    rejects the others, continues as new, and takes messages again."""
    settings = (f"{name}={json.dumps(value)}" for name, value in SHIPPED.items())
    extra = [f"--dynamic-config-value={setting}" for setting in settings]
    async with (
        embedded.server(skip_time=True, extra=extra) as server,
        build_worker(server.client, services, threads),
    ):
        handle = await held(server)
        first = (await handle.describe()).run_id
        assert not any(await asyncio.gather(*(send(handle, 1_900_000) for _ in range(27))))

        await asyncio.gather(*(send(handle, 1_000_000) for _ in range(SIGNALS + 10)))
        while (await handle.describe()).run_id == first:  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_EVERY)
        while not await send(handle, 100):  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_EVERY)
        found = await until(handle, lambda found: found.timeline[-1].transition == "message_sent")
        assert found.rejected_count >= budget.SIGNALS_PER_RUN
        assert (await status(handle)).stage == "awaiting_requirements"
        assert not failed_tasks(await whole_history(server.client, handle))
