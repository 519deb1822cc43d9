"""Events of purchases on a real server: all of them, in order, also when one side is away."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle
from temporalio.common import RetryPolicy

from activities.notices.log import Notice
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import CONSUMER, Undelivered
from demo.runner import (
    POLL_EVERY,
    Handle,
    ScenarioRunner,
    happen,
    send,
    skip,
    status,
    until,
)
from demo.scenarios import PRICE, SCENARIOS, Happens
from temporal.aftercare import status_of
from temporal.purchases import Purchase
from tests.conftest import CONTINUE_AS_NEW_SOON
from tests.notices.consumer import Consumer
from tests.notices.environment import Environment, environment
from tests.purchases import adopted, held, purchase_of, reset
from tests.signals.payloads import of_type, whole_history
from workflows import emitting
from workflows.messages import Role

SOON = 20
"""Seconds; a consumer that is down is waited for longer."""


@asynccontextmanager
async def with_consumer(
    folder: Path, consumer: Consumer, **given: Any
) -> AsyncIterator[Environment]:
    """A server and a worker that sends events to this consumer."""
    with consumer.listening() as url:
        async with environment(folder, events_url=url, **given) as env:
            yield env


def events_in_log(env: Environment, handle: Handle) -> list[Notice]:
    """The events of a purchase in the delivery log."""
    return [one for one in env.notices(handle) if one.role == CONSUMER]


async def arrived(consumer: Consumer, handle: Handle) -> list[dict[str, Any]]:
    """The data of a purchase's events, with their ids, in the order of their numbers, when the
    newest has arrived."""
    found = await status(handle)
    while True:
        all_events = consumer.of(purchase_of(handle))
        events = [one["data"] | {"id": one["id"]} for one in all_events]
        ours = sorted(
            (one for one in events if one["stream"] == found.stream),
            key=lambda one: one["sequence"],
        )
        if ours and ours[-1]["sequence"] >= found.sequence:
            return ours
        await asyncio.sleep(POLL_EVERY)


def has_no_gap(events: list[dict[str, Any]]) -> bool:
    """Whether the numbers are 1 to the last, each once."""
    return [one["sequence"] for one in events] == list(range(1, len(events) + 1))


PLAYED = ("freelancer_cancels_too_late", "dispute_resolved", "card_declined")


async def test_scenarios_are_reported_event_by_event(tmp_path: Path) -> None:
    """Each line of the timeline has its event; the last one shows how the purchase ended."""
    consumer = Consumer()
    async with with_consumer(tmp_path, consumer) as env:
        provider = env.services.provider
        assert isinstance(provider, SandboxProvider)
        runner = ScenarioRunner(env.server, provider=provider)
        scenarios = [each for each in SCENARIOS if each.name in PLAYED]
        await asyncio.gather(*(runner.run(each, f"e-{each.name}") for each in scenarios))
        for scenario in scenarios:
            purchase = Purchase(env.server.client, f"e-{scenario.name}")
            found = await status_of(purchase)
            events = [one["data"] for one in consumer.of(purchase.id)]
            events = sorted(events, key=lambda one: one["sequence"])
            assert {one["stream"] for one in events} == {f"purchase-{purchase.id}"}
            assert has_no_gap(events), scenario.name
            sent = [one["transition"] for one in events]
            lines = [entry.transition for entry in found.timeline]
            assert [name for name in sent if name in lines] == lines, scenario.name
            last = events[-1]
            assert (last["stream"], last["sequence"]) == (found.stream, found.sequence)
            assert last["escrow"] == json.loads(found.escrow.model_dump_json())
            assert (last["stage"], last["outcome"]) == (found.stage, found.outcome)


async def test_a_consumer_that_is_down_delays_nothing_and_gets_all_when_it_is_back(
    tmp_path: Path,
) -> None:
    """Payment, refund and end take no longer; the end is handed over, and every event arrives, in
    order."""
    consumer = Consumer(always=503)
    async with with_consumer(tmp_path, consumer) as env:
        async with asyncio.timeout(SOON):
            handle = await held(env.server)
            await send(handle, Role.FREELANCER, "give_refund")
            found = await until(handle, lambda found: found.escrow.in_transit == PRICE)
            assert found.refund is not None
            settled = {"refund_id": found.refund.refund_id, "status": "settled"}
            await send(handle, Role.PAYMENTS, "settlement_update", **settled)
            await handle.result()
        people = {one.status for one in env.notices(handle) if one.role != CONSUMER}
        assert people == {"sent"}
        assert {one.status for one in events_in_log(env, handle)} == {"pending"}

        consumer.always = 204
        last = await last_notices(env, handle)
        await env.server.fast_forward(last)
        assert await last.result() == []

        events = await arrived(consumer, handle)
        assert has_no_gap(events)
        assert consumer.numbers(purchase_of(handle)) == list(range(1, len(events) + 1))
        assert events[-1]["outcome"] == "refunded"
        assert (await status(handle)).undelivered == ()


async def last_notices(env: Environment, handle: Handle) -> WorkflowHandle[Any, list[Undelivered]]:
    """The workflow that delivers what a closed purchase could not."""
    query = f"WorkflowType='PurchaseNotices' AND WorkflowId STARTS_WITH '{handle.id}/'"
    while not (found := [one async for one in env.server.client.list_workflows(query)]):  # noqa: ASYNC110
        await asyncio.sleep(POLL_EVERY)
    return env.server.client.get_workflow_handle(found[0].id, result_type=list[Undelivered])


async def test_one_call_retries_all_events_of_a_purchase(tmp_path: Path) -> None:
    """However many wait while a consumer is down."""
    consumer = Consumer(always=503)
    async with with_consumer(tmp_path, consumer) as env:
        handle = await held(env.server)
        for number in range(10):
            await send(handle, Role.CLIENT, "send_message", text=f"Hello {number}?")
        await until(handle, lambda found: found.sequence >= 12)
        while len(events_in_log(env, handle)) < 12:  # noqa: ASYNC110
            await asyncio.sleep(POLL_EVERY)
        retrying = [
            pending
            for pending in (await handle.describe()).raw_description.pending_activities
            if pending.activity_type.name == "send_events"
        ]
        assert len(retrying) == 1
        consumer.always = 204
        await send(handle, Role.CLIENT, "send_message", text="And now?")
        assert has_no_gap(await arrived(consumer, handle))
        assert consumer.numbers(purchase_of(handle)) == list(range(1, 14))


async def test_continue_as_new_keeps_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run goes on counting, and sends what the consumer could not take before."""
    monkeypatch.setattr(emitting, "RETRY", RetryPolicy(initial_interval=timedelta(seconds=0.2)))
    consumer = Consumer(always=503)
    async with with_consumer(tmp_path, consumer, extra=CONTINUE_AS_NEW_SOON) as env:
        handle = await held(env.server)
        first_run = (await handle.describe()).run_id
        while (await handle.describe()).run_id == first_run:
            await send(handle, Role.CLIENT, "send_message", text="In the first run.")
        consumer.always = 204
        await send(handle, Role.CLIENT, "send_message", text="In the next run.")
        while not has_no_gap(await arrived(consumer, handle)):  # noqa: ASYNC110 - a later one may
            await asyncio.sleep(POLL_EVERY)  # be taken first


