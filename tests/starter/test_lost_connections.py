"""A connection to the server that breaks while somebody asks: the answer comes all the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from temporal import embedded
from temporal.converter import DATA_CONVERTER
from temporal.executions import executions, newest
from tests.purchases import held

pytestmark = pytest.mark.usefixtures("worker")


class Cable:
    """Carries what is said to a server and back; can be made to break at the next word."""

    def __init__(self, server: str) -> None:
        self._host, _, self._port = server.partition(":")
        self.breaks = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side or the cable ends it."""
        there, back = await asyncio.open_connection(self._host, int(self._port))
        answers = asyncio.create_task(pump(there, writer))
        with suppress(ConnectionError):
            while (said := await reader.read(65_536)) and not self.breaks:
                back.write(said)
                await back.drain()
        self.breaks = False
        answers.cancel()
        for end in (writer, back):
            end.transport.abort()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """From one to the other."""
    with suppress(ConnectionError):
        while said := await reader.read(65_536):
            writer.write(said)
            await writer.drain()


@asynccontextmanager
async def laid(server: WorkflowEnvironment) -> AsyncIterator[tuple[Cable, Client]]:
    """A cable, and a client at its other end."""
    cable = Cable(embedded.address(server.client))
    listening = await asyncio.start_server(cable.carry, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    try:
        yield cable, await Client.connect(f"{host}:{port}", data_converter=DATA_CONVERTER)
    finally:
        listening.close()


async def listed(client: Client, workflow_id: str) -> Any:
    """What the list of executions has of it."""
    return [one.id async for one in executions(client, f"WorkflowId = '{workflow_id}'")]


async def described(client: Client, workflow_id: str) -> Any:
    """What its description says."""
    found = await newest(client, workflow_id)
    return found and [found.id]


@pytest.mark.parametrize("ask", [listed, described])
async def test_a_question_is_asked_again_when_the_connection_breaks(
    ask: Callable[[Client, str], Awaitable[Any]], server: WorkflowEnvironment
) -> None:
    handle = await held(server)
    while not await listed(server.client, handle.id):  # noqa: ASYNC110 - the server lists it when it does
        await asyncio.sleep(0.05)
    async with laid(server) as (cable, client):
        cable.breaks = True

        assert await ask(client, handle.id) == [handle.id]

        assert not cable.breaks
    await handle.terminate("seen")
