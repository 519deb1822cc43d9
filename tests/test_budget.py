"""A purchase that is full of the most expensive texts stays within its budget of bytes."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.testing import WorkflowEnvironment

from activities.requests import NoticeRequest, SavedStateAnswer, Undelivered
from activities.sealing import UNENCRYPTED
from activities.services import Services
from demo.runner import skip, start, status, until
from docs.samples import ANA, START
from temporal.adoption import REUSE, EndedPurchases
from temporal.converter import DATA_CONVERTER
from temporal.executions import Execution
from temporal.purchases import Purchase
from tests.contract import FIELDS
from tests.purchases import adopted, reset
from tests.signals.payloads import failed_tasks, whole_history
from tests.signals.test_flood import carried_bytes
from workflows import budget, lifecycle, view
from workflows.acceptance import ADOPTED_RUN, accept
from workflows.card import card
from workflows.lifecycle.events import Accepted, Notify, Rejection
from workflows.lifecycle.state import Code
from workflows.lifecycle.texts import Text
from workflows.messages import (
    LARGEST_REQUIREMENTS,
    LONGEST_TEXT,
    Message,
    Permission,
    PurchaseStart,
    Receipt,
    RejectedSignal,
    SubmitRequirements,
)
from workflows.notice_requests import notice_request
from workflows.receiving.parsing import InvalidMessage, parse, parse_message
from workflows.workflow_state import ADOPTED, PendingNotice, WorkflowState

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

EXPENSIVE = ("😀", "\x01", "\u0301e\u0323", "𠀀", '"', "\\", "\u202e", "\U0010fffd")
"""Emoji, control characters, combining marks, rare ideographs, and what JSON escapes."""

LONGEST_ID = "😀" * 64
LONGEST_NAME = "😀" * (budget.LONGEST_PERSON // 4)
LONGEST_LINE = "😀" * 200
LONGEST_ADDRESS = "a" * 64 + "@" + 3 * ("b" * 60 + ".") + "org"


def person(number: int) -> dict[str, str]:
    """A party whose every field is as expensive as it may be."""
    return {
        "id": str(number) + LONGEST_ID[1:],
        "name": LONGEST_NAME,
        "email": LONGEST_ADDRESS,
        "timezone": "Z" * 64,
        "locale": "l" * 64,
    }


WORST_START: dict[str, Any] = {
    **START,
    "purchase_id": LONGEST_ID,
    "title": LONGEST_LINE,
    "client": person(1),
    "freelancer": person(2),
    "price": {"amount": 2**53 - 2, "currency": "KWD"},
    "payment_method": LONGEST_LINE,
    "policy": {
        "calendar": "US-CA+US-FL+US-NY+US-TX+US-WA",
        "calendar_timezone": "Z" * 64,
        "reminders": {
            name: ["P3649DT23H59M59.999999S"] * 10
            for name in ("requirements", "freelancer_cancel", "refund_decision", "claim", "review")
        },
    },
}


def state() -> WorkflowState:
    """A purchase with the most expensive start input."""
    terms = accept(json.dumps(WORST_START), f"purchase-{LONGEST_ID}", NOW)
    terms = terms.model_copy(update={"events": True})
    return WorkflowState.begin(terms, NOW, lifecycle.newest())


def worst(name: str, text: str, number: int) -> dict[str, Any]:
    """A message whose every field is as expensive as it may be."""
    fields: dict[str, Any] = {
        field: ("a" + text * LONGEST_TEXT)[:LONGEST_TEXT]
        if field in ("text", "reason", "note")
        else LONGEST_LINE
        if field in ("reference", "refund_id")
        else value
        for field, value in FIELDS[name].items()
    }
    by = {"role": "client", "id": person(1)["id"]}
    return {"by": by, "message_id": f"{number:04}" + LONGEST_ID[4:], **fields}


def parsed(name: str, given: dict[str, Any]) -> Message:
    """The message, as a purchase parses it."""
    data = json.dumps(given).encode()
    return parse_message(name, [RawValue(Payload(metadata={"encoding": b"json/plain"}, data=data))])


def requirements(text: str) -> Any:
    """As large as they may be."""
    each = len(json.dumps(text)) - 2
    given = {"by": ANA, "requirements": "a" + text * ((LARGEST_REQUIREMENTS - 3) // each)}
    message = parsed("submit_requirements", given)
    assert isinstance(message, SubmitRequirements)
    return message.requirements


def accepted(text: str) -> Iterator[Message]:
    """More messages with an id than a purchase keeps answers to."""
    for number in range(budget.ACCEPTED_ANSWERS_KEPT + 50):
        yield parsed("send_message", worst("send_message", text, number))


def rejected() -> RejectedSignal:
    """A rejection as long as a sender can make it."""
    name = "\U000e0001" * 64
    with pytest.raises(InvalidMessage) as invalid:
        parsed(name, {"by": {"role": "client", "id": LONGEST_ID}})
    rejection, sender = invalid.value.rejection, invalid.value.sender
    return RejectedSignal(
        at=NOW, name="\x01" * 64, code=rejection.code, text=rejection.text, sender=sender
    )


def notices(full: WorkflowState, text: str) -> Iterator[NoticeRequest]:
    """All notices that may wait, as long as they may be."""
    note = budget.cut(text * LONGEST_TEXT, budget.NOTES_WAITING // budget.NOTICES_WAITING)
    longest = "x" * 500
    for number in range(budget.NOTICES_WAITING):
        notify = Notify(
            "message_sent",
            "client",
            Text(heading=longest, summary=longest, explanation=longest),
            ("client", "freelancer", "operator"),
            note=note,
            values={"problem": "😀" * (budget.LONGEST_PROBLEM // 4)},
        )
        yield notice_request(
            full, PendingNotice(notify=notify, number=f"{number}-message_sent", at=NOW)
        )


def full_state(text: str, begun: WorkflowState | None = None) -> WorkflowState:
    """A purchase that keeps as much as it can; `begun`: what it has so far."""
    full = begun or state()
    for message in accepted(text):
        decided = lifecycle.decide(full.purchase, message, NOW)
        assert isinstance(decided, Accepted)
        long = replace(decided, text=text * 1_000)
        full.record(long, NOW, message)
        sentence = budget.cut(long.text, budget.LONGEST_SENTENCE)
        full.answers.put(message, Receipt(stage="s" * 20, text=sentence, next_deadline=NOW))
        problem = budget.cut(long.text, budget.LONGEST_PROBLEM)
        other = message.model_copy(update={"message_id": "r"})
        full.answers.put(other, Rejection(Code.INVALID_MESSAGE, problem))
    full.requirements = requirements(text)
    for _ in range(budget.REJECTED_KEPT + 10):
        full.add_rejected(rejected())
    full.notices = list(notices(full, text))
    lost = Undelivered(transition="x" * 40, role="operator", channel=text, at=NOW, why=text * 1_000)
    full.add_undelivered([lost] * (budget.UNDELIVERED_KEPT + 1))
    return full


@pytest.mark.parametrize("text", EXPENSIVE, ids=ascii)
async def test_a_full_purchase_fits_into_continue_as_new(text: str) -> None:
    """It is read back as it was, and its status, its card and its notices are far smaller."""
    full = full_state(text)
    carried = DATA_CONVERTER.payload_converter.to_payloads([full])
    assert carried[0].ByteSize() < budget.LARGEST_STATE
    assert to_json(parse(WorkflowState, [RawValue(carried[0])])) == carried[0].data
    adopted = SavedStateAnswer(kind="state", document=json.loads(carried[0].data))
    assert len(to_json(adopted)) < budget.LARGEST_STATE
    assert len(to_json(view.status(full))) < budget.LARGEST_STATE // 2
    assert max(len(to_json(notice)) for notice in full.notices) < 20_000
    assert len(card(full).encode()) < 20_000
    print(
        ascii(text),
        {name: len(to_json(value)) for name, value in full},
        carried[0].ByteSize(),
        len(to_json(view.status(full))),
        len(card(full).encode()),
    )


def payable(first: str) -> dict[str, Any]:
    """The most expensive start input of which the payment succeeds; its id begins with `first`."""
    given = {
        **WORST_START,
        "purchase_id": first + LONGEST_ID[1:],
        "payment_method": "pm_sandbox_ok",
    }
    for who in ("client", "freelancer"):
        given[who] = {**given[who], "email": "ana@example.com"}
    return {**given, "policy": {**given["policy"], "calendar_timezone": "UTC"}}


async def test_a_purchase_full_of_expensive_texts_continues_notifies_and_is_queried(
    server: WorkflowEnvironment, worker: object, services: Services
) -> None:
    """Both parties send more than one run takes, every message as expensive as it may be. The
    purchase continues as new, answers its queries and notifies."""
    given = payable("b")
    handle = await start(server.client, PurchaseStart.model_validate_json(json.dumps(given)))
    await until(handle, lambda found: found.payment == "held")
    first = (await handle.describe()).run_id

    async def send(number: int) -> None:
        name = list(FIELDS)[number % len(FIELDS)]
        text = EXPENSIVE[number % len(EXPENSIVE)]
        await handle.signal(name, worst(name, text, number))
        await handle.signal("\x01" * 500, {**worst("cancel", text, number), text * 4_000: number})

    async with asyncio.TaskGroup() as group:
        for number in range(budget.SIGNALS_PER_RUN):
            group.create_task(send(number))
    found = await until(handle, lambda found: found.rejected_count >= budget.SIGNALS_PER_RUN)
    while (await handle.describe()).run_id == first:
        found = await status(handle)

    assert found.rejected_count >= budget.SIGNALS_PER_RUN
    runs = await whole_history(server.client, handle)
    assert not failed_tasks(runs)
    assert carried_bytes(runs[-1]) < budget.LARGEST_STATE
    assert await handle.query("actions", "client", result_type=list[Permission])
    assert {"sent"} == {notice.status for notice in services.notices.list(given["purchase_id"])}
    await handle.terminate("seen")


async def test_a_full_purchase_is_reset_and_adopted(
    server: WorkflowEnvironment, worker: object, services: Services
) -> None:
    """It keeps as much as it can, of texts of which each character takes six bytes. It is adopted,
    reset to its first task and to its last, and adopted again: it has lost nothing, and its refund
    is made once."""
    terms = PurchaseStart.model_validate_json(json.dumps(payable("c")))
    handle = await start(server.client, terms)
    await until(handle, lambda found: found.payment == "held")
    first = await newest_run(server, terms)
    (begun,) = await handle.query("saved_state", result_type=list[WorkflowState])
    await handle.terminate("to continue with a full state")
    full = full_state("\x01", begun)
    assert len(to_json(full)) > budget.LARGEST_STATE // 2
    EndedPurchases(server.client, services.ledger, UNENCRYPTED).keep(first, full)
    await Purchase(server.client, terms.purchase_id).begin(
        terms, terms, REUSE, **{ADOPTED_RUN: first.run_id}
    )
    while not await Purchase(server.client, terms.purchase_id).saved_state():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    for change in ("first task", "last task", "adopt"):
        if change == "adopt":
            await handle.terminate("by mistake")
            await adopted(server, services, terms.purchase_id)
        else:
            await reset(server, handle, 0 if change == "first task" else -1)
        while not await Purchase(server.client, terms.purchase_id).saved_state():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        found = await status(handle)
        kept = [each for each in found.timeline if each.transition != ADOPTED]
        adoptions = 2 if change == "adopt" else 1
        assert kept == full.timeline[adoptions:]  # the newest: each adoption is an entry, too
        assert to_json(found.rejected) == to_json(full.rejected)

    by = {"role": "freelancer", "id": person(2)["id"]}
    await handle.execute_update("give_refund", {"by": by})
    await skip(server, handle)
    assert (await handle.result()).refunded == terms.price.amount
    moved = [each.key for each in services.ledger.transfers(terms.purchase_id)]
    assert moved == [f"{handle.id}/{effect}" for effect in ("hold", "refund", "settled")]


async def newest_run(server: WorkflowEnvironment, terms: PurchaseStart) -> Execution:
    """The newest run of a purchase."""
    found = await Purchase(server.client, terms.purchase_id).newest()
    assert found
    return found