async def test_reset_and_adopt_keep_the_ids(tmp_path: Path) -> None:
    """What is decided again is the same event; what comes after it goes on counting."""
    consumer = Consumer()
    async with with_consumer(tmp_path, consumer) as env:
        handle = await held(env.server)
        await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
        before = await arrived(consumer, handle)
        await reset(env.server, handle, -1)
        await until(handle, lambda found: found.stage == "freelancer_review")
        after_reset = await arrived(consumer, handle)
        assert [one["id"] for one in after_reset] == [one["id"] for one in before]

        await handle.terminate("by mistake")
        handle = await adopted(env.server, env.services, purchase_of(handle))
        await send(handle, Role.CLIENT, "send_message", text="Hello?")
        events = await arrived(consumer, handle)
        assert has_no_gap(events)
        assert [one["id"] for one in events[:-1]] == [one["id"] for one in before]


async def test_after_a_reset_in_another_order_the_last_event_is_the_status(
    tmp_path: Path,
) -> None:
    """A message may be decided before the payment then: its number is used again under a new id,
    which asks a consumer to read the status."""
    consumer = Consumer()
    async with with_consumer(tmp_path, consumer) as env:
        handle = await held(env.server)
        await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
        before = await arrived(consumer, handle)
        await reset(env.server, handle, 0)
        found = await until(handle, lambda found: found.payment == "held" and found.sequence == 3)
        while len(consumer.of(purchase_of(handle))) < 5:  # noqa: ASYNC110
            await asyncio.sleep(POLL_EVERY)
        events = [one["data"] | {"id": one["id"]} for one in consumer.of(purchase_of(handle))]
        new = [one for one in events if one["id"] not in {each["id"] for each in before}]
        assert [one["sequence"] for one in new] == [2, 3]
        assert new[-1]["stage"] == found.stage


async def test_an_aftercare_case_has_a_stream_of_its_own(tmp_path: Path) -> None:
    """Numbered from 1; for others the purchase stays closed."""
    consumer = Consumer()
    async with with_consumer(tmp_path, consumer) as env:
        handle = await held(env.server)
        await send(handle, Role.FREELANCER, "give_refund")
        await skip(env.server, handle)
        provider = env.services.provider
        assert isinstance(provider, SandboxProvider)
        purchase_id = purchase_of(handle)
        case = await happen(
            env.server.client, provider, purchase_id, Happens(SandboxEvent.REFUND_RETURNED)
        )
        events = await arrived(consumer, case)
        assert {one["stream"].split("/")[0] for one in events} == {f"aftercare-{purchase_id}"}
        assert has_no_gap(events)
        assert {(one["stage"], one["outcome"]) for one in events} == {("closed", "refunded")}
        assert events[-1]["attention"]
        found = await status_of(Purchase(env.server.client, purchase_id))
        assert (found.stream, found.sequence) == (events[-1]["stream"], len(events))


async def test_a_purchase_without_events_has_no_activity_more(tmp_path: Path) -> None:
    """It was accepted by a worker without the setting, and keeps to that under one that has it."""
    consumer = Consumer()
    async with environment(tmp_path) as env:
        handle = await held(env.server)
        await send(handle, Role.CLIENT, "cancel")
        runs = await whole_history(env.server.client, handle)
        scheduled = of_type(runs, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        names = {
            one.activity_task_scheduled_event_attributes.activity_type.name for one in scheduled
        }
        assert names == {"accept_purchase", "take_payment", "send_notices"}
        assert events_in_log(env, handle) == []
        assert (await status(handle)).stream is None
    assert consumer.posts == []
