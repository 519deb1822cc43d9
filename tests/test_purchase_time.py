"""The time of a purchase: `purchased_at`, or when its workflow started."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import Handle, start, status, until
from tests.purchases import purchase, reset
from worker import build_worker
from workflows.acceptance import purchase_time

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_a_purchase_is_never_made_in_the_future() -> None:
    """R-31: a clock that is four minutes ahead makes cancelling no freer."""
    assert purchase_time(None, NOW) is None
    assert purchase_time(NOW + timedelta(minutes=4), NOW) == NOW
    assert purchase_time(NOW - timedelta(minutes=4), NOW) == NOW - timedelta(minutes=4)
    with pytest.raises(ValueError, match="in the future"):
        purchase_time(NOW + timedelta(minutes=6), NOW)


def test_a_purchase_is_at_most_ten_years_old() -> None:
    """The year 1 is the zero time of some language, and no purchase."""
    with pytest.raises(ValueError, match="over ten years ago"):
        purchase_time(datetime(1, 1, 1, tzinfo=UTC), NOW)


async def started_at(handle: Handle) -> datetime:
    """When the server recorded the start."""
    first = await anext(handle.fetch_history_events())
    return first.event_time.ToDatetime(UTC)


async def requirements_due(handle: Handle) -> datetime:
    """When the requirements are due."""
    (deadline,) = (each for each in (await status(handle)).deadlines if each.name == "requirements")
    return deadline.at


async def test_a_worker_that_was_down_does_not_move_the_48_hours(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """R-10: they run from the start, not from the first workflow task. The payment has its whole
    window: it is the provider's time."""
    handle = await start(bare_server.client, purchase())
    async with build_worker(bare_server.client, services, threads):
        found = await until(handle, lambda found: found.payment == "held")
        assert await requirements_due(handle) == await started_at(handle) + timedelta(hours=48)
        assert found.timeline[0].at > await started_at(handle)
        await handle.terminate("seen")


async def test_a_reset_to_the_first_task_does_not_move_the_48_hours(
    server: WorkflowEnvironment, worker: object
) -> None:
    """The client gets no second 48 hours from an operator who resets the purchase."""
    handle = await start(server.client, purchase())
    await until(handle, lambda found: found.payment == "held")
    before = await requirements_due(handle)
    await server.fast_forward(handle, timedelta(hours=10))
    for task in range(2):  # before the terms are accepted, and after
        run_id = (await handle.describe()).run_id
        await reset(server, handle, task)
        await until(handle, lambda found: found.payment == "held")
        assert (await handle.describe()).run_id != run_id
        assert await requirements_due(handle) == before
    await handle.terminate("seen")
