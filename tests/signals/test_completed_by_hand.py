"""An operator completes an activity by hand (`temporal activity complete`), with anything."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.audit import reconcile
from activities.requests import Money
from activities.services import Services
from demo.runner import POLL_EVERY, Handle, send, skip, start, until
from temporal.directory import TemporalPurchaseDirectory
from tests.notices.environment import environment
from tests.purchases import held, purchase, purchase_of
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
                    await asyncio.sleep(POLL_EVERY)


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_an_invalid_answer_is_reported_as_a_blocked_effect(
    server: WorkflowEnvironment, worker: object, answer: tuple[Any, ...]
) -> None:
    """No task fails. The sentence says what happened, and the next attempt asks the worker."""
    handle = await start(server.client, purchase("pm_sandbox_unreachable"))

    await complete(server, handle, "take_payment", *answer)
    found = await until(handle, lambda found: bool(found.attention))

    assert found.attention[0].kind == "effect_blocked"
    assert "take_payment was completed with what is not its answer" in found.attention[0].text
    assert (found.payment, found.escrow.held) == ("pending", 0)
    await send(handle, Role.OPERATOR, "resolve_attention", action="retry")
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
    """Completes the next attempts of activities of these types, as an operator does."""

    def __init__(self, answers: dict[str, list[object]]) -> None:
        self.answers = answers

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap each activity."""
        answers = self.answers

        class Answers(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> object:
                waiting = answers.get(activity.info().activity_type)
                if not waiting:
                    return await super().execute_activity(input)
                answer = waiting.pop()
                if isinstance(answer, Exception):
                    raise answer
                return answer

        return Answers(next)


@asynccontextmanager
async def completing(
    server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor, by_hand: ByHand
) -> AsyncIterator[None]:
    """A worker whose activities somebody completes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("temporal.plugin.WritesCards", lambda: by_hand)
        async with build_worker(server.client, services, threads):
            yield


async def test_terms_that_are_failed_or_completed_by_hand_are_validated_again(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor
) -> None:
    """The purchase neither ends, with its id used up, nor begins as another purchase, with another
    price or with somebody else's card."""
    terms = purchase()
    known = AcceptedStart.of(terms)
    dear = known.model_copy(update={"price": Money(amount=99_999_00, currency="USD")})
    answers = (
        AcceptedStart.of(purchase()),
        dear,
        known.model_copy(update={"payment_method": "pm_of_somebody_else"}),
    )
    lies = [{"terms": each.model_dump(mode="json")} for each in answers]
    failed = ApplicationError("by hand", non_retryable=True)
    by_hand = ByHand({ACCEPT_PURCHASE.name: [*lies, failed]})
    async with completing(bare_server, services, threads, by_hand):
        handle = await start(bare_server.client, terms)
        await skip(bare_server, handle, timedelta(minutes=1))
        found = await until(handle, lambda found: found.payment == "held")
        assert (found.purchase_id, str(found.price)) == (terms.purchase_id, "250.00 USD")
        assert by_hand.answers == {ACCEPT_PURCHASE.name: []}
        await handle.terminate("seen")


HELD = {"status": "held", "reference": "ch_invented"}
DONE = {"key": "purchase-x/refund", "created": True}
ALL_ELSEWHERE = {"refund_id": "", "reference": "re_invented", "amount": 250_00, "status": "sent"}
LOST = {"dispute_id": "dp_invented", "status": "lost", "amount": 250_00}
LIES: dict[str, tuple[str, object, str]] = {
    "paid": ("take_payment", HELD, "has recorded a hold of 250.00 USD; the ledger has none"),
    "decided": ("post_decision", DONE, "recorded its decision as posted; the ledger has none"),
    "refunded": (
        "send_refund",
        {"status": "settled", "reference": "re_invented"},
        "the provider has none, and no person has proved it",
    ),
    "settled": (
        "post_settlement",
        DONE,
        "has 0.00 USD in escrow and 250.00 USD in transit, but its workflow is not running",
    ),
    "refunded elsewhere": (
        "check_payment",
        {"refunds": [ALL_ELSEWHERE]},
        "the ledger has refunds of 250.00 USD made elsewhere, the provider 0.00 USD",
    ),
    "charged back": (
        "check_payment",
        {"disputes": [LOST]},
        "the ledger has the bank dispute dp_invented, which the provider has not",
    ),
}
"""By what somebody pretends: the activity, its answer, and what the audit says."""


@pytest.mark.parametrize("lie", LIES)
async def test_the_audit_finds_each_plausible_lie_and_no_money_follows_it(
    bare_server: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor, lie: str
) -> None:
    """Somebody completes an activity with an answer that could be true."""
    kind, answer, says = LIES[lie]
    async with completing(bare_server, services, threads, ByHand({kind: [answer]})):
        handle = await held(bare_server, payment_method="pm_sandbox_at_once")
        if kind == "check_payment":
            await send(handle, Role.OPERATOR, "check_payment")
        elif kind != "take_payment":
            await send(handle, Role.FREELANCER, "give_refund")
        if kind == "post_decision":
            found = await until(handle, lambda found: bool(found.attention))
            assert "has 0.00 USD in transit" in found.attention[0].text
        elif kind != "take_payment":
            await handle.result()
        directory = TemporalPurchaseDirectory(bare_server.client)
        report = await reconcile(services.ledger, services.provider, directory)
        found_in = [each for each in report.differences if each.purchase_id == purchase_of(handle)]
    assert says in " ".join(each.what for each in found_in)
    sent = [each.refund_id for each in services.provider.statement().refunds]
    assert sent.count(f"{handle.id}/refund") == (lie == "settled")
