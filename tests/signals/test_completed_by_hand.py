"""An operator completes an activity by hand (`temporal activity complete`), with anything."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.services import Services
from demo.runner import LOOK_EVERY, Handle, say, skip, start, until
from tests.notices.environment import environment
from tests.purchases import held, purchase
from tests.signals.payloads import failed_tasks, raw, whole_history
from worker import build_worker
from workflows.acceptance import ACCEPT_PURCHASE
from workflows.messages import Role
from workflows.workflow_state import AcceptedStart

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


class ByHand(Interceptor):
    """Completes the next attempts to accept a purchase, as an operator does."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap each activity."""
        answers = self.answers

        class Answers(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> object:
                if activity.info().activity_type != ACCEPT_PURCHASE.name or not answers:
                    return await super().execute_activity(input)
                answer = answers.pop()
                if isinstance(answer, Exception):
                    raise answer
                return answer

        return Answers(next)


async def test_terms_that_are_failed_or_completed_by_hand_are_validated_again(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """The purchase neither ends, with its id used up, nor begins as another purchase."""
    terms = purchase()
    other = AcceptedStart.of(purchase()).model_dump(mode="json")
    by_hand = ByHand({"terms": other}, ApplicationError("by hand", non_retryable=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("temporal.plugin.WritesCards", lambda: by_hand)
        async with build_worker(bare_server.client, services, threads):
            handle = await start(bare_server.client, terms)
            await skip(bare_server, handle, timedelta(minutes=1))
            found = await until(handle, lambda found: found.payment == "held")
            assert (found.purchase_id, by_hand.answers) == (terms.purchase_id, [])
            await handle.terminate("seen")
