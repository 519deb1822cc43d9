"""An operator completes an activity by hand (`temporal activity complete`), with anything."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from demo.runner import LOOK_EVERY, Handle, say, start, until
from tests.notices.environment import environment
from tests.purchases import held, purchase
from tests.signals.payloads import failed_tasks, raw, whole_history
from workflows.messages import Role

GARBAGE: dict[str, Any] = {
    "nothing": (),
    "a text": ("done",),
    "null": (None,),
    "an answer of something else": ({"delivered": 3},),
    "half an object": (raw(b'{"status"'),),
    "bytes": (b"\xff\xfe",),
    "an unknown encoding": (raw(b"{}", b"binary/ours"),),
    "two megabytes": ({"status": "held", "reference": "x" * 1_000_000},),
    "a long reference": ({"status": "held", "reference": "x" * 201},),
}


async def complete(server: WorkflowEnvironment, handle: Handle, kind: str, *answer: Any) -> None:
    """Complete the pending activity of this type, as soon as there is one."""
    while True:
        pending = (await handle.describe()).raw_description.pending_activities
        for each in pending:
            if each.activity_type.name == kind:
                by_hand = server.client.get_async_activity_handle(
                    workflow_id=handle.id, run_id=None, activity_id=each.activity_id
                )
                try:
                    return await by_hand.complete(*answer)
                except RPCError:  # it is not started, or was retried meanwhile
                    await asyncio.sleep(LOOK_EVERY)


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_reported_as_a_blocked_effect(
    server: WorkflowEnvironment, worker: object, answer: tuple[Any, ...]
) -> None:
    """No task fails. The sentence says what happened, and the next attempt asks the worker."""
    handle = await start(server.client, purchase("pm_sandbox_unreachable"))

    await complete(server, handle, "take_payment", *answer)
    found = await until(handle, lambda found: bool(found.attention))

    assert found.attention[0].kind == "effect_blocked"
    assert "take_payment was completed with what is not its answer" in found.attention[0].text
    assert (found.payment, found.escrow.held) == ("pending", 0)
    await say(handle, Role.OPERATOR, "resolve_attention", action="retry")
    await until(handle, lambda found: not found.attention)
    assert not failed_tasks(await whole_history(server.client, handle))
    await handle.terminate("seen")


async def test_a_notice_completed_by_hand_is_undelivered(tmp_path: Path) -> None:
    """What the notices' activity was completed with is not believed."""
    async with environment(tmp_path, "smtp://127.0.0.1:1") as env:
        handle = await held(env.server)
        await complete(env.server, handle, "send_notices", *GARBAGE["a text"])
        found = await until(handle, lambda found: bool(found.undelivered))
        assert found.undelivered[0].why == "its activity was completed by hand"
        assert not failed_tasks(await whole_history(env.server.client, handle))
