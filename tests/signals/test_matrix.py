"""Nothing that anybody sends can stop a purchase: every message, with every bad payload there is.

One purchase receives it all, as signals and as updates, and then ends with the right money.
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

LONGEST_REFUSAL = 2_000
"""A refusal is a sentence, however long the mistake."""


@pytest.fixture(scope="module")
async def target(server: WorkflowEnvironment, worker: object) -> Handle:
    """One purchase for everything that is badly sent."""
    return await held(server)


@pytest.fixture(scope="module")
async def untouched(target: Handle) -> Status:
    """What it says of itself before anything was sent."""
    return await status(target)


def test_matrix_has_every_message() -> None:
    """All the names there are, and one there is not."""
    assert set(GOOD) == {*MESSAGES, UNKNOWN}
    for name, kind in MESSAGES.items():
        kind.model_validate(GOOD[name])


@pytest.mark.parametrize("kind", BAD)
async def test_bad_signals_are_shown_and_change_nothing(
    kind: str, target: Handle, untouched: Status
) -> None:
    """Each is counted and refused with its code; stage and deadlines stay."""
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
        assert len(item.text) < LONGEST_REFUSAL
    assert (after.stage, after.deadlines) == (untouched.stage, untouched.deadlines)


@pytest.mark.parametrize("kind", BAD)
async def test_bad_updates_are_refused_to_their_senders(
    kind: str, target: Handle, untouched: Status
) -> None:
    """Each sender gets a code and a sentence."""
    for name, good in GOOD.items():
        error = await rejection(target, name, *BAD[kind](good))
        assert error.type == code_of(name)
        assert error.message.endswith(".")
        assert len(error.message) < LONGEST_REFUSAL

    after = await status(target)
    assert (after.stage, after.deadlines) == (untouched.stage, untouched.deadlines)


async def test_purchase_still_ends_on_time_with_the_right_money(
    target: Handle, untouched: Status, server: WorkflowEnvironment
) -> None:
    """After all of that no requirements came in 48 h: the client gets everything back.

    No task of the workflow ever failed, and no refused update left an event.
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
