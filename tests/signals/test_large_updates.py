"""Many large updates at once are rejected, and neither end nor block a purchase."""

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from demo.runner import status
from tests.purchases import CLIENT, held

LARGE = {"by": CLIENT, "requirements": "x" * 1_000_000}
PARALLEL = 17
REJECTED_OR_LOST = (WorkflowUpdateFailedError, RPCError, WorkflowUpdateRPCTimeoutOrCancelledError)
"""This many large updates can also break the connection: then their sender gets no answer."""


@pytest.mark.usefixtures("worker")
async def test_many_large_updates_at_once_do_not_end_a_purchase(
    server: WorkflowEnvironment,
) -> None:
    """The server rejects what does not fit into one response to the worker, the rules the rest."""
    handle = await held(server)

    sent = [handle.execute_update("submit_requirements", LARGE) for _ in range(PARALLEL)]
    answers = await asyncio.gather(*sent, return_exceptions=True)

    assert [answer for answer in answers if not isinstance(answer, REJECTED_OR_LOST)] == []
    assert (await status(handle)).stage == "awaiting_requirements"
    await handle.terminate("seen")
