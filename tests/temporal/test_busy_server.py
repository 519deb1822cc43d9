"""A server that limits the requests of a namespace: what waits, and what says why it fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.keys import workflow_id_of
from temporal import embedded
from temporal.connection_errors import server_failure
from temporal.executions import page
from temporal.listing import find_page

LISTS_A_SECOND = 2


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    setting = f"frontend.namespaceRPS.visibility={LISTS_A_SECOND}"
    async with embedded.server(extra=("--dynamic-config-value", setting)) as server:
        yield server.client


async def test_a_next_page_waits_for_a_server_that_takes_no_more_lists(client: Client) -> None:
    """The limit is not taken for an invalid page token."""
    for number in (1, 2):
        id_ = workflow_id_of(f"busy-{number}")
        await client.start_workflow("ProjectPurchase", id=id_, task_queue="nobody")
    async with asyncio.timeout(10):
        while len((await find_page(client, {}, 2))[0]) < 2:
            pass
    _, token = await find_page(client, {}, 1)
    more = [find_page(client, {}, 1, token) for _ in range(LISTS_A_SECOND + 1)]
    assert [len(found) for found, _ in await asyncio.gather(*more)] == [1] * len(more)


async def test_a_server_that_takes_no_more_requests_says_what_to_do(client: Client) -> None:
    lists = [page(client, "WorkflowId = 'none'", retry=False) for _ in range(LISTS_A_SECOND + 1)]
    answers = await asyncio.gather(*lists, return_exceptions=True)
    [rejection] = [each for each in answers if isinstance(each, RPCError)]
    assert rejection.status is RPCStatusCode.RESOURCE_EXHAUSTED
    failure = server_failure(rejection)
    assert failure.code == "SERVER_UNREACHABLE"
    assert failure.text == (
        "The Temporal server takes no more requests now (namespace rate limit exceeded). "
        "Repeat this in some seconds."
    )
