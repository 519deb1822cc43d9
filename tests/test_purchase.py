"""A purchase on a real server: signals, updates, queries, rejections, refunds and long
histories."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.testing import WorkflowEnvironment

from activities.requests import CHECK_REFUND, TASK_QUEUE
from activities.services import Services
from demo.runner import POLL_EVERY, Handle, send, skip, start, status, until
from demo.scenarios import PRICE
from tests.notices.mailbox import quiet
from tests.purchases import (
    CLIENT,
    FREELANCER,
    OPERATOR,
    events,
    held,
    input_error,
    purchase,
    rejection,
)
from workflows import activity_calls
from workflows.messages import MESSAGES, Permission, PurchaseResult, Receipt, Role

pytestmark = pytest.mark.usefixtures("worker")


async def test_an_accepted_update_is_visible_in_the_status_at_once(
    server: WorkflowEnvironment,
) -> None:
    """When an update returns its receipt, `status` already shows the same stage and deadline."""
    handle = await held(server)

    receipt = await send(handle, Role.CLIENT, "submit_requirements", requirements={"color": "blue"})

    found = await status(handle)
    assert receipt.stage == found.stage == "freelancer_review"
    assert receipt.next_deadline == found.deadlines[0].at
    assert found.requirements == {"color": "blue"}


async def test_a_rejected_update_leaves_no_trace_in_history(server: WorkflowEnvironment) -> None:
    """The sender gets a code and a sentence, and the history has no event of the update."""
    handle = await held(server)

    error = await rejection(handle, "deliver", {"by": FREELANCER})

    assert error.type == "NOT_ALLOWED_NOW"
    assert "cancel" in error.message
    assert not [e for e in (await handle.fetch_history()).events if "update" in str(e)]


async def test_signal_and_update_of_the_same_name_do_the_same(server: WorkflowEnvironment) -> None:
    """A signal is processed by the same rules as an update of its name."""
    handle = await held(server)

    await handle.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})

    await until(handle, lambda found: found.stage == "freelancer_review")


async def test_the_actions_query_shows_what_a_role_may_do_and_until_when(
    server: WorkflowEnvironment,
) -> None:
    """The query `actions` lists every message for the client, allowed or with the reason why
    not."""
    handle = await held(server)

    actions = await handle.query("actions", "client", result_type=list[Permission])

    found = {action.message: action for action in actions}
    assert set(found) == set(MESSAGES)
    assert found["submit_requirements"].allowed
    assert found["submit_requirements"].until == (await status(handle)).deadlines[0].at
    assert found["deliver"].code == "WRONG_ROLE"


async def test_a_repeated_message_id_gets_the_first_answer(server: WorkflowEnvironment) -> None:
    """A message that is sent again under its `message_id`, as signal or update, counts once and
    gets the first answer."""
    handle = await held(server)
    message = {"by": CLIENT, "message_id": "m-1"}

    first = await handle.execute_update("cancel", message, result_type=Receipt)
    await handle.signal("cancel", message)
    again = await handle.execute_update("cancel", message, result_type=Receipt)

    found = await status(handle)
    assert again == first
    assert [entry.transition for entry in found.timeline].count("client_cancelled") == 1
    assert found.rejected_count == 0
    assert (await rejection(handle, "cancel", {"by": CLIENT})).type == "ALREADY_REQUESTED"


async def test_a_message_id_names_one_message_only(server: WorkflowEnvironment) -> None:
    """The id of an accepted or rejected message is not accepted for another message, or for the
    same with other content. The first message keeps its answer, and the other may come under an id
    of its own."""
    handle = await held(server)
    first = {"by": CLIENT, "message_id": "m-1", "text": "Hello?"}
    receipt = await handle.execute_update("send_message", first, result_type=Receipt)
    early = {"by": FREELANCER, "message_id": "m-2"}
    await handle.signal("deliver", early)

    another = await rejection(handle, "cancel", {"by": CLIENT, "message_id": "m-1"})
    changed = await rejection(handle, "send_message", {**first, "text": "Goodbye."})
    after_rejection = await rejection(handle, "send_message", {**early, "text": "Soon."})
    await handle.signal("cancel", {"by": CLIENT, "message_id": "m-1"})

    found = await until(handle, lambda found: found.rejected_count == 2)
    assert [signal.code for signal in found.rejected] == ["NOT_ALLOWED_NOW", "INVALID_MESSAGE"]
    for error in (another, changed, after_rejection):
        assert error.type == "INVALID_MESSAGE"
        assert "was used for another message" in error.message
    assert [entry.transition for entry in found.timeline].count("message_sent") == 1
    assert found.stage == "awaiting_requirements"
    assert await handle.execute_update("send_message", first, result_type=Receipt) == receipt


async def test_an_id_of_the_word_none_is_an_id(server: WorkflowEnvironment) -> None:
    """Messages without an id are not taken for those whose id is "None"."""
    handle = await held(server)
    message = {"by": CLIENT, "message_id": "None", "text": "Hello?"}
    await handle.execute_update("send_message", message)
    receipt = await handle.execute_update("cancel", {"by": CLIENT}, result_type=Receipt)
    assert receipt.stage == "refund_requested"


async def test_a_rejected_signal_is_shown_and_answered_by_one_notice_an_hour(
    server: WorkflowEnvironment, services: Services
) -> None:
    """Three rejected signals are in the status with their sender, who gets one notice."""
    handle = await held(server)

    for _ in range(3):
        await handle.signal("deliver", {"by": FREELANCER})
    found = await until(handle, lambda found: found.rejected_count == 3)
    await send(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle)

    assert [item.code for item in found.rejected] == ["NOT_ALLOWED_NOW"] * 3
    assert found.rejected[0].sender is not None
    transitions = [
        notice for notice in services.notices.list(found.purchase_id) if notice.role != "client"
    ]
    assert [notice.transition for notice in transitions].count("message_rejected") == 1


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"price": {"amount": 0, "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": -5, "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": 250.5, "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": 100, "currency": "XXX"}}, "price.currency"),
        ({"price": {"amount": 100, "currency": "BGN"}}, "no longer in use"),
        ({"price": {"amount": 10_005, "currency": "KWD"}}, "10.000 KWD or 10.010 KWD"),
        ({"client": {"id": "bo", "name": "Bo", "email": "bo@example.com"}}, "same person"),
        ({"purchased_at": "2999-01-01T00:00:00Z"}, "future"),
        ({"purchased_at": "0001-01-01T00:00:00Z"}, "over ten years ago"),
        ({"purchased_at": "0001-01-01T00:00:00+14:00"}, "purchased_at is out of range"),
        ({"policy": {"requirements_window": "two days"}}, "requirements_window"),
        ({"policy": {"calendar": "ZZ"}}, "ZZ"),
        ({"purchase_id": "another"}, "purchase-another"),
        ({"surprise": 1}, "surprise"),
    ],
    ids=str,
)
async def test_invalid_start_input_is_rejected_before_money_moves(
    change: dict[str, Any], names: str, server: WorkflowEnvironment, services: Services
) -> None:
    """The workflow fails with INVALID_INPUT, the message names the field, and nothing is
    charged."""
    good = purchase()
    given = {**good.model_dump(mode="json"), **change}

    handle = await server.client.start_workflow(
        "ProjectPurchase", given, id=f"purchase-{good.purchase_id}", task_queue=TASK_QUEUE
    )
    assert names in await input_error(handle)
    assert services.ledger.balances(good.purchase_id) is None
    assert not any(
        c.key == f"purchase-{good.purchase_id}/hold" for c in services.provider.statement().charges
    )


async def test_only_what_the_provider_can_move_is_offered(server: WorkflowEnvironment) -> None:
    """Dinars move in steps of ten fils, which the purchase has recorded."""
    handle = await held(server, price={"amount": 10_000, "currency": "KWD"})
    error = await rejection(handle, "propose_split", {"by": CLIENT, "refund": 5_005})
    assert error.type == "INVALID_AMOUNT"
    assert "The nearest possible: 5.000 KWD or 5.010 KWD." in error.message
    await send(handle, Role.CLIENT, "propose_split", refund=5_010)
    await send(handle, Role.FREELANCER, "accept_split", refund=5_010)
    found = await until(handle, lambda found: found.escrow.in_transit == 5_010)
    assert found.escrow.released == 4_990


async def test_a_purchase_id_is_used_once_ever(server: WorkflowEnvironment) -> None:
    """The server rejects a second start of a closed purchase."""
    bought = purchase("pm_sandbox_declined")
    await (await start(server.client, bought)).result()

    with pytest.raises(WorkflowAlreadyStartedError):
        await server.client.start_workflow(
            "ProjectPurchase",
            bought,
            id=f"purchase-{bought.purchase_id}",
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
    again = await start(server.client, bought)
    assert (await again.result()).outcome == "payment_declined"


async def test_an_unreachable_provider_ends_in_attention_and_resumes_on_retry(
    server: WorkflowEnvironment, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payment window ends while the provider is unreachable: it is unknown whether the client
    paid, so the purchase asks for attention and an operator's retry resumes it."""
    monkeypatch.setattr(activity_calls, "BLOCKED_AFTER", timedelta(seconds=2))
    bought = purchase("pm_sandbox_unreachable", policy={"payment_window": "PT1M"})
    handle = await start(server.client, bought)

    await skip(server, handle, timedelta(minutes=2))
    found = await until(handle, lambda found: bool(found.attention))

    assert found.attention[0].kind == "payment_unknown"
    assert "cannot be reached" in found.attention[0].text
    assert found.payment == "voiding"
    assert services.ledger.balances(found.purchase_id) is None
    receipt = await send(handle, Role.OPERATOR, "resolve_attention", action="retry")
    assert receipt.accepted
    again = await until(handle, lambda found: bool(found.attention))
    assert again.attention[0].since > found.attention[0].since
    await handle.terminate("seen")


