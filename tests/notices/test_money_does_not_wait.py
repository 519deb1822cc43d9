"""Nothing waits for a mail server, least of all money (`DESIGN.md`, How it must behave)."""

import asyncio
from itertools import count
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType

import worker
from demo.runner import say, until
from demo.scenarios import PRICE
from temporal.purchases import Purchase
from tests.conftest import CONTINUE_AS_NEW_SOON
from tests.notices.builders import listening
from tests.notices.environment import house
from tests.purchases import held, purchase_of
from tests.signals.payloads import of_type, whole_history
from tests.signals.sample_signals import good
from workflows.messages import Role, SendMessage
from workflows.notifying import WAITING_AT_MOST

SLOTS = 2
SOON = 10
"""Seconds; the mail server is waited for longer."""


class Silent(asyncio.Protocol):
    """A mail server that takes every call and says nothing."""

    def __init__(self, calls: set[asyncio.Transport]) -> None:
        self.calls = calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.calls.add(transport)


async def test_a_silent_mail_server_holds_up_no_payment_and_no_refund(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More notices hang than the worker has slots: payments and a refund go their way at once."""
    monkeypatch.setattr(worker, "ACTIVITY_THREADS", SLOTS)
    monkeypatch.setattr(worker, "NOTICES_AT_ONCE", SLOTS)
    calls: set[asyncio.Transport] = set()
    async with (
        listening(lambda: Silent(calls)) as port,
        house(tmp_path, f"smtp://127.0.0.1:{port}") as at,
    ):
        async with asyncio.timeout(SOON):
            bought = [await held(at.server) for _ in range(SLOTS + 1)]
            await say(bought[-1], Role.FREELANCER, "give_refund")
            found = await until(bought[-1], lambda found: found.escrow.in_transit == PRICE)
            assert found.refund is not None
            settled = {"refund_id": found.refund.refund_id, "status": "settled"}
            await say(bought[-1], Role.PAYMENTS, "settlement_update", **settled)
            await until(bought[-1], lambda found: found.stage == "closed")
        assert {notice.status for one in bought for notice in at.told(one)} == {"pending"}
        for call in calls:
            call.abort()


async def test_a_silent_mail_server_holds_up_no_fresh_history(tmp_path: Path) -> None:
    """What hangs is carried along, and sent by the next run."""
    calls: set[asyncio.Transport] = set()
    async with (
        listening(lambda: Silent(calls)) as port,
        house(tmp_path, f"smtp://127.0.0.1:{port}", extra=CONTINUE_AS_NEW_SOON) as at,
    ):
        handle = await held(at.server)
        first_run = (await handle.describe()).run_id
        bought = Purchase(at.server.client, purchase_of(handle))
        messages = (SendMessage.model_validate(good(number)[1]) for number in count())
        while (await handle.describe()).run_id == first_run:
            await bought.send(next(messages))
        said = (await bought.status()).timeline[-1].number
        await bought.send(next(messages))
        assert (await bought.status()).timeline[-1].number == said + 1
        assert {notice.status for notice in at.told(handle)} == {"pending"}
        newest = (await whole_history(at.server.client, handle))[-1:]
        sent = of_type(newest, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        assert len(sent) == WAITING_AT_MOST
        for call in calls:
            call.abort()
