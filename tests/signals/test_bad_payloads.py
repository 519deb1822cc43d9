"""No payload can stop a purchase: every message is sent with every kind of bad payload.

One purchase receives all of them, as signals and as updates, and then ends with the right money.
"""

import asyncio

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, skip, status, until
from demo.scenarios import PRICE
from tests.purchases import held, rejection
from tests.signals.payloads import (
    BAD,
    GOOD,
    UNKNOWN,
    code_of,
    failed_tasks,
    of_type,
    whole_history,
)
from workflows.messages import MESSAGES, Status

MAX_REJECTION_LENGTH = 2_000
"""Characters. A rejection stays short however long the bad payload is."""


@pytest.fixture(scope="module")
async def target(server: WorkflowEnvironment, worker: object) -> Handle:
    """The purchase that receives all bad payloads."""
    return await held(server)


@pytest.fixture(scope="module")
async def untouched(target: Handle) -> Status:
    """Its status before anything was sent."""
    return await status(target)


def test_the_samples_cover_every_message() -> None:
    """Every message of the contract and one unknown name."""
    assert set(GOOD) == {*MESSAGES, UNKNOWN}
    for name, kind in MESSAGES.items():
        kind.model_validate(GOOD[name])


@pytest.mark.parametrize("kind", BAD)
async def test_bad_signals_are_shown_in_the_status_and_change_nothing(
    kind: str, target: Handle, untouched: Status
) -> None:
    """Each is counted and rejected with its code; stage and deadlines are unchanged."""
    before = (await status(target)).rejected_count

    await asyncio.gather(
        *(target.signal(name, args=BAD[kind](good)) for name, good in GOOD.items())
    )
    after = await until(target, lambda found: found.rejected_count >= before + len(GOOD))

    assert after.rejected_count == before + len(GOOD)
    newest = after.rejected[-len(GOOD) :]
    assert {item.name: item.code for item in newest} == {name: code_of(name) for name in GOOD}
    for item in newest:
        assert item.text.endswith(".")
        assert len(item.text) < MAX_REJECTION_LENGTH
    assert (after.stage, after.deadlines) == (untouched.stage, untouched.deadlines)


@pytest.mark.parametrize("kind", BAD)
async def test_bad_updates_are_rejected_with_a_code_and_a_sentence(
    kind: str, target: Handle, untouched: Status
) -> None:
    """The sender gets the code of the rejection and a short sentence."""
    for name, good in GOOD.items():
        error = await rejection(target, name, *BAD[kind](good))
        assert error.type == code_of(name)
        assert error.message.endswith(".")
        assert len(error.message) < MAX_REJECTION_LENGTH

    after = await status(target)
    assert (after.stage, after.deadlines) == (untouched.stage, untouched.deadlines)


async def test_the_purchase_still_ends_on_time_with_the_right_money(
    target: Handle, untouched: Status, server: WorkflowEnvironment
) -> None:
    """No requirements arrived within 48 h, so the client gets a full refund.

    No workflow task failed, and no rejected update left an event in history.
    """
    await skip(server, target)

    result = await target.result()
    assert (result.outcome, result.reason, result.refunded) == (
        "refunded",
        "requirements_timeout",
        PRICE,
    )
    ended = next(
        entry
        for entry in (await status(target)).timeline
        if entry.transition == "requirements_timeout"
    )
    late = (ended.at - untouched.deadlines[0].at).total_seconds()
    assert 0 <= late < 60
    runs = await whole_history(server.client, target)
    assert not failed_tasks(runs)
    assert not of_type(
        runs,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
    )