async def test_a_charge_whose_answer_is_lost_is_found_and_held(
    server: WorkflowEnvironment, services: Services
) -> None:
    """When the provider's answer to a charge is lost, the charge is looked up under its key and not
    made again."""
    handle = await held(server, method="pm_sandbox_charge_lost")

    found = await status(handle)
    charges = [c for c in services.provider.statement().charges if found.purchase_id in c.key]
    assert len(charges) == 1
    assert found.escrow.held == PRICE
    await handle.terminate("seen")


async def test_a_false_report_of_a_failed_refund_sends_no_second_refund(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A second refund is sent only if the provider itself confirms that the first failed."""
    handle = await held(server)
    await send(handle, Role.FREELANCER, "give_refund")
    await until(handle, lambda found: found.escrow.in_transit == PRICE)
    refund_id = f"{handle.id}/refund"
    await send(handle, Role.PAYMENTS, "settlement_update", refund_id=refund_id, status="failed")
    await skip(server, handle)

    assert (await handle.result()).refunded == PRICE
    refunds = [each.refund_id for each in services.provider.statement().refunds]
    assert [each for each in refunds if each.startswith(handle.id)] == [refund_id]
    transitions = {
        notice.transition for notice in services.notices.list(handle.id[len("purchase-") :])
    }
    assert not transitions & {"effect_blocked", "refund_failed", "refund_doubtful"}


async def test_a_refund_that_fails_twice_waits_for_an_operator(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A failed refund is sent once more under a new id; when that fails, an operator has to resolve
    it."""
    handle = await held(server, method="pm_sandbox_refund_fails")
    await send(handle, Role.FREELANCER, "give_refund")

    await skip(server, handle, timedelta(days=4))
    found = await until(handle, lambda found: bool(found.attention))
    assert found.attention[0].kind == "refund_failed"
    assert found.escrow.in_transit == PRICE
    assert found.refund is not None
    assert found.refund.refund_id.endswith("/refund-2")

    proof = {"by": OPERATOR, "action": "mark_settled", "reference": "statement 7"}
    await handle.execute_update("resolve_attention", proof, result_type=Receipt)
    result = await handle.result()

    assert (result.outcome, result.refunded) == ("refunded", PRICE)
    balances = services.ledger.balances(result.purchase_id)
    assert balances is not None
    assert (balances.in_transit, balances.refunded) == (0, PRICE)


async def test_a_pending_refund_is_checked_daily_without_workflow_tasks(
    server: WorkflowEnvironment,
) -> None:
    """Temporal retries the activity that checks the refund once a day; only its final answer starts
    a workflow task."""
    handle = await held(server)
    await send(handle, Role.FREELANCER, "give_refund")
    check = await until_refund_check(handle)
    await quiet(handle)
    before = await workflow_tasks(handle)

    await skip(server, handle, timedelta(days=1))
    await until_refund_check(handle, attempt=check.attempt + 1)
    assert await workflow_tasks(handle) == before
    await skip(server, handle)

    assert (await handle.result()).refunded == PRICE


async def test_an_operators_retry_of_a_late_refund_checks_with_the_provider_at_once(
    server: WorkflowEnvironment,
) -> None:
    """An operator's `resolve_attention` with `retry` replaces the pending daily check by a check at
    once."""
    handle = await held(server, method="pm_sandbox_slow")
    await send(handle, Role.FREELANCER, "give_refund")
    await skip(server, handle, timedelta(days=9))
    await until(handle, lambda found: "settlement_late" in {item.kind for item in found.attention})
    asked = await until_refund_check(handle)

    await send(handle, Role.OPERATOR, "resolve_attention", action="retry")

    while asked.activity_id in await pending_checks(handle):  # noqa: ASYNC110 - another process
        await asyncio.sleep(POLL_EVERY)
    assert len(await pending_checks(handle)) == 1
    await handle.terminate("seen")


async def pending_checks(handle: Handle) -> list[str]:
    """The ids of the pending activities that check the refund."""
    described = (await handle.describe()).raw_description
    return [
        pending.activity_id
        for pending in described.pending_activities
        if pending.activity_type.name == CHECK_REFUND.name
    ]


async def workflow_tasks(handle: Handle) -> int:
    """The number of workflow tasks so far."""
    kind = EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED
    return sum(event.event_type == kind for event in (await handle.fetch_history()).events)


async def until_refund_check(handle: Handle, attempt: int = 2) -> Any:
    """The pending check of a refund, once it waits for this attempt or a later one."""
    while True:
        for check in (await handle.describe()).raw_description.pending_activities:
            if check.attempt >= attempt and check.HasField("next_attempt_schedule_time"):
                assert check.last_failure.message.startswith("The refund of 250.00 USD is pending")
                return check
        await asyncio.sleep(POLL_EVERY)


async def test_search_attributes_follow_every_transition(server: WorkflowEnvironment) -> None:
    """Stage, parties, next deadline and attention are search attributes with current values."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "cancel")
    deadline = (await status(handle)).deadlines[0].at

    found = (await handle.describe()).typed_search_attributes

    named = {pair.key.name: pair.value for pair in found}
    assert named["PurchaseStage"] == "refund_requested"
    assert (named["PurchaseClient"], named["PurchaseFreelancer"]) == ("ana", "bo")
    assert named["PurchaseNeedsAttention"] is False
    assert abs(named["PurchaseDeadline"] - deadline) < timedelta(milliseconds=1)
    await handle.terminate("seen")


async def test_every_open_deadline_is_one_timer(server: WorkflowEnvironment) -> None:
    """After a cancellation during review three timers run: 24 h, 7 days, and the reminder."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.CLIENT, "cancel")

    open_timers = await timers(handle)

    assert sorted(open_timers) == sorted(
        [timedelta(hours=24), timedelta(days=7), timedelta(hours=18)]
    )
    await handle.terminate("seen")


async def timers(handle: Handle) -> list[timedelta]:
    """The lengths of the running timers, rounded to the minute."""
    running = {}
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            started = event.timer_started_event_attributes
            length = started.start_to_fire_timeout.ToTimedelta()
            running[started.timer_id] = timedelta(minutes=round(length / timedelta(minutes=1)))
        elif event.event_type == EventType.EVENT_TYPE_TIMER_CANCELED:
            running.pop(event.timer_canceled_event_attributes.timer_id)
        elif event.event_type == EventType.EVENT_TYPE_TIMER_FIRED:
            running.pop(event.timer_fired_event_attributes.timer_id)
    return list(running.values())


async def test_a_long_history_continues_as_new_and_loses_nothing(
    server: WorkflowEnvironment,
) -> None:
    """During 600 bad signals and a repeated message, no good message is lost and no deadline
    moves."""
    handle = await held(server)
    first_run = (await handle.describe()).run_id
    before = await status(handle)
    known = {"by": CLIENT, "message_id": "m-1", "text": "Hello?"}
    await handle.execute_update("send_message", known, result_type=Receipt)

    await asyncio.gather(*(handle.signal("deliver", {"by": FREELANCER}) for _ in range(600)))
    await until(handle, lambda found: found.rejected_count == 600)
    while (await handle.describe()).run_id == first_run:  # noqa: ASYNC110 - another process
        await asyncio.sleep(POLL_EVERY)
    await handle.execute_update("send_message", known, result_type=Receipt)

    after = await status(handle)
    assert (after.stage, after.deadlines) == (before.stage, before.deadlines)
    assert len(after.rejected) == 50
    assert [entry.transition for entry in after.timeline].count("message_sent") == 1
    assert await events(handle) < 1_000
    await skip(server, handle)
    result: PurchaseResult = await server.client.get_workflow_handle(
        handle.id, result_type=PurchaseResult
    ).result()
    assert result.reason == "requirements_timeout"
