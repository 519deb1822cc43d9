"""Neither money nor messages wait for a mail server."""

import asyncio
from itertools import count
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType

import worker
from demo.runner import send, until
from demo.scenarios import PRICE
from temporal.purchases import Purchase
from tests.conftest import CONTINUE_AS_NEW_SOON
from tests.notices.builders import listening
from tests.notices.environment import environment
from tests.purchases import held, purchase_of
from tests.signals.payloads import of_type, whole_history
from tests.signals.sample_signals import good
from workflows.budget import NOTICES_WAITING
from workflows.messages import Role, SendMessage

SLOTS = 2
SOON = 10
"""Seconds; the mail server is waited for longer."""


class Silent(asyncio.Protocol):
    """A mail server that accepts every connection and never replies."""

    def __init__(self, connections: set[asyncio.Transport]) -> None:
        self.connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.connections.add(transport)


async def test_a_silent_mail_server_holds_up_no_payment_and_no_refund(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More notices hang than the worker has slots, yet payments and a refund take no longer."""
    monkeypatch.setattr(worker, "ACTIVITY_THREADS", SLOTS)
    monkeypatch.setattr(worker, "NOTICES_AT_ONCE", SLOTS)
    connections: set[asyncio.Transport] = set()
    async with (
        listening(lambda: Silent(connections)) as port,
        environment(tmp_path, f"smtp://127.0.0.1:{port}") as env,
    ):
        async with asyncio.timeout(SOON):
            bought = [await held(env.server) for _ in range(SLOTS + 1)]
            await send(bought[-1], Role.FREELANCER, "give_refund")
            found = await until(bought[-1], lambda found: found.escrow.in_transit == PRICE)
            assert found.refund is not None
            settled = {"refund_id": found.refund.refund_id, "status": "settled"}
            await send(bought[-1], Role.PAYMENTS, "settlement_update", **settled)
            await until(bought[-1], lambda found: found.stage == "closed")
        assert {notice.status for one in bought for notice in env.notices(one)} == {"pending"}
        for connection in connections:
            connection.abort()


async def test_a_silent_mail_server_delays_no_continue_as_new(tmp_path: Path) -> None:
    """The next run takes over notices in delivery and sends them."""
    connections: set[asyncio.Transport] = set()
    async with (
        listening(lambda: Silent(connections)) as port,
        environment(tmp_path, f"smtp://127.0.0.1:{port}", extra=CONTINUE_AS_NEW_SOON) as env,
    ):
        handle = await held(env.server)
        first_run = (await handle.describe()).run_id
        bought = Purchase(env.server.client, purchase_of(handle))
        messages = (SendMessage.model_validate(good(number)[1]) for number in count())
        while (await handle.describe()).run_id == first_run:
            await bought.send(next(messages))
        before = (await bought.status()).timeline[-1].number
        await bought.send(next(messages))
        assert (await bought.status()).timeline[-1].number == before + 1
        assert {notice.status for notice in env.notices(handle)} == {"pending"}
        newest = (await whole_history(env.server.client, handle))[-1:]
        sent = of_type(newest, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        assert len(sent) == NOTICES_WAITING
        for connection in connections:
            connection.abort()
