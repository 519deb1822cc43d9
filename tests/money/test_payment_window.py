"""The payment window ends in time, however long an attempt to charge takes."""

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from demo.runner import send, skip, start, until
from tests.purchases import purchase
from workflows import activity_calls
from workflows.messages import Role

pytestmark = pytest.mark.usefixtures("worker")


async def test_the_payment_window_ends_while_an_attempt_that_an_operator_asked_for_runs(
    server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt fails soon. An operator lets the purchase try again after two minutes, and
    that attempt lasts for longer than the window."""
    monkeypatch.setattr(activity_calls, "BLOCKED_AFTER", timedelta(seconds=2))
    terms = purchase("pm_sandbox_unreachable", policy={"payment_window": "PT6M"})
    handle = await start(server.client, terms)
    await until(handle, lambda found: bool(found.attention))
    monkeypatch.setattr(activity_calls, "BLOCKED_AFTER", timedelta(minutes=5))
    await skip(server, handle, timedelta(minutes=2))
    await send(handle, Role.OPERATOR, "resolve_attention", action="retry")

    await skip(server, handle, timedelta(minutes=4, seconds=10))

    found = await until(handle, lambda found: found.payment == "voiding")
    assert found.timeline[-1].transition == "payment_window_expired"
    window = found.timeline[-1].at - found.timeline[0].at
    assert window < timedelta(minutes=6, seconds=30)
    await handle.terminate("seen")
