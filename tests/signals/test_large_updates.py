"""Many large updates at once are refused; they neither end a purchase nor stop it."""

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from demo.runner import status
from tests.purchases import CLIENT, held

LARGE = {"by": CLIENT, "requirements": "x" * 1_000_000}
FIRST_BATCH = 17
REFUSED_OR_LOST = (WorkflowUpdateFailedError, RPCError, WorkflowUpdateRPCTimeoutOrCancelledError)
"""So many large ones can also break a busy connection: then their sender has no answer."""


@pytest.mark.usefixtures("worker")
async def test_many_large_updates_at_once_do_not_end_a_purchase(
    server: WorkflowEnvironment,
) -> None:
    """The server turns away what would not fit into one answer, and the rules refuse the rest."""
    handle = await held(server)

    sent = [handle.execute_update("submit_requirements", LARGE) for _ in range(FIRST_BATCH)]
    answers = await asyncio.gather(*sent, return_exceptions=True)

    assert [answer for answer in answers if not isinstance(answer, REFUSED_OR_LOST)] == []
    assert (await status(handle)).stage == "awaiting_requirements"
    await handle.terminate("seen")
